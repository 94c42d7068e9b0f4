"""Events, both ways."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.responses.request import read_request
from burncloud.adaptors.responses.stream import StreamReader, StreamWriter
from burncloud.domain.usage import Usage


def told(*events: dict[str, Any]) -> list[canon.Event]:
    """The canonical events of these."""
    reader = StreamReader()
    found = reader.feed(b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in events))
    return found + reader.finish()


def written(
    *events: canon.Event, request: canon.Request | None = None, losses: canon.Losses | None = None
) -> list[Any]:
    """The events written for these."""
    writer = StreamWriter("m", True, losses if losses is not None else canon.Losses(), request=request)
    data = b"".join(map(writer.write, events)).decode()
    return [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: ")]


CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "m", "created_at": 5}}
DONE = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed", "output": [],
                                                    "usage": {"input_tokens": 1, "output_tokens": 2}}}  # fmt: skip
STARTED = canon.Started("resp_1", "m", 5, dialect="responses")
END: list[canon.Event] = [canon.Used(Usage(1, 2)), canon.Ended()]


def test_a_vendor_that_says_only_deltas_and_leaves_out_numbers() -> None:
    found = told(CREATED, {"type": "response.output_text.delta", "delta": "a"},
                 {"type": "response.output_text.delta", "delta": "b"}, DONE)  # fmt: skip
    assert found[1:] == [
        canon.Opened(0, canon.Text("", said={})), canon.Delta(0, "a"), canon.Delta(0, "b"), canon.Closed(0),
        canon.Stopped(canon.Stop("stop", "completed")), *END,
    ]  # fmt: skip


def test_a_vendor_that_says_everything_at_the_end() -> None:
    output = [
        {"type": "reasoning", "id": "rs_1", "summary": [{"text": "a"}], "encrypted_content": "e"},
        {"type": "message", "id": "msg_1", "content": [{"type": "output_text", "text": "x"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    ]  # fmt: skip
    found = told(CREATED, {**DONE, "response": {**DONE["response"], "output": output}})  # type: ignore[dict-item]
    opened = [event.block for event in found if isinstance(event, canon.Opened)]
    assert [type(block) for block in opened] == [canon.Reasoning, canon.Text, canon.ToolCall]
    assert [event.text for event in found if isinstance(event, canon.Delta)] == ["a", "", "x", "{}"]
    assert [event.encrypted for event in found if isinstance(event, canon.Delta)][1] == "e"
    assert found[-3:-1] == [canon.Stopped(canon.Stop("tool", "completed")), canon.Used(Usage(1, 2))]


def test_calls_side_by_side() -> None:
    def item(at: int, kind: str, **more: Any) -> dict[str, Any]:
        call = {"type": "function_call", "id": f"fc_{at}", "call_id": f"c{at}", "name": "f", "arguments": "", **more}
        return {"type": f"response.output_item.{kind}", "output_index": at, "item": call}

    def piece(at: int, text: str) -> dict[str, Any]:
        return {"type": "response.function_call_arguments.delta", "output_index": at, "delta": text}

    found = told(CREATED, item(0, "added"), item(1, "added"), piece(1, "{"), piece(0, "{}"), piece(1, "}"),
                 item(1, "done", arguments="{}"), item(0, "done", arguments="{}"), DONE)  # fmt: skip
    assert [(type(event), event.index) for event in found[1:-3]] == [  # type: ignore[union-attr]
        (canon.Opened, 0), (canon.Delta, 0), (canon.Closed, 0),
        (canon.Opened, 1), (canon.Delta, 1), (canon.Delta, 1), (canon.Closed, 1),
    ]  # fmt: skip


def test_errors() -> None:
    flat = {"type": "error", "code": "rate_limit_exceeded", "message": "slow"}
    nested = {"type": "error", "error": {"code": "server_error", "message": "oh"}}
    failed = {"type": "response.failed", "response": {"error": {"code": "invalid_prompt", "message": "no"}}}
    for event, want in (
        (flat, canon.Failure(429, "slow", "rate_limit_exceeded")),
        (nested, canon.Failure(500, "oh", "server_error")),
        (failed, canon.Failure(400, "no", "invalid_prompt")),
    ):
        assert told(CREATED, event, DONE)[1:] == [canon.Failed(want)]


def test_what_is_not_known_survives() -> None:
    event = {"type": "response.new_thing.delta", "x": 1}
    found = told(CREATED, event, DONE)
    assert found[1] == canon.Foreign("responses", {"type": "new_thing", "event": event})
    assert {**event, "sequence_number": 2} in written(*found)
    losses = canon.Losses()
    writer = StreamWriter("", True, losses)
    assert writer.write(canon.Foreign("messages", {"type": "x"})) == b""
    assert losses.names() == ["x"]


@pytest.mark.parametrize("payload", [b"data: {}\n\n", b"data: 5\n\n", b"data: x\n\n", b'data: {"choices":[]}\n\n'])
def test_no_stream_of_responses(payload: bytes) -> None:
    with pytest.raises(canon.Unreadable):
        StreamReader().feed(payload)


def test_a_cut_stream_has_no_end() -> None:
    found = told(CREATED, {"type": "response.output_text.delta", "delta": "a"})
    assert not any(isinstance(event, canon.Ended | canon.Stopped) for event in found)
    assert StreamReader().finish() == []


def test_the_order_of_events() -> None:
    events = written(
        STARTED, canon.Opened(0, canon.Text("")), canon.Delta(0, "a"), canon.Closed(0), *END,
    )  # fmt: skip
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created", "in_progress", "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done", "completed",
    ]  # fmt: skip
    assert [event["sequence_number"] for event in events] == list(range(9))
    last = events[-1]["response"]
    assert last["usage"]["total_tokens"] == 3
    assert last["output"][0]["content"][0]["text"] == "a"


def test_the_last_event_says_how_it_ended() -> None:
    for stop, name in (("length", "incomplete"), ("error", "failed"), ("tool", "completed")):
        reason: Any = stop
        events = written(canon.Started("x", "m"), canon.Stopped(canon.Stop(reason)), canon.Ended())
        assert events[-1]["type"] == f"response.{name}"
        assert events[-1]["response"]["status"] == name


def test_a_custom_tool_that_came_back_as_a_function() -> None:
    body = {"model": "m", "input": "x", "tools": [{"type": "custom", "name": "patch"}]}
    request = read_request(json.dumps(body).encode())
    events = written(
        canon.Started("x", "m"), canon.Opened(0, canon.ToolCall("c", "patch", "")), canon.Delta(0, '{"input":'),
        canon.Delta(0, '"+a\\n"}'), canon.Closed(0), canon.Ended(), request=request,
    )  # fmt: skip
    assert events[-1]["response"]["output"][0] | {"id": ""} == {
        "id": "", "type": "custom_tool_call", "status": "completed", "input": "+a\n", "call_id": "c", "name": "patch",
    }  # fmt: skip


def test_a_call_finds_back_to_its_namespace() -> None:
    space = {"type": "namespace", "name": "mcp__x", "description": "", "tools": [{"type": "function", "name": "g"}]}
    request = read_request(json.dumps({"model": "m", "input": "x", "tools": [space]}).encode())
    events = written(
        canon.Started("x", "m"), canon.Opened(0, canon.ToolCall("c", "mcp__x__g", "{}")), canon.Closed(0),
        canon.Ended(), request=request,
    )  # fmt: skip
    call = events[-1]["response"]["output"][0]
    assert (call["namespace"], call["name"], call["arguments"]) == ("mcp__x", "g", "{}")


def test_failures_in_mid_stream() -> None:
    events = written(STARTED, canon.Failed(canon.Failure(529, "busy", "overloaded_error")))
    assert [event["type"] for event in events[2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"] == {"code": "server_error", "message": "busy"}
    assert [event["type"] for event in written(canon.Failed(canon.Failure(500, "x")))] == ["error"]


def test_one_choice_is_all_it_can_say() -> None:
    losses = canon.Losses()
    written(canon.Started("x", "m"), canon.Opened(0, canon.Text(""), 1), canon.Delta(0, "a", choice=1), losses=losses)
    assert losses.names() == ["n"]


def test_pings() -> None:
    assert told({"type": "keepalive"}) == [canon.Ping()]
    assert StreamWriter("", True, canon.Losses()).write(canon.Ping()) == b": ping\n\n"
