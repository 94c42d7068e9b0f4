"""countTokens."""

from __future__ import annotations

import json

from burncloud.adaptors.canon import Losses
from burncloud.adaptors.gemini.tokens import read_count_request, write_count_request

BODY = {"contents": [{"role": "user", "parts": [{"text": "x"}]}], "systemInstruction": {"parts": [{"text": "s"}]}}


def test_both_forms() -> None:
    whole = {"generateContentRequest": {"model": "models/m", **BODY}}
    for body in (BODY, whole, {"generate_content_request": whole["generateContentRequest"]}):
        request = read_count_request(json.dumps(body).encode(), model="m")
        assert json.loads(write_count_request(request, Losses())) == whole
        assert json.loads(write_count_request(request, Losses(), vertex=True)) == BODY
