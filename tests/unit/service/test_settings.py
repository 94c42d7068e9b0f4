"""The rules of live settings, on both engines."""

from __future__ import annotations

import pytest

from burncloud import config
from burncloud.config import LIVE
from burncloud.database.engine import Database
from burncloud.errors import Refusal
from burncloud.service import settings

SETTINGS = config.load({"PORT": "8080", "MASTER_KEY": "ab" * 32})


async def test_every_setting_is_listed_with_its_source(db: Database) -> None:
    found = {view.name: view for view in await settings.list_settings(db, SETTINGS)}
    assert list(found) == [row.name for row in config.SETTINGS]
    assert (found["PORT"].value, found["PORT"].source, found["PORT"].live) == ("8080", "environment", False)
    assert (found["WORKERS"].value, found["WORKERS"].source) == ("1", "default")
    assert found["UPSTREAM_DENY"].value == "169.254.0.0/16,fe80::/10"
    assert found["NODE"].source == "default"
    assert {name.lower() for name, view in found.items() if view.live} == set(LIVE)


async def test_secrets_are_not_shown(db: Database) -> None:
    urls = {"DATABASE_URL": "postgresql://u:hunter2@h/d", "REDIS_URL": "redis://u:hunter2@h:6379"}
    held = config.load({"MASTER_KEY": "ab" * 32} | urls)
    shown = str(await settings.list_settings(db, held))
    assert "abab" not in shown
    assert "hunter2" not in shown


async def test_a_live_setting_is_set_and_taken_back(db: Database) -> None:
    view = await settings.update_setting(db, SETTINGS, "unpriced", "FREE")
    assert (view.value, view.source) == ("free", "database")
    assert await settings.get_setting(db, SETTINGS, "UNPRICED") == view
    view = await settings.update_setting(db, SETTINGS, "unpriced", "default")
    assert (view.value, view.source) == ("refuse", "default")


async def test_of_one_model(db: Database) -> None:
    view = await settings.update_setting(db, SETTINGS, "Hedge_After_Ms:gpt-4o", "800")
    assert (view.name, view.value, view.source) == ("HEDGE_AFTER_MS:gpt-4o", "800", "database")
    listed = [one.name for one in await settings.list_settings(db, SETTINGS)]
    assert listed[listed.index("HEDGE_AFTER_MS") + 1] == "HEDGE_AFTER_MS:gpt-4o"
    view = await settings.update_setting(db, SETTINGS, "HEDGE_AFTER_MS:gpt-4o", "default")
    assert (view.value, view.source) == ("0", "default")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("unpriced:gpt-4", "free", "for one model"),
        ("hedge_after_ms:", "1", "for one model"),
        ("broken_streams:gpt-4", "never", "must be one of"),
        ("port", "1", "set it in .env, then `burncloud reload`"),
        ("nonsense", "1", "no setting"),
        ("unpriced", "perhaps", "must be one of"),
        ("attempts_max", "many", "whole number"),
    ],
)
async def test_what_cannot_be_set(sqlite_db: Database, name: str, value: str, sentence: str) -> None:
    with pytest.raises(Refusal, match=sentence):
        await settings.update_setting(sqlite_db, SETTINGS, name, value)
