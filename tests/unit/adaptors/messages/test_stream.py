"""Streams of Messages: what the events mean, and how other dialects' streams are told in them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import (
    Closed,
    Delta,
    Ended,
    Failed,
    Failure,
    Opened,
    Ping,
    Raw,
    Reasoning,
    Started,
    Stop,
    Stopped,
    Text,
    ToolCall,
    Used,
)
from burncloud.adaptors.messages.envelope import opened
from burncloud.adaptors.messages.stream import StreamReader, StreamWriter
from burncloud.domain.usage import Usage

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 9, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 0, "output_tokens": 1,
                  "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 3},
                  "service_tier": "priority", "inference_geo": "eu"},
        "container": {"id": "c"},
    },
}  # fmt: skip


def block(index: int, value: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of one block."""
    return [
        {"type": "content_block_start", "index": index, "content_block": value},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


CITATION = {"type": "char_location", "cited_text": "x"}
FULL: list[dict[str, Any]] = [
    START,
    {"type": "ping"},
    *block(0, {"type": "thinking", "thinking": "", "signature": ""},
           {"type": "thinking_delta", "thinking": "wh"}, {"type": "thinking_delta", "thinking": "y"},
           {"type": "signature_delta", "signature": "Eq"}),
    *block(1, {"type": "redacted_thinking", "data": "Ev"}),
    *block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "h\n\"é"},
           {"type": "citations_delta", "citation": CITATION}),
    *block(3, {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}},
           {"type": "input_json_delta", "partial_json": "{\"q\":1}"}),
    *block(4, {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}),
    *block(5, {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}, "caller": {"type": "direct"}},
           {"type": "input_json_delta", "partial_json": "{\"x\":"}, {"type": "input_json_delta", "partial_json": "1}"}),
    {"type": "novelty", "x": 1},
    {"type": "message_delta", "context_management": {"applied_edits": []},
     "delta": {"stop_reason": "tool_use", "stop_sequence": None, "stop_details": {"type": "refusal"}, "novelty": 1},
     "usage": {"input_tokens": 9, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 0, "output_tokens": 40,
               "output_tokens_details": {"thinking_tokens": 30}, "server_tool_use": {"web_search_requests": 1}}},
    {"type": "message_stop"},
]  # fmt: skip


def sse(*events: dict[str, Any]) -> bytes:
    """As an upstream sends them."""
    return b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def read(*events: dict[str, Any]) -> list[canon.Event]:
    """The canonical events."""
    reader = StreamReader()
    return reader.feed(sse(*events)) + reader.finish()


def write(*events: canon.Event, model: str = "") -> tuple[list[dict[str, Any]], list[str]]:
    """(Messages' events, losses)."""
    losses = canon.Losses()
    writer = StreamWriter(model, True, losses)
    data = b"".join(map(writer.write, events)).decode()
    found = []
    for event in data.split("\n\n")[:-1]:
        name, line = event.split("\n")
        found.append(json.loads(line.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found, losses.names()


def test_there_and_back() -> None:
    found, lost = write(*read(*FULL))
    want = json.loads(json.dumps(FULL))
    want[-2]["usage"]["cache_creation"] = START["message"]["usage"]["cache_creation"]  # type: ignore[index]
    assert found == want
    assert lost == []


def test_what_is_read() -> None:
    events = read(*FULL)
    assert events[0] == Started(
        "msg_1", "m", usage=Usage(9, 1, 0, 2, 3), service_tier="priority",
        extra={"container": {"id": "c"}, "usage.inference_geo": "eu"}, dialect="messages",
    )  # fmt: skip
    assert events[1:7] == [
        Ping(),
        Opened(0, Reasoning(origin="messages")),
        Delta(0, "wh"),
        Delta(0, "y"),
        Delta(0, signature="Eq"),
        Closed(0),
    ]
    assert events[7:9] == [Opened(1, Reasoning(encrypted="Ev", origin="messages")), Closed(1)]
    assert events[9:13] == [Opened(2, Text("")), Delta(2, 'h\n"é'), Delta(2, citation=CITATION), Closed(2)]
    call = ToolCall("toolu_1", "f", "", extra={"caller": {"type": "direct"}})
    assert events[18:22] == [Opened(5, call), Delta(5, '{"x":'), Delta(5, "1}"), Closed(5)]
    assert events[-4:-2] == [
        canon.Foreign("messages", {"type": "novelty", "x": 1}),
        Stopped(
            Stop("tool", "tool_use"),
            extra={
                "stop_details": {"type": "refusal"}, "delta.novelty": 1, "context_management": {"applied_edits": []},
                "usage.server_tool_use": {"web_search_requests": 1},
            },
        ),
    ]  # fmt: skip
    assert events[-2:] == [Used(Usage(9, 10, 0, 2, 3, 30)), Ended()]


def test_the_usage_of_the_start_is_not_changed_by_the_end() -> None:
    events = read(START, {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 40}})
    assert isinstance(events[0], Started)
    assert events[0].usage == Usage(9, 1, 0, 2, 3)
    assert events[1] == Used(Usage(9, 40, 0, 2, 3))


def test_blocks_that_begin_with_content() -> None:
    """Some servers say all at once."""
    events = read(
        START,
        *block(0, {"type": "text", "text": "hi"}),
        *block(1, {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}}),
        *block(2, {"type": "thinking", "thinking": "why", "signature": "Eq"}),
    )
    assert events[1:] == [
        Opened(0, Text("")), Delta(0, "hi"), Closed(0),
        Opened(1, ToolCall("a", "f", "")), Delta(1, '{"x":1}'), Closed(1),
        Opened(2, Reasoning(origin="messages")), Delta(2, "why", "Eq"), Closed(2),
    ]  # fmt: skip


