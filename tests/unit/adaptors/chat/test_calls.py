"""Pieces of calls in every order that vendors send them, as one call after the other."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Closed, Delta, Opened, ToolCall
from burncloud.adaptors.chat.calls import Calls, Numbers, Piece

Told = list[tuple[str, str, str]]


def piece(index: int | None, arguments: Any = None, name: str | None = None, call_id: str | None = None) -> Piece:
    value = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return msgspec.convert(value, Piece)


def told(pieces: list[Piece]) -> Told:
    """(id, name, arguments) of each call; blocks must be opened and closed one after the other."""
    calls, numbers, events = Calls("x"), Numbers(), list[canon.Event]()
    for part in pieces:
        calls.take(part, 0, numbers, events)
    calls.close(0, numbers, events)
    found: Told = []
    is_open = -1
    for event in events:
        if isinstance(event, Opened):
            assert is_open == -1
            assert isinstance(event.block, ToolCall)
            is_open = event.index
            assert is_open == len(found)
            found.append((event.block.id, event.block.name, event.block.arguments))
        elif isinstance(event, Delta):
            assert event.index == is_open
            found[-1] = (*found[-1][:2], found[-1][2] + event.text)
        elif isinstance(event, Closed):
            assert event.index == is_open
            is_open = -1
    assert is_open == -1
    return found


@pytest.mark.parametrize(
    ("pieces", "want"),
    [
        ([piece(0, "", "f", "a"), piece(0, '{"x"'), piece(0, ":1}")], [("a", "f", '{"x":1}')]),
        # one after the other
        ([piece(0, "{}", "f", "a"), piece(1, "{}", "g", "b")], [("a", "f", "{}"), ("b", "g", "{}")]),
        # interleaved
        (
            [piece(0, "", "f", "a"), piece(1, "", "g", "b"), piece(0, "[1"), piece(1, "[2"), piece(1, "]"),
             piece(0, "]")],
            [("a", "f", "[1]"), ("b", "g", "[2]")],
        ),
        # every call index 0, told apart by their ids
        ([piece(0, "{}", "f", "a"), piece(0, "{}", "f", "b")], [("a", "f", "{}"), ("b", "f", "{}")]),
        # index 0, no ids: a name after complete arguments begins another call
        ([piece(0, "{}", "f", ""), piece(0, "{}", "g", "")], [("call_x_0", "f", "{}"), ("call_x_1", "g", "{}")]),
        # no index at all
        (
            [piece(None, "{", "f", "a"), piece(None, "}"), piece(None, "{}", "g", "b")],
            [("a", "f", "{}"), ("b", "g", "{}")],
        ),
        # the name in every piece
        ([piece(0, "{", "f", "a"), piece(0, "}", "f", "a")], [("a", "f", "{}")]),
        # the id first, the name later
        ([piece(0, None, None, "a"), piece(0, "{", "f"), piece(0, "}")], [("a", "f", "{}")]),
        # arguments as an object
        ([piece(0, {"x": 1}, "f", "a")], [("a", "f", '{"x":1}')]),
        # no arguments, and never any
        ([piece(0, "", "f", "a"), piece(1, "", "g", "b")], [("a", "f", ""), ("b", "g", "")]),
        # cut off
        ([piece(0, '{"x', "f", "a")], [("a", "f", '{"x')]),
    ],
)  # fmt: skip
def test_orders(pieces: list[Piece], want: Told) -> None:
    assert told(pieces) == want


def test_arguments_are_given_on_as_they_come() -> None:
    calls, numbers = Calls("x"), Numbers()
    first: list[canon.Event] = []
    calls.take(piece(0, "", "f", "a"), 0, numbers, first)
    assert first == [Opened(0, ToolCall("a", "f", ""))]
    second: list[canon.Event] = []
    calls.take(piece(0, '{"x'), 0, numbers, second)
    assert second == [Delta(0, '{"x')]
    assert calls.open()


def test_custom_tools_and_signatures() -> None:
    custom = msgspec.convert({"index": 0, "id": "a", "type": "custom", "custom": {"name": "f", "input": "x {"}}, Piece)
    assert told([custom]) == [("a", "f", "x {")]
    value = {"index": 0, "function": {"name": "f"}, "extra_content": {"google": {"thought_signature": "s"}}}
    events: list[canon.Event] = []
    Calls("x").take(msgspec.convert(value, Piece), 0, Numbers(), events)
    assert isinstance(events[0], Opened)
    assert isinstance(events[0].block, ToolCall)
    assert events[0].block.signature == "s"


@given(
    st.lists(st.tuples(st.text(max_size=3), st.dictionaries(st.text(max_size=2), st.integers())), max_size=4), st.data()
)
def test_any_interleaving(wanted: list[tuple[str, dict[str, int]]], data: st.DataObject) -> None:
    """Calls cut anywhere and mixed anyhow, as long as each begins in the order of its index."""
    queues = []
    for at, (name, arguments) in enumerate(wanted):
        text = json.dumps(arguments)
        cut = data.draw(st.integers(0, len(text)))
        queues.append([piece(at, text[:cut], f"f{name}", f"id{at}"), piece(at, text[cut:])])
    heads = [queue.pop(0) for queue in queues]
    tails = [part for queue in queues for part in queue]
    mixed = heads + data.draw(st.permutations(tails))
    want = [(f"id{at}", f"f{name}", json.dumps(arguments)) for at, (name, arguments) in enumerate(wanted)]
    assert told(mixed) == want
