"""The options of channels: what is taken, what is refused, what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from burncloud.adaptors.vendors import VENDORS
from burncloud.errors import Refusal
from burncloud.service.options import OPTIONS, check, shown, table

PAGE = Path(__file__).parents[3] / "docs" / "channels.md"


def test_the_page_has_the_table() -> None:
    """To renew it: put options.table() between the two lines of the page."""
    text = PAGE.read_text(encoding="utf-8")
    made = text.split("<!-- options -->\n")[1]
    assert made == table()


def test_every_option_that_a_vendor_needs_is_one() -> None:
    assert {name for row in VENDORS.values() for name, _ in row.options} <= OPTIONS.keys()
    assert {"headers", "params", "query", "proxy", "speaks", "ca_file", "verify_tls"} <= OPTIONS.keys()


@pytest.mark.parametrize(
    "options",
    [
        {"speaks": ["chat", "messages"], "region": "us-east-1", "project": "p-1", "location": "global"},
        {"headers": {"set": {"X-A": "1", "authorization": "Token x"}, "remove": ["user-agent"]}},
        {"params": {"set": {"a": [1]}, "default": {"b": None}, "remove": ["c"]}},
        {"cost": "0.7"},
        {"cost": {"gpt-4*": "0.7", "*": "1"}},
        {"query": {"a": "b"}, "proxy": "socks5://u:p@h:1", "verify_tls": False},
    ],
)
def test_what_is_taken(options: dict[str, Any]) -> None:
    assert check(options) == options
    assert check({"speaks": "chat, responses", "query": {"a": 1}}) == {
        "speaks": ["chat", "responses"],
        "query": {"a": "1"},
    }


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"regoin": "x"}, "no option of a channel; known are account"),
        ({"region": "us east"}, "Option region: write a name"),
        ({"region": "a/../b"}, "Option region"),
        ({"speaks": "latin"}, "write some of chat"),
        ({"headers": {"x-a": "1"}}, 'write {"set"'),
        ({"headers": {"set": {"Host": "x"}}}, "host is BurnCloud's own"),
        ({"headers": {"set": {"transfer-encoding": "x"}}}, "own"),
        ({"headers": {"set": {"x:a": "x"}}}, "no name"),
        ({"headers": {"set": {"x-a": "1\r\n2"}}}, "one line"),
        ({"headers": {"remove": ["content-length"]}}, "own"),
        ({"params": {"set": {"model": "x"}}}, "model cannot be overridden"),
        ({"cost": {"a*b*": 1}}, "one star at most"),
        ({"cost": "cheap"}, "part of the list price"),
        ({"cost": "NaN"}, "part of the list price"),
        ({"cost": {"*": -1}}, "part of the list price"),
        ({"params": {}}, "write"),
        ({"query": "a=b"}, "write"),
        ({"proxy": "ftp://x"}, "write it like http://"),
        ({"verify_tls": "no"}, "true or false"),
        ({"ca_file": "/nowhere.pem"}, "There is no file"),
    ],
)
def test_what_is_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(Refusal) as raised:
        check(options)
    assert why in raised.value.message


def test_secrets_are_not_shown() -> None:
    options = {
        "proxy": "http://user:secret1@p.test:1",
        "headers": {"set": {"x-team": "7", "X-Api-Key": "secret2"}, "remove": ["a"]},
        "query": {"sig": "secret3", "v": "1"},
        "region": "r",
    }
    found = shown(options)
    assert "secret" not in str(found)
    assert found["proxy"] == "http://…@p.test:1"
    assert found["headers"] == {"set": {"x-team": "7", "X-Api-Key": "…"}, "remove": ["a"]}
    assert (found["query"], found["region"]) == ({"sig": "…", "v": "1"}, "r")
    assert shown({"proxy": "http://p.test:1"}) == {"proxy": "http://p.test:1"}
