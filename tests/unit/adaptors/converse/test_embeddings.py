"""Embeddings of Titan and Cohere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import vectors
from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.converse.embeddings import bodies, joined, read_answer, write_request
from burncloud.adaptors.vectors import EmbedAnswer, EmbedRequest
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal

TITAN = "amazon.titan-embed-text-v2:0"
TITAN_1 = "amazon.titan-embed-text-v1"
COHERE = "cohere.embed-english-v3"
COHERE_4 = "us.cohere.embed-v4:0"


def asked(model: str, *texts: Any, **more: Any) -> tuple[list[Any], list[str]]:
    losses = Losses()
    return [json.loads(body) for body in bodies(EmbedRequest(model, list(texts), **more), losses)], losses.names()


@pytest.mark.parametrize(
    ("model", "more", "want", "lost"),
    [
        (TITAN, {"dimensions": 256}, {"inputText": "a", "dimensions": 256}, []),
        (TITAN, {"purpose": "CLUSTERING"}, {"inputText": "a"}, ["task_type"]),
        (TITAN_1, {"dimensions": 256, "user": "u"}, {"inputText": "a"}, ["dimensions", "user"]),
        (COHERE, {"purpose": "RETRIEVAL_QUERY", "title": "t"}, {"texts": ["a"], "input_type": "search_query"},
         ["title"]),
        (COHERE_4, {"dimensions": 512, "extra": {"x": 1}},
         {"texts": ["a"], "input_type": "search_document", "embedding_types": ["float"], "output_dimension": 512},
         ["x"]),
    ],
)  # fmt: skip
def test_bodies(model: str, more: dict[str, Any], want: dict[str, Any], lost: list[str]) -> None:
    assert asked(model, "a", **more) == ([want], lost)


def test_many() -> None:
    assert [body["inputText"] for body in asked(TITAN, "a", "b")[0]] == ["a", "b"]
    assert [len(body["texts"]) for body in asked(COHERE, *["a"] * 100)[0]] == [96, 4]
    with pytest.raises(Refusal, match="input must be one text"):
        write_request(EmbedRequest(TITAN, ["a", "b"]), Losses())
    with pytest.raises(Refusal, match="at most 96 texts"):
        write_request(EmbedRequest(COHERE, ["a"] * 97), Losses())
    assert json.loads(write_request(EmbedRequest(TITAN, ["a"]), Losses())) == {"inputText": "a"}


def test_refused() -> None:
    with pytest.raises(Refusal, match="tokens"):
        asked(TITAN, [1, 2])
    with pytest.raises(Refusal, match="no embeddings"):
        asked("amazon.nova-lite-v1:0", "a")


@pytest.mark.parametrize(
    ("body", "want"),
    [
        ({"embedding": [0.5, 1], "inputTextTokenCount": 3}, EmbedAnswer("m", [[0.5, 1]], Usage(3), "converse")),
        ({"embeddings": [[0.5], [1]]}, EmbedAnswer("m", [[0.5], [1]], None, "converse")),
        ({"embeddings": {"float": [[0.5]]}}, EmbedAnswer("m", [[0.5]], None, "converse")),
    ],
)
def test_answers(body: dict[str, Any], want: EmbedAnswer) -> None:
    answer = read_answer(json.dumps(body).encode(), model="m")
    assert answer == want
    written = json.loads(vectors.write_answer(answer, Losses()))
    assert [one["embedding"] for one in written["data"]] == want.vectors
    assert written["usage"]["prompt_tokens"] == (0 if want.usage is None else want.usage.input)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"embedding":["a"]}', b'{"embeddings":{"int8":[[1]]}}'])
def test_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        read_answer(body)


def test_joined() -> None:
    parts = [EmbedAnswer("m", [[1.0]], Usage(2)), EmbedAnswer("m", [[2.0]], Usage(3))]
    assert joined(parts) == EmbedAnswer("m", [[1.0], [2.0]], Usage(5), "converse")
    parts[1].usage = None
    assert joined(parts).usage is None
