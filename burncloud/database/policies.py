"""SQL of the table `policies`: how some models are served to somebody."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, select

from burncloud.database.connection import Conn, put_row
from burncloud.database.schema import policies


class PolicyRow(msgspec.Struct, frozen=True):
    """A policy; what it does not say is ""."""

    name: str
    """"scope models"."""
    scope: str
    """"*", group:vip or token:12."""
    models: str
    """A name, perhaps with a star."""
    balance: str = ""
    affinity: str = ""
    fallbacks: dict[str, list[str]] = {}
    """When → the models that answer instead."""


_COLUMNS = [policies.c[name] for name in PolicyRow.__struct_fields__]


async def list_policies(conn: Conn, names: Sequence[str] = ()) -> list[PolicyRow]:
    """All, by name; or these, if given."""
    query = select(*_COLUMNS).order_by(policies.c.name)
    return [PolicyRow(*row) for row in await conn.execute(query.where(policies.c.name.in_(names)) if names else query)]


async def get_policy(conn: Conn, name: str) -> PolicyRow | None:
    """One by its name."""
    row = (await conn.execute(select(*_COLUMNS).where(policies.c.name == name))).first()
    return PolicyRow(*row) if row else None


async def update_policy(conn: Conn, row: PolicyRow) -> None:
    """Set it, in a new row where it is missing."""
    await put_row(conn, policies, **msgspec.structs.asdict(row))


async def delete_policy(conn: Conn, name: str) -> None:
    """Forget it."""
    await conn.execute(delete(policies).where(policies.c.name == name))
