"""countTokens."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.gemini.tokens import read_count, read_count_request, write_count, write_count_request

BODY = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "systemInstruction": {"parts": [{"text": "s"}]}}


def test_both_forms() -> None:
    whole = {"generateContentRequest": {"model": "models/m", **BODY}}
    for body in (BODY, whole, {"generate_content_request": whole["generateContentRequest"]}):
        request = read_count_request(json.dumps(body).encode(), model="m")
        assert json.loads(write_count_request(request, Losses())) == whole
        assert json.loads(write_count_request(request, Losses(), vertex=True)) == BODY


def test_counts() -> None:
    assert read_count(write_count(7)) == 7
    for body in (b"", b"{}", b'{"totalTokens":"7"}', b'{"totalTokens":-1}'):
        with pytest.raises(Unreadable):
            read_count(body)
