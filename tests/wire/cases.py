"""The recordings by dialect, and what every dialect's test does with them: cut, fed, damaged, read by the others."""

from __future__ import annotations

import base64
import importlib
import json
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from burncloud.adaptors import canon
from burncloud.adaptors.spoken import StreamReader
from burncloud.errors import Refusal
from tests.wire.recordings import WIRE, index

APIS: Final[dict[str, tuple[str, ...]]] = {
    "chat": ("chat.completions",),
    "responses": ("responses",),
    "messages": ("messages",),
    "gemini": ("generateContent", "streamGenerateContent"),
    "converse": ("converse", "converse-stream"),
    "completions": ("completions",),
}
"""Dialect → its APIs, as the index calls them."""


class Case(NamedTuple):
    """One recording."""

    name: str
    row: dict[str, Any]
    request: dict[str, Any] | None
    status: int
    content: bytes

    @property
    def sse(self) -> bool:
        return bool(self.row["framing"] == "sse")


def cases(*apis: str) -> Iterator[Case]:
    """Every recording of these APIs."""
    for row in index():
        if row["api"] in apis:
            exchange = json.loads((WIRE / row["file"]).read_text())
            answer = exchange["response"]
            text = answer.get("body_text")
            content = text.encode() if text is not None else base64.b64decode(answer.get("body_base64") or "")
            yield Case(row["file"], row, (exchange["request"] or {}).get("body"), answer["status"], content)


def others(dialect: str) -> list[str]:
    """All dialects but this one."""
    return [other for other in APIS if other != dialect]


def part(dialect: str, name: str) -> Any:
    """A file of a dialect's folder."""
    return importlib.import_module(f"burncloud.adaptors.{dialect}.{name}")


def asked_in(dialect: str) -> Iterator[tuple[str, canon.Request]]:
    """(name, request) of every recorded request of a dialect that can be read."""
    read = part(dialect, "request").read_request
    for case in cases(*APIS[dialect]):
        if case.request is not None:
            try:
                yield case.name, read(json.dumps(case.request).encode(), model="m")
            except Refusal:
                continue


def told_in(dialect: str) -> Iterator[tuple[Case, canon.Answer | list[canon.Event]]]:
    """Every recorded answer of a dialect that is none of an error: an answer, or the events of a stream."""
    read, reader = part(dialect, "answer").read_answer, part(dialect, "stream").StreamReader
    for case in cases(*APIS[dialect]):
        if case.status != 200:
            continue
        try:
            if case.sse or case.row["framing"] == "aws-eventstream":
                events = in_pieces(reader(), case.content, len(case.content))
                if not any(isinstance(event, canon.Failed) for event in events):
                    yield case, events
            else:
                yield case, read(case.content)
        except canon.Unreadable:
            continue


def in_pieces(reader: StreamReader, data: bytes, size: int) -> list[canon.Event]:
    """The canonical events of a stream that comes in pieces of `size` bytes."""
    found: list[canon.Event] = []
    for start in range(0, len(data), max(size, 1)):
        found += reader.feed(data[start : start + size])
    return found + reader.finish()


def events_in(data: bytes) -> list[dict[str, Any]]:
    """The data of every event."""
    found = re.findall(rb"^data: ?(.*?)\r?$", data, re.MULTILINE)
    return [json.loads(event) for event in found if event and event != b"[DONE]"]


# The SDKs' schemas


def drained(value: Any) -> Any:
    """A validated value with its lazy lists checked to the end."""
    if isinstance(value, dict):
        return {name: drained(item) for name, item in value.items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return (
        value.model_dump(mode="json", exclude_unset=True) if hasattr(value, "model_dump") else list(map(drained, value))
    )


def accepts(schema: TypeAdapter[Any], value: Any) -> bool:
    """Whether an object of the SDK takes it."""
    try:
        schema.validate_python(value)
    except ValidationError:
        return False
    return True


# Anything at all

JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def small_case(data: st.DataObject, found: list[Case]) -> Case:
    """One of them that is not large."""
    case: Case = data.draw(st.sampled_from([case for case in found if 0 < len(case.content) < 20_000]))
    return case


def small_request(data: st.DataObject, found: list[Case]) -> Any:
    """The request of one of them that is not large."""
    return data.draw(
        st.sampled_from([case.request for case in found if case.request and len(str(case.request)) < 8000])
    )


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """A copy with some bytes changed."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(changed) - 1))
        changed[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    return bytes(changed)


def replaced(data: st.DataObject, body: Any) -> Any:
    """A copy with one or two members replaced by anything."""
    body = json.loads(json.dumps(body))
    for _ in range(data.draw(st.integers(1, 2))):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
                place[key] = data.draw(JSON)
                break
            place = place[key]
    return body
