"""The rules of tokens: the keys of clients, made once, shown once, kept as a hash."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from burncloud import clock
from burncloud.database import tokens as rows
from burncloud.database import users as user_rows
from burncloud.database.belongings import forget
from burncloud.database.connection import Conn, row_id
from burncloud.database.engine import Database
from burncloud.database.tokens import TokenRow
from burncloud.domain.names import STAR
from burncloud.errors import INVALID_REQUEST, INVALID_TOKEN, NOT_FOUND, PERMISSION_DENIED, TOKEN_EXPIRED, Refusal
from burncloud.service import secrets, users
from burncloud.service.groups import ensure_groups
from burncloud.service.users import UNLIMITED, check_limit

NEVER: Final = -1
NAME_CHARS_MAX: Final = 128
EXPIRES_AT_MAX: Final = 253_402_300_799
"""The end of the year 9999."""


class NewToken(msgspec.Struct, frozen=True):
    """A token and its key, which nobody can read again."""

    key: str
    token: TokenRow


class Holder(msgspec.Struct, frozen=True):
    """The user behind a valid token."""

    user: int
    name: str
    role: str


async def list_tokens(db: Database, who: str = "", after: int = 0, limit: int = 1000) -> list[TokenRow]:
    """Tokens by id, those above `after`; of one user, if given."""
    async with db.read() as conn:
        user = (await users.find(conn, who)).id if who else 0
        return await rows.list_tokens(conn, user, after, limit)


async def get_token(db: Database, token: str) -> TokenRow:
    """One token by id, or by its key."""
    async with db.read() as conn:
        return await find(conn, token)


async def create_token(
    db: Database,
    who: str,
    name: str = "",
    quota_limit: int = UNLIMITED,
    expires_at: int = NEVER,
    models: Sequence[str] | None = None,
    networks: Sequence[str] = (),
    group: str = "",
    options: Mapping[str, object] = MappingProxyType({}),
) -> NewToken:
    """A new token of a user, and its key."""
    values = {
        "name": name,
        "quota_limit": quota_limit,
        "expires_at": expires_at,
        "models": list(models) if models is not None else None,
        "networks": list(networks),
        "group": group,
        "options": dict(options),
    }
    _check(values)
    key = secrets.new_token_key()

    async def work(conn: Conn) -> TokenRow:
        user = await users.find(conn, who)
        await ensure_groups(conn, [group] if group else [])
        identity = {"hash": secrets.hash_token_key(key), "hint": secrets.hint(key), "user_id": user.id}
        token = await rows.create_token(conn, values | identity | {"created_at": clock.now_s()})
        return await find(conn, str(token))

    return NewToken(key, await db.run(work))


async def update_token(db: Database, token: str, changes: dict[str, Any]) -> TokenRow:
    """Change name, quota_limit, expires_at, models, networks, group, enabled or options: those that `changes` holds.

    Of the options, too, only those that are given change.
    """
    _check(changes)

    async def work(conn: Conn) -> TokenRow:
        row = await find(conn, token)
        await ensure_groups(conn, [changes["group"]] if changes.get("group") else [])
        if changes:
            options = {"options": row.options | changes["options"]} if "options" in changes else {}
            await rows.update_token(conn, row.id, changes | options)
        return await find(conn, str(row.id))

    return await db.run(work)


async def delete_token(db: Database, token: str) -> TokenRow:
    """Delete a token; its rows in the ledger stay.  What it was, is returned."""

    async def work(conn: Conn) -> TokenRow:
        row = await find(conn, token)
        await rows.delete_token(conn, row.id, clock.now_s())
        await forget(conn, f"token:{row.id}")
        return row

    return await db.run(work)


async def find_holder(db: Database, key: str, peer: str) -> Holder:
    """Who calls the management API with this key from the address `peer`; refuses as a worker would."""
    async with db.read() as conn:
        token = await rows.find_token(conn, secrets.hash_token_key(key))
        user = await user_rows.get_user(conn, token.user_id) if token else None
    if token is None or not token.enabled:
        raise Refusal(INVALID_TOKEN)
    if token.expires_at != NEVER and token.expires_at <= clock.now_s():
        raise Refusal(TOKEN_EXPIRED)
    if user is None or not user.enabled:
        raise Refusal(PERMISSION_DENIED, "The user of this token is disabled")
    if token.networks and not _inside(peer, token.networks):
        raise Refusal(PERMISSION_DENIED, "This token may not be used from your network")
    return Holder(user.id, user.name, user.role)


async def find(conn: Conn, token: str) -> TokenRow:
    """By id or key."""
    token_id = row_id(token)
    if token_id is not None:
        row = await rows.get_token(conn, token_id)
    else:
        row = await rows.find_token(conn, secrets.hash_token_key(token))
    if row is None:
        shown = secrets.hint(token) if token_id is None else token
        raise Refusal(NOT_FOUND, f"There is no token {shown!r}; `burncloud token list` shows the ids of all")
    return row


def _inside(peer: str, networks: Sequence[str]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in ipaddress.ip_network(network) for network in networks)


def _check(values: dict[str, Any]) -> None:
    if "quota_limit" in values:
        check_limit(values["quota_limit"])
    if len(values.get("name", "")) > NAME_CHARS_MAX:
        raise Refusal(INVALID_REQUEST, f"A token's name has at most {NAME_CHARS_MAX} characters")
    if values.get("expires_at", NEVER) > EXPIRES_AT_MAX:
        raise Refusal(INVALID_REQUEST, "A token expires before the year 10000, or never")
    if values.get("models") is not None and not all(values["models"]):
        raise Refusal(INVALID_REQUEST, "A model's name cannot be empty; write the models like gpt-4,claude-*")
    for model in values.get("models") or ():
        if model.count(STAR) > 1:
            raise Refusal(INVALID_REQUEST, f"{model!r} has more than one star; write it like claude-* or *")
    if "networks" in values:
        values["networks"] = [_network(text) for text in values["networks"]]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip()))
    except ValueError:
        raise Refusal(INVALID_REQUEST, f"{text!r} is no network; write an address or a block like 10.0.0.0/8") from None
