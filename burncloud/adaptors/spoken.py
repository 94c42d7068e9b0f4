"""The dialects that are translated, one row each: who reads and writes what, and where it is asked upstream.

A translation takes the reading half of one row and the writing half of another; nobody knows a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

from burncloud.adaptors import canon, counts, embedded, ranks, vectors
from burncloud.adaptors.chat import answer as chat_answer
from burncloud.adaptors.chat import request as chat_request
from burncloud.adaptors.chat import stream as chat_stream
from burncloud.adaptors.completions import answer as completions_answer
from burncloud.adaptors.completions import request as completions_request
from burncloud.adaptors.completions import stream as completions_stream
from burncloud.adaptors.converse import answer as converse_answer
from burncloud.adaptors.converse import embeddings as bedrock_embeddings
from burncloud.adaptors.converse import request as converse_request
from burncloud.adaptors.converse import stream as converse_stream
from burncloud.adaptors.converse.tools import renamed
from burncloud.adaptors.framed import EVENT_STREAM
from burncloud.adaptors.gemini import answer as gemini_answer
from burncloud.adaptors.gemini import embeddings as gemini_embeddings
from burncloud.adaptors.gemini import request as gemini_request
from burncloud.adaptors.gemini import stream as gemini_stream
from burncloud.adaptors.messages import answer as messages_answer
from burncloud.adaptors.messages import request as messages_request
from burncloud.adaptors.messages import stream as messages_stream
from burncloud.adaptors.ranks import RankAnswer, RankRequest
from burncloud.adaptors.responses import answer as responses_answer
from burncloud.adaptors.responses import request as responses_request
from burncloud.adaptors.responses import stream as responses_stream
from burncloud.adaptors.sigv4 import path_segment
from burncloud.adaptors.vectors import EmbedAnswer, EmbedRequest

SSE: Final = b"text/event-stream"
Question = canon.Request | EmbedRequest | RankRequest
"""A request of any kind, as read."""


class StreamReader(Protocol):
    """Wire bytes of a stream in, canonical events out."""

    def feed(self, data: bytes) -> list[canon.Event]:
        """The events that these bytes complete; Unreadable if they are not of the dialect."""

    def finish(self) -> list[canon.Event]:
        """What is left at the end of the bytes; no Ended if the stream was cut."""


class StreamWriter(Protocol):
    """Canonical events in, wire bytes out."""

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""


class Asked(msgspec.Struct):
    """What a writer of answers may need to know of the request: the client's own, as read."""

    request: Question
    model: str
    """The public model name, as the client asked for it."""
    framing: str = ""
    """"array": Gemini's stream as one JSON array (no alt=sse)."""

    @property
    def conversation(self) -> canon.Request:
        """The request of a dialect of conversations."""
        assert isinstance(self.request, canon.Request)
        return self.request

    @property
    def embedding(self) -> EmbedRequest:
        """The request of a dialect of embeddings."""
        assert isinstance(self.request, EmbedRequest)
        return self.request

    @property
    def ranking(self) -> RankRequest:
        """The request of a dialect of reranking."""
        assert isinstance(self.request, RankRequest)
        return self.request

    def without_turns(self) -> Asked:
        """What was said is of no interest to an answer; what the client set is."""
        if not isinstance(self.request, canon.Request):
            return self
        return Asked(msgspec.structs.replace(self.request, turns=[]), self.model, self.framing)

    def without_content(self) -> Asked:
        """The same without what only the upstream needs."""
        request = self.request
        if isinstance(request, canon.Request):
            return Asked(msgspec.structs.replace(request, turns=[], system=[], leading=[]), self.model, self.framing)
        if isinstance(request, RankRequest):  # the answer may have to repeat the documents
            return (
                self if request.return_documents else Asked(msgspec.structs.replace(request, documents=[]), self.model)
            )
        return Asked(msgspec.structs.replace(request, inputs=[]), self.model, self.framing)


class Dialect(msgspec.Struct, frozen=True):
    """One row."""

    name: str
    family: str
    """openai · anthropic · gemini · bedrock: with `endpoint`, who meters its answers (adaptors/dialects.py)."""
    endpoint: str
    paths: tuple[str, str]
    """Upstream path and query of a plain request and of a stream; {} is the model's name."""
    read_request: Callable[..., Question]
    write_request: Callable[[Any, canon.Losses], bytes]
    read_answer: Callable[[bytes, Asked], Any]
    write_answer: Callable[[Any, Asked, canon.Losses], bytes]
    read_failure: Callable[[int, bytes], canon.Failure]
    write_failure: Callable[[canon.Failure], bytes]
    reader: Callable[[Asked], StreamReader]
    writer: Callable[[Asked, canon.Losses], StreamWriter]
    stream_type: bytes = SSE
    """Content type of its streams."""
    kind: str = "conversation"
    """conversation · embeddings · rerank · count: only the same kind can be translated."""
    named: Callable[[str], str] = str
    """What the path calls a model."""

    def path(self, model: str, stream: bool) -> tuple[str, str]:
        """(path, query with its "?" or "") to ask upstream."""
        template = self.paths[stream]
        if "{" not in template:
            return template, ""
        path, question, query = template.format(path_segment(self.named(model))).partition("?")
        return path, question + query


