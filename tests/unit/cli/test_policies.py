"""burncloud policy …"""

from __future__ import annotations

from tests.unit.cli.conftest import Cli


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
