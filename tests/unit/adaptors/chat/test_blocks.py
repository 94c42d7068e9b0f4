"""Content parts: each kind there and back, and what becomes of other dialects' blocks."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.chat.blocks import (
    Writing,
    read_citations,
    read_content,
    source_of,
    write_citation,
    write_content,
    write_parts,
)
from burncloud.errors import Refusal

PDF = "data:application/pdf;base64,JVBERg=="


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": PDF}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "refusal", "refusal": "no"},
        {"type": "video_url", "video_url": {"url": "https://x.test/a.mp4"}},
        {"type": "thinking", "thinking": [{"type": "text", "text": "why"}], "closed": True},
    ],
)
def test_there_and_back(part: dict[str, Any]) -> None:
    losses = canon.Losses()
    assert write_parts(read_content([part], "content"), Writing(losses, own=True)) == [part]
    assert not losses


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document_url", "document_url": PDF, "document_name": "a.pdf"},
        {"type": "document_url", "document_url": "https://x.test/a.pdf"},
        {"type": "input_audio", "input_audio": "AAAA"},
    ],
)
def test_mistrals_parts(part: dict[str, Any]) -> None:
    assert write_parts(read_content([part], "c"), Writing(canon.Losses(), own=True, model="mistral-small")) == [part]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (5, "content must be a string or a list"),
        ([5], r"content\[0\] must be an object"),
        ([{"type": "text", "text": 5}], r"content\[0\].text must be a string"),
        ([{"type": "image_url"}], r"content\[0\].image_url must be given"),
        ([{"type": "image_url", "image_url": {}}], r"content\[0\].image_url.url must be given"),
        ([{"type": "file", "file": []}], r"content\[0\].file must be an object"),
    ],
)
def test_malformed(content: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        read_content(content, "content")


def test_content_that_is_an_object() -> None:
    assert read_content({"a": [1]}, "content") == [canon.Text('{"a":[1]}')]


def test_sources() -> None:
    assert source_of("data:image/png;base64,AA") == canon.Source("image/png", "AA")
    assert source_of("data:text/plain,hi") == canon.Source(url="data:text/plain,hi")
    assert source_of("https://x.test") == canon.Source(url="https://x.test")


def test_texts_of_elsewhere_are_one_string() -> None:
    to = Writing(canon.Losses(), own=False)
    assert write_content([canon.Text("a"), canon.Text(""), canon.Text("b")], to) == "a\n\nb"
    assert write_content([canon.Text("a"), canon.Text("b")], to, "") == "ab"


def test_cache_marks_only_where_they_are_heeded() -> None:
    block = canon.Text("a", cache={"type": "ephemeral"})
    losses = canon.Losses()
    assert write_content([block], Writing(losses, own=False, model="gpt-4o")) == "a"
    assert losses.names() == ["cache_control"]
    routed = write_content([block], Writing(canon.Losses(), own=False, model="anthropic/claude-sonnet-4"))
    assert routed == [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]


@pytest.mark.parametrize(
    ("block", "model", "part", "losses"),
    [
        (canon.Image(canon.Source(file_id="f")), "gpt-4o", None, ["file_id"]),
        (canon.Image(canon.Source(url="gs://b/c")), "gpt-4o", None, ["image_url"]),
        (canon.Document(canon.Source(url="https://x.test/a.pdf")), "gpt-4o", None, ["document_url"]),
        (canon.Document(canon.Source("application/pdf", "AA")), "llama", None, ["document"]),
        (
            canon.Document(canon.Source("application/pdf", "AA"), "t.pdf"),
            "gpt-4o",
            {"type": "file", "file": {"filename": "t.pdf", "file_data": "data:application/pdf;base64,AA"}},
            [],
        ),
        (
            canon.Document(canon.Source("text/plain", base64.b64encode(b"hi").decode())),
            "llama",
            {"type": "text", "text": "<document>\nhi\n</document>"},
            [],
        ),
        (
            canon.Audio(canon.Source("audio/x-wav", "AA")),
            "gpt-4o-audio",
            {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            [],
        ),
        (canon.Audio(canon.Source("audio/flac", "AA")), "gpt-4o-audio", None, ["audio"]),
        (canon.Raw("messages", {"type": "container_upload"}), "gpt-4o", None, ["container_upload"]),
        (canon.Refusal("no"), "gpt-4o", {"type": "text", "text": "no"}, []),
    ],
)
def test_blocks_of_elsewhere(block: canon.Block, model: str, part: Any, losses: list[str]) -> None:
    found = canon.Losses()
    written = write_parts([block], Writing(found, own=False, model=model))
    assert written == ([] if part is None else [part])
    assert found.names() == losses


def test_citations() -> None:
    link = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 1, "end_index": 2}}
    file = {"type": "file", "file": {}}
    assert read_citations([link, file]) == ([link], [file])
    assert write_citation(link, 0, 9) == link
    moved: Any = write_citation(link, 10, 19)
    assert (moved["url_citation"]["start_index"], moved["url_citation"]["end_index"]) == (11, 12)
    found: Any = write_citation({"type": "web_search_result_location", "url": "u", "title": None}, 3, 7)
    assert found["url_citation"] == {"url": "u", "title": "", "start_index": 3, "end_index": 7}
    flat: Any = write_citation({"type": "url_citation", "url": "u", "start_index": 1, "end_index": 2}, 3, 7)
    assert flat["url_citation"]["start_index"] == 4
    assert write_citation({"type": "char_location"}, 0, 1) is None
