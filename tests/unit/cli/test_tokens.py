"""burncloud token …"""

from __future__ import annotations

import time

from burncloud.service.secrets import hash_token_key
from tests.unit.cli.conftest import Cli


def test_the_key_is_all_that_create_prints(cli: Cli) -> None:
    cli("user", "list")
    done = cli("token", "create", "--user", "admin")
    key = done.out.strip()
    assert key.startswith("sk-")
    assert len(key) == 51
    assert "shown only now" in done.err
    for words in (["token", "list"], ["token", "list", "--json"], ["token", "show", "1"], ["token", "show", key]):
        shown = cli(*words).out
        assert key not in shown
        assert "sk-…" + key[-4:] in shown
        assert hash_token_key(key).hex() not in shown


def test_all_options(cli: Cli) -> None:
    made = cli(
        "token", "create", "--user", "admin", "--name", "ci", "--quota", "10.00", "--expires", "30d",
        "--models", "gpt-4,gpt-4o", "--networks", "10.0.0.0/8,::1", "--group", "vip", "--json",
    ).json  # fmt: skip
    assert made["key"].startswith("sk-")
    assert (made["user"], made["name"], made["quota_limit"], made["group"]) == ("admin", "ci", "10.00", "vip")
    assert (made["models"], made["networks"]) == (["gpt-4", "gpt-4o"], ["10.0.0.0/8", "::1/128"])
    assert abs(made["expires_at"] - time.time() - 30 * 86400) < 60
    words = ["--models", "all", "--networks", "any", "--expires", "never", "--quota", "-1", "--group", "user"]
    opened = cli("token", "update", str(made["id"]), *words, "--disable", "--json").json
    assert (opened["models"], opened["networks"], opened["expires_at"]) == (None, [], -1)
    assert (opened["quota_limit"], opened["group"], opened["enabled"]) == ("unlimited", "", False)
    assert opened["name"] == "ci"
    assert cli("token", "update", str(made["id"]), "--enable", "--name", "x", "--json").json["name"] == "x"


def test_lists_by_user(cli: Cli) -> None:
    cli("user", "create", "bob")
    for user in ("admin", "bob", "bob"):
        cli("token", "create", "--user", user)
    assert [token["user"] for token in cli("token", "list", "--user", "bob", "--json").json] == ["bob", "bob"]
    assert [token["id"] for token in cli("token", "list", "--after", "1", "--limit", "1", "--json").json] == [2]


def test_deleting(cli: Cli) -> None:
    cli("user", "list")
    key = cli("token", "create", "--user", "admin").out.strip()
    assert cli("token", "delete", key).out == f"Deleted the token 1 (sk-…{key[-4:]}) of admin.\n"
    assert key not in cli("token", "show", key, status=1).err


def test_what_cannot_be_asked(cli: Cli) -> None:
    cli("token", "create", status=2)
    assert "no user" in cli("token", "create", "--user", "nobody", status=1).err
    assert "no time" in cli("token", "create", "--user", "admin", "--expires", "soon", status=1).err
    assert "no network" in cli("token", "create", "--user", "admin", "--networks", "home", status=1).err


def test_a_time_that_no_calendar_knows(cli: Cli) -> None:
    cli("user", "list")
    assert "year 10000" in cli("token", "create", "--user", "admin", "--expires", "999999999w", status=1).err
    cli("token", "create", "--user", "admin", "--expires", "9999-12-31")
    assert "9999-12-31" in cli("token", "list").out


def test_what_a_broken_stream_is(cli: Cli) -> None:
    made = cli("token", "create", "--user", "admin", "--on-break", "error", "--strict", "--json").json
    assert made["options"] == {"broken_streams": "error", "strict": True}
    assert "error" in cli("token", "show", "1").out
    assert cli("token", "update", "1", "--on-break", "default", "--json").json["options"]["broken_streams"] == ""
    assert "one of" in cli("token", "update", "1", "--on-break", "never", status=1).err


def test_a_page_says_that_there_is_more(cli: Cli) -> None:
    cli("user", "create", "alice")
    for _ in range(2):
        cli("token", "create", "--user", "alice")
    for form in ((), ("--json",)):
        assert cli("token", "list", "--limit", "1", *form).err.splitlines()[-1] == "More: --after 1"
    assert "More" not in cli("token", "list", "--limit", "3").err
