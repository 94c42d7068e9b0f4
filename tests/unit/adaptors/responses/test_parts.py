"""Parts of messages: read as blocks, written back, and what of other dialects cannot be said."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.responses.parts import (
    Writing,
    drawn,
    links_of,
    read_content,
    read_part,
    write_link,
    write_parts,
)
from burncloud.errors import Refusal

PARTS: list[dict[str, Any]] = [
    {"type": "input_text", "text": "x", "prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}},
    {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
    {"type": "input_image", "file_id": "file-1"},
    {"type": "input_file", "file_data": "data:application/pdf;base64,AAAA", "filename": "a.pdf"},
    {"type": "input_file", "file_url": "https://example.test/a.pdf"},
    {"type": "input_file", "file_id": "file-1"},
    {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
    {"type": "input_video", "video": "?"},
]


@pytest.mark.parametrize("part", PARTS)
def test_there_and_back(part: dict[str, Any]) -> None:
    losses = canon.Losses()
    assert write_parts([read_part(part, "x")], Writing(losses, own=True)) == [part]
    assert not losses


def test_said_by_the_assistant() -> None:
    notes = [{"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 1},
             {"type": "file_citation", "file_id": "f", "filename": "n", "index": 0}]  # fmt: skip
    part = {"type": "output_text", "text": "x", "annotations": notes}
    block = read_part(part, "x")
    assert isinstance(block, canon.Text)
    assert block.citations == notes[:1]
    assert write_parts([block], Writing(canon.Losses(), own=True), spoken=True) == [part]


@pytest.mark.parametrize(
    ("block", "loss"),
    [
        (canon.Image(canon.Source(url="gs://x")), "image_url"),
        (canon.Image(canon.Source(file_id="f")), "file_id"),
        (canon.Document(canon.Source("application/zip", "AAAA")), "document"),
        (canon.Audio(canon.Source("audio/flac", "AAAA")), "audio"),
        (canon.Raw("messages", {"type": "server_tool_use"}), "server_tool_use"),
        (canon.ToolCall("c", "f", ""), "tool_call"),
    ],
)
def test_what_cannot_be_said(block: canon.Block, loss: str) -> None:
    losses = canon.Losses()
    assert write_parts([block], Writing(losses, own=False)) == []
    assert losses.names() == [loss]


def test_cache_marks() -> None:
    block = canon.Text("x", cache={"type": "ephemeral"})
    for model, lost in (("gpt-5.6", []), ("gpt-5.2", ["cache_control"])):
        losses = canon.Losses()
        (part,) = write_parts([block], Writing(losses, own=False, model=model))
        assert ("prompt_cache_breakpoint" in part, losses.names()) == (not lost, lost)


def test_a_text_file_is_text() -> None:
    block = canon.Document(canon.Source("text/csv", "YSxi"), "t.csv")
    (part,) = write_parts([block], Writing(canon.Losses(), own=False))
    assert part == {"type": "input_text", "text": "<document title='t.csv'>\na,b\n</document>"}


def test_links() -> None:
    chats = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}
    want = {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 2}
    assert write_link(chats, 9) == want
    assert write_link({"type": "web_search_result_location", "url": "u", "title": None}, 9) == {
        "type": "url_citation", "url": "u", "title": "", "start_index": 0, "end_index": 9,
    }  # fmt: skip
    losses = canon.Losses()
    assert links_of(canon.Text("x", [{"type": "char_location"}]), losses) == []
    assert losses.names() == ["citations"]


@pytest.mark.parametrize("content", [5, [5], [{"type": "input_image"}], [{"type": "input_text", "text": 5}]])
def test_malformed(content: Any) -> None:
    with pytest.raises(Refusal, match="content"):
        read_content(content, "content")


PNG = "iVBORw0KGgo="


@pytest.mark.parametrize(
    ("item", "kind", "extra"),
    [
        ({"result": PNG}, "image/png", {}),
        ({"result": "/9j/4AAQ"}, "image/jpeg", {}),
        (
            {"result": PNG, "output_format": "webp", "size": "9x9", "revised_prompt": None},
            "image/webp",
            {"size": "9x9"},
        ),
    ],
)
def test_drawn(item: dict[str, Any], kind: str, extra: dict[str, Any]) -> None:
    whole = {"id": "ig_1", "type": "image_generation_call", "status": "completed", **item}
    assert drawn(whole) == canon.Image(canon.Source(kind, item["result"]), extra=extra, said=whole)


def test_a_picture_that_is_not_there() -> None:
    for result in (None, "", 5, "iVBOR...Kg=="):
        assert isinstance(drawn({"type": "image_generation_call", "status": "failed", "result": result}), canon.Raw)
