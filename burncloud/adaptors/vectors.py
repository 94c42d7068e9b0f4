"""Embeddings: their canonical form, and OpenAI's, which most vendors speak.

Vectors are lists of floats here.  OpenAI's clients ask for base64 (float32, little endian) and decode it themselves,
so an answer is written in the encoding that was asked for, whatever the upstream sent.
"""

from __future__ import annotations

import base64
import sys
from array import array
from typing import Any, Final, Literal

import msgspec

from burncloud.adaptors.canon import Extra, Losses, Unreadable
from burncloud.adaptors.fields import body_fields, malformed
from burncloud.adaptors.openai_embeddings import Body, usage_of
from burncloud.adaptors.reading import BAD_JSON
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, Refusal

DIALECT: Final = "openai"
Encoding = Literal["float", "base64"]


class EmbedRequest(msgspec.Struct, tag="embed"):
    """What is to be turned into vectors."""

    model: str
    inputs: list[str | list[int]]
    """Texts, or texts as OpenAI's tokens."""
    single: bool = False
    """It was said as one text, not as a list."""
    dimensions: int | None = None
    encoding: Encoding = "float"
    user: str = ""
    purpose: str = ""
    """Gemini's taskType, in its words (RETRIEVAL_QUERY, RETRIEVAL_DOCUMENT, …)."""
    title: str = ""
    """Of a document (Gemini)."""
    dialect: str = ""
    extra: Extra = {}
    form: str = ""
    """How Gemini's clients said it: single · batch · predict."""
    stream: bool = False
    """Never: as with conversations."""
    include_usage: bool = False
    bound: str = ""


class EmbedAnswer(msgspec.Struct):
    """The vectors, in the order of the inputs."""

    model: str
    vectors: list[list[float]]
    usage: Usage | None = None
    dialect: str = ""
    extra: Extra = {}


# Requests


def read_request(body: bytes, *, model: str = "") -> EmbedRequest:
    """OpenAI's embeddings request; Refusal if it is malformed."""
    fields = body_fields(body)
    request = EmbedRequest(fields.text("model") or model, [], dialect=DIALECT)
    if not request.model:
        raise malformed("model", "given")
    given = fields.take("input")
    request.single = type(given) is str
    request.inputs = _inputs(given)
    request.dimensions = fields.whole("dimensions")
    encoding = fields.text("encoding_format", "float")
    if encoding not in ("float", "base64"):
        raise malformed("encoding_format", "float or base64")
    request.encoding = "base64" if encoding == "base64" else "float"
    request.user = fields.text("user")
    request.extra = {name: value for name, value in fields.rest().items() if value is not None}
    return request


def _inputs(given: Any) -> list[str | list[int]]:
    """A text, texts, tokens or lists of tokens."""
    if type(given) is str:
        return [given]
    if type(given) is list and given:
        if all(type(one) is int for one in given):
            return [given]
        if all(type(one) is str or _is_tokens(one) for one in given):
            return given
    raise malformed("input", "a string, a list of strings or tokens")


def _is_tokens(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(one) is int for one in value)


def write_request(request: EmbedRequest, losses: Losses) -> bytes:
    """OpenAI's embeddings request."""
    body: dict[str, Any] = {"model": request.model}
    body["input"] = request.inputs[0] if request.single and len(request.inputs) == 1 else request.inputs
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if request.encoding != "float":
        body["encoding_format"] = request.encoding
    if request.user:
        body["user"] = request.user
    if request.purpose:
        losses.add("task_type")
    if request.title:
        losses.add("title")
    if request.dialect == DIALECT:
        body.update(request.extra)
    else:
        losses.extra(request.extra)
    try:
        return msgspec.json.encode(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(INVALID_REQUEST, f"the request cannot be translated: {error}") from None


# Answers


def read_answer(body: bytes) -> EmbedAnswer:
    """OpenAI's embeddings, in floats or base64; Unreadable if the body holds none."""
    try:
        value = msgspec.json.decode(body)
        data = value.get("data") if type(value) is dict else None
        if type(data) is not list or any(type(one) is not dict for one in data):
            raise Unreadable("the upstream's answer holds no embeddings")
        data = sorted(data, key=lambda one: one["index"] if type(one.get("index")) is int else 0)
        answer = EmbedAnswer("", [_vector(one.get("embedding")) for one in data], dialect=DIALECT)
        answer.usage = usage_of(msgspec.convert(value, Body))
    except BAD_JSON:
        raise Unreadable("the upstream's answer is no list of embeddings") from None
    model = value.get("model")
    answer.model = model if type(model) is str else ""
    known = ("data", "model", "usage", "object")
    answer.extra = {name: more for name, more in value.items() if name not in known and more is not None}
    return answer


def _vector(value: Any) -> list[float]:
    if type(value) is str:
        return unpacked(value)
    return floats(value)


def floats(value: Any) -> list[float]:
    """A list of numbers; Unreadable if it is none."""
    if type(value) is not list or any(type(one) not in (int, float) for one in value):
        raise Unreadable("the upstream's answer holds an embedding that is no list of numbers")
    return value


def write_answer(answer: EmbedAnswer, losses: Losses, encoding: Encoding = "float") -> bytes:
    """OpenAI's embeddings, in the encoding that the client asked for."""
    as_text = encoding == "base64"
    data = [
        {"object": "embedding", "index": at, "embedding": packed(vector) if as_text else vector}
        for at, vector in enumerate(answer.vectors)
    ]
    tokens = answer.usage.total() if answer.usage is not None else 0
    body: dict[str, Any] = {"object": "list", "data": data, "model": answer.model}
    body["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    if answer.dialect == DIALECT:
        body.update(answer.extra)
    else:
        losses.extra(answer.extra)
    return msgspec.json.encode(body)


def packed(vector: list[float]) -> str:
    """base64 of 32-bit floats, little endian."""
    try:
        numbers = array("f", vector)
    except OverflowError:
        raise Unreadable("the upstream's answer holds a number that is too large") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def unpacked(text: str) -> list[float]:
    """The vector in such a base64; Unreadable if it is none."""
    try:
        numbers = array("f", base64.b64decode(text, validate=True))
    except ValueError:
        raise Unreadable("the upstream's answer holds an embedding that is not base64") from None
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