def _legacy(asked: Asked) -> bool:
    return asked.conversation.said.get("tools") == "functions"


def _write_chat(answer: canon.Answer, asked: Asked, losses: canon.Losses) -> bytes:
    return chat_answer.write_answer(answer, losses, legacy_functions=_legacy(asked))


def _chat_writer(asked: Asked, losses: canon.Losses) -> StreamWriter:
    usage = asked.conversation.include_usage
    return chat_stream.StreamWriter(asked.model, usage, losses, legacy_functions=_legacy(asked))


def _write_responses(answer: canon.Answer, asked: Asked, losses: canon.Losses) -> bytes:
    return responses_answer.write_answer(answer, losses, request=asked.conversation)


def _responses_writer(asked: Asked, losses: canon.Losses) -> StreamWriter:
    return responses_stream.StreamWriter(asked.model, True, losses, request=asked.without_turns().conversation)


def _gemini_writer(asked: Asked, losses: canon.Losses) -> StreamWriter:
    return gemini_stream.StreamWriter(asked.model, True, losses, array=asked.framing == "array")


def _alone(read: Callable[[bytes], Any]) -> Callable[..., Any]:
    """A reader of answers that need know nothing of the request."""
    return lambda body, asked: read(body)


def _fresh(reader: Callable[[], StreamReader]) -> Callable[..., StreamReader]:
    return lambda asked: reader()


def _read_converse(body: bytes, asked: Asked) -> canon.Answer:
    return converse_answer.read_answer(body, renamed(asked.conversation))


def _converse_reader(asked: Asked) -> StreamReader:
    return converse_stream.StreamReader(renamed(asked.conversation))


def _plainly(write: Callable[[Any, canon.Losses], bytes]) -> Callable[..., bytes]:
    """A writer of answers that need know nothing of the request."""
    return lambda answer, asked, losses: write(answer, losses)


def _streaming(writer: Callable[[str, bool, canon.Losses], StreamWriter]) -> Callable[..., StreamWriter]:
    return lambda asked, losses: writer(asked.model, asked.request.include_usage, losses)


_ROWS: Final = (
    Dialect(
        "chat", "openai", "chat.completions", ("/v1/chat/completions",) * 2,
        chat_request.read_request, chat_request.write_request, _alone(chat_answer.read_answer), _write_chat,
        chat_answer.read_failure, chat_answer.write_failure, _fresh(chat_stream.StreamReader), _chat_writer,
    ),
    Dialect(
        "messages", "anthropic", "messages", ("/v1/messages",) * 2,
        messages_request.read_request, messages_request.write_request,
        _alone(messages_answer.read_answer), _plainly(messages_answer.write_answer),
        messages_answer.read_failure, messages_answer.write_failure,
        _fresh(messages_stream.StreamReader), _streaming(messages_stream.StreamWriter),
    ),
    Dialect(
        "responses", "openai", "responses", ("/v1/responses",) * 2,
        responses_request.read_request, responses_request.write_request,
        _alone(responses_answer.read_answer), _write_responses,
        responses_answer.read_failure, responses_answer.write_failure,
        _fresh(responses_stream.StreamReader), _responses_writer,
    ),
    Dialect(
        "gemini", "gemini", "generateContent",
        ("/v1beta/models/{}:generateContent", "/v1beta/models/{}:streamGenerateContent?alt=sse"),
        gemini_request.read_request, gemini_request.write_request,
        _alone(gemini_answer.read_answer), _plainly(gemini_answer.write_answer),
        gemini_answer.read_failure, gemini_answer.write_failure,
        _fresh(gemini_stream.StreamReader), _gemini_writer,
    ),
    Dialect(
        "converse", "bedrock", "converse", ("/model/{}/converse", "/model/{}/converse-stream"),
        converse_request.read_request, converse_request.write_request,
        _read_converse, _plainly(converse_answer.write_answer),
        converse_answer.read_failure, converse_answer.write_failure,
        _converse_reader, _streaming(converse_stream.StreamWriter), EVENT_STREAM.encode(),
    ),
    Dialect(
        "completions", "openai", "completions", ("/v1/completions",) * 2,
        completions_request.read_request, completions_request.write_request,
        _alone(completions_answer.read_answer), _plainly(completions_answer.write_answer),
        chat_answer.read_failure, chat_answer.write_failure,
        _fresh(completions_stream.StreamReader), _streaming(completions_stream.StreamWriter),
    ),
)  # fmt: skip