def test_streams_that_leave_something_out() -> None:
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}}
    assert read(text, text) == [
        Started("", "", dialect="messages"), Opened(0, Text("")), Delta(0, "a"), Delta(0, "a"),
    ]  # fmt: skip
    think = {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "a"}}
    assert read(think, think)[1:] == [Opened(0, Reasoning(origin="messages")), Delta(0, "a"), Delta(0, "a")]
    first, second, third = block(0, {"type": "text", "text": ""}, text["delta"])  # type: ignore[arg-type]
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    assert read(START, first, second, end)[1:] == [
        Opened(0, Text("")), Delta(0, "a"), Closed(0), Stopped(Stop("stop", "end_turn")), Ended(),
    ]  # fmt: skip
    assert read(START, third) == read(START), "an end of nothing"
    assert not any(isinstance(event, Ended) for event in read(START, first, second)), "cut off"
    with pytest.raises(canon.Unreadable):
        read(START, {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta"}})


def test_calls_side_by_side_are_told_one_by_one() -> None:
    calls = [block(at, {"type": "tool_use", "id": f"c{at}", "name": "f", "input": {}}) for at in range(3)]
    piece = [{"type": "content_block_delta", "index": at, "delta": {"type": "input_json_delta", "partial_json": "{}"}}
             for at in range(3)]  # fmt: skip
    want: list[canon.Event] = []
    for at in range(3):
        want += [Opened(at, ToolCall(f"c{at}", "f", "")), Delta(at, "{}"), Closed(at)]
    (a, z), (b, y), (c, x) = calls
    found = read(START, a, b, c, piece[2], x, piece[1], piece[0], z, y)
    assert found[1:] == want
    assert read(START, a, b, piece[1], piece[0], c, piece[2], {"type": "message_stop"})[1:] == [*want, Ended()]


def test_a_text_that_is_not_closed_holds_nothing_up() -> None:
    first, _ = block(0, {"type": "text", "text": ""})
    second, _ = block(1, {"type": "text", "text": ""})
    assert read(START, first, second)[1:] == [Opened(0, Text("")), Closed(0), Opened(1, Text(""))]


def test_odd_types_are_read_as_far_as_they_go() -> None:
    data = b'data: {"type":"content_block_start","index":"0","content_block":{"type":"text","text":""}}\n\n'
    data += b'data: {"type":"content_block_delta","index":null,"delta":{"type":"text_delta","text":"a"}}\n\n'
    reader = StreamReader()
    assert reader.feed(data)[1:] == [Opened(0, Text("")), Delta(0, "a")]
    assert reader.feed(b"data: [DONE]\n\n") == []


@pytest.mark.parametrize("data", [b"data: x\n\n", b"data: []\n\n", b'data: {"type":"content_block_start"}\n\n'])
def test_unreadable(data: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        StreamReader().feed(data)


def test_an_event_that_is_cut_off() -> None:
    reader = StreamReader()
    assert reader.feed(b'data: {"type":"ping"}\n\ndata: {"type":"pi') == [Ping()]
    assert reader.finish() == []


def test_errors() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    events = read(START, error, {"type": "ping"})
    assert events[1:] == [Failed(Failure(529, "Overloaded", "overloaded_error"))], "nothing follows"
    assert write(*events)[0][1] == error


def test_delta_of_a_kind_that_is_unknown() -> None:
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "compaction_delta", "content": "x"}}
    first, last = block(0, {"type": "compaction", "content": None})
    events = read(START, first, delta, last)
    assert events[2] == canon.Foreign("messages", delta)
    assert write(*events)[0][1:] == [first, delta, last]


FOREIGN_END: tuple[canon.Event, ...] = (Stopped(Stop("stop", "stop")), Used(Usage(3, 4)), Ended())


def foreign(*events: canon.Event) -> tuple[list[dict[str, Any]], list[str]]:
    """(events between message_start and message_delta, losses) of a chat stream."""
    found, lost = write(Started("chatcmpl-1", "m", dialect="chat"), *events, *FOREIGN_END, model="public")
    assert found[0]["message"]["model"] == "public"
    assert found[-1] == {"type": "message_stop"}
    assert found[-2]["usage"] == {
        "input_tokens": 3, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 4,
    }  # fmt: skip
    return found[1:-2], lost


def test_a_foreign_stream() -> None:
    found, lost = foreign(
        Opened(0, Reasoning(origin="chat")),
        Delta(0, "why"),
        Closed(0),
        Opened(1, Text("")),
        Delta(1, "hi"),
        Delta(1, citation={"type": "url_citation", "url": "https://x"}),
        Closed(1),
        Opened(2, ToolCall("call_1", "f", "")),
        Delta(2, '{"x"'),
        Delta(2, ":1}"),
        Closed(2),
    )
    cited = {
        "type": "web_search_result_location",
        "url": "https://x",
        "title": None,
        "cited_text": "",
        "encrypted_index": "",
    }
    assert found == [
        *block(0, {"type": "thinking", "thinking": "", "signature": ""}, {"type": "thinking_delta", "thinking": "why"}),
        *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hi"},
               {"type": "citations_delta", "citation": cited}),
        *block(2, {"type": "tool_use", "id": "call_1", "name": "f", "input": {}},
               {"type": "input_json_delta", "partial_json": '{"x"'},
               {"type": "input_json_delta", "partial_json": ":1}"}),
    ]  # fmt: skip
    assert lost == []


