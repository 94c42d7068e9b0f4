"""burncloud limit …, and the limits among the options of others."""

from __future__ import annotations

import re
from pathlib import Path

from burncloud.config import SETTINGS
from burncloud.service import limits
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).resolve().parents[3]

ALL = ["--rpm", "60", "--tpm", "10_000", "--concurrency", "5", "--budget-daily", "5.00", "--budget-monthly", "50"]


def test_of_a_token(cli: Cli) -> None:
    cli("user", "list")
    cli("token", "create", "--user", "admin", *ALL)
    shown = cli("limit", "show", "token", "1", "--json").json
    assert (shown["rpm"], shown["tpm"], shown["concurrency"]) == (60, 10_000, 5)
    assert (shown["budget_daily"], shown["budget_monthly_nano"]) == ("5.00", "50000000000")
    assert shown["spent_daily"] == "0.00"
    cli("token", "update", "1", "--rpm", "none", "--budget-daily", "none")
    shown = cli("limit", "show", "token", "1", "--json").json
    assert (shown["rpm"], shown["tpm"], shown["budget_daily"]) == (None, 10_000, None)
    assert "tpm               10000\n" in cli("limit", "show", "token", "1").out


def test_of_the_others(cli: Cli) -> None:
    cli("user", "create", "bob", *ALL)
    cli("user", "update", "bob", "--rpm", "7")
    words = ["--type", "openai", "--models", "gpt-4", "--key", "sk-x", "--name", "here"]
    cli("channel", "add", *words, "--rpm", "3")
    cli("channel", "update", "here", "--tpm", "9")
    cli("group", "set", "vip", "--concurrency", "4")
    cli("limit", "set", "model", "gpt-4", "--rpm", "8")
    found = {(one["kind"], one["name"]): one for one in cli("limit", "list", "--json").json}
    assert (found["user", "2"]["rpm"], found["user", "2"]["tpm"]) == (7, 10_000)
    assert (found["channel", "1"]["rpm"], found["channel", "1"]["tpm"]) == (3, 9)
    assert found["group", "vip"]["concurrency"] == 4
    assert [one["rpm"] for one in cli("limit", "list", "--kind", "model", "--json").json] == [8]
    assert "gpt-4" in cli("limit", "list").out


def test_nothing_is_made_where_a_limit_is_wrong(cli: Cli) -> None:
    cli("user", "list")
    assert "no limit" in cli("token", "create", "--user", "admin", "--rpm", "many", status=1).err
    assert cli("token", "list", "--json").json == []
    assert "no budget" in cli("limit", "set", "model", "gpt-4", "--budget-daily", "1", status=1).err
    cli("group", "set", "vip", status=2)


def test_the_page_about_limits_holds(cli: Cli) -> None:
    """Its commands work as they stand there, its table says what is refused, its settings exist."""
    page = (ROOT / "docs" / "limits.md").read_text()
    commands = [line.split()[1:] for line in page.splitlines() if line.startswith("    burncloud ")]
    assert len(commands) >= 7
    for words in commands:
        cli(*words)
    assert {one["kind"] for one in cli("limit", "list", "--json").json} == set(limits.KINDS)
    title, _, *rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in title[1:]] == ["token", "user", "group", "channel", "model"]
    for first, *cells in rows:
        may = {kind for kind, cell in zip(map(str.strip, title[1:]), cells, strict=True) if cell.strip() == "yes"}
        assert may == set(limits.BUDGETED if "budget" in first else limits.KINDS), first
    known = {row.name for row in SETTINGS}
    assert set(re.findall(r"`([A-Z]{3,}(?:_[A-Z]+)+)`", page)) <= known
