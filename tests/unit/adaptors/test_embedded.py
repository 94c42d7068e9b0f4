"""Embeddings from each client's dialect to each upstream's and back."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from burncloud.adaptors import canon, translation
from burncloud.adaptors.spoken import SPOKEN
from burncloud.adaptors.translation import Job, Translation
from burncloud.errors import Refusal

OPENAI = {"model": "m", "input": ["a", "b"], "dimensions": 2}
GEMINI = {"requests": [{"model": "models/m", "content": {"parts": [{"text": text}]}} for text in "ab"]}
SINGLE = {"content": {"parts": [{"text": "a"}]}}
ANSWERS: dict[str, Any] = {
    "embeddings": {
        "object": "list", "model": "up", "usage": {"prompt_tokens": 2, "total_tokens": 2},
        "data": [{"object": "embedding", "index": n, "embedding": [0.5, float(n)]} for n in range(2)],
    },
    "gemini-embeddings": {"embeddings": [{"values": [0.5, float(n)]} for n in range(2)]},
}  # fmt: skip


def through(client: str, upstream: str, asked: Any, answer: Any, name: str = "up") -> tuple[Any, Any]:
    """(what the upstream gets, what the client gets)."""
    content, done = translation.work(Job(client, upstream, "m", name, False), msgspec.json.encode(asked))
    turned = Translation(SPOKEN[client], SPOKEN[upstream], done.asked, canon.Losses(done.losses))
    return msgspec.json.decode(content), msgspec.json.decode(turned.whole(msgspec.json.encode(answer)))


def test_from_openai_to_gemini() -> None:
    sent, heard = through("embeddings", "gemini-embeddings", OPENAI, ANSWERS["gemini-embeddings"])
    assert [one["content"]["parts"][0]["text"] for one in sent["requests"]] == ["a", "b"]
    assert [one["embedding"] for one in heard["data"]] == [[0.5, 0.0], [0.5, 1.0]]


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_encoding_that_was_asked_for(encoding: str) -> None:
    _, heard = through(
        "embeddings", "gemini-embeddings", {**OPENAI, "encoding_format": encoding}, ANSWERS["gemini-embeddings"]
    )
    assert all(isinstance(one["embedding"], str) is (encoding == "base64") for one in heard["data"])


def test_from_gemini_to_openai() -> None:
    """Many texts, and one, each answered in its own form."""
    sent, heard = through("gemini-embeddings", "embeddings", GEMINI, ANSWERS["embeddings"])
    assert (sent["model"], sent["input"]) == ("up", ["a", "b"])
    assert [one["values"] for one in heard["embeddings"]] == [[0.5, 0.0], [0.5, 1.0]]
    answer = {**ANSWERS["embeddings"], "data": ANSWERS["embeddings"]["data"][:1]}
    _, heard = through("gemini-embeddings", "embeddings", SINGLE, answer)
    assert heard["embedding"]["values"] == [0.5, 0.0]


def test_to_titan() -> None:
    """One text a call; more is refused with a sentence."""
    titan = "amazon.titan-embed-text-v2:0"
    answer = {"embedding": [0.5, 0.0], "inputTextTokenCount": 1}
    sent, heard = through("embeddings", "bedrock-embeddings", {**OPENAI, "input": "a"}, answer, titan)
    assert (sent["inputText"], heard["data"][0]["embedding"]) == ("a", [0.5, 0.0])
    with pytest.raises(Refusal, match="one text"):
        through("embeddings", "bedrock-embeddings", OPENAI, answer, titan)
