"""Blocks, written."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors.canon import (
    Audio,
    Block,
    Document,
    Image,
    Losses,
    Raw,
    Reasoning,
    Refusal,
    Source,
    Text,
    ToolCall,
    ToolResult,
)
from burncloud.adaptors.converse.blocks import read_content
from burncloud.adaptors.converse.content import Writing, write_blocks

CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "amazon.nova-lite-v1:0"
MISTRAL = "mistral.mistral-large-2407-v1:0"


def written(block: Block, model: str = CLAUDE, answer: bool = False, role: str = "user") -> tuple[Any, list[str]]:
    """(the blocks, what was lost)."""
    losses = Losses()
    to = Writing(losses, own=False, answer=answer, model=model)
    to.role = role
    return write_blocks([block], to), losses.names()


PDF = Source("application/pdf", "JVBERg==")
CACHE = {"type": "ephemeral", "ttl": "1h"}


@pytest.mark.parametrize(
    ("block", "want", "lost"),
    [
        (Text("a"), [{"text": "a"}], []),
        (Text(" \n"), [], []),
        (Text("a", cache=CACHE), [{"text": "a"}, {"cachePoint": {"type": "default", "ttl": "1h"}}], []),
        (Text(" ", cache=CACHE), [], []),
        (Text("a", [{"type": "char_location"}]), [{"text": "a"}], ["citations"]),
        (Text("a", extra={"novel": 1}), [{"text": "a"}], ["novel"]),
        (Refusal("no"), [{"text": "no"}], []),
        (Image(Source("image/png", "iVBORw0K"), "high"),
         [{"image": {"format": "png", "source": {"bytes": "iVBORw0K"}}}], ["image_detail"]),
        (Image(Source(url="https://x/a.png")), [], ["image_url"]),
        (Image(Source(file_id="f")), [], ["file_id"]),
        (Image(Source("image/tiff", "AAAA")), [], ["image"]),
        (Document(PDF, "a.pdf", extra={"citations": {"enabled": True}}),
         [{"document": {"name": "a-pdf", "source": {"bytes": "JVBERg=="}, "format": "pdf",
                        "citations": {"enabled": True}}}], []),
        (Document(Source(url="https://x")), [], ["document_url"]),
        (Document(Source("application/zip", "AAAA")), [], ["document"]),
        (Audio(Source("audio/wav", "AAAA"), "said"), [{"text": "said"}], ["audio"]),
        (ToolCall("call|1", "f", '{"a":1}'),
         [{"toolUse": {"toolUseId": "tooluse_call_1_7999ce95", "name": "f", "input": {"a": 1}}}], []),
        (ToolCall("t", "f", "", "sig"),
         [{"toolUse": {"toolUseId": "t", "name": "f", "input": {}}}], ["thinking_signature"]),
        (ToolCall("t", "f", "[1]"),
         [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"input": [1]}}}], ["tool_arguments"]),
        (ToolCall("t", "f", "raw", custom=True),
         [{"toolUse": {"toolUseId": "t", "name": "f", "input": {"input": "raw"}}}], ["custom_tools"]),
        (ToolResult("t", [Text("a"), Text("")], True),
         [{"toolResult": {"toolUseId": "t", "content": [{"text": "a"}], "status": "error"}}], []),
        (ToolResult("t", []), [{"toolResult": {"toolUseId": "t", "content": [{"text": "(no result)"}]}}], []),
        (ToolResult("t", [Text("a", cache=CACHE)], cache=CACHE),
         [{"toolResult": {"toolUseId": "t", "content": [{"text": "a"}]}},
          {"cachePoint": {"type": "default", "ttl": "1h"}}], ["cache_control"]),
        (Reasoning("a", signature="Eabc", origin="messages"),
         [{"reasoningContent": {"reasoningText": {"text": "a", "signature": "Eabc"}}}], []),
        (Reasoning(encrypted="Ex", origin="messages"), [{"reasoningContent": {"redactedContent": "RXg="}}], []),
        (Reasoning(encrypted="AAEC", origin="converse"), [{"reasoningContent": {"redactedContent": "AAEC"}}], []),
        (Reasoning("a", signature="x", origin="gemini"), [], ["thinking", "thinking_signature"]),
        (Reasoning("a", origin="chat"), [], ["thinking"]),
        (Raw("messages", {"type": "web_search_tool_result"}), [], ["web_search_tool_result"]),
        (Raw("converse", {"video": {}}), [{"video": {}}], []),
        (Raw("converse", {}), [], ["converse"]),
    ],
)  # fmt: skip
def test_requests(block: Block, want: list[Any], lost: list[str]) -> None:
    assert written(block) == (want, lost)


@pytest.mark.parametrize(
    ("block", "model", "want", "lost"),
    [
        (Text("a", cache=CACHE), NOVA, [{"text": "a"}, {"cachePoint": {"type": "default"}}], ["cache_control.ttl"]),
        (Text("a", cache=CACHE), MISTRAL, [{"text": "a"}], ["cache_control"]),
        (ToolResult("t", [Text("a")], True), MISTRAL,
         [{"toolResult": {"toolUseId": "t", "content": [{"json": {"output": "a"}}]}}], ["tool_error"]),
        (ToolResult("t", [Text('{"b":1}')]), MISTRAL,
         [{"toolResult": {"toolUseId": "t", "content": [{"json": {"b": 1}}]}}], []),
        (Reasoning("a", signature="E", origin="messages"), NOVA, [], ["thinking"]),
        (Audio(Source("audio/wav", "AAAA")), "mistral.voxtral-mini-3b-2507",
         [{"audio": {"format": "wav", "source": {"bytes": "AAAA"}}}], []),
    ],
)  # fmt: skip
def test_other_families(block: Block, model: str, want: list[Any], lost: list[str]) -> None:
    assert written(block, model) == (want, lost)


def test_assistants_have_no_pictures() -> None:
    assert written(Image(Source("image/png", "AAAA")), role="assistant") == ([], ["image"])
    assert written(Document(PDF), role="assistant") == ([], ["document"])


def test_documents_have_names_of_their_own() -> None:
    losses = Losses()
    values = write_blocks([Document(PDF), Document(PDF)], Writing(losses, own=False, model=CLAUDE))
    assert [value["document"]["name"] for value in values] == ["document", "document (2)"]


@pytest.mark.parametrize(
    ("block", "want", "lost"),
    [
        (Text(" "), [{"text": " "}], []),
        (Reasoning("a", origin="chat"), [{"reasoningContent": {"reasoningText": {"text": "a"}}}], []),
        (Reasoning(summary=["a", "b"], encrypted="x", origin="responses"),
         [{"reasoningContent": {"reasoningText": {"text": "a\n\nb"}}}], ["thinking_signature"]),
        (Text("a", [{"type": "url_citation", "url": "u"}, {"type": "file_citation"}]),
         [{"citationsContent": {"content": [{"text": "a"}], "citations": [{"location": {"web": {"url": "u"}}}]}}],
         ["citations"]),
    ],
)  # fmt: skip
def test_answers(block: Block, want: list[Any], lost: list[str]) -> None:
    assert written(block, answer=True) == (want, lost)


OWN: list[dict[str, Any]] = [
    {"text": ""},
    {"text": "a"},
    {"cachePoint": {"type": "default", "ttl": "1h"}},
    {"guardContent": {"text": {"text": "a", "qualifiers": ["query"]}}},
    {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": "1"}}}},
    {"document": {"name": "n", "source": {"text": "a"}, "context": "c"}},
    {"document": {"name": "n", "source": {"content": [{"text": "a"}]}}},
    {"searchResult": {"source": "u", "title": "t", "content": [{"text": "a"}], "citations": {"enabled": True}}},
    {"audio": {"format": "mp3", "source": {"bytes": "AA=="}}},
    {"toolUse": {"toolUseId": "t.1", "name": "f", "input": "odd"}},
    {"toolResult": {"toolUseId": "t.1", "content": [{"json": [1]}, {"text": ""}], "status": "error", "novel": 1}},
    {"reasoningContent": {"reasoningText": {"text": "", "signature": "Eabc", "novel": 1}}},
    {"reasoningContent": {"redactedContent": "RXg="}},
    {"text": "b"},
    {"citationsContent": {"citations": [{"location": {"web": {"url": "u"}}}]}},
    {"citationsContent": {"content": [{"text": "a"}, {"text": "b"}], "citations": []}},
    {"video": {"format": "mp4", "source": {"bytes": "AA=="}}},
]


def test_own_as_it_was() -> None:
    losses = Losses()
    assert write_blocks(read_content(OWN, "c"), Writing(losses, own=True)) == OWN
    assert not losses
