"""One exchange between two dialects: the request written for the upstream, its answer written for the client.

Reading and writing are the dialects' own (spoken.py); here is only their joining: a stream goes through event by
event as it comes, a whole answer at its end, an error body with its sentence kept.  What was lost stands in
`losses`, which has the request's from the start.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from burncloud.adaptors import assemble, canon
from burncloud.adaptors.encodings import AT_ONCE_BYTES_MAX, Inflater
from burncloud.adaptors.framed import FrameMeter
from burncloud.adaptors.meter import Meter
from burncloud.adaptors.overrides import NOTHING, Overrides
from burncloud.adaptors.passage import INVOKE
from burncloud.adaptors.pickled import packed, unpacked
from burncloud.adaptors.ranks import RankAnswer
from burncloud.adaptors.reading import Reading, whole
from burncloud.adaptors.sieve import Sieve
from burncloud.adaptors.spoken import SPOKEN, SSE, Asked, Dialect, Question, StreamReader, StreamWriter
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, THREAD_UNSUPPORTED, Refusal

READ_BYTES: Final = 64 << 10
LONG_BYTES: Final = 128 << 10
"""Of an event: to turn it over would hold a loop for 1 to 2 ms, and a longer one accordingly."""
MARK: Final = b'"burncloud.'
"""Begins a signature of another vendor's in an envelope of ours (decision 0050)."""
ERROR_TYPE: Final = b"x-amzn-errortype"
TOKENS: Final = b"x-amzn-bedrock-input-token-count"
"""The only place where Cohere's embeddings on Bedrock tell their tokens."""
GEMINI_MARK: Final = b"YnVybmNsb3Vk"
"""The same where signatures are base64: "burncloud"."""


def read(dialect: str, body: bytes, model: str, stream: bool) -> canon.Request:
    """A client's request, in a dialect of conversations.  Raises Refusal for what is malformed."""
    request = _read(dialect, body, model, stream)
    assert isinstance(request, canon.Request)
    return request


def _read(dialect: str, body: bytes, model: str, stream: bool) -> Question:
    request = SPOKEN[dialect].read_request(body, model=model, stream=stream)
    request.model, request.stream = model, stream
    return request


def write(dialect: str, request: Question, model: str, losses: canon.Losses) -> bytes:
    """The request for an upstream of `dialect`, which knows the model as `model`; it is asked for a stream's usage."""
    public, usage = request.model, request.include_usage
    request.model, request.include_usage = model, request.stream
    try:
        return SPOKEN[dialect].write_request(request, losses)
    finally:
        request.model, request.include_usage = public, usage


class Job(msgspec.Struct, tag="request"):
    """A request to be written for an upstream of another dialect."""

    client: str
    """The client's dialect."""
    way: str
    """The upstream's."""
    model: str
    """Public name; `name` is the upstream's."""
    name: str
    stream: bool
    array: bool = False
    """Gemini's stream as one JSON array."""
    edits: Overrides = NOTHING
    """What the channel does to the body."""


class Done(msgspec.Struct):
    """What is known of a request that was written, beside its bytes."""

    asked: Asked
    losses: list[str]
    sha256: str = ""
    """Of the bytes, hex, where somebody had the time for it."""


def work(job: Job, body: bytes, asked: Asked | None = None) -> tuple[bytes, Done]:
    """Do a job: the bytes for the upstream, and what the answer's way back needs.  Raises Refusal."""
    if asked is None:
        request = _read(job.client, body, job.model, job.stream)
        asked = Asked(request, job.model, "array" if job.array else "")
    if asked.request.bound and job.way != job.client:
        raise Refusal(THREAD_UNSUPPORTED if job.client == "messages" else INVALID_REQUEST, asked.request.bound)
    losses = canon.Losses()
    content = write(job.way, asked.request, job.name, losses)
    return job.edits.onto(content), Done(asked, losses.names())


class Whole(msgspec.Struct, tag="whole"):
    """An answer to be written for a client of another dialect, all of it at once."""

    client: str
    """The client's dialect."""
    upstream: str
    """The upstream's, or "invoke" (passage.py)."""
    asked: Asked
    status: int
    streamed: bool
    """It came as a stream though the client wants it whole."""
    encoding: str
    """The upstream compressed it."""
    losses: list[str]
    """The request's."""
    id: str = ""
    kind: str = ""
    usage: Usage | None = None
    """What the head said (Translation.heard)."""


class Rendered(msgspec.Struct):
    """What is known of an answer that was written, beside its bytes."""

    losses: list[str]
    reading: Reading


class Visit(msgspec.Struct, tag="visit"):
    """A translation that stands between two events of a stream, to be gone on with elsewhere."""

    client: str
    """The dialects, as in Whole."""
    upstream: str
    state: bytes


