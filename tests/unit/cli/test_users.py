"""burncloud user …"""

from __future__ import annotations

import pytest

from tests.unit.cli.conftest import Cli


def test_the_life_of_a_user(cli: Cli) -> None:
    made = cli("user", "create", "alice", "--quota", "10.00", "--group", "vip", "--json").json
    assert (made["quota_limit"], made["quota_limit_nano"], made["group"]) == ("10.00", "10000000000", "vip")
    assert (made["role"], made["used"], made["enabled"]) == ("user", "0.00", True)
    assert cli("user", "show", "alice", "--json").json == made
    assert cli("user", "show", str(made["id"]), "--json").json == made
    assert "10.00" in cli("user", "list").out
    assert "quota     10.00" in cli("user", "show", "alice").out
    changed = cli(
        "user", "update", "alice", "--name", "alicia", "--quota", "unlimited", "--role", "admin", "--json"
    ).json
    assert (changed["name"], changed["quota_limit_nano"], changed["role"]) == ("alicia", "-1", "admin")
    assert cli("user", "disable", "alicia", "--json").json["enabled"] is False
    assert cli("user", "enable", "alicia", "--json").json["enabled"] is True
    assert cli("user", "update", "alicia", "--disable", "--json").json["enabled"] is False
    assert cli("user", "delete", "alicia").out == "Deleted the user alicia.\n"
    assert [user["name"] for user in cli("user", "list", "--json").json] == ["admin"]


def test_defaults(cli: Cli) -> None:
    made = cli("user", "create", "bob", "--json").json
    assert (made["quota_limit"], made["group"]) == ("unlimited", "default")


def test_top_ups(cli: Cli) -> None:
    cli("user", "create", "bob", "--quota", "1")
    assert cli("user", "topup", "bob", "2.50").out == "bob has 3.50 dollars left to use.\n"
    assert cli("user", "topup", "bob", "0.5", "--json").json["quota_limit"] == "4.00"
    assert "more than 0" in cli("user", "topup", "bob", "0", status=1).err
    assert "write it like" in cli("user", "topup", "bob", "x", status=1).err


def test_passwords_come_from_the_input(cli: Cli) -> None:
    cli("user", "create", "bob", "--password", "-", stdin="correct horse\n")
    assert cli("user", "passwd", "bob", stdin="battery staple\n").out == "bob has a new password.\n"
    assert "at least 8" in cli("user", "passwd", "bob", stdin="short", status=1).err
    assert "no user" in cli("user", "passwd", "nobody", stdin="battery staple", status=1).err


@pytest.mark.parametrize("arguments", [["create"], ["create", "a", "--quota"], ["topup", "bob"], ["show"]])
def test_wrong_usage_has_status_2(cli: Cli, arguments: list[str]) -> None:
    cli("user", *arguments, status=2)


def test_pages(cli: Cli) -> None:
    for name in ("a", "b", "c"):
        cli("user", "create", name)
    page = cli("user", "list", "--limit", "2", "--json").json
    rest = cli("user", "list", "--after", str(page[-1]["id"]), "--json").json
    assert [user["name"] for user in page + rest] == ["admin", "a", "b", "c"]


def test_a_page_says_that_there_is_more(cli: Cli) -> None:
    cli("user", "create", "alice")
    for form in ((), ("--json",)):
        assert cli("user", "list", "--limit", "1", *form).err.splitlines()[-1] == "More: --after 1"
    assert "More" not in cli("user", "list", "--limit", "3").err
