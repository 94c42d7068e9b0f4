"""The rules of channels: which vendor, which models under which names, for which groups, with which keys.

A channel is named by id, name or ref.  Its keys go in and are never shown again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlsplit

from burncloud import clock
from burncloud.adaptors.vendors import VENDORS, base_url_of
from burncloud.database import channels as rows
from burncloud.database.belongings import forget
from burncloud.database.channels import ChannelRow
from burncloud.database.connection import Conn, row_id
from burncloud.database.engine import Database
from burncloud.domain.names import STAR
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.service import secrets
from burncloud.service.credentials import check_key, project_of
from burncloud.service.groups import DEFAULT_GROUP, ensure_groups
from burncloud.service.options import check as check_options
from burncloud.service.policies import check_pattern
from burncloud.service.secrets import MasterKey, WrongKey

NAME: Final = re.compile(r"(?!\d+$)(?!ch_)[^\s,=](?:[^,=\n]{0,126}[^\s,=])?")
WEIGHT_MAX: Final = 1_000_000
PRIORITY_MAX: Final = 1_000_000


async def list_channels(db: Database, after: int = 0, limit: int = 1000, ids: Sequence[int] = ()) -> list[ChannelRow]:
    """Channels by id, those above `after`; or these."""
    async with db.read() as conn:
        return await rows.list_channels(conn, after, limit, ids)


async def get_channel(db: Database, which: str) -> ChannelRow:
    """One channel by id, name or ref."""
    async with db.read() as conn:
        return await find(conn, which)


async def create_channel(
    db: Database,
    key: MasterKey,
    vendor: str,
    secret_texts: Sequence[str],
    models: dict[str, str],
    base_url: str = "",
    name: str = "",
    groups: Sequence[str] = (DEFAULT_GROUP,),
    priority: int = 0,
    weight: int = 1,
    options: dict[str, Any] | None = None,
) -> ChannelRow:
    """A new channel, in use at once."""
    secret_texts = _key_texts(vendor, secret_texts)
    values: dict[str, Any] = {
        "vendor": vendor,
        "base_url": base_url,
        "models": models,
        "groups": list(groups),
        "priority": priority,
        "weight": weight,
        "options": _with_project(vendor, options or {}, secret_texts),
    }
    _check(values, vendor)
    if not secret_texts:
        raise Refusal(INVALID_REQUEST, "A channel needs a key; give it with --key, or - to read it from the input")

    async def work(conn: Conn) -> ChannelRow:
        values["name"] = await _free_name(conn, name, vendor)
        await ensure_groups(conn, groups)
        identity = {"ref": secrets.new_channel_ref(), "created_at": clock.now_s()}
        channel = await rows.create_channel(conn, values | identity)
        await _replace_keys(conn, key, channel, secret_texts)
        return await _rewritten(conn, channel)

    return await db.run(work)


async def update_channel(
    db: Database, which: str, changes: dict[str, Any], key: MasterKey | None = None, secret_texts: Sequence[str] = ()
) -> ChannelRow:
    """Change name, vendor, base_url, models, groups, priority, weight, options or enabled: those that `changes` holds.

    `secret_texts`, where given, replace all keys; one that was there before keeps its id.
    """

    async def work(conn: Conn) -> ChannelRow:
        channel = await find(conn, which)
        vendor = changes.get("vendor", channel.vendor)
        texts = _key_texts(vendor, secret_texts)
        given = {"base_url": channel.base_url} | changes
        options = _with_project(vendor, given.get("options", channel.options), texts)
        if options != channel.options:
            given["options"] = options
        _check(given, vendor, channel.options)
        changes.update({name: given[name] for name in ("base_url", "options") if name in given})
        if changes.get("name", channel.name) != channel.name:
            changes["name"] = await _free_name(conn, changes["name"], channel.vendor)
        await ensure_groups(conn, changes.get("groups", ()))
        if changes:
            await rows.update_channel(conn, channel.id, changes)
        if key is not None and texts:
            await _replace_keys(conn, key, channel.id, texts)
        return await _rewritten(conn, channel.id)

    return await db.run(work)


async def delete_channel(db: Database, which: str) -> ChannelRow:
    """Delete a channel and its keys; its rows in the ledger stay.  What it was, is returned."""

    async def work(conn: Conn) -> ChannelRow:
        channel = await find(conn, which)
        await rows.delete_channel(conn, channel.id, clock.now_s())
        await forget(conn, f"channel:{channel.id}")
        return channel

    return await db.run(work)


async def find(conn: Conn, which: str) -> ChannelRow:
    """By id, name or ref."""
    channel_id = row_id(which)
    channel = await (rows.find_channel(conn, which) if channel_id is None else rows.get_channel(conn, channel_id))
    if channel is None:
        raise Refusal(NOT_FOUND, f"There is no channel {which!r}; `burncloud channel list` shows them all")
    return channel


async def _replace_keys(conn: Conn, key: MasterKey, channel: int, secret_texts: Sequence[str]) -> None:
    """Make these the channel's keys."""
    wanted = list(dict.fromkeys(text.strip() for text in secret_texts))
    if not all(text and text.isascii() and text.isprintable() for text in wanted):
        raise Refusal(INVALID_REQUEST, "A key is one line of printable ASCII; this one is not")
    gone: list[int] = []
    for row in await rows.list_keys(conn, channel, channel):
        try:
            text = key.open(row.secret, channel)
        except WrongKey:
            text = ""
        if text in wanted:
            wanted.remove(text)
        else:
            gone.append(row.id)
    await rows.delete_keys(conn, gone)
    await rows.add_keys(conn, channel, [key.seal(text, channel) for text in wanted])


