"""Tolerance of odd types, and counts that stay in their bounds."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from burncloud.adaptors.reading import TOKENS_MAX, Reader, Tally, answer_size, lenient, text_size, whole


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (None, 0),
        (5, 5),
        (5.0, 5),
        (5.9, 5),
        (-3, 0),
        (1e300, TOKENS_MAX),
        (10**40, TOKENS_MAX),
        (float("inf"), 0),
        (float("nan"), 0),
    ],
)
def test_whole(value: Any, want: int) -> None:
    assert whole(value) == want


def test_text_size_is_in_bytes() -> None:
    assert (text_size(None), text_size(""), text_size("abc"), text_size("é你"), text_size("\ud800")) == (0, 0, 3, 5, 1)


class Inner(msgspec.Struct):
    number: int | None = None


class Outer(msgspec.Struct):
    text: str | None = None
    inner: Inner | None = None
    items: list[Inner] | None = None


def test_a_field_of_another_type_keeps_its_default() -> None:
    assert lenient(Outer, {"text": 5, "inner": {"number": "x"}, "items": [{"number": 1}, 7, {"number": []}]}) == Outer(
        None, Inner(), [Inner(1), Inner()]
    )
    assert lenient(Outer, {"text": "a", "inner": 3, "items": "x", "unknown": 1}) == Outer("a")


def test_the_reader_falls_back() -> None:
    seen: list[Outer] = []
    reader = Reader(
        Outer, lambda outer, tally: seen.append(outer), Outer, lambda outer, tally: seen.append(outer), frozenset()
    )
    assert reader.event(b'{"text":"a","inner":[]}', Tally())
    assert reader.body(b'{"text":7,"items":null}', Tally())
    assert seen == [Outer("a"), Outer()]
    for nonsense in (b"", b"[1]", b"7", b"{", b"\xff", b"[" * 5000):
        assert not reader.event(nonsense, Tally())
        assert not reader.body(nonsense, Tally())


def test_answer_size_counts_what_was_said() -> None:
    calls = b'[{"id":"call","function":{"name":"f","arguments":"{}"}}]'
    answer = b'{"id":"long id","choices":[{"message":{"content":"twelve bytes","tool_calls":%b}}]}' % calls
    assert answer_size(answer) == 14
    assert answer_size(b'{"content":[{"type":"tool_use","input":{"a":1}},{"text":"abc"}]}') == 10
    assert answer_size(b"{") == 0
