"""Reranking in the forms of its vendors (their API references: Cohere v1 and v2, Jina, Voyage, DashScope, Bedrock)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors import ranks
from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.errors import Refusal

ASKED: dict[str, Any] = {"model": "m", "query": "q", "documents": ["a", "b", "c"], "top_n": 2}
VENDORS = ("rerank", "cohere-rerank", "voyage-rerank", "dashscope-rerank", "bedrock-rerank")


def written(dialect: str, body: dict[str, Any], model: str = "m", client: str = "rerank") -> tuple[Any, list[str]]:
    """(body for the vendor, what is lost)."""
    request = SPOKEN[client].read_request(json.dumps(body).encode())
    request.model = model
    losses = Losses()
    return json.loads(SPOKEN[dialect].write_request(request, losses)), losses.names()


@pytest.mark.parametrize("client", ["rerank", "cohere-rerank"])
@pytest.mark.parametrize(
    ("dialect", "model", "body"),
    [
        ("rerank", "m", {**ASKED, "return_documents": False}),
        ("cohere-rerank", "m", ASKED),
        ("voyage-rerank", "m", {"model": "m", "query": "q", "documents": ["a", "b", "c"], "top_k": 2}),
        (
            "dashscope-rerank", "m",
            {"model": "m", "input": {"query": "q", "documents": ["a", "b", "c"]}, "parameters": {"top_n": 2}},
        ),
        (
            "bedrock-rerank", "cohere.rerank-v3-5:0",
            {"query": "q", "documents": ["a", "b", "c"], "top_n": 2, "api_version": 2},
        ),
        ("bedrock-rerank", "amazon.rerank-v1:0", {"query": "q", "documents": ["a", "b", "c"], "top_n": 2}),
    ],
)  # fmt: skip
def test_every_vendors_form(client: str, dialect: str, model: str, body: dict[str, Any]) -> None:
    assert written(dialect, ASKED, model, client) == (body, [])


def test_voyages_clients() -> None:
    body, lost = written(
        "cohere-rerank", {"model": "m", "query": "q", "documents": ["a"], "top_k": 1, "truncation": True}
    )
    assert (body["top_n"], lost) == (1, ["truncation"])
    assert written("voyage-rerank", {"model": "m", "query": "q", "documents": ["a"], "truncation": False})[0] == {
        "model": "m", "query": "q", "documents": ["a"], "truncation": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("dialect", "lost"),
    [
        ("rerank", ["instruction", "max_chunks_per_doc", "max_tokens_per_doc"]),
        ("cohere-rerank", ["instruction", "max_chunks_per_doc"]),
        ("voyage-rerank", ["instruction", "max_chunks_per_doc", "max_tokens_per_doc"]),
        ("dashscope-rerank", ["max_chunks_per_doc", "max_tokens_per_doc"]),
        ("bedrock-rerank", ["instruction", "max_chunks_per_doc", "max_tokens_per_doc"]),
    ],
)
def test_what_a_vendor_has_no_word_for_is_named(dialect: str, lost: list[str]) -> None:
    more = {"max_tokens_per_doc": 9, "instruction": "i", "max_chunks_per_doc": 3, "return_documents": True}
    assert written(dialect, {**ASKED, **more})[1] == lost


@pytest.mark.parametrize(
    ("document", "fields", "text", "lost"),
    [
        ({"text": "a"}, [], "a", []),
        ({"text": "a", "title": "t"}, [], "a", ["documents"]),
        ({"text": "a", "title": "t"}, ["title", "text"], "text: a\ntitle: t", ["documents"]),
        ({"title": "t", "year": 7}, [], "title: t\nyear: 7", ["documents"]),
    ],
)
def test_objects_as_text(document: Any, fields: list[str], text: str, lost: list[str]) -> None:
    body, named = written("cohere-rerank", {**ASKED, "documents": [document, "b"], "rank_fields": fields})
    assert (body["documents"], named) == ([text, "b"], lost)


def test_pictures_are_refused() -> None:
    for document in ({"image": "https://x/y.png"}, {}):
        with pytest.raises(Refusal, match=r"documents\[1\] has no text"):
            written("rerank", {**ASKED, "documents": ["a", document]})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"query": None}, "query must be given"), ({"documents": []}, "documents"), ({"documents": [1]}, "documents"),
        ({"documents": "a"}, "documents"), ({"top_n": "x"}, "top_n"), ({"model": None}, "model must be given"),
    ],
)  # fmt: skip
def test_malformed(change: dict[str, Any], why: str) -> None:
    with pytest.raises(Refusal, match=why):
        ranks.read_common(json.dumps({**ASKED, **change}).encode())


RESULTS = [{"index": 2, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}, {"index": 1, "score": 0}]
ANSWERS: list[tuple[str, dict[str, Any], int, int]] = [
    ("rerank", {"model": "u", "object": "list", "usage": {"total_tokens": 7}, "results": RESULTS}, 7, 0),
    ("rerank", {"id": "i", "results": RESULTS, "meta": {"tokens": {"input_tokens": 7, "output_tokens": 0}}}, 7, 0),
    ("cohere-rerank", {"id": "i", "results": RESULTS, "meta": {"billed_units": {"search_units": 3}}}, 0, 3),
    ("voyage-rerank", {"object": "list", "data": RESULTS, "model": "u", "usage": {"total_tokens": 7}}, 7, 0),
    ("dashscope-rerank", {"output": {"results": RESULTS}, "usage": {"total_tokens": 7}, "request_id": "i"}, 7, 0),
    ("bedrock-rerank", {"results": RESULTS}, 0, 0),
]


@pytest.mark.parametrize("client", ["rerank", "cohere-rerank"])
@pytest.mark.parametrize(("dialect", "body", "tokens", "units"), ANSWERS)
def test_every_vendors_answer(client: str, dialect: str, body: dict[str, Any], tokens: int, units: int) -> None:
    request = SPOKEN[client].read_request(json.dumps({**ASKED, "return_documents": client == "rerank"}).encode())
    asked = Asked(request, "m")
    answer = SPOKEN[dialect].read_answer(json.dumps(body).encode(), asked.without_content())
    told = json.loads(SPOKEN[client].write_answer(answer, asked.without_content(), Losses()))
    assert [(one["index"], one["relevance_score"]) for one in told["results"]] == [(2, 0.9), (0, 0.1)]
    documents = [one.get("document") for one in told["results"]]
    assert documents == ([{"text": "c"}, {"text": "a"}] if client == "rerank" else [None, None])
    billed = {"search_units": units} if units else {"input_tokens": tokens} if tokens else None
    assert told["meta"].get("billed_units") == billed
    assert told.get("usage", {}).get("total_tokens", 0) == (tokens if client == "rerank" else 0)


@pytest.mark.parametrize(
    "body", [b"{}", b"[]", b'{"results":[1]}', b'{"results":[{"index":0}]}', b'{"output":{"results":1}}']
)
def test_unreadable(body: bytes) -> None:
    with pytest.raises(Unreadable):
        ranks.read_answer(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 10**20) | st.floats(allow_nan=False) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = (
    "model", "query", "documents", "top_n", "top_k", "return_documents", "rank_fields", "results", "data", "meta",
    "usage", "output", "id",
)  # fmt: skip


@given(
    st.dictionaries(st.sampled_from(MEMBERS), JSON),
    st.sampled_from(VENDORS),
    st.sampled_from(["rerank", "cohere-rerank"]),
)
def test_anything(change: dict[str, Any], vendor: str, client: str) -> None:
    """A result, a refusal or an answer that cannot be read; never another exception."""
    losses = Losses()
    try:
        request = SPOKEN[client].read_request(json.dumps({**ASKED, **change}).encode())
        SPOKEN[vendor].write_request(request, losses)
    except Refusal:
        request = SPOKEN[client].read_request(json.dumps(ASKED).encode())
    asked = Asked(request, "m")
    try:
        answer = SPOKEN[vendor].read_answer(json.dumps({"results": RESULTS, **change}).encode(), asked)
    except Unreadable:
        return
    SPOKEN[client].write_answer(answer, asked, losses)
