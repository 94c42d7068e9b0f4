"""count_tokens."""

from __future__ import annotations

import json

from burncloud.adaptors.canon import Losses, Request, Text, Turn
from burncloud.adaptors.messages.tokens import read_count_request, write_count_request


def test_there_and_back() -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}], "system": "s"}
    request = read_count_request(json.dumps(body).encode())
    assert json.loads(write_count_request(request, Losses())) == body


def test_only_what_counts() -> None:
    request = Request("claude", [Turn("user", [Text("x")])], dialect="chat", stop=["a"], temperature=0.5, user="u")
    assert json.loads(write_count_request(request, Losses())).keys() == {"model", "messages"}
