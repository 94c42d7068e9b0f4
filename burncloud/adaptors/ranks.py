"""Reranking: its canonical form, and the forms that vendors have of it.

"rerank" is what Jina, Cohere's v1, SiliconFlow, Together, OpenRouter, vLLM and llama.cpp have in common;
"cohere-rerank" is Cohere's v2; Voyage, DashScope and Bedrock's InvokeModel have forms of their own.  Answers tell
indexes and scores; documents that a client wants back are put in from its request, whatever the upstream's words for
that are.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from burncloud.adaptors import openai_other
from burncloud.adaptors.bodies import answer_of, put, request_bytes
from burncloud.adaptors.canon import Extra, Losses, Unreadable
from burncloud.adaptors.fields import Fields, body_fields, malformed
from burncloud.adaptors.reading import stated, whole
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, Refusal

Form = Literal["rerank", "cohere-rerank", "voyage-rerank", "dashscope-rerank", "bedrock-rerank"]
COHERE_ON_BEDROCK: Final = 2
"""`api_version` that Cohere's models want there."""


class RankRequest(msgspec.Struct, tag="rank"):
    """Documents to be put in the order of their relevance."""

    model: str
    query: str
    documents: list[Any]
    """Texts; or objects, whose `text` it is, or whose members are read (Cohere v1)."""
    top_n: int | None = None
    return_documents: bool = False
    max_tokens_per_doc: int | None = None
    instruction: str = ""
    fields: list[str] = []
    """Members of documents to be read, where they are objects (Cohere's rank_fields); empty = all."""
    dialect: str = ""
    extra: Extra = {}
    stream: bool = False
    """Never: as with conversations."""
    include_usage: bool = False
    bound: str = ""


class RankAnswer(msgspec.Struct):
    """(index of the document, its score), the best first."""

    id: str
    model: str
    results: list[tuple[int, float]]
    usage: Usage | None = None
    search_units: int = 0
    """What Cohere bills."""
    dialect: str = ""


# Requests of clients


def read_common(body: bytes, *, model: str = "", stream: bool = False) -> RankRequest:
    """A request at /v1/rerank; Voyage's `top_k` counts as `top_n`.  Raises Refusal."""
    return _read(body_fields(body), model, "rerank")


def read_cohere(body: bytes, *, model: str = "", stream: bool = False) -> RankRequest:
    """A request at /v2/rerank.  Raises Refusal."""
    return _read(body_fields(body), model, "cohere-rerank")


def read_none(body: bytes, *, model: str = "", stream: bool = False) -> RankRequest:
    """The other forms are never a client's."""
    raise AssertionError("no client speaks this")


def _read(fields: Fields, model: str, dialect: str) -> RankRequest:
    request = RankRequest(fields.text("model") or model, fields.needed("query"), [], dialect=dialect)
    if not request.model:
        raise malformed("model", "given")
    request.documents = fields.items("documents")
    if not request.documents or any(type(one) not in (str, dict) for one in request.documents):
        raise malformed("documents", "a list of texts or objects")
    top_n, top_k = fields.whole("top_n"), fields.whole("top_k")
    request.top_n = top_k if top_n is None else top_n
    request.return_documents = fields.flag("return_documents") or False
    request.max_tokens_per_doc = fields.whole("max_tokens_per_doc")
    request.instruction = fields.text("instruction") or fields.text("instruct")
    request.fields = fields.texts("rank_fields")
    request.extra = {name: value for name, value in fields.rest().items() if value is not None}
    return request


# Requests to vendors


def write_common(request: RankRequest, losses: Losses) -> bytes:
    """At /v1/rerank.  Documents are not asked back."""
    return request_bytes(_common, request, losses)


def _common(request: RankRequest, losses: Losses) -> dict[str, Any]:
    _lose(request, losses, "max_tokens_per_doc", "instruction")
    return {**_asked(request, losses, "top_n"), "return_documents": False}


def write_cohere(request: RankRequest, losses: Losses) -> bytes:
    """At Cohere's /v2/rerank."""
    return request_bytes(_cohere, request, losses)


def _cohere(request: RankRequest, losses: Losses) -> dict[str, Any]:
    _lose(request, losses, "instruction")
    body = _asked(request, losses, "top_n")
    put(body, max_tokens_per_doc=request.max_tokens_per_doc)
    return body


def write_voyage(request: RankRequest, losses: Losses) -> bytes:
    """At Voyage's /v1/rerank."""
    return request_bytes(_voyage, request, losses)


def _voyage(request: RankRequest, losses: Losses) -> dict[str, Any]:
    _lose(request, losses, "max_tokens_per_doc", "instruction", own=("truncation",))
    body = _asked(request, losses, "top_k")
    put(body, truncation=request.extra.get("truncation"))
    return body


def write_dashscope(request: RankRequest, losses: Losses) -> bytes:
    """At DashScope's own API."""
    return request_bytes(_dashscope, request, losses)


def _dashscope(request: RankRequest, losses: Losses) -> dict[str, Any]:
    _lose(request, losses, "max_tokens_per_doc")
    asked = _asked(request, losses, "top_n")
    parameters: dict[str, Any] = {}
    put(parameters, top_n=asked.get("top_n"), instruct=request.instruction)
    inner = {"query": request.query, "documents": asked["documents"]}
    return {"model": request.model, "input": inner, "parameters": parameters}


