"""What botocore makes of Converse: its service model accepts requests, its parsers read answers and streams."""

from __future__ import annotations

import base64
import re
from functools import cache
from typing import Any, NamedTuple

import botocore.session
from botocore.eventstream import EventStreamBuffer
from botocore.parsers import create_parser
from botocore.validate import ParamValidator

from tests.wire.meaning import arguments_of


@cache
def model() -> Any:
    """The service model of bedrock-runtime."""
    return botocore.session.get_session().get_service_model("bedrock-runtime")


BLOBS = ("bytes", "redactedContent")


def with_blobs(value: Any) -> Any:
    """A body as its client would have given it: Base64 as bytes."""
    if isinstance(value, list):
        return [with_blobs(part) for part in value]
    if not isinstance(value, dict):
        return value
    return {
        name: base64.b64decode(inner, validate=True) if name in BLOBS and isinstance(inner, str) else with_blobs(inner)
        for name, inner in value.items()
    }


def accept_request(body: dict[str, Any], name: str) -> None:
    """Fails if botocore would not send it."""
    shape = model().operation_model("Converse").input_shape
    whole = {"modelId": "amazon.nova-lite-v1:0", **with_blobs(body)}
    errors = ParamValidator().validate(whole, shape)
    assert not errors.has_errors(), (name, errors.generate_report())
    check_shape(whole, shape, name)


def check_shape(value: Any, shape: Any, where: str) -> None:
    """What botocore leaves to the service: members it does not know, patterns, enumerations, lengths."""
    if shape.type_name == "structure":
        if shape.is_document_type:
            return
        unknown = value.keys() - shape.members.keys()
        assert not unknown, (where, unknown)
        for name, inner in value.items():
            check_shape(inner, shape.members[name], f"{where}.{name}")
    elif shape.type_name == "list":
        for at, inner in enumerate(value):
            check_shape(inner, shape.member, f"{where}[{at}]")
    elif shape.type_name == "string":
        pattern = shape.metadata.get("pattern")
        assert not shape.enum or value in shape.enum, (where, value)
        if pattern and len(pattern) < 60:
            assert re.fullmatch(pattern, value), (where, value)
        assert len(value) <= shape.metadata.get("max", 1 << 40), (where, value)
        assert len(value) >= shape.metadata.get("min", 0), (where, value)


def parsed(body: bytes) -> dict[str, Any]:
    """What botocore makes of a plain answer."""
    response = {"status_code": 200, "headers": {}, "body": body}
    shape = model().operation_model("Converse").output_shape
    found: dict[str, Any] = create_parser("rest-json").parse(response, shape)
    found.pop("ResponseMetadata")
    check_shape(found, shape, "answer")
    return found


def parsed_stream(data: bytes) -> list[dict[str, Any]]:
    """What botocore makes of a stream."""
    shape = model().operation_model("ConverseStream").output_shape.members["stream"]
    parser = create_parser("rest-json")._event_stream_parser
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    found: list[dict[str, Any]] = []
    for message in buffer:
        response = message.to_response_dict()
        event = parser.parse(response, shape)
        if response["status_code"] == 200:
            check_shape(event, shape, "event")
        found.append(event)
    return found


class Told(NamedTuple):
    """What a client sees in an answer of Converse."""

    text: str
    calls: list[tuple[str, Any]]
    thinking: str
    opaque: list[str]
    raw: int
    citations: int
    stop: str
    usage: tuple[int, int]


def told(answer: dict[str, Any]) -> Told:
    """An answer as botocore parsed it."""
    text, thinking, citations, raw = "", "", 0, 0
    calls: list[tuple[str, Any]] = []
    opaque: list[str] = []
    for part in answer["output"]["message"]["content"]:
        kind, value = next(iter(part.items()))
        if kind == "text":
            text += value
        elif kind == "citationsContent":
            text += "".join(piece["text"] for piece in value.get("content", ()))
            citations += len(value.get("citations", ()))
        elif kind == "toolUse" and value.get("type") != "server_tool_use":
            calls.append((value["name"], value["input"]))
        elif kind == "reasoningContent":
            inner = value.get("reasoningText", {})
            thinking += inner.get("text", "")
            opaque += [inner["signature"]] if inner.get("signature") else []
            opaque += [value["redactedContent"].decode()] if "redactedContent" in value else []
        else:
            raw += 1
    usage = answer["usage"]
    inputs = sum(usage.get(name, 0) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens"))
    counts = (inputs, usage["outputTokens"])
    return Told(text, calls, thinking, opaque, raw, citations, answer["stopReason"], counts)


def folded(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer that a stream tells, put together as AWS documents it."""
    content: dict[int, dict[str, Any]] = {}
    pieces: dict[int, str] = {}
    answer: dict[str, Any] = {}
    for event in events:
        kind, value = next(iter(event.items()))
        at = value.get("contentBlockIndex", -1)
        if kind == "contentBlockStart":
            content[at] = {name: dict(inner) for name, inner in value["start"].items()}
        elif kind == "contentBlockDelta":
            fold_delta(content.setdefault(at, {}), value["delta"], pieces, at)
        elif kind == "messageStop":
            answer["stopReason"] = value["stopReason"]
        elif kind == "metadata":
            answer["usage"] = value["usage"]
    for at, text in pieces.items():
        content[at]["toolUse"]["input"] = arguments_of(text)
    for part in content.values():
        if "toolUse" in part:
            part["toolUse"].setdefault("input", {})
    answer["output"] = {"message": {"content": [content[at] for at in sorted(content) if content[at]]}}
    return answer


def fold_delta(part: dict[str, Any], delta: dict[str, Any], pieces: dict[int, str], at: int) -> None:
    """One delta."""
    kind, value = next(iter(delta.items()))
    if kind == "toolUse":
        pieces[at] = pieces.get(at, "") + value["input"]
    elif kind == "text":
        if "citationsContent" in part:
            part["citationsContent"]["content"][0]["text"] += value
        else:
            part["text"] = part.get("text", "") + value
    elif kind == "citation":
        cited = part.setdefault("citationsContent", {"content": [{"text": part.pop("text", "")}], "citations": []})
        cited["citations"].append(value)
    elif kind == "reasoningContent":
        inner = part.setdefault("reasoningContent", {})
        if "redactedContent" in value:
            inner["redactedContent"] = value["redactedContent"]
        else:
            whole = inner.setdefault("reasoningText", {"text": ""})
            for name, piece in value.items():
                whole[name] = whole.get(name, "") + piece
    else:
        part.setdefault(kind, {})
