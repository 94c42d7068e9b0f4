"""Objects of an array, as they arrive."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.gemini.arrays import Elements, EventsOrArray

OBJECTS = st.lists(st.dictionaries(st.text(), st.text() | st.integers() | st.lists(st.text())), max_size=4)


@given(OBJECTS, st.integers(1, 9), st.sampled_from([None, 2]))
def test_any_objects_in_any_pieces(objects: list[dict[str, Any]], size: int, indent: int | None) -> None:
    data = json.dumps(objects, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    elements = Elements()
    found: list[bytes] = []
    for start in range(0, len(data), size):
        found += elements.feed(data[start : start + size])
    assert [json.loads(one) for one in found] == objects


def test_nothing_is_kept() -> None:
    elements = Elements()
    assert elements.feed(b'[{"a":"}"},') == [b'{"a":"}"}']
    assert elements.feed(b'{"b"') == []
    assert elements.feed(b':{"c":"\\') == []
    assert elements.feed(b'"]"}}]') == [b'{"b":{"c":"\\"]"}}']


def test_either_framing() -> None:
    for begin in (b"", b" \n"):
        either = EventsOrArray()
        assert either.feed(begin) == either.finish() == []
        assert either.feed(b'[{"a":1},{"b') == [b'{"a":1}']
        assert either.finish() == []
        either = EventsOrArray()
        either.feed(begin)
        assert either.feed(b'data: {"a":1}\n\ndata: {"b":2}') == [b'{"a":1}']
        assert either.finish() == [b'{"b":2}']
