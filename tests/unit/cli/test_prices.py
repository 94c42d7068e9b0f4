"""burncloud price …"""

from __future__ import annotations

from tests.unit.cli.conftest import Cli


def test_setting_and_sharing(cli: Cli) -> None:
    cli("price", "set", "gpt-4", "--input", "30.0", "--output", "60.0")
    made = cli("price", "get", "gpt-4", "--json").json
    assert (made["input"], made["input_nano"], made["output"]) == ("30.00", "30000000000", "60.00")
    assert made["set"] == {"input": "30.00", "output": "60.00"}
    assert made["cache_read"] == "30.00"  # not set: charged as input
    cli("price", "set", "gpt-4-turbo", "--alias", "gpt-4")
    turbo = cli("price", "get", "gpt-4-turbo", "--json").json
    assert (turbo["alias"], turbo["input"], turbo["set"]) == ("gpt-4", "30.00", {})
    assert "gpt-4-turbo" in cli("price", "list").out
    assert [price["model"] for price in cli("price", "list", "--json").json] == ["gpt-4", "gpt-4-turbo"]
    assert "alias of" in cli("price", "get", "gpt-4-turbo").out


def test_every_kind_has_its_option(cli: Cli) -> None:
    words = {
        "input": "--input", "output": "--output", "cache_read": "--cache-read", "cache_write": "--cache-write",
        "cache_write_1h": "--cache-write-1h", "reasoning": "--reasoning", "audio_input": "--audio-input",
        "audio_output": "--audio-output", "image_input": "--image-input", "image_output": "--image-output",
        "request": "--request",
    }  # fmt: skip
    arguments = [part for n, option in enumerate(words.values(), 1) for part in (option, str(n))]
    made = cli("price", "set", "m", *arguments, "--ratio", "1.5", "--max-output", "4096", "--json").json
    assert made["set"] == {kind: f"{n}.00" for n, kind in enumerate(words, 1)}
    assert (made["ratio"], made["max_output"]) == ("1.5", 4096)
    changed = cli("price", "set", "m", "--audio", "50", "--image", "60", "--cache-read", "none", "--json").json
    assert (changed["audio_input"], changed["image_input"], changed["cache_read"]) == ("50.00", "60.00", "1.00")
    assert (changed["output"], changed["ratio"], changed["revision"]) == ("2.00", "1.5", made["revision"] + 1)


def test_an_alias_ends(cli: Cli) -> None:
    cli("price", "set", "a", "--input", "1", "--output", "2")
    cli("price", "set", "b", "--alias", "a")
    assert "needs --input and --output" in cli("price", "set", "b", "--alias", "none", status=1).err
    ended = cli("price", "set", "b", "--alias", "none", "--input", "3", "--output", "4", "--json").json
    assert (ended["alias"], ended["input"]) == (None, "3.00")


def test_deleting(cli: Cli) -> None:
    cli("price", "set", "a", "--input", "1", "--output", "2")
    cli("price", "set", "b", "--alias", "a")
    assert "b take their price" in cli("price", "delete", "a", status=1).err
    cli("price", "delete", "b")
    assert cli("price", "delete", "a").out == "Deleted the price of a.\n"
    assert "no price for 'a'" in cli("price", "get", "a", status=1).err


def test_what_cannot_be_asked(cli: Cli) -> None:
    assert "back to itself" in cli("price", "set", "a", "--alias", "a", status=1).err
    assert "needs --output" in cli("price", "set", "a", "--input", "1", status=1).err
    assert "write it like" in cli("price", "set", "a", "--input", "one", "--output", "2", status=1).err
    assert "no ratio" in cli("price", "set", "a", "--ratio", "x", status=1).err
    cli("price", "set", status=2)


def test_a_price_per_request_can_be_taken_away(cli: Cli) -> None:
    cli("price", "set", "a", "--input", "1", "--output", "2", "--request", "0.01")
    assert cli("price", "set", "a", "--request", "none", "--json").json["request"] == "0.00"
    cli("price", "set", "b", "--request", "0.01")
    assert "needs --input" in cli("price", "set", "b", "--request", "none", status=1).err  # or it would be free
    assert cli("price", "get", "b", "--json").json["request"] == "0.01"
