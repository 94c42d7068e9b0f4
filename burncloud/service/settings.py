"""Settings that can be changed while the house runs: they stand in the database and win over the environment.

Everything else is read from the environment when a process starts (config.py) and listed here only to be seen.
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud import config
from burncloud.config import LIVE
from burncloud.database import settings as rows
from burncloud.database.connection import Conn
from burncloud.database.engine import Database
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal

SECRET: Final = ("master_key", "database_url")
"""Never shown as they are."""


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
    return [_view(row, settings, stored) for row in config.SETTINGS]


async def get_setting(db: Database, settings: config.Settings, name: str) -> SettingView:
    """One setting by name, in any case."""
    row = _find(name)
    async with db.read() as conn:
        return _view(row, settings, await rows.list_settings(conn))


async def update_setting(db: Database, settings: config.Settings, name: str, value: str) -> SettingView:
    """Set a live setting; "default" takes it back to what the environment says."""
    row = _find(name)
    key = row.name.lower()
    if key not in LIVE:
        raise Refusal(
            INVALID_REQUEST,
            f"{row.name} is read when the server starts; set it in the environment or in .env and start again",
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


def _find(name: str) -> config.Setting:
    for row in config.SETTINGS:
        if row.name == name.upper():
            return row
    raise Refusal(NOT_FOUND, f"There is no setting {name!r}; `burncloud setting list` shows them all")


def _checked(name: str, value: str) -> str:
    """The value in its one spelling.  config.load knows what each setting may be."""
    try:
        return _text(getattr(config.load({name: value}), name.lower()))
    except config.ConfigError as error:
        raise Refusal(INVALID_REQUEST, str(error)) from None


def _view(row: config.Setting, settings: config.Settings, stored: dict[str, str]) -> SettingView:
    key = row.name.lower()
    value = _text(getattr(settings, key))
    source = "default" if value == _text(getattr(config.load({}), key)) else "environment"
    if key in LIVE and key in stored:
        value, source = stored[key], "database"
    if key in SECRET and value and source != "default":
        value = "(set)"
    return SettingView(row.name, value, source, key in LIVE, row.unit, row.meaning)


def _text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)
