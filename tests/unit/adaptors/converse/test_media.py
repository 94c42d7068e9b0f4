"""Formats, sources and names."""

from __future__ import annotations

import base64

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.converse import media
from burncloud.adaptors.fields import Fields
from burncloud.errors import Refusal


@pytest.mark.parametrize(
    ("source", "want"),
    [
        (canon.Source("image/jpg", "x"), "jpeg"),
        (canon.Source("image/PNG; q=1", "x"), "png"),
        (canon.Source("", "/9j/4AAQ"), "jpeg"),
        (canon.Source("", "????"), "png"),
        (canon.Source("image/tiff", "x"), ""),
    ],
)
def test_image_formats(source: canon.Source, want: str) -> None:
    assert media.image_format(source) == want


@pytest.mark.parametrize(
    ("source", "want"),
    [
        (canon.Source("", "JVBER"), "pdf"),
        (canon.Source(text="a"), "txt"),
        (canon.Source("application/json", "e30="), "txt"),
        (canon.Source("text/x-markdown", "x"), "md"),
        (canon.Source("application/zip", "x"), ""),
    ],
)
def test_document_formats(source: canon.Source, want: str) -> None:
    assert media.document_format(source) == want


def test_sound_formats() -> None:
    assert media.sound_format(canon.Source("audio/x-wav", "x")) == "wav"
    assert media.sound_format(canon.Source("audio/midi", "x")) == ""


def test_names() -> None:
    taken: set[str] = set()
    names = ["Q3 report_v2.pdf", "Q3 report-v2 pdf", "Q3  report-v2 pdf", "", "日本", "(a) [b]-c", "x" * 300]
    found = [media.document_name(name, taken) for name in names]
    assert found[:6] == [
        "Q3 report-v2-pdf", "Q3 report-v2 pdf", "Q3 report-v2 pdf (2)", "document", "document (2)", "(a) [b]-c",
    ]  # fmt: skip
    assert len(found[6]) == media.NAME_MAX


def test_written_sources() -> None:
    assert media.write_source(canon.Source(data="YQ"), False) == {"bytes": "YQ=="}
    assert media.write_source(canon.Source(data="-_-_\n"), False) == {"bytes": "+/+/"}
    assert media.write_source(canon.Source(data="YQ"), True) == {"bytes": "YQ"}
    assert media.write_source(canon.Source(url="https://x"), False) is None
    assert media.write_source(canon.Source(url="s3://b/k"), False) == {"s3Location": {"uri": "s3://b/k"}}
    assert media.write_source(canon.Source(text="é"), False) == {"bytes": base64.b64encode("é".encode()).decode()}
    assert media.write_source(canon.Source(text="é"), True) == {"text": "é"}
    assert media.write_source(canon.Source(), False) is None


def read(source: object) -> canon.Source | None:
    return media.read_source(Fields({"source": source}, "image"), "png", "image")


def test_read_sources() -> None:
    assert read({"bytes": "YQ=="}) == canon.Source("image/png", "YQ==")
    assert read({"bytes": {"type": "Buffer", "data": [97]}}) == canon.Source("image/png", "YQ==")
    assert read({"s3Location": {"uri": "s3://b"}}) == canon.Source("image/png", url="s3://b")
    assert read({"text": "a"}) == canon.Source("image/png", text="a")
    assert read({"content": []}) is None


@pytest.mark.parametrize("source", [None, 1, {"bytes": 1}, {"bytes": {"data": ["a"]}}, {"bytes": {"data": [300]}}])
def test_malformed(source: object) -> None:
    with pytest.raises(Refusal, match=r"image\.source"):
        read(source)