def test_the_end_waits_for_the_usage() -> None:
    found, _ = write(Started("a", "m"), Stopped(Stop("length", "length")))
    assert len(found) == 1
    found, _ = write(Started("a", "m"), Opened(0, Text("")), Delta(0, "x"), Stopped(Stop("length")), Ended())
    assert [event["type"] for event in found[3:]] == ["content_block_stop", "message_delta", "message_stop"]
    assert found[4]["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}


def test_a_call_makes_a_stop_a_tool_use() -> None:
    found, _ = write(Started("a", "m"), Opened(0, ToolCall("c.1", "f", '{"x":1}')), Closed(0), *FOREIGN_END)
    assert found[1]["content_block"]["id"].startswith("toolu_c_1_")
    assert found[2]["delta"]["partial_json"] == '{"x":1}'
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_blocks_in_which_nothing_is_said_leave_no_trace() -> None:
    assert foreign(
        Opened(0, Text("")), Closed(0), Opened(1, Reasoning(id="rs_1", origin="responses")), Closed(1)
    ) == ([], [])  # fmt: skip


def test_a_block_that_is_not_closed_is() -> None:
    found, _ = foreign(Opened(0, Text("a")), Opened(1, Text("b")))
    assert [event["type"].removeprefix("content_block_") for event in found] == ["start", "delta", "stop"] * 2
    assert [event["index"] for event in found] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("late", [True, False])
def test_signatures_are_carried(late: bool) -> None:
    """Where they come with the block's beginning, and where they come at its end."""
    thinking = Reasoning("", signature="" if late else "s", id="i", origin="gemini")
    call = ToolCall("c", "f", "{}", signature="" if late else "t")
    hidden = Reasoning("", encrypted="" if late else "e", origin="responses")
    said: list[canon.Event] = [
        Opened(0, thinking),
        Delta(0, "why"),
        *([Delta(0, signature="s")] if late else []),
        Closed(0),
    ]
    said += [Opened(1, hidden), *([Delta(1, encrypted="e")] if late else []), Closed(1)]
    said += [Opened(2, call), *([Delta(2, signature="t")] if late else []), Closed(2)]
    found, lost = foreign(*said)
    assert lost == []
    blocks = [event["content_block"]["type"] for event in found if event["type"] == "content_block_start"]
    calls = ["tool_use", "redacted_thinking"] if late else ["redacted_thinking", "tool_use"]
    assert blocks == ["thinking", "redacted_thinking", *calls]
    shown = next(event["delta"] for event in found if event.get("delta", {}).get("type") == "signature_delta")
    carried = opened(shown["signature"])
    assert carried is not None
    assert (carried.origin, carried.signature, carried.id) == ("gemini", "s", "i")
    data = [opened(event["content_block"]["data"]) for event in found if "data" in event.get("content_block", {})]
    assert {(e.origin, e.signature, e.encrypted, e.call) for e in data if e} == {
        ("responses", "", "e", ""), ("gemini", "t", "", "c"),
    }  # fmt: skip
    indexes = [event["index"] for event in found if event["type"] == "content_block_start"]
    assert indexes == [0, 1, 2, 3]


def test_a_custom_tool() -> None:
    found, lost = foreign(
        Opened(0, ToolCall("c", "f", 'a"', custom=True)), Delta(0, "\n"), Delta(0, "z"), Closed(0)
    )  # fmt: skip
    pieces = [event["delta"]["partial_json"] for event in found if event["type"] == "content_block_delta"]
    assert json.loads("".join(pieces)) == {"input": 'a"\nz'}
    assert lost == ["custom_tools"]


def test_what_is_lost() -> None:
    audio = canon.Audio(canon.Source("audio/wav"))
    found, lost = foreign(
        Opened(0, canon.Image(canon.Source(data="AA"))),
        Closed(0),
        Opened(1, Raw("responses", {"type": "web_search_call"})),
        Delta(1, "x"),
        Closed(1),
        Opened(2, audio),
        Delta(2, "QUFB", transcript="said"),
        Closed(2),
        Opened(3, Text(""), choice=1),
        Delta(3, "other", choice=1),
        Closed(3, choice=1),
        canon.Foreign("responses", {"type": "novelty"}),
        Opened(4, Text("", extra={"annotations": []})),
        Delta(4, "a", logprobs={"content": []}),
        Closed(4),
    )
    assert [event["delta"]["text"] for event in found if "delta" in event] == ["said", "a"]
    assert lost == ["annotations", "audio", "image", "logprobs", "n", "novelty", "web_search_call"]


def test_a_stream_without_a_beginning() -> None:
    found, _ = write(Opened(0, Text("")), Delta(0, "a"), Started("late", "m"), *FOREIGN_END)
    assert [event["type"] for event in found].count("message_start") == 1
    assert write(Delta(7, "a"))[0] == []
    assert write(Ended())[0][0]["type"] == "message_start"


@given(st.lists(st.sampled_from([*FULL, {"type": "message_delta"}, {"type": "error"}, {}, {"type": 1}]), max_size=30))
def test_any_order(events: list[dict[str, Any]]) -> None:
    reader = StreamReader()
    data = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events)
    try:
        found = reader.feed(data) + reader.finish()
    except canon.Unreadable:
        return
    is_open: set[int] = set()
    for event in found:
        if isinstance(event, Opened):
            assert not is_open, "one block at a time"
            is_open.add(event.index)
        elif isinstance(event, Delta):
            assert event.index in is_open
        elif isinstance(event, Closed):
            is_open.remove(event.index)
    write(*found)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    reader = StreamReader()
    try:
        reader.feed(b"data: " + data + b"\n\n" + data)
        reader.finish()
    except canon.Unreadable:
        pass


def test_arguments_that_are_null_are_none() -> None:
    """Some models say so for a tool without parameters; the clients of Messages expect an object."""
    writer = StreamWriter("m", True, canon.Losses())
    events: list[canon.Event] = [
        Started("1", "m", dialect="chat"), Opened(0, ToolCall("a", "now", "")), Delta(0, "null"), Closed(0),
        Opened(1, ToolCall("b", "add", "")), Delta(1, '{"x":'), Delta(1, "null"), Delta(1, "}"), Closed(1),
    ]  # fmt: skip
    written = b"".join(map(writer.write, events)).decode()
    parts = [json.loads(line[6:]) for line in written.splitlines() if "input_json_delta" in line]
    assert [(part["index"], part["delta"]["partial_json"]) for part in parts] == [(1, '{"x":'), (1, "null"), (1, "}")]
