"""Every kind of block, read and written back, and what is lost on the way from elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.messages import blocks
from burncloud.adaptors.messages.blocks import Writing, read_block, read_content, write_blocks, write_content
from burncloud.errors import Refusal

CACHE = {"type": "ephemeral", "ttl": "1h"}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0"}

OWN: list[tuple[dict[str, Any], type]] = [
    ({"type": "text", "text": "hi", "cache_control": CACHE}, canon.Text),
    ({"type": "text", "text": "hi", "citations": [{"type": "page_location", "cited_text": "x"}]}, canon.Text),
    ({"type": "text", "text": "hi", "novelty": 1}, canon.Text),
    ({"type": "image", "source": PNG, "cache_control": CACHE}, canon.Image),
    ({"type": "image", "source": {"type": "url", "url": "https://x"}, "transformations": {"a": "b"}}, canon.Image),
    ({"type": "image", "source": {"type": "file", "file_id": "file_1", "novelty": 1}}, canon.Image),
    ({"type": "image", "source": {"type": "novelty", "x": 1}}, canon.Raw),
    (
        {
            "type": "document", "title": "t", "context": "c", "citations": {"enabled": True}, "cache_control": CACHE,
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0"},
        },
        canon.Document,
    ),
    ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "abc"}}, canon.Document),
    ({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}}, canon.Document),
    ({"type": "document", "source": {"type": "file", "file_id": "file_1"}}, canon.Document),
    (
        {
            "type": "search_result", "source": "https://x", "title": "t", "content": [{"type": "text", "text": "a"}],
            "citations": {"enabled": True}, "cache_control": CACHE,
        },
        canon.Document,
    ),
    (
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}, "caller": {"type": "direct"}},
        canon.ToolCall,
    ),
    (
        {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "cache_control": CACHE,
         "content": [{"type": "text", "text": "a"}, {"type": "image", "source": PNG},
                     {"type": "tool_reference", "tool_name": "f"}]},
        canon.ToolResult,
    ),
    ({"type": "tool_result", "tool_use_id": "toolu_1"}, canon.ToolResult),
    ({"type": "thinking", "thinking": "why", "signature": "EqQB"}, canon.Reasoning),
    ({"type": "thinking", "thinking": "", "signature": "EqQB"}, canon.Reasoning),
    ({"type": "redacted_thinking", "data": "Ev"}, canon.Reasoning),
    ({"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}, canon.Raw),
    ({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": []}, canon.Raw),
    ({"type": "container_upload", "file_id": "file_1"}, canon.Raw),
    ({"type": "compaction", "content": "x"}, canon.Raw),
]  # fmt: skip


@pytest.mark.parametrize(("value", "kind"), OWN, ids=lambda v: v.get("type") if isinstance(v, dict) else v.__name__)
def test_there_and_back(value: dict[str, Any], kind: type) -> None:
    losses = canon.Losses()
    block = read_block(value, "content[0]")
    assert type(block) is kind
    to = Writing(losses, own=True)
    to.role = "assistant"
    assert write_blocks([block], to) == [value]
    assert not losses


def test_a_string_is_a_text() -> None:
    assert read_content("hi", "x") == [canon.Text("hi")]
    assert read_content(None, "x") == []
    assert write_content([canon.Text("hi")], Writing(canon.Losses(), own=True)) == "hi"
    assert write_content([canon.Text("hi", cache=CACHE)], Writing(canon.Losses(), own=True)) != "hi"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "x must be an object"),
        ({}, "x.type must be given"),
        ({"type": 1}, "x.type must be a string"),
        ({"type": "text", "text": 1}, "x.text must be a string"),
        ({"type": "text", "text": "a", "citations": [1]}, "x.citations must be a list of objects"),
        ({"type": "text", "text": "a", "cache_control": 1}, "x.cache_control must be an object"),
        ({"type": "image"}, "x.source must be given"),
        ({"type": "image", "source": {"type": "base64"}}, "x.source.data must be given"),
        ({"type": "document", "source": "x"}, "x.source must be an object"),
        ({"type": "tool_use", "name": "f"}, "x.id must be given"),
        ({"type": "tool_result", "tool_use_id": "a", "content": 1}, "x.content must be a string or a list"),
        ({"type": "tool_result", "tool_use_id": "a", "content": [{}]}, "x.content[0].type must be given"),
    ],
)
def test_malformed(value: Any, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_block(value, "x")
    assert caught.value.message == message


def foreign(block: canon.Block, *, answer: bool = False, role: str = "user", model: str = "claude-sonnet-4-5") -> Any:
    """(what is written of a block of another dialect, what is lost)."""
    losses = canon.Losses()
    to = Writing(losses, own=False, answer=answer, model=model)
    to.role = "assistant" if answer else role
    return write_blocks([block], to), losses.names()


FOREIGN: list[tuple[canon.Block, dict[str, Any] | None, list[str]]] = [
    (canon.Text("hi", extra={"annotations": []}), {"type": "text", "text": "hi"}, ["annotations"]),
    (canon.Text(" \n"), None, []),
    (canon.Text("a", [{"type": "url_citation", "url": "https://x"}]), {"type": "text", "text": "a"}, ["citations"]),
    (canon.Refusal("no"), {"type": "text", "text": "no"}, []),
    (canon.Image(canon.Source(url="https://x/y.png"), "high"),
     {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, ["image_detail"]),
    (canon.Image(canon.Source(url="gs://b/y.png")), None, ["image_url"]),
    (canon.Image(canon.Source(file_id="file-1")), None, ["file_id"]),
    (canon.Image(canon.Source(data="/9j/4AA")),
     {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "/9j/4AA"}}, []),
    (canon.Document(canon.Source(url="s3://b/x.pdf")), None, ["document_url"]),
    (canon.Document(canon.Source("text/markdown", "IyBoaQ=="), "a.md"),
     {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "# hi"}, "title": "a.md"}, []),
    (canon.Document(canon.Source("application/msword", "AAAA")), None, ["document"]),
    (canon.Document(canon.Source("text/plain", "/w==")), None, ["document"]),
    (canon.Document(canon.Source()), None, ["document"]),
    (canon.Audio(canon.Source("audio/wav", "AAAA")), None, ["audio"]),
    (canon.Audio(canon.Source(), "said"), {"type": "text", "text": "said"}, ["audio"]),
    (canon.ToolResult("c.1", [canon.Text("")], name="f"),
     {"type": "tool_result", "tool_use_id": blocks.tool_id("c.1")}, []),
    (canon.Raw("responses", {"type": "web_search_call"}), None, ["web_search_call"]),
    (canon.Raw("gemini", {"executableCode": {}}), None, ["gemini"]),
]  # fmt: skip


@pytest.mark.parametrize(("block", "value", "lost"), FOREIGN)
def test_of_other_dialects(block: canon.Block, value: dict[str, Any] | None, lost: list[str]) -> None:
    assert foreign(block) == ([] if value is None else [value], lost)


def test_pictures_of_the_assistant_are_lost() -> None:
    picture = canon.Image(canon.Source("image/png", "iVBOR"))
    assert foreign(picture, role="assistant") == ([], ["image"])
    assert foreign(picture, answer=True) == ([], ["image"])


CALLS: list[tuple[canon.ToolCall, Any, list[str]]] = [
    (canon.ToolCall("call_1", "f", '{"x": 1}'), {"x": 1}, []),
    (canon.ToolCall("call_1", "f", ""), {}, []),
    (canon.ToolCall("call_1", "f", "{bad"), {"input": "{bad"}, ["tool_arguments"]),
    (canon.ToolCall("call_1", "f", "[1]"), {"input": [1]}, ["tool_arguments"]),
    (canon.ToolCall("call_1", "f", "[" * 5000), {"input": "[" * 5000}, ["tool_arguments"]),
    (canon.ToolCall("call_1", "f", "plain", custom=True), {"input": "plain"}, ["custom_tools"]),
    (canon.ToolCall("call_1", "f", "{}", signature="s"), {}, ["thinking_signature"]),
]


@pytest.mark.parametrize(("call", "value", "lost"), CALLS)
def test_calls(call: canon.ToolCall, value: Any, lost: list[str]) -> None:
    assert foreign(call) == ([{"type": "tool_use", "id": "call_1", "name": "f", "input": value}], lost)


def test_ids_in_the_alphabet() -> None:
    assert blocks.tool_id("call_A-1") == "call_A-1"
    odd = blocks.tool_id("functions.f:0")
    assert odd == blocks.tool_id("functions.f:0")
    assert odd != blocks.tool_id("functions.f.0")
    assert blocks.tool_id(odd) == odd
    assert len(blocks.tool_id("ü" * 500)) <= 64
    assert blocks.tool_id("") != ""


def test_foreign_thinking_in_a_request() -> None:
    thinking = canon.Reasoning("why", signature="s", origin="gemini")
    assert foreign(thinking) == ([], ["thinking", "thinking_signature"])
    assert foreign(canon.Reasoning("why", origin="chat"), model="kimi-k2") == (
        [{"type": "thinking", "thinking": "why", "signature": ""}],
        [],
    )
    signed = canon.Reasoning("why", signature="s", origin="messages")
    assert foreign(signed) == ([{"type": "thinking", "thinking": "why", "signature": "s"}], [])
    unsigned = canon.Reasoning("why", origin="messages")
    assert foreign(unsigned) == ([], ["thinking"]), "Claude refuses thinking that it did not sign"


@pytest.mark.parametrize(
    "thinking",
    [
        canon.Reasoning("why", signature="s", origin="gemini"),
        canon.Reasoning("", encrypted="e", id="rs_1", origin="responses"),
        canon.Reasoning("", ["a summary"], encrypted="e", id="rs_1", origin="responses"),
    ],
)
def test_foreign_thinking_goes_through_a_client_and_back(thinking: canon.Reasoning) -> None:
    values, lost = foreign(thinking, answer=True)
    assert lost == []
    assert read_content(values, "content") == [thinking]


def test_a_signature_of_a_call_goes_through_a_client_and_back() -> None:
    call = canon.ToolCall("c.1", "f", "{}", signature="s")
    values, lost = foreign(call, answer=True)
    assert [value["type"] for value in values] == ["redacted_thinking", "tool_use"]
    assert lost == []
    call.id = blocks.tool_id("c.1")
    assert read_content(values, "content") == [call]


def test_unsigned_thinking_in_an_answer() -> None:
    assert foreign(canon.Reasoning("why", origin="chat"), answer=True) == (
        [{"type": "thinking", "thinking": "why", "signature": ""}],
        [],
    )
    assert foreign(canon.Reasoning("", id="rs_1", origin="responses"), answer=True) == ([], [])


@pytest.mark.parametrize("nested", [True, False])
def test_links_in_an_answer(nested: bool) -> None:
    link = {"url": "https://x", "title": "t", "start_index": 0, "end_index": 2}
    citation = {"type": "url_citation", "url_citation": link} if nested else {"type": "url_citation", **link}
    values, lost = foreign(canon.Text("abc", [citation]), answer=True)
    assert lost == []
    found = {"url": "https://x", "title": "t", "cited_text": "ab", "encrypted_index": ""}
    assert values[0]["citations"] == [{"type": "web_search_result_location", **found}]
