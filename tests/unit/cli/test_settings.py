"""burncloud setting …"""

from __future__ import annotations

import pytest

from burncloud import config
from tests.unit.cli.conftest import Cli


def test_all_are_listed_with_their_source(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8080")
    found = {row["name"]: row for row in cli("setting", "list", "--json").json}
    assert set(found) == {row.name for row in config.SETTINGS}
    assert (found["PORT"]["value"], found["PORT"]["source"]) == ("8080", "environment")
    assert "FIRST_BYTE_TIMEOUT_MS" in cli("setting", "list").out
    assert "Port to listen on" in cli("setting", "get", "port").out


def test_a_live_one_is_changed(cli: Cli) -> None:
    assert cli("setting", "set", "unpriced", "free", "--json").json["value"] == "free"
    assert cli("setting", "get", "UNPRICED", "--json").json["source"] == "database"
    assert cli("setting", "set", "unpriced", "default", "--json").json["value"] == "refuse"
    assert ".env" in cli("setting", "set", "port", "1", status=1).err