class Visited(msgspec.Struct):
    """The translation behind the events that it was sent away with, beside what they are for the client."""

    state: bytes


def visit(job: Visit, body: bytes) -> tuple[bytes, Visited]:
    """Do a job: the bytes for the client, and the translation, which goes on."""
    state = unpacked(job.state)
    translation = Translation(SPOKEN[job.client], upstream_of(job.upstream), state[0], canon.Losses())
    translation.stand(state)
    content = translation.strip(body)
    return content, Visited(translation.away().state)


def upstream_of(name: str) -> Dialect:
    """The dialect of an upstream, or "invoke" (passage.py)."""
    return INVOKE if name == INVOKE.endpoint else SPOKEN[name]


def tell(job: Whole, body: bytes) -> tuple[bytes, Rendered]:
    """Do a job: the bytes for the client, and what the answer used.  Raises Unreadable."""
    upstream = upstream_of(job.upstream)
    translation = Translation(SPOKEN[job.client], upstream, job.asked, canon.Losses(job.losses))
    translation.encoded(job.encoding)
    translation.told(job.id, job.kind, job.usage)
    framed = job.streamed and upstream.stream_type is not SSE
    meter = (
        FrameMeter(upstream.endpoint)
        if framed
        else Meter(upstream.family, upstream.endpoint, job.streamed, job.encoding)
    )
    # as in the worker: what is no event is left out
    events = translation if framed or job.encoding else Sieve(upstream.family, upstream.endpoint, translation, None)
    for at in range(0, len(body), READ_BYTES):
        piece = body[at : at + READ_BYTES]
        meter.feed(piece)
        if job.streamed:
            events.strip(piece)
    if job.status >= 400:
        content = translation.failed(job.status, body)
    elif job.streamed:
        events.finish()
        content = translation.collected()
    else:
        content = translation.whole(body)
    return content, Rendered(translation.losses.names(), meter.finish())


TRAVELS: Final = (
    "_asked", "_events", "_id", "_kind", "_reader", "_writer", "content", "ended", "failure", "losses", "malformed",
    "usage", "withholds",
)  # fmt: skip
"""What a translation is between two events, beside its dialects."""


