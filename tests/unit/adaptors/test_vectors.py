"""Embeddings in OpenAI's form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.vectors import packed, read_answer, read_request, unpacked, write_answer, write_request
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal


@pytest.mark.parametrize(
    "body",
    [
        {"model": "m", "input": "x"},
        {"model": "m", "input": ["x", "y"], "dimensions": 8, "encoding_format": "base64", "user": "u", "odd": 1},
        {"model": "m", "input": [[1, 2], [3]]},
    ],
)
def test_requests_there_and_back(body: dict[str, Any]) -> None:
    losses = Losses()
    assert json.loads(write_request(read_request(json.dumps(body).encode()), losses)) == body
    assert not losses


@pytest.mark.parametrize("body", [{}, {"model": "m"}, {"model": "m", "input": []}, {"model": "m", "input": [1, "x"]},
                                  {"model": "m", "input": "x", "encoding_format": "hex"}])  # fmt: skip
def test_malformed(body: dict[str, Any]) -> None:
    with pytest.raises(Refusal):
        read_request(json.dumps(body).encode())


def test_answers_in_both_encodings() -> None:
    body = {
        "object": "list", "model": "m", "usage": {"prompt_tokens": 3, "total_tokens": 3},
        "data": [{"object": "embedding", "index": 1, "embedding": packed([0.25])},
                 {"object": "embedding", "index": 0, "embedding": [0.5]}],
    }  # fmt: skip
    answer = read_answer(json.dumps(body).encode())
    assert (answer.vectors, answer.usage, answer.model) == ([[0.5], [0.25]], Usage(3), "m")
    for encoding in ("float", "base64"):
        assert read_answer(write_answer(answer, Losses(), encoding)).vectors == answer.vectors
    assert unpacked("AACAPw==") == [1.0]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"data":[{"embedding":"*"}]}', b'{"data":[{"embedding":["x"]}]}'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(body)