def write_bedrock(request: RankRequest, losses: Losses) -> bytes:
    """For InvokeModel of Cohere's and Amazon's rerankers."""
    return request_bytes(_bedrock, request, losses)


def _bedrock(request: RankRequest, losses: Losses) -> dict[str, Any]:
    is_cohere = "cohere." in request.model
    _lose(request, losses, "instruction", *(() if is_cohere else ("max_tokens_per_doc",)))
    body = _asked(request, losses, "top_n")
    del body["model"]  # it stands in the path
    if is_cohere:
        put(body, max_tokens_per_doc=request.max_tokens_per_doc, api_version=COHERE_ON_BEDROCK)
    return body


def _lose(request: RankRequest, losses: Losses, *members: str, own: tuple[str, ...] = ()) -> None:
    """Name what the target has no word for; `own`: members that it knows by their own names."""
    for name in members:
        if getattr(request, name):
            losses.add(name)
    losses.extra({name: value for name, value in request.extra.items() if name not in own})


def _asked(request: RankRequest, losses: Losses, limit: str) -> dict[str, Any]:
    """What all forms have."""
    documents = [_text(one, at, request.fields, losses) for at, one in enumerate(request.documents)]
    body: dict[str, Any] = {"model": request.model, "query": request.query, "documents": documents}
    put(body, **{limit: request.top_n})
    return body


def _text(document: Any, at: int, fields: list[str], losses: Losses) -> str:
    """A document as the text that is ranked: Cohere's advice for objects is a line for each member."""
    if type(document) is str:
        return document
    if type(document.get("text")) is str and fields in ([], ["text"]):
        if len(document) > 1:
            losses.add("documents")
        return str(document["text"])
    lines = [f"{name}: {value}" for name, value in document.items() if not fields or name in fields]
    if not lines or "image" in document:
        raise Refusal(INVALID_REQUEST, f"documents[{at}] has no text, and this model ranks nothing else")
    losses.add("documents")
    return "\n".join(lines)


# Answers of vendors


def read_answer(body: bytes) -> RankAnswer:
    """The answer of any form; Unreadable if it is none."""
    return answer_of(_read_answer, body)


def _read_answer(value: Any) -> RankAnswer:
    if type(value) is not dict:
        raise Unreadable("the upstream's answer holds no ranks")
    output = value.get("output")
    holder = output if type(output) is dict else value
    found = holder.get("results") if "results" in holder else holder.get("data")
    if type(found) is not list:
        raise Unreadable("the upstream's answer holds no ranks")
    stating = stated(openai_other.Body, value)
    units = stating.meta.billed_units if stating.meta is not None else None
    key, model = value.get("id") or value.get("request_id"), value.get("model")
    return RankAnswer(
        key if type(key) is str else "",
        model if type(model) is str else "",
        [_rank(one) for one in found],
        openai_other.usage_of(stating),
        whole(units.search_units) if units is not None else 0,
    )


def _rank(value: Any) -> tuple[int, float]:
    given: dict[str, Any] = value if type(value) is dict else {}
    at: Any = given.get("index")
    score: Any = given.get("relevance_score", given.get("score"))
    if type(at) is not int or at < 0 or type(score) not in (int, float):
        raise Unreadable("the upstream's answer holds a rank without an index or a score")
    return at, score


# Answers to clients


def write_common_answer(answer: RankAnswer, request: RankRequest, losses: Losses) -> bytes:
    """What clients of Jina's and of Cohere's v1 form both read."""
    body: dict[str, Any] = {"id": answer.id, "object": "list", "model": answer.model or request.model}
    body["results"] = _results(answer, request)
    usage = answer.usage
    if usage is not None and usage.total():
        body["usage"] = {"prompt_tokens": usage.total(), "completion_tokens": 0, "total_tokens": usage.total()}
    body["meta"] = _meta(answer, "1")
    return msgspec.json.encode(body)


def write_cohere_answer(answer: RankAnswer, request: RankRequest, losses: Losses) -> bytes:
    """Cohere's v2."""
    body = {"id": answer.id, "results": _results(answer, request), "meta": _meta(answer, "2")}
    return msgspec.json.encode(body)


def _meta(answer: RankAnswer, version: str) -> dict[str, Any]:
    units: dict[str, Any] = {}
    if answer.search_units:
        units["search_units"] = answer.search_units
    elif answer.usage is not None and answer.usage.total():
        units["input_tokens"] = answer.usage.total()
    return {"api_version": {"version": version}, **({"billed_units": units} if units else {})}


def _results(answer: RankAnswer, request: RankRequest) -> list[dict[str, Any]]:
    """As many as were asked for, with their documents where these are wanted."""
    results: list[dict[str, Any]] = []
    for at, score in answer.results[: request.top_n]:
        result: dict[str, Any] = {"index": at, "relevance_score": score}
        if request.return_documents and at < len(request.documents):
            document = request.documents[at]
            result["document"] = {"text": document} if type(document) is str else document
        results.append(result)
    return results