class Translation:
    """The answer of one attempt.  A stream: `strip` and `finish`; a whole one: `whole`; an error: `failed`."""

    __slots__ = (*TRAVELS, "_client", "_encoding", "_inflater", "aside", "leaves", "upstream")

    def __init__(self, client: Dialect, upstream: Dialect, asked: Asked, losses: canon.Losses) -> None:
        self._client, self.upstream, self._asked, self.losses = client, upstream, asked, losses
        self._reader: StreamReader | None = None
        self._writer: StreamWriter | None = None
        self._events: list[canon.Event] | None = None if asked.request.stream else []
        self.content = False
        """Something that a user would miss has come (the commit point, DATAPLANE.md rule 13)."""
        self.ended = False
        """The stream came to its own end."""
        self.failure: canon.Failure | None = None
        """An error event came."""
        self.malformed = 0
        """Reads that could not be understood."""
        self.withholds = False
        """An error event is not told before `cut` is called: perhaps somebody goes on with the stream."""
        self.usage: Usage | None = None
        """As the head of the answer tells it, where the body may not."""
        self._id = self._kind = ""
        self._encoding = ""
        self._inflater: Inflater | None = None
        self.leaves = False
        """A long event is not turned over here: from it on all is put `aside`, for whoever sends it away."""
        self.aside: list[bytes] | None = None

    @property
    def writer(self) -> StreamWriter | None:
        """Who writes the client's stream; None = nothing was written."""
        return self._writer

    @property
    def framing(self) -> str:
        """How the client's stream is framed (Asked.framing)."""
        return self._asked.framing

    def encoded(self, encoding: str) -> None:
        """The upstream compressed its answer though it was asked not to."""
        if encoding:
            self._encoding, self._inflater = encoding, Inflater(encoding, AT_ONCE_BYTES_MAX)

    def heard(self, fields: Sequence[bytes], request_id: bytes) -> None:
        """What the answer's head says that its body may not: an id; at AWS the kind of an error and a count of tokens.

        `fields`: name, ": ", value, CRLF of each.
        """
        self._id = request_id.decode("latin-1")
        if self.upstream.family == "bedrock":
            said = {fields[at].lower(): fields[at + 2].decode("latin-1") for at in range(0, len(fields), 4)}
            self._kind = said.get(ERROR_TYPE, "")
            tokens = said.get(TOKENS, "")
            if tokens.isascii() and tokens.isdigit():
                self.usage = Usage(whole(int(tokens[:15])))

    def told(self, request_id: str, kind: str, usage: Usage | None) -> None:
        """The same in words."""
        self._id, self._kind, self.usage = request_id, kind, usage

    def _names(self) -> tuple[str, str]:
        """Those of its dialects in a job."""
        return self._client.name, INVOKE.endpoint if self.upstream is INVOKE else self.upstream.name

    def away(self) -> Visit:
        """To be gone on with elsewhere; `back` takes what comes of it."""
        self._asked = self._asked.without_turns()
        return Visit(*self._names(), packed([getattr(self, name) for name in TRAVELS]))

    def back(self, visited: Visited) -> None:
        """It was gone on with elsewhere."""
        self.aside = None
        self.stand(unpacked(visited.state))

    def stand(self, state: list[Any]) -> None:
        """Be what another translation was."""
        for name, value in zip(TRAVELS, state, strict=True):
            setattr(self, name, value)

    def job(self, status: int, streamed: bool, encoding: str) -> Whole:
        """To have a whole answer turned over elsewhere."""
        asked = self._asked.without_turns()
        client, upstream = self._names()
        said = (self._id, self._kind, self.usage)
        return Whole(client, upstream, asked, status, streamed, encoding, self.losses.names(), *said)

    # Streams

    def strip(self, data: bytes) -> bytes:
        """Bytes of the upstream's stream → those of the client's."""
        if self._inflater is not None:
            data = self._inflater.feed(data)
        if self.leaves and (self.aside is not None or len(data) > LONG_BYTES):
            self.aside = [*(self.aside or ()), data]
            return b""
        reader = self._reader
        if reader is None:
            reader = self._reader = self.upstream.reader(self._asked)
        try:
            events = reader.feed(data)
        except canon.Unreadable:
            self.malformed += 1
            return b""
        if len(events) == 1 and type(events[0]) is canon.Delta and self.content and self._events is None:
            return self._write(events[0])
        return self._look(events)

    def _write(self, event: canon.Event) -> bytes:
        if self._writer is None:
            self._writer = self._client.writer(self._asked, self.losses)
        return self._writer.write(event)

    def _look(self, events: Iterable[canon.Event]) -> bytes:
        """The same, with an eye on what comes: before the commit point, and where the client wants it whole."""
        out: list[bytes] = []
        for event in events:
            if isinstance(event, canon.Failed):
                self.failure = event.failure
                if self.withholds:
                    break
            elif isinstance(event, canon.Ended):
                self.ended = self.content = True
            elif not self.content:
                self.content = is_content(event)
                if isinstance(event, canon.Started):
                    event.id = event.id or self._id
            if self._events is None:
                out.append(self._write(event))
            else:
                self._events.append(event)
        return b"".join(out)

    def finish(self) -> bytes:
        """At the end of the upstream's bytes: what is left.  The blocks of a stream that was cut stay open."""
        if self._reader is None:
            return b""
        found = self._reader.finish()
        if not (self.ended or any(isinstance(event, canon.Ended) for event in found)):
            found = [event for event in found if not isinstance(event, canon.Closed)]
        return self._look(found)

    def cut(self, text: str) -> bytes:
        """The upstream broke off: an error in the client's dialect, never a false stop."""
        if self.ended or (self.failure is not None and not self.withholds):
            return b""
        return self._write(canon.Failed(self.failure or canon.Failure(SERVICE_UNAVAILABLE.status, text)))

    def collected(self) -> bytes:
        """A stream that came though the client wants it whole.  Raises Unreadable."""
        return self._client.write_answer(assemble.collect(self._events or []), self._asked, self.losses)

    # Whole answers

    def whole(self, body: bytes) -> bytes:
        """A plain answer; as a stream, if the client asked for one.  Raises Unreadable."""
        answer = self.upstream.read_answer(self._plain(body), self._asked)
        if isinstance(answer, canon.Answer | RankAnswer):
            answer.id = answer.id or self._id
        if not isinstance(answer, int) and answer.usage is None:
            answer.usage = self.usage
        if self._events is None:
            return b"".join([self._write(event) for event in assemble.tell(answer)])
        return self._client.write_answer(answer, self._asked, self.losses)

    def failed(self, status: int, body: bytes) -> bytes:
        """The body of an error answer."""
        failure = self.upstream.read_failure(status, self._plain(body))
        failure.kind = self._kind.partition(":")[0] or failure.kind  # "ThrottlingException:http://…"
        return self._client.write_failure(failure)

    def _plain(self, body: bytes) -> bytes:
        return Inflater(self._encoding).feed(body) if self._encoding else body


def is_content(event: canon.Event) -> bool:
    """Whether a user would miss it."""
    if isinstance(event, canon.Delta | canon.Stopped | canon.Foreign):
        return True
    if isinstance(event, canon.Opened):
        block = event.block
        return not isinstance(block, canon.Text | canon.Refusal | canon.Reasoning) or bool(block.text)
    return False