async def _rewritten(conn: Conn, channel: int) -> ChannelRow:
    """The channel as it is now, its abilities made to match."""
    row = await find(conn, str(channel))
    await rows.rewrite_abilities(conn, row.id, row.groups, row.models, row.enabled, row.priority, row.weight)
    return row


async def _free_name(conn: Conn, name: str, vendor: str) -> str:
    """`name`, refused if it is another channel's; without one, the vendor's with a number."""
    if name:
        if not NAME.fullmatch(name):
            raise Refusal(
                INVALID_REQUEST, f"{name!r} cannot be a channel's name; no comma, = or line break, not digits alone"
            )
        if await rows.find_channel(conn, name) is not None:
            raise Refusal(INVALID_REQUEST, f"There is a channel {name!r} already; choose another name")
        return name
    number = 1
    while await rows.find_channel(conn, name := vendor if number == 1 else f"{vendor}-{number}") is not None:
        number += 1
    return name


def _check(values: dict[str, Any], vendor: str, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Refuse values that no worker could use; base URL and options are brought into their one form.

    `options`: those that stay, where `values` has none.
    """
    known = VENDORS.get(vendor)
    if known is None:
        raise Refusal(INVALID_REQUEST, f"{vendor!r} is no known type; use one of: {', '.join(sorted(VENDORS))}")
    values["base_url"] = _base_url(values["base_url"])
    if not values["base_url"] and not known.base_url:
        raise Refusal(INVALID_REQUEST, f"A channel of type {vendor!r} needs a --base-url: it has no address of its own")
    models = values.get("models")
    if models is not None and (not models or not all(models) or not all(models.values())):
        raise Refusal(INVALID_REQUEST, "A channel needs models; write them like gpt-4o,fast=gpt-4o-mini")
    for public, upstream in (models or {}).items():
        check_pattern(public)
        check_pattern(upstream)
        if STAR in upstream and STAR not in public:
            raise Refusal(INVALID_REQUEST, f"The star of {upstream!r} has nothing to stand for: {public!r} has none")
    if "options" in values:
        values["options"] = check_options(values["options"])
    try:
        base_url_of(known, values["base_url"], values.get("options", dict(options)))
    except ValueError as error:
        sentence = str(error)
        raise Refusal(INVALID_REQUEST, sentence[:1].upper() + sentence[1:]) from None
    if values.get("groups") == []:
        raise Refusal(INVALID_REQUEST, "A channel needs a group; the usual one is 'default'")
    if not 0 <= values.get("weight", 0) <= WEIGHT_MAX:
        raise Refusal(INVALID_REQUEST, f"A weight is between 0 and {WEIGHT_MAX}")
    if abs(values.get("priority", 0)) > PRIORITY_MAX:
        raise Refusal(INVALID_REQUEST, f"A priority is between −{PRIORITY_MAX} and {PRIORITY_MAX}")


def _key_texts(vendor: str, texts: Sequence[str]) -> list[str]:
    """Keys in the one line that they are kept in.  Raises Refusal for a key file that is none."""
    known = VENDORS.get(vendor)
    mint = known.mint if known is not None else ""
    try:
        return [check_key(mint, text) for text in texts]
    except ValueError as error:
        sentence = str(error)
        raise Refusal(INVALID_REQUEST, sentence[:1].upper() + sentence[1:]) from None


def _with_project(vendor: str, given: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    """The options with the project that a service account's key names, where one is needed and none is given."""
    known = VENDORS.get(vendor)
    if known is None or given.get("project") or "project" not in dict(known.options):
        return given
    project = next(filter(None, map(project_of, keys)), "")
    return given | {"project": project} if project else given


def _base_url(text: str) -> str:
    """http(s)://host[:port][/path] without a slash at the end, or ""."""
    text = text.strip()
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or 0 < parts.port < 65536
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    plain = not (parts.query or parts.fragment or parts.username or parts.password) and text.isascii()
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_fine or not plain or " " in text:
        raise Refusal(INVALID_REQUEST, "A base URL looks like https://api.example.com/v1, with no query or password")
    return text.rstrip("/")
