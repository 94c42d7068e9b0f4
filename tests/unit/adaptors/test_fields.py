"""Members of a request are taken by type, named when they are wrong, and kept when nobody takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from burncloud.adaptors.fields import Fields, body_fields
from burncloud.errors import INVALID_REQUEST, Refusal


def test_what_nobody_takes_is_left() -> None:
    fields = body_fields(b'{"a":"x","b":2,"c":{"d":[{"e":1}]},"n":null,"z":[1]}')
    assert fields.text("a") == "x"
    assert fields.whole("b") == 2
    inner = fields.inner("c")
    assert inner is not None
    assert inner.objects("d")[0].rest() == {"e": 1}
    assert fields.number("n") is None
    assert fields.rest() == {"z": [1]}


def test_the_original_is_not_emptied() -> None:
    value = {"a": "x"}
    assert Fields(value).text("a") == "x"
    assert value == {"a": "x"}


@pytest.mark.parametrize(
    ("take", "value", "what"),
    [
        (Fields.text, 1, "a string"),
        (Fields.whole, 1.5, "an integer"),
        (Fields.whole, True, "an integer"),
        (Fields.number, "1", "a number"),
        (Fields.number, 10**30, "a number"),
        (Fields.flag, 1, "true or false"),
        (Fields.items, {}, "a list"),
        (Fields.texts, ["a", 1], "a list of strings"),
        (Fields.map, [], "an object"),
        (Fields.inner, [], "an object"),
    ],
)
def test_a_wrong_type_is_named(take: Callable[[Fields, str], Any], value: Any, what: str) -> None:
    with pytest.raises(Refusal, match=f"^messages\\[1\\]\\.x must be {what}$") as caught:
        take(Fields({"x": value}, "messages[1]"), "x")
    assert caught.value.row is INVALID_REQUEST


def test_an_integer_may_be_written_as_a_float() -> None:
    assert Fields({"x": 5.0}).whole("x") == 5


def test_a_list_says_which_of_it() -> None:
    with pytest.raises(Refusal, match=r"tools\[1\] must be an object"):
        Fields({"tools": [{}, 3]}).objects("tools")
    with pytest.raises(Refusal, match="model must be given"):
        Fields({"model": None}).needed("model")


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b'{"a":', b"\xff", b"[" * 5000])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(Refusal, match="request body"):
        body_fields(body)
