"""Settings that can be changed while the house runs: they stand in the database and win over the environment.

Everything else is read from the environment when a process starts (config.py) and listed here only to be seen.
"""

from __future__ import annotations

import msgspec

from burncloud import config
from burncloud.config import LIVE, PER_MODEL
from burncloud.database import settings as rows
from burncloud.database.connection import Conn
from burncloud.database.engine import Database
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal


class SettingView(msgspec.Struct, frozen=True):
    """A setting as it is in force for a process that starts now."""

    name: str
    value: str
    source: str
    """"default" · "environment" · "database"."""
    live: bool
    """It can be changed with `setting set`, and running workers follow."""
    unit: str
    meaning: str


async def list_settings(db: Database, settings: config.Settings) -> list[SettingView]:
    """All settings, in the order of the documentation."""
    async with db.read() as conn:
        stored = await rows.list_settings(conn)
    found: list[SettingView] = []
    for row in config.SETTINGS:
        found.append(_view(row, settings, stored))
        found += [_view(row, settings, stored, name) for name in stored if name.startswith(f"{row.name.lower()}:")]
    return found


async def get_setting(db: Database, settings: config.Settings, name: str) -> SettingView:
    """One setting by name, in any case; NAME:MODEL is that of one model."""
    row, key = _find(name)
    async with db.read() as conn:
        return _view(row, settings, await rows.list_settings(conn), key)


async def update_setting(db: Database, settings: config.Settings, name: str, value: str) -> SettingView:
    """Set a live setting; "default" takes it back to what the environment says."""
    row, key = _find(name)
    if row.name.lower() not in LIVE:
        raise Refusal(
            INVALID_REQUEST,
            f"{row.name} is read when the server starts; set it in .env, then `burncloud reload`",
        )
    if value != "default":
        value = _checked(row.name, value)

    async def work(conn: Conn) -> None:
        if value == "default":
            await rows.delete_setting(conn, key)
        else:
            await rows.update_setting(conn, key, value)

    await db.run(work)
    return await get_setting(db, settings, name)


def _find(name: str) -> tuple[config.Setting, str]:
    """(the setting, how it stands in the database)."""
    known, colon, model = name.partition(":")
    for row in config.SETTINGS:
        key = row.name.lower()
        if row.name == known.upper():
            if colon and not (model and key in PER_MODEL):
                raise Refusal(INVALID_REQUEST, f"{row.name} cannot be set for one model")
            return row, f"{key}:{model}" if colon else key
    raise Refusal(NOT_FOUND, f"There is no setting {name!r}; `burncloud setting list` shows them all")


def _checked(name: str, value: str) -> str:
    """The value in its one spelling.  config.load knows what each setting may be."""
    try:
        return _text(getattr(config.load({name: value}), name.lower()))
    except config.ConfigError as error:
        raise Refusal(INVALID_REQUEST, str(error)) from None


def _view(row: config.Setting, settings: config.Settings, stored: dict[str, str], name: str = "") -> SettingView:
    """`name`: how it stands in the database, if it is that of one model."""
    key = row.name.lower()
    if name in stored and name != key:
        return SettingView(row.name + name[len(key) :], stored[name], "database", True, row.unit, row.meaning)
    value = _text(getattr(settings, key))
    source = "default" if value == _text(getattr(config.load({}), key)) else "environment"
    if key in LIVE and key in stored:
        value, source = stored[key], "database"
    if row.secret and value and source != "default":
        value = "(set)"
    return SettingView(row.name, value, source, key in LIVE, row.unit, row.meaning)


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
