"""The same events, however their bytes were cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import splitter
from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.splitter import Splitter

EVENTS = 'event: a\ndata: {"x":1}\n\n: comment\n\ndata: é\ndata: two\n\n\ndata:three\n\n'
WANT = [b'{"x":1}', "é\ntwo".encode(), b"three"]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """What a splitter makes of the data in these pieces."""
    split = Splitter()
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    found: list[bytes] = []
    for start, end in itertools.pairwise(edges):
        found += split.feed(data[start:end])
    return found + split.finish()


@given(st.lists(st.integers(0, 200)), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans())
def test_any_cut(places: list[int], end: str, bom: bool) -> None:
    data = (b"\xef\xbb\xbf" if bom else b"") + EVENTS.replace("\n", end).encode()
    assert cut(data, places) == WANT
    assert cut(data, list(range(len(data)))) == WANT


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)))
def test_any_bytes(data: bytes, places: list[int]) -> None:
    assert cut(data, places) == cut(data, [])


def test_an_event_is_out_as_soon_as_it_is_whole() -> None:
    split = Splitter()
    assert split.feed(b"data: 1\n\ndata") == [b"1"]
    assert split.feed(b": 2\r\n\r") == [b"2"]
    assert split.feed(b"\ndata: 3\n") == []
    assert split.feed(b"\n") == [b"3"]
    assert split.feed(b"data: 4\n\ndata: 5\n\n") == [b"4", b"5"]


def test_a_last_event_without_its_empty_line() -> None:
    split = Splitter()
    assert split.feed(b"data: 1\n\ndata: 2\n") == [b"1"]
    assert split.finish() == [b"2"]
    assert split.finish() == []


def test_an_event_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitter, "EVENT_BYTES_MAX", 100)
    split = Splitter()
    assert split.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(Unreadable):
        split.feed(b"x" * 10)
