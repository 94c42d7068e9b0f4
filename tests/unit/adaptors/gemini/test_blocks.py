"""Parts, both ways."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.blocks import Writing, plain_base64, read_parts, write_parts
from burncloud.adaptors.gemini.envelope import sealed
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.gemini.results import Ids


def read(*parts: dict[str, Any]) -> list[canon.Block]:
    return read_parts(Names({"parts": list(parts)}), Ids())


def write(blocks: list[canon.Block], **flags: Any) -> tuple[list[dict[str, Any]], list[str]]:
    losses = canon.Losses()
    return write_parts(blocks, Writing(losses, **{"own": True, **flags})), losses.names()


@pytest.mark.parametrize(
    ("part", "block"),
    [
        ({"text": "Hi"}, canon.Text("Hi")),
        ({"text": "Hi", "videoMetadata": {"fps": 1}}, canon.Text("Hi", extra={"videoMetadata": {"fps": 1}})),
        ({"text": "hm", "thought": True}, canon.Reasoning("hm", origin="gemini")),
        (
            {"text": "hm", "thought": True, "thoughtSignature": "S"},
            canon.Reasoning("hm", signature="S", origin="gemini"),
        ),
        ({"inlineData": {"mimeType": "image/png", "data": "QUJD"}}, canon.Image(canon.Source("image/png", "QUJD"))),
        (
            {"inlineData": {"mimeType": "application/pdf", "data": "QUJD", "displayName": "a.pdf"}},
            canon.Document(canon.Source("application/pdf", "QUJD"), "a.pdf"),
        ),
        ({"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}}, canon.Audio(canon.Source("audio/wav", "QUJD"))),
        (
            {"fileData": {"mimeType": "image/jpeg", "fileUri": "https://a/b.jpg"}},
            canon.Image(canon.Source("image/jpeg", url="https://a/b.jpg")),
        ),
        (
            {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "S"},
            canon.ToolCall("c1", "f", '{"a":1}', "S"),
        ),
        (
            {"functionResponse": {"id": "c1", "name": "f", "response": {"output": "x"}}},
            canon.ToolResult("c1", [canon.Text("x")], name="f"),
        ),
        (
            {"functionResponse": {"id": "c1", "name": "f", "response": {"error": "bad"}}},
            canon.ToolResult("c1", [canon.Text("bad")], True, "f"),
        ),
    ],
)
def test_there_and_back(part: dict[str, Any], block: canon.Block) -> None:
    assert read(part) == [block]
    assert write([block]) == ([part], [])


@pytest.mark.parametrize(
    "part",
    [
        {"executableCode": {"language": "PYTHON", "code": "1"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "QUJD"}},
        {"fileData": {"fileUri": "https://youtu.be/x"}},
        {"toolCall": {"toolType": "GOOGLE_SEARCH_WEB"}, "thoughtSignature": "S"},
        {"functionCall": {"partialArgs": []}},
    ],
)
def test_what_has_no_equal_stays_whole(part: dict[str, Any]) -> None:
    assert read(part) == [canon.Raw("gemini", part)]
    assert write(read(part)) == ([part], [])


def test_a_signature_on_a_text_is_put_back() -> None:
    parts = [{"text": "Hi", "thoughtSignature": "S"}, {"text": "", "thoughtSignature": "T"}]
    blocks = read(*parts)
    assert blocks == [
        canon.Text("Hi"),
        canon.Reasoning(signature="S", origin="gemini"),
        canon.Reasoning(signature="T", origin="gemini", extra={"alone": True}),
    ]
    assert write(blocks) == (parts, [])


def test_files_of_googles_store_are_nobody_elses() -> None:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/1"
    part = {"fileData": {"mimeType": "image/png", "fileUri": uri}}
    assert read(part) == [canon.Image(canon.Source("image/png", file_id=uri))]
    assert write(read(part)) == ([part], [])


def test_foreign_blocks() -> None:
    blocks: list[canon.Block] = [
        canon.Text("", cache={"type": "ephemeral"}),
        canon.Image(canon.Source(url="https://a/b.webp"), "high"),
        canon.Image(canon.Source(file_id="file-1")),
        canon.Document(canon.Source(text="words"), "T"),
        canon.Document(canon.Source("application/json", "e30=")),
        canon.Document(canon.Source("application/msword", "AAAA")),
        canon.Refusal("no"),
        canon.ToolCall("c", "f", "not json"),
        canon.ToolCall("c", "f", "free", custom=True),
        canon.Reasoning("hm", signature="s", origin="messages"),
        canon.Raw("messages", {"type": "server_tool_use"}),
    ]
    parts, losses = write(blocks, own=False, model="gemini-2.5-pro")
    assert parts == [
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://a/b.webp"}},
        {"text": "<document title='T'>\nwords\n</document>"},
        {"text": "<document>\n{}\n</document>"},
        {"text": "no"},
        {"functionCall": {"id": "c", "name": "f", "args": {"input": "not json"}}},
        {"functionCall": {"id": "c", "name": "f", "args": {"input": "free"}}},
        {"text": "hm", "thought": True},
    ]
    assert losses == [
        "custom_tools", "document", "file_id", "image_detail", "server_tool_use", "thinking_signature",
        "tool_arguments",
    ]  # fmt: skip


def test_media_of_results_go_inside_or_beside() -> None:
    picture = canon.Image(canon.Source("image/png", "QUJD"))
    inline = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
    block: canon.Block = canon.ToolResult("c", [canon.Text("see"), picture], name="f")
    new, _ = write([block], own=False, model="gemini-3-pro-preview")
    assert new == [{"functionResponse": {"id": "c", "name": "f", "response": {"output": "see"}, "parts": [inline]}}]
    old, _ = write([block], own=False, model="gemini-2.5-pro")
    assert old[1:] == [{"text": "What f answered:"}, inline]


def test_foreign_thinking_travels_through_a_client() -> None:
    thought = canon.Reasoning("hm", signature="sig", origin="messages")
    parts, losses = write([thought], own=False, answer=True)
    assert (parts[0]["text"], losses) == ("hm", [])
    assert read(*parts) == [thought]
    pieces = [{"text": "h", "thought": True}, {"text": "m", "thought": True}, {**parts[0], "text": ""}]
    assert read(*pieces) == [thought], "a stream tells the signature after the text"
    summary = canon.Reasoning(summary=["s"], encrypted="e", id="rs_1", origin="responses")
    assert read({"text": "s", "thought": True, "thoughtSignature": sealed(summary)}) == [summary]


def test_base64_for_urls() -> None:
    assert plain_base64("-_8") == "+/8="
    assert plain_base64("QUJD") == "QUJD"


def test_pieces_of_a_thought_are_one() -> None:
    """Clients keep a stream's parts as they came."""
    pieces: list[dict[str, Any]] = [{"text": "hm", "thought": True}, {"text": "m", "thought": True}, {"text": "yes"}]
    assert read(*pieces) == [canon.Reasoning("hmm", origin="gemini"), canon.Text("yes")]
