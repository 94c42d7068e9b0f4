"""Blocks come one by one, in whatever order a server tells them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.canon import Closed, Delta, Event, Opened, Reasoning, Text, ToolCall, Unreadable
from burncloud.adaptors.messages.sequence import Sequence

CALL = ToolCall("c", "f", "")


def test_in_order() -> None:
    blocks, found = Sequence(), list[Event]()
    assert blocks.begin(5, Text(""), found) == (0, found)
    assert (blocks.open, blocks.wire) == (0, 5)
    blocks.end(5, found)
    blocks.end(5, found)
    assert blocks.begin(6, CALL, found)[0] == 1
    assert found == [Opened(0, Text("")), Closed(0), Opened(1, CALL)]


def test_a_forgotten_end() -> None:
    blocks, found = Sequence(), list[Event]()
    blocks.begin(0, Text(""), found)
    blocks.begin(1, CALL, found)
    assert found == [Opened(0, Text("")), Closed(0), Opened(1, CALL)]


def test_calls_side_by_side() -> None:
    blocks, found = Sequence(), list[Event]()
    blocks.begin(0, CALL, found)
    index, waiting = blocks.begin(1, CALL, found)
    waiting.append(Delta(index, "x"))
    assert blocks.elsewhere(1, "input_json_delta", found) == (1, waiting)
    blocks.end(1, found)
    blocks.begin(2, CALL, found)
    assert found == [Opened(0, CALL)]
    blocks.end(0, found)
    assert found == [Opened(0, CALL), Closed(0), Opened(1, CALL), Delta(1, "x"), Closed(1), Opened(2, CALL)]
    assert (blocks.open, blocks.wire) == (2, 2)


def test_deltas_of_blocks_that_never_began() -> None:
    blocks, found = Sequence(), list[Event]()
    assert blocks.elsewhere(3, "thinking_delta", found)[0] == 0
    assert blocks.elsewhere(-1, "thinking_delta", found)[0] == 0, "of the open one, where it does not say"
    assert found == [Opened(0, Reasoning(origin="messages"))]
    with pytest.raises(Unreadable):
        blocks.elsewhere(4, "input_json_delta", found)


STEPS = st.tuples(st.sampled_from(["begin", "call", "delta", "end"]), st.integers(-1, 3))


@given(st.lists(STEPS, max_size=25))
def test_any_order(steps: list[tuple[str, int]]) -> None:
    blocks, found = Sequence(), list[Event]()
    for what, wire in steps:
        if what == "end":
            blocks.end(wire, found)
        elif what == "delta":
            index, place = blocks.elsewhere(wire, "text_delta", found)
            if wire != blocks.wire or place is not found:
                place.append(Delta(index, "x"))
        else:
            blocks.begin(wire, CALL if what == "call" else Text(""), found)
    blocks.end_all(found)
    is_open = -1
    seen = []
    for event in found:
        if isinstance(event, Opened):
            assert is_open < 0
            is_open = event.index
            seen.append(is_open)
        elif isinstance(event, Delta):
            assert event.index == is_open
        elif isinstance(event, Closed):
            assert event.index == is_open
            is_open = -1
    assert is_open < 0
    assert seen == list(range(len(seen))), "counted from 0"
