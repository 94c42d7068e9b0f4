"""Embeddings in Gemini's three forms and OpenAI's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import vectors
from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.gemini.embeddings import Form, read_answer, read_request, write_answer, write_request
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal

ONE = {"content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 3}
TWO = {"content": {"parts": [{"text": "b"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 3}
BODIES: list[tuple[Form, dict[str, Any]]] = [
    ("single", ONE),
    ("batch", {"requests": [{"model": "models/m", **ONE}, {"model": "models/m", **TWO}]}),
    (
        "predict",
        {"instances": [{"content": "a", "task_type": "RETRIEVAL_QUERY"}], "parameters": {"outputDimensionality": 3}},
    ),
]


@pytest.mark.parametrize(("form", "body"), BODIES)
def test_requests_there_and_back(form: Form, body: dict[str, Any]) -> None:
    request, told = read_request(json.dumps(body).encode(), model="m")
    assert (told, request.model, request.dimensions, request.purpose) == (form, "m", 3, "RETRIEVAL_QUERY")
    assert json.loads(write_request(request, Losses(), form)) == body


def test_from_openai_and_back() -> None:
    body = {"model": "m", "input": ["a", "b"], "dimensions": 3, "user": "u", "encoding_format": "base64"}
    losses = Losses()
    written = json.loads(write_request(vectors.read_request(json.dumps(body).encode()), losses))
    content = {"model": "models/m", "outputDimensionality": 3}
    assert written == {"requests": [{**content, "content": {"parts": [{"text": text}]}} for text in "ab"]}
    assert losses.names() == ["user"]
    losses = Losses()
    request, _ = read_request(json.dumps(BODIES[1][1]).encode())
    assert json.loads(vectors.write_request(request, losses)) == {"model": "m", "input": ["a", "b"], "dimensions": 3}
    assert losses.names() == ["task_type"]


def test_tokens_are_refused() -> None:
    request = vectors.read_request(b'{"model":"m","input":[1,2]}')
    with pytest.raises(Refusal, match="does not take tokens"):
        write_request(request, Losses())


@pytest.mark.parametrize("body", [b"{}", b"5", b'{"requests":[]}', b'{"content":{"parts":[{"inlineData":{}}]}}'])
def test_malformed(body: bytes) -> None:
    with pytest.raises(Refusal):
        read_request(body, model="m")


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"embedding": {"values": [0.5, 1]}}, None),
        ({"embeddings": [{"values": [0.5, 1]}], "usageMetadata": {"promptTokenCount": 4}}, Usage(4)),
        ({"predictions": [{"embeddings": {"values": [0.5, 1], "statistics": {"token_count": 4}}}]}, Usage(4)),
    ],
)
def test_answers(body: dict[str, Any], usage: Usage | None) -> None:
    answer = read_answer(json.dumps(body).encode(), model="m")
    assert (answer.vectors, answer.usage) == ([[0.5, 1]], usage)
    for form in ("single", "batch", "predict"):
        again = read_answer(write_answer(answer, Losses(), form), model="m")
        assert (again.vectors, again.usage) == (answer.vectors, usage)
    theirs = json.loads(vectors.write_answer(answer, Losses(), "base64"))
    assert vectors.unpacked(theirs["data"][0]["embedding"]) == [0.5, 1]
    assert theirs["usage"]["prompt_tokens"] == (4 if usage else 0)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embedding":{"values":["x"]}}', b'{"predictions":[1]}'])
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(body)
