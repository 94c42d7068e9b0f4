"""burncloud channel …"""

from __future__ import annotations

from pathlib import Path

import trustme

from tests.unit.cli.conftest import Cli


def test_the_life_of_a_channel(cli: Cli, tmp_path: Path) -> None:
    done = cli(
        "channel", "add", "--type", "openai", "--key", "sk-upstream-1234", "--models", "gpt-4o,fast=gpt-4o-mini",
        "--base-url", "https://a.example/v1/", "--name", "main", "--weight", "80", "--priority", "2",
        "--group", "default,vip", "--group", "beta", "--json",
    )  # fmt: skip
    made = done.json
    assert "sk-upstream" not in done.out + done.err
    assert (made["name"], made["type"], made["base_url"]) == ("main", "openai", "https://a.example/v1")
    assert made["models"] == {"gpt-4o": "gpt-4o", "fast": "gpt-4o-mini"}
    assert (made["groups"], made["weight"], made["priority"]) == (["default", "vip", "beta"], 80, 2)
    assert (tmp_path / "burncloud.data" / "master.key").stat().st_mode & 0o777 == 0o600
    for which in ("main", made["ref"], str(made["id"])):
        shown = cli("channel", "show", which, "--json").json
        assert shown == shown | made
        assert (shown["state"], [key["hint"] for key in shown["keys"]]) == ("ready", ["…1234"])
    shown = cli("channel", "list").out + cli("channel", "show", "main").out
    assert "fast=gpt-4o-mini" in shown
    assert "sk-upstream" not in shown
    changed = cli("channel", "update", "main", "-m", "x", "--weight", "0", "--name", "other", "--json").json
    assert (changed["models"], changed["weight"], changed["name"]) == ({"x": "x"}, 0, "other")
    assert (changed["priority"], changed["base_url"]) == (2, made["base_url"])
    assert cli("channel", "disable", "other", "--json").json["enabled"] is False
    assert cli("channel", "enable", "other", "--json").json["enabled"] is True
    assert cli("channel", "delete", "other").out == "Deleted the channel other.\n"
    assert cli("channel", "list", "--json").json == []


def test_keys_come_from_the_input(cli: Cli) -> None:
    add = ["channel", "add", "-t", "openai", "-m", "a"]
    cli(*add, stdin="sk-one\n\nsk-two\n")
    cli(*add, "-k", "-", stdin="sk-one\n")
    cli(*add, "-k", "sk-one", "-k", "sk-two")
    assert "nothing came" in cli(*add, status=1).err
    cli("channel", "update", "openai", "-k", "-", stdin="sk-three")


def test_trust(cli: Cli, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    (tmp_path / "no.pem").write_text("-----BEGIN CERTIFICATE-----")
    add = ["channel", "add", "-t", "openai", "-m", "a", "-k", "sk-one", "--json"]
    made = cli(*add, "--ca-file", "ca.pem", "--no-verify-tls").json
    assert made["options"] == {"ca_file": str(tmp_path / "ca.pem"), "verify_tls": False}
    update = ["channel", "update", made["name"], "--json"]
    assert "holds no certificates" in cli(*add, "--ca-file", "no.pem", status=1).err
    assert "There is no file" in cli(*update, "--ca-file", "nowhere.pem", status=1).err
    assert cli(*update, "--verify-tls").json["options"] == {"ca_file": str(tmp_path / "ca.pem")}
    assert cli(*update, "--ca-file", "none").json["options"] == {}


def test_what_cannot_be_asked(cli: Cli) -> None:
    assert "give --type and --models" in cli("channel", "add", status=2).err
    add = ["channel", "add", "-k", "sk-one", "-m", "a"]
    assert "no known type" in cli(*add, "-t", "nobody", status=1).err
    assert "no model" in cli("channel", "add", "-t", "openai", "-k", "x", "-m", "a=b=c", status=1).err
    assert "looks like" in cli(*add, "-t", "openai", "--base-url", "a.example", status=1).err
    assert "no channel" in cli("channel", "show", "nothing", status=1).err


def test_options(cli: Cli) -> None:
    """Given, changed, taken away; checked; shown without their secrets."""
    add = ["channel", "add", "-t", "bedrock", "-m", "a", "-k", "AKID:secret", "--json"]
    assert "needs --option region" in cli(*add, status=1).err
    proxy = "http://user:hidden@proxy.test:8080"
    made = cli(*add, "--option", "region=us-east-1", "-o", f"proxy={proxy}", "-o", 'params={"set":{"top_k":5}}').json
    assert made["options"] == {
        "region": "us-east-1", "proxy": "http://…@proxy.test:8080", "params": {"set": {"top_k": 5}},
    }  # fmt: skip
    text = cli("channel", "show", "bedrock").out
    assert "https://bedrock-runtime.us-east-1.amazonaws.com" in text
    assert "hidden" not in text
    update = ["channel", "update", "bedrock", "--json"]
    assert set(cli(*update, "-o", "proxy=", "-o", "region=eu-west-1").json["options"]) == {"region", "params"}
    assert "needs --option region" in cli(*update, "-o", "region=", status=1).err
    assert "no option" in cli(*update, "-o", "region", status=1).err
    assert "no option of a channel" in cli(*update, "-o", "a=b", status=1).err
    assert "is none" in cli(*update, "-o", 'headers={"set"', status=1).err
    assert cli("channel", "disable", "bedrock", "--json").json["options"]["region"] == "eu-west-1"


def test_a_key_file_is_one_key(cli: Cli) -> None:
    """Of several lines, and it names the project."""
    key = (
        '{\n "type": "service_account",\n "project_id": "my-project",\n "client_email": "a@b",\n "private_key": "x",\n'
    )
    key += ' "token_uri": "https://oauth2.googleapis.com/token"\n}\n'
    made = cli("channel", "add", "-t", "vertex", "-m", "gemini-x", "-k", "-", "--json", stdin=key).json
    assert made["options"] == {"project": "my-project"}
    wrong = cli("channel", "add", "-t", "vertex", "-m", "a", "-k", '{"type": "service_account"}', status=1)
    assert "private_key" in wrong.err


def test_a_page_says_that_there_is_more(cli: Cli) -> None:
    for name in ("one", "two"):
        cli("channel", "add", "--type", "openai", "--name", name, "--models", "m", "--key", "sk-x")
    for form in ((), ("--json",)):
        assert cli("channel", "list", "--limit", "1", *form).err.splitlines()[-1] == "More: --after 1"
    assert "More" not in cli("channel", "list", "--limit", "3").err
