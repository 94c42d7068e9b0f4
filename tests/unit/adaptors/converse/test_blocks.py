"""Blocks, read."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from burncloud.adaptors.canon import Audio, Block, Document, Image, Raw, Reasoning, Source, Text, ToolCall, ToolResult
from burncloud.adaptors.converse.blocks import read_content
from burncloud.errors import Refusal

RAW = {"video": {"format": "mp4", "source": {"bytes": "YQ=="}}}


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ({"text": "a"}, Text("a")),
        ({"text": "a", "image": None}, Text("a")),
        ({"json": {"a": 1}}, Text('{"a":1}', said={"json": {"a": 1}})),
        ({"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}}},
         Text("a", extra={"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}}})),
        ({"image": {"format": "png", "source": {"bytes": "YQ=="}}}, Image(Source("image/png", "YQ=="))),
        ({"document": {"name": "n", "format": "pdf", "source": {"bytes": "YQ=="}, "context": "c"}},
         Document(Source("application/pdf", "YQ=="), "n", extra={"context": "c"})),
        ({"audio": {"format": "wav", "source": {"bytes": "YQ=="}}}, Audio(Source("audio/wav", "YQ=="))),
        ({"toolUse": {"toolUseId": "t", "name": "f", "input": {"a": 1}}}, ToolCall("t", "f", '{"a":1}')),
        ({"toolUse": {"toolUseId": "t", "name": "f", "input": {}, "type": "tool_use"}}, ToolCall("t", "f", "{}")),
        ({"toolUse": {"toolUseId": "t", "name": "f", "input": {}, "type": "server_tool_use"}},
         Raw("converse", {"toolUse": {"toolUseId": "t", "name": "f", "input": {}, "type": "server_tool_use"}})),
        ({"toolResult": {"toolUseId": "t", "content": [{"text": "a"}], "status": "error"}},
         ToolResult("t", [Text("a")], True)),
        ({"reasoningContent": {"reasoningText": {"text": "a", "signature": "EqoB"}}},
         Reasoning("a", signature="EqoB", origin="messages")),
        ({"reasoningContent": {"reasoningText": {"text": "a"}}}, Reasoning("a", origin="converse")),
        ({"reasoningContent": {"redactedContent": base64.b64encode(b"Eu8EC").decode()}},
         Reasoning(encrypted="Eu8EC", origin="messages")),
        ({"reasoningContent": {"redactedContent": "AAEC"}}, Reasoning(encrypted="AAEC", origin="converse")),
        (RAW, Raw("converse", RAW)),
        ({"novel": 1}, Raw("converse", {"novel": 1})),
        ({"text": "a", "novel": 1}, Raw("converse", {"text": "a", "novel": 1})),
        ({"cachePoint": {"type": "default"}}, Raw("converse", {"cachePoint": {"type": "default"}})),
    ],
)  # fmt: skip
def test_read(value: dict[str, Any], want: Block) -> None:
    assert read_content([value], "content") == [want]


def test_cache_points() -> None:
    point = {"cachePoint": {"type": "default"}}
    hour = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert read_content([{"text": "a"}, point, {"text": "b"}, hour, point], "c") == [
        Text("a", cache={"type": "ephemeral"}),
        Text("b", cache={"type": "ephemeral", "ttl": "1h"}),
        Raw("converse", point),
    ]


def test_citations() -> None:
    place = {"documentIndex": 0, "start": 0, "end": 1}
    cited = {"citationsContent": {"content": [{"text": "a"}], "citations": [{"location": {"documentPage": place}}]}}
    alone = {"citationsContent": {"citations": [{"location": {"web": {"url": "u"}}}]}}
    first, second = read_content([cited, {"text": "b"}, alone], "c")
    assert isinstance(first, Text)
    assert isinstance(second, Text)
    assert (first.text, first.citations[0]["type"], first.said) == ("a", "page_location", None)
    assert (second.text, second.citations, second.said) == (
        "b",
        [{"type": "url_citation", "url": "u"}],
        {"apart": True},
    )


def test_search_results() -> None:
    value = {"searchResult": {"source": "u", "title": "t", "content": [{"text": "a"}, {"text": "b"}]}}
    (block,) = read_content([value], "c")
    assert block == Document(
        Source("text/plain", text="u\n\na\n\nb"), "t", extra={"searchResult": value["searchResult"]}
    )


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ("a", "c must be a list"), (["a"], r"c\[0\] must be an object"), ([{"text": 1}], r"c\[0\]\.text"),
        ([{"toolUse": {"name": "f"}}], r"toolUse\.toolUseId must be given"),
        ([{"toolResult": {"toolUseId": "t", "status": "odd"}}], "status must be success or error"),
        ([{"image": 1}], r"c\[0\]\.image"), ([{"citationsContent": {"citations": [1]}}], "citations"),
    ],
)  # fmt: skip
def test_malformed(value: Any, place: str) -> None:
    with pytest.raises(Refusal, match=place):
        read_content(value, "c")
