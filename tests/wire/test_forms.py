"""Ranks, counts and embeddings over the recordings: what each vendor said is told to clients of every form of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors.canon import Losses
from burncloud.adaptors.meter import read_plain
from burncloud.adaptors.ranks import RankRequest
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.vectors import EmbedRequest
from burncloud.errors import Refusal
from tests.wire.cases import Case, cases
from tests.wire.recordings import ABSENT, WIRE, index

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)

RANKS = {"cohere": "cohere-rerank", "voyage": "voyage-rerank", "dashscope": "dashscope-rerank"}
"""Provider → its form; all others have the common one."""
COUNTS = {"anthropic": "count_tokens", "gemini": "countTokens", "vertex": "vertex-count", "openai": "input_tokens",
          "bedrock": "bedrock-count"}  # fmt: skip


def path_of(case: Case) -> str:
    request = json.loads((WIRE / case.name).read_text())["request"] or {}
    return str(request.get("path") or "")


def test_ranks() -> None:
    """Indexes and scores as they were, billed as the vendor says; each recorded request in every form and back."""
    count = 0
    for case in cases("rerank"):
        provider = case.row["provider"]
        upstream = SPOKEN[RANKS.get(provider, "rerank")]
        if case.status != 200:
            assert upstream.read_failure(case.status, case.content).message
            continue
        count += 1
        said = json.loads(case.content)
        want = (said.get("output") or said).get("results") or said.get("data")
        asked = Asked(RankRequest("m", "q", ["x"] * 100), "m")
        answer = upstream.read_answer(case.content, asked)
        for client in ("rerank", "cohere-rerank"):
            told = json.loads(SPOKEN[client].write_answer(answer, asked, Losses()))
            assert [(one["index"], one["relevance_score"]) for one in told["results"]] == [
                (one["index"], one["relevance_score"]) for one in want
            ], case.name
        usage = case.row["usage"]
        reading = read_plain(upstream.family, upstream.endpoint, case.content)
        assert answer.search_units == (usage.get("search_units") or 0), case.name
        assert reading.usage is not None
        assert reading.usage.total() == (usage.get("total") or 0), case.name
        if case.request is None:
            continue
        inner = case.request.get("input", {})
        body = {**case.request, **inner, **case.request.get("parameters", {})}
        for name in ("input", "parameters"):
            body.pop(name, None)
        request = SPOKEN["rerank"].read_request(json.dumps(body).encode())
        assert isinstance(request, RankRequest)
        for form in set(RANKS.values()):
            written = SPOKEN[form].write_request(request, Losses())
            assert all(json.dumps(text)[1:-1] in json.dumps(json.loads(written)) for text in request.documents), (
                case.name
            )
    assert count > 7


def test_counts() -> None:
    """Each recorded request counted in every form, each count told in every form."""
    count = asked_for = 0
    models = {"bedrock-count": "anthropic.claude-sonnet-4-20250514-v1:0", "count_tokens": "claude-sonnet-4-5"}
    for case in cases("count_tokens"):
        upstream = SPOKEN[COUNTS[case.row["provider"]]]
        asked: Any = None
        if upstream.name in ("count_tokens", "countTokens", "input_tokens") and case.request is not None:
            request = upstream.read_request(json.dumps(case.request).encode(), model="m")
            asked = Asked(request, "m")
            for form in COUNTS.values():
                request.model = models.get(form, "m")
                try:
                    written = json.loads(SPOKEN[form].write_request(request, Losses()))
                except Refusal:
                    continue
                asked_for += 1
                assert written, case.name
                if form == upstream.name == "countTokens" and "generateContentRequest" not in case.request:
                    assert (
                        written["generateContentRequest"]["contents"][0]["parts"]
                        == case.request["contents"][0]["parts"]
                    )
        if case.status != 200:
            assert upstream.read_failure(case.status, case.content).message
            continue
        count += 1
        tokens = upstream.read_answer(case.content, asked)
        assert tokens == case.row["usage"]["input"], case.name
        for client in ("count_tokens", "countTokens", "input_tokens"):
            assert SPOKEN[client].read_answer(SPOKEN[client].write_answer(tokens, asked, Losses()), asked) == tokens
    assert count > 14
    assert asked_for > 50


def test_vertex_embeddings() -> None:
    """What OpenAI's and Gemini's clients hear of :predict; the request that was recorded, written by us."""
    count = 0
    for case in cases("embeddings"):
        if case.row["provider"] != "vertex":
            continue
        upstream = SPOKEN["vertex-embeddings"]
        if case.status != 200:
            assert upstream.read_failure(case.status, case.content).message
            continue
        count += 1
        assert case.request is not None
        texts = [one["content"] for one in case.request["instances"]]
        size = case.request.get("parameters", {}).get("outputDimensionality")
        request = EmbedRequest("m", texts, dimensions=size, dialect="openai")
        losses = Losses()
        assert json.loads(upstream.write_request(request, losses)) == case.request, case.name
        assert not losses
        said = [one["embeddings"] for one in json.loads(case.content)["predictions"]]
        tokens = sum(one["statistics"]["token_count"] for one in said)
        answer = upstream.read_answer(case.content, Asked(request, "m"))
        told = json.loads(SPOKEN["embeddings"].write_answer(answer, Asked(request, "m"), Losses()))
        assert [one["embedding"] for one in told["data"]] == [one["values"] for one in said], case.name
        assert told["usage"]["prompt_tokens"] == tokens
        batch = as_said(request, "batch")
        told = json.loads(SPOKEN["gemini-embeddings"].write_answer(answer, Asked(batch, "m"), Losses()))
        assert [one["values"] for one in told["embeddings"]] == [one["values"] for one in said], case.name
        reading = read_plain(upstream.family, upstream.endpoint, case.content)
        assert reading.usage is not None
        assert reading.usage.input == tokens
    assert count == 3


def as_said(request: EmbedRequest, form: str) -> EmbedRequest:
    """The same, as Gemini's clients would have said it."""
    return EmbedRequest(request.model, request.inputs, dimensions=request.dimensions, form=form)
