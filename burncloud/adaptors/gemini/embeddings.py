"""Embeddings in Gemini's three forms.

single    :embedContent        {content, taskType, title, outputDimensionality} → {embedding}
batch     :batchEmbedContents  {requests: [the same with model]} → {embeddings}
predict   :predict (Vertex AI) {instances: [{content, task_type, title}], parameters} → {predictions}
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from burncloud.adaptors.bodies import answer_of
from burncloud.adaptors.canon import Losses, Unreadable
from burncloud.adaptors.fields import Fields, body_fields, malformed
from burncloud.adaptors.gemini.answer import read_usage, write_usage
from burncloud.adaptors.gemini.names import DIALECT, Names
from burncloud.adaptors.reading import whole
from burncloud.adaptors.vectors import EmbedAnswer, EmbedRequest, floats
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, Refusal

Form = Literal["single", "batch", "predict"]
METHODS: Final[dict[Form, str]] = {"single": "embedContent", "batch": "batchEmbedContents", "predict": "predict"}
"""Form to the end of the URL."""

# Requests


def read_request(body: bytes, *, model: str = "") -> tuple[EmbedRequest, Form]:
    """(the request, the form it came in); Refusal if it is malformed."""
    fields = Names(body_fields(body).rest())
    request = EmbedRequest(model or fields.text("model").removeprefix("models/"), [], dialect=DIALECT)
    form: Form = "single"
    if "requests" in fields:
        form = "batch"
        for inner in fields.listed("requests"):
            named = inner.text("model").removeprefix("models/")
            request.model = request.model or named
            _read_one(inner, request)
    elif "instances" in fields:
        form = "predict"
        parameters = fields.inner("parameters") or Names({})
        request.dimensions = parameters.whole("outputDimensionality")
        request.extra = {f"parameters.{name}": value for name, value in parameters.rest().items()}
        for inner in fields.listed("instances"):
            request.inputs.append(inner.needed("content"))
            _read_kind(inner, request)
    else:
        _read_one(fields, request)
    if not request.model:
        raise malformed("model", "given")
    if not request.inputs:
        raise malformed("requests", "a list of at least one request")
    request.single = form == "single"
    fields.take("model")
    if form != "single":
        request.extra.update(_rest(fields))
    return request, form


def _rest(fields: Fields) -> dict[str, Any]:
    return {name: value for name, value in fields.rest().items() if value is not None}


def _read_one(fields: Names, request: EmbedRequest) -> None:
    """One content; what it is for must be the same for all of a batch, as other dialects know it only once."""
    content = fields.inner("content")
    if content is None:
        raise malformed(fields.at("content"), "given")
    texts = [part.needed("text") for part in content.listed("parts")]
    if not texts:
        raise malformed(content.at("parts"), "a list of texts")
    request.inputs.append("".join(texts))
    request.dimensions = fields.whole("outputDimensionality") or request.dimensions
    _read_kind(fields, request)
    request.extra.update(_rest(fields))


def _read_kind(fields: Names, request: EmbedRequest) -> None:
    request.purpose = fields.text("taskType") or request.purpose
    request.title = fields.text("title") or request.title


def write_request(request: EmbedRequest, losses: Losses, form: Form = "batch") -> bytes:
    """The body; Refusal for tokens, which only OpenAI's models can read, and for many texts in the single form."""
    texts = [text for text in request.inputs if type(text) is str]
    if len(texts) < len(request.inputs):
        raise Refusal(INVALID_REQUEST, "input must be text: this model does not take tokens")
    if form == "single" and len(texts) != 1:
        raise Refusal(INVALID_REQUEST, "input must be one text for this model")
    if request.user:
        losses.add("user")
    own = request.dialect == DIALECT
    if not own:
        losses.extra(request.extra)
    if form == "predict":
        kind = _said(task_type=request.purpose, title=request.title)
        body: dict[str, Any] = {"instances": [{"content": text, **kind} for text in texts]}
        if request.dimensions is not None:
            body["parameters"] = {"outputDimensionality": request.dimensions}
        return msgspec.json.encode(body)
    kind = _said(taskType=request.purpose, title=request.title, outputDimensionality=request.dimensions)
    kind |= request.extra if own else {}
    values = [{"content": {"parts": [{"text": text}]}, **kind} for text in texts]
    if form == "single":
        return msgspec.json.encode(values[0])
    name = f"models/{request.model}"
    return msgspec.json.encode({"requests": [{"model": name, **value} for value in values]})


def _said(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "")}


# Answers


def read_answer(body: bytes, *, model: str = "") -> EmbedAnswer:
    """The vectors of any form; Unreadable if the body holds none.  The answers do not tell the model."""
    return answer_of(lambda value: _read(value, model), body)


def _read(value: Any, model: str) -> EmbedAnswer:
    if type(value) is not dict:
        raise Unreadable("the upstream's answer holds no embeddings")
    answer = EmbedAnswer(model, [], dialect=DIALECT)
    usage = value.get("usageMetadata")
    answer.usage = read_usage(usage) if type(usage) is dict else None
    if type(value.get("predictions")) is list:
        _read_predictions(value["predictions"], answer)
        return answer
    found = value.get("embeddings")
    if type(value.get("embedding")) is dict:
        found = [value["embedding"]]
    if type(found) is not list or any(type(one) is not dict for one in found):
        raise Unreadable("the upstream's answer holds no embeddings")
    answer.vectors = [floats(one.get("values")) for one in found]
    return answer


def _read_predictions(predictions: list[Any], answer: EmbedAnswer) -> None:
    tokens = 0
    for prediction in predictions:
        inner = prediction.get("embeddings") if type(prediction) is dict else None
        if type(inner) is not dict:
            raise Unreadable("the upstream's answer holds no embeddings")
        answer.vectors.append(floats(inner.get("values")))
        statistics = inner.get("statistics")
        count: Any = statistics.get("token_count") if type(statistics) is dict else None
        tokens += whole(count) if type(count) in (int, float) else 0
    answer.usage = Usage(tokens) if tokens else answer.usage


def write_answer(answer: EmbedAnswer, losses: Losses, form: Form = "batch") -> bytes:
    """The vectors in the form that the client asked in."""
    if answer.dialect != DIALECT:
        losses.extra(answer.extra)
    if form == "predict":
        tokens = answer.usage.total() if answer.usage is not None else 0
        share = [tokens] + [0] * len(answer.vectors)  # only their sum is known
        predictions = [
            {"embeddings": {"values": vector, "statistics": {"token_count": share[at], "truncated": False}}}
            for at, vector in enumerate(answer.vectors)
        ]
        return msgspec.json.encode({"predictions": predictions})
    values = [{"values": vector} for vector in answer.vectors]
    body: dict[str, Any] = {"embeddings": values}
    if form == "single":
        body = {"embedding": values[0] if values else {"values": []}}
    if answer.usage is not None:
        usage = write_usage(answer.usage, losses)
        body["usageMetadata"] = {name: usage[name] for name in ("promptTokenCount", "promptTokensDetails")}
    return msgspec.json.encode(body)
