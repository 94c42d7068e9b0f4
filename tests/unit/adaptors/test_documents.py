"""Documents as text."""

from __future__ import annotations

import base64

from burncloud.adaptors.documents import TEXT_TYPES, decoded, media_type_of, tagged


def test_first_bytes() -> None:
    assert media_type_of(base64.b64encode(b"%PDF-1.7").decode(), "x") == "application/pdf"
    assert media_type_of(base64.b64encode(b"\x89PNG\r\n").decode(), "x") == "image/png"
    assert media_type_of("AAAA", "x") == "x"


def test_text() -> None:
    assert decoded("w6Q=") == "ä"
    assert decoded("/w==") == decoded("no Base64") == ""
    assert "application/yaml".startswith(TEXT_TYPES)
    assert not "application/pdf".startswith(TEXT_TYPES)


def test_among_other_texts() -> None:
    assert tagged("a'b", "c") == '<document title="a\'b">\nc\n</document>'
    assert tagged("", "c") == "<document>\nc\n</document>"
