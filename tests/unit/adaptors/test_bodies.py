"""Bodies in and out: whose fault it is that something cannot be read or written."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import bodies, canon
from burncloud.adaptors.fields import Fields
from burncloud.errors import INVALID_REQUEST, Refusal


def deep() -> Any:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    return value


def test_a_request_is_the_clients_fault() -> None:
    def read(fields: Fields, model: str, stream: bool) -> canon.Request:
        if "odd" in fields:
            raise ValueError("odd")
        return canon.Request(fields.needed("model"), [], stream=stream)

    assert bodies.request_of(read, b'{"model":"m"}', "", True) == canon.Request("m", [], stream=True)
    for body, why in ((b"[", "not valid JSON"), (b"{}", "model must be given"), (b'{"odd":1}', "cannot be read: odd")):
        with pytest.raises(Refusal, match=why) as refusal:
            bodies.request_of(read, body, "", False)
        assert refusal.value.row is INVALID_REQUEST
    assert bodies.request_bytes(lambda value: {"a": value}, 1) == b'{"a":1}'
    with pytest.raises(Refusal, match="cannot be translated"):
        bodies.request_bytes(deep)


def test_an_answer_is_the_upstreams() -> None:
    def read(value: Any) -> str:
        return Fields(value).needed("id")

    assert bodies.answer_of(read, b'{"id":"a"}') == "a"
    for body, why in ((b"<html>", "not valid JSON"), (b"{}", "malformed: id must be given")):
        with pytest.raises(canon.Unreadable, match=why):
            bodies.answer_of(read, body)
    assert bodies.answer_bytes(dict, a=1) == bodies.event_bytes({"a": 1}) == b'{"a":1}'
    with pytest.raises(canon.Unreadable, match="answer cannot be translated"):
        bodies.answer_bytes(deep)
    with pytest.raises(canon.Unreadable, match="stream cannot be translated"):
        bodies.event_bytes(deep())


def test_an_error_under_a_good_status_is_told() -> None:
    told = bodies.no_answer({"error": {"message": "out of order"}}, "no answer")
    assert str(told) == "the upstream answered with an error: out of order"
    assert str(bodies.no_answer([], "no answer")) == "no answer"


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"n":"7"}', b'{"n":-1}', b'{"n":true}'])
def test_no_count(body: bytes) -> None:
    assert bodies.count_in(b'{"n":7}', "n") == 7
    with pytest.raises(canon.Unreadable):
        bodies.count_in(body, "n")


def test_members_and_objects() -> None:
    body: dict[str, Any] = {"a": 1}
    bodies.put(body, b=None, c="", d=[], e={}, f=False, g=0, a=2)
    assert body == {"a": 2, "f": False, "g": 0}
    assert bodies.joined({"a": {"b": 1}, "c": 2}, {"a": {"d": 3}, "c": 4}) == {"a": {"b": 1, "d": 3}, "c": 4}
    assert bodies.joined([1], None) == [1]
    for value in (deep(), "\ud800"):
        with pytest.raises(ValueError):
            bodies.encoded(value)
