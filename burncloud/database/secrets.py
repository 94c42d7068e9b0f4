"""SQL of the master key's fingerprint, a row of `meta`."""

from __future__ import annotations

from typing import Final

from sqlalchemy import select

from burncloud.database.connection import Conn, insert_into
from burncloud.database.schema import meta

FINGERPRINT_KEY: Final = "master_key"


async def get_fingerprint(conn: Conn) -> str:
    """Of the key that sealed this database's secrets; "" = there was none yet."""
    return str((await conn.execute(select(meta.c.value).where(meta.c.key == FINGERPRINT_KEY))).scalar() or "")


async def create_fingerprint(conn: Conn, fingerprint: str) -> str:
    """Remember it unless one is remembered; what is remembered then."""
    query = insert_into(conn, meta).values(key=FINGERPRINT_KEY, value=fingerprint).on_conflict_do_nothing()
    await conn.execute(query)
    return await get_fingerprint(conn)