def _write_embedding(write: Callable[[EmbedAnswer, EmbedRequest, canon.Losses], bytes]) -> Callable[..., bytes]:
    return lambda answer, asked, losses: write(answer, asked.embedding, losses)


def _read_embedding(read: Callable[[bytes, EmbedRequest], EmbedAnswer]) -> Callable[..., EmbedAnswer]:
    return lambda body, asked: read(body, asked.embedding)


_EMBEDDINGS: Final = (
    Dialect(
        "embeddings", "openai", "embeddings", ("/v1/embeddings",) * 2,
        embedded.read_openai, vectors.write_request, _alone(vectors.read_answer),
        _write_embedding(embedded.write_openai), chat_answer.read_failure, chat_answer.write_failure,
        embedded.no_reader, embedded.no_writer, kind="embeddings",
    ),
    Dialect(
        "gemini-embeddings", "gemini", "embedContent", ("/v1beta/models/{}:batchEmbedContents",) * 2,
        embedded.read_gemini, gemini_embeddings.write_request, _read_embedding(embedded.read_gemini_answer),
        _write_embedding(embedded.write_gemini), gemini_answer.read_failure, gemini_answer.write_failure,
        embedded.no_reader, embedded.no_writer, kind="embeddings",
    ),
    Dialect(
        "bedrock-embeddings", "bedrock", "embeddings", ("/model/{}/invoke",) * 2,
        embedded.no_request, bedrock_embeddings.write_request, _read_embedding(embedded.read_bedrock_answer),
        _write_embedding(embedded.write_openai), converse_answer.read_failure, converse_answer.write_failure,
        embedded.no_reader, embedded.no_writer, kind="embeddings",
    ),
    Dialect(
        "vertex-embeddings", "gemini", "predict", ("/v1/publishers/google/models/{}:predict",) * 2,
        embedded.no_request, embedded.write_vertex, _read_embedding(embedded.read_gemini_answer),
        _write_embedding(embedded.write_openai), gemini_answer.read_failure, gemini_answer.write_failure,
        embedded.no_reader, embedded.no_writer, kind="embeddings",
    ),
)  # fmt: skip


def _write_ranks(write: Callable[[RankAnswer, RankRequest, canon.Losses], bytes]) -> Callable[..., bytes]:
    return lambda answer, asked, losses: write(answer, asked.ranking, losses)


def _ranks(
    name: str,
    path: str,
    write: Callable[[RankRequest, canon.Losses], bytes],
    *,
    read: Callable[..., RankRequest] = ranks.read_none,
    write_answer: Callable[[RankAnswer, RankRequest, canon.Losses], bytes] = ranks.write_common_answer,
    family: str = "openai",
) -> Dialect:
    failures = converse_answer if family == "bedrock" else chat_answer
    return Dialect(
        name, family, "rerank", (path, path), read, write, _alone(ranks.read_answer), _write_ranks(write_answer),
        failures.read_failure, failures.write_failure, embedded.no_reader, embedded.no_writer, kind="rerank",
    )  # fmt: skip


_RANKS: Final = (
    _ranks("rerank", "/v1/rerank", ranks.write_common, read=ranks.read_common),
    _ranks(
        "cohere-rerank", "/v2/rerank", ranks.write_cohere,
        read=ranks.read_cohere, write_answer=ranks.write_cohere_answer,
    ),
    _ranks("voyage-rerank", "/v1/rerank", ranks.write_voyage),
    _ranks("dashscope-rerank", "/api/v1/services/rerank/text-rerank/text-rerank", ranks.write_dashscope),
    _ranks("bedrock-rerank", "/model/{}/invoke", ranks.write_bedrock, family="bedrock"),
)  # fmt: skip


def _counts(form: counts.Form, failures: Any, family: str, path: str, **more: Any) -> Dialect:
    return Dialect(
        form.name, family, form.name, (path, path), form.read_request, form.write_request, _alone(form.read_count),
        _plainly(form.write_count), failures.read_failure, failures.write_failure,
        embedded.no_reader, embedded.no_writer, kind="count", **more,
    )  # fmt: skip


_COUNTS: Final = (
    _counts(counts.MESSAGES, messages_answer, "anthropic", "/v1/messages/count_tokens"),
    _counts(counts.GEMINI, gemini_answer, "gemini", "/v1beta/models/{}:countTokens"),
    _counts(counts.VERTEX, gemini_answer, "gemini", "/v1/publishers/google/models/{}:countTokens"),
    _counts(counts.RESPONSES, responses_answer, "openai", "/v1/responses/input_tokens"),
    _counts(counts.BEDROCK, converse_answer, "bedrock", "/model/{}/count-tokens", named=counts.foundation_model),
)

SPOKEN: Final[dict[str, Dialect]] = {row.name: row for row in (*_ROWS, *_EMBEDDINGS, *_RANKS, *_COUNTS)}
