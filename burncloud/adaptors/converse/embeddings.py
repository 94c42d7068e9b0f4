"""Embeddings of Titan and Cohere models, which InvokeModel takes each in its vendor's own form.

Titan embeds one text a call: `bodies` gives one body for each text, and `joined` puts their answers together.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from burncloud.adaptors.bodies import answer_of
from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.reading import whole
from burncloud.adaptors.vectors import EmbedAnswer, EmbedRequest, floats
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, Refusal

DIALECT: Final = "converse"
COHERE_TEXTS_MAX: Final = 96
"""Texts in one call."""

Form = Literal["titan-1", "titan-2", "cohere-3", "cohere-4"]
_FORMS: Final[tuple[tuple[str, Form], ...]] = (
    ("titan-embed-text-v2", "titan-2"),
    ("titan-embed", "titan-1"),
    ("cohere.embed-v4", "cohere-4"),
    ("cohere.embed", "cohere-3"),
)
_PURPOSES: Final = {
    "RETRIEVAL_QUERY": "search_query", "QUESTION_ANSWERING": "search_query", "FACT_VERIFICATION": "search_query",
    "CODE_RETRIEVAL_QUERY": "search_query", "CLASSIFICATION": "classification", "CLUSTERING": "clustering",
}  # fmt: skip
"""Gemini's taskType → Cohere's input_type; anything else is a document."""


def form_of(model: str) -> Form:
    """How a model is asked; Refusal for one that makes no embeddings of texts."""
    found = next((form for name, form in _FORMS if name in model.lower()), None)
    if found is None:
        raise Refusal(INVALID_REQUEST, "this model gives no embeddings of texts")
    return found


def bodies(request: EmbedRequest, losses: Losses) -> list[bytes]:
    """The bodies of the calls that it takes, in the order of the inputs."""
    form = form_of(request.model)
    texts = [text for text in request.inputs if type(text) is str]
    if len(texts) < len(request.inputs):
        raise Refusal(INVALID_REQUEST, "input must be text: this model does not take tokens")
    if request.user:
        losses.add("user")
    if request.title:
        losses.add("title")
    losses.extra(request.extra)
    dimensions = request.dimensions
    if dimensions is not None and form in ("titan-1", "cohere-3"):
        losses.add("dimensions")
        dimensions = None
    try:
        if form.startswith("cohere"):
            return [
                msgspec.json.encode(_cohere(texts[at : at + COHERE_TEXTS_MAX], request.purpose, form, dimensions))
                for at in range(0, len(texts), COHERE_TEXTS_MAX)
            ]
        if request.purpose:
            losses.add("task_type")
        size = {} if dimensions is None else {"dimensions": dimensions}
        return [msgspec.json.encode({"inputText": text, **size}) for text in texts]
    except ValueError as error:
        raise Refusal(INVALID_REQUEST, f"the request cannot be translated: {error}") from None


def _cohere(texts: list[str], purpose: str, form: Form, dimensions: int | None) -> dict[str, Any]:
    body: dict[str, Any] = {"texts": texts, "input_type": _PURPOSES.get(purpose, "search_document")}
    if form == "cohere-4":
        body["embedding_types"] = ["float"]
    if dimensions is not None:
        body["output_dimension"] = dimensions
    return body


def write_request(request: EmbedRequest, losses: Losses) -> bytes:
    """The body of the one call that it takes; Refusal where it takes several."""
    found = bodies(request, losses)
    if len(found) != 1:
        most = "one text" if form_of(request.model).startswith("titan") else f"at most {COHERE_TEXTS_MAX} texts"
        raise Refusal(INVALID_REQUEST, f"input must be {most} for this model")
    return found[0]


def read_answer(body: bytes, *, model: str = "") -> EmbedAnswer:
    """The vectors of one call; Unreadable if it holds none.  Cohere's tokens stand in a header (translation.py)."""
    return answer_of(lambda value: _read(value, model), body)


def _read(value: Any, model: str) -> EmbedAnswer:
    if type(value) is not dict:
        raise Unreadable("the upstream's answer holds no embeddings")
    answer = EmbedAnswer(model, [], dialect=DIALECT)
    found = value.get("embeddings")
    if type(found) is dict:
        found = found.get("float")
    if type(value.get("embedding")) is list:
        found = [value["embedding"]]
    if type(found) is not list:
        raise Unreadable("the upstream's answer holds no embeddings")
    answer.vectors = [floats(one) for one in found]
    stated = value.get("inputTextTokenCount")
    if type(stated) in (int, float):
        answer.usage = Usage(whole(stated))
    return answer


def joined(answers: list[EmbedAnswer]) -> EmbedAnswer:
    """The answers of several calls as one."""
    vectors = [vector for answer in answers for vector in answer.vectors]
    stated = [answer.usage.input for answer in answers if answer.usage is not None]
    usage = Usage(sum(stated)) if stated and len(stated) == len(answers) else None
    return EmbedAnswer(answers[0].model if answers else "", vectors, usage, DIALECT)
