"""burncloud group …"""

from __future__ import annotations

from tests.unit.cli.conftest import Cli


def test_the_life_of_a_group(cli: Cli) -> None:
    assert cli("group", "set", "vip", "--ratio", "0.8").out == "vip pays 0.8 x.\n"
    assert {"name": "vip", "ratio": "0.8", "ratio_ppm": 800_000} in cli("group", "list", "--json").json
    assert "vip" in cli("group", "list").out
    cli("user", "create", "bob", "--group", "vip")
    assert "still named by 1 users" in cli("group", "delete", "vip", status=1).err
    cli("user", "update", "bob", "--group", "default")
    assert cli("group", "delete", "vip").out == "Deleted the group vip.\n"


def test_what_cannot_be_asked(cli: Cli) -> None:
    cli("group", "set", "vip", status=2)
    assert "no ratio" in cli("group", "set", "vip", "--ratio", "cheap", status=1).err
    assert "group's name" in cli("group", "set", "a b", "--ratio", "1", status=1).err
    assert "no group" in cli("group", "delete", "nothing", status=1).err
