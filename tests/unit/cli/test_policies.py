"""burncloud policy …"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from burncloud.config import SETTINGS
from burncloud.domain.policies import BALANCES
from burncloud.router.affinity import LASTS_S, PREFIX_BYTES, RESPONSE_LASTS_S
from burncloud.router.choose import AHEAD_MAX
from burncloud.router.pairs import EXPLORE_S
from burncloud.router.world import AFFINE_TOKENS, RESOLVED_MAX
from burncloud.wire.places import BYTES
from tests.unit.cli.conftest import Cli

ROOT = Path(__file__).resolve().parents[3]


def test_the_life_of_a_policy(cli: Cli) -> None:
    cli("group", "set", "vip", "--ratio", "1")
    shown = cli("policy", "set", "claude-*", "--group", "vip", "--balance", "cheapest", "--fallback", "b,c").out
    assert "cheapest" in shown
    assert "unavailable: b, c" in shown
    cli("policy", "set", "claude-*", "--group", "vip", "--fallback-context", "long", "--affinity", "off")
    expected = {
        "models": "claude-*", "group": "vip", "token": None, "balance": "cheapest", "affinity": "off",
        "fallbacks": {"unavailable": ["b", "c"], "context": ["long"]},
    }  # fmt: skip
    assert cli("policy", "show", "claude-*", "--group", "vip", "--json").json == expected
    assert cli("policy", "list", "--json").json == [expected]
    assert "group vip" in cli("policy", "list").out
    cli("policy", "set", "claude-*", "--group", "vip", "--fallback", "none", "--balance", "default")
    left = cli("policy", "show", "claude-*", "--group", "vip", "--json").json
    assert left["balance"] is None
    assert left["fallbacks"]["unavailable"] == []
    assert "Deleted" in cli("policy", "delete", "claude-*", "--group", "vip", "--yes").out
    assert cli("policy", "list", "--json").json == []


def test_for_everybody_and_everything(cli: Cli) -> None:
    cli("policy", "set", "--balance", "round-robin")
    assert cli("policy", "show", "--json").json["models"] == "*"
    assert " all" in cli("policy", "show").out


def test_what_cannot_be_asked(cli: Cli) -> None:
    cli("policy", "set", "gpt-4", status=2)
    assert "weighted" in cli("policy", "set", "--balance", "best", status=1).err
    assert "no such policy" in cli("policy", "show", "gpt-4", status=1).err


def test_the_page_about_balancing_holds(cli: Cli) -> None:
    """Its commands work as they stand there and show what it shows; its tables and settings are what there is."""
    page = (ROOT / "docs" / "balancing.md").read_text()
    cli("token", "create", "--user", "admin")
    for model in ("gpt-4o-mini", "claude-sonnet"):
        cli("price", "set", model, "--input", "1", "--output", "2")
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.lstrip().startswith("burncloud ")]
    assert len(commands) >= 11
    shown = page.split("<!-- policies -->\n")[1]
    for words in commands:
        done = cli(*words)
        if words == ["policy", "list"]:
            assert done.out.split() == shown.split()
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert [row[0].split("`")[1] for row in rows if not row[0].startswith("`--")] == list(BALANCES)
    options = {row[0].strip("`") for row in rows if row[0].startswith("`--fall")}
    assert options == {"--fallback", "--fallback-context", "--fallback-filter"}
    known = {row.name for row in SETTINGS}
    assert set(re.findall(r"`([A-Z]{3,}(?:_[A-Z]+)*)`", page)) <= known
    for number in (AHEAD_MAX, AFFINE_TOKENS, RESOLVED_MAX):
        assert f"{number:,}" in page


def test_numbers_of_the_page(cli: Cli) -> None:
    page = (ROOT / "docs" / "balancing.md").read_text()
    assert (PREFIX_BYTES, LASTS_S, RESPONSE_LASTS_S, EXPLORE_S) == (4 << 10, 3_600, 30 * 86_400, 10)
    assert BYTES == 3 << 20
    for said in ("4 KiB", "an hour", "30 days", "10 s", "3 MiB"):
        assert said in page
