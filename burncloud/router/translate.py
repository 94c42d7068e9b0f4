"""A request for a channel that speaks another dialect than the client: written anew, its answer read back.

The client's request is read once into the canonical form and written for each attempt; head and path are the
upstream dialect's.  The answer's way back is the usual one (answer.py), with a `Translation` where a stream of the
same dialect has nothing or the stripper.
"""

from __future__ import annotations

from typing import Final

from burncloud.adaptors.canon import Losses
from burncloud.adaptors.overrides import NOTHING, Overrides
from burncloud.adaptors.passage import INVOKE, Passage
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.spoken import SPOKEN
from burncloud.adaptors.translation import GEMINI_MARK, MARK, Done, Job, Translation, work
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router.exchange import Exchange, Written
from burncloud.router.outlets import Outlet
from burncloud.wire.body import Body

BESIDE_BYTES: Final = 96 << 10
"""A larger body is translated by a process of its own: in here it would hold all others up for 5 ms and more."""
BESIDE_STRINGS: Final = 1500
"""Quotation marks: so is a smaller one with more of them, that is, of many small pieces."""
FREE_BYTES: Final = 6 << 10
TURN_BYTES: Final = 16 << 10
"""So much of a stream is handled in one turn of the loop: small events that are translated cost 100 ns a byte."""
FOREIGN_PREFIXES: Final = (b"anthropic-", b"openai-", b"x-goog-", b"x-stainless-", b"accept:", b"content-type:")
"""Fields of a client's head that mean nothing in another dialect."""
ANTHROPIC: Final = ("messages", "count_tokens")
"""Dialects whose requests state a version."""
SEALED: Final = {"messages": MARK, "responses": MARK, "gemini": GEMINI_MARK}
"""Dialects whose clients send signatures back as they came: an envelope of ours must not reach a vendor."""


def is_heavy(body: Body) -> bool:
    """Whether to translate it would hold the loop."""
    size = body.size
    return size > FREE_BYTES and (size > BESIDE_BYTES or body.whole().count(b'"') > BESIDE_STRINGS)


def way_of(x: Exchange) -> str:
    """The dialect to translate to; "" = the body goes as it came."""
    endpoint = x.target.endpoint
    assert endpoint is not None
    spoken = endpoint.conversation
    way = x.route.way
    if way is None:
        way = way_at(x, x.outlet)
    if not way and spoken in SEALED and sealed(x, SEALED[spoken]):
        return spoken if spoken in SPOKEN else ""
    return way


def way_at(x: Exchange, outlet: Outlet) -> str:
    """The dialect to translate to at this channel; "" = it speaks the client's."""
    endpoint = x.target.endpoint
    assert endpoint is not None
    if outlet.by_model:
        return outlet.way(endpoint, x.model) or ""
    return outlet.ways[endpoint.conversation or endpoint.name]


def sealed(x: Exchange, mark: bytes) -> bool:
    """Whether the body holds an envelope of ours."""
    if x.sliced is not None:
        return x.sliced.marked
    return x.body is not None and not x.body.spooled and x.body.whole().find(mark) >= 0


class Lossy(Refusal):
    """The request cannot be written for this channel without loss, and must not lose anything."""


def job_of(x: Exchange) -> Job:
    """What is to be done for the channel chosen."""
    endpoint = x.target.endpoint
    assert endpoint is not None
    array = endpoint.conversation == "gemini" and x.stream and b"alt=sse" not in x.target.query
    name = x.outlet.models.get(x.model) or x.model
    return Job(endpoint.conversation, x.way, x.model, name, x.stream, array, edits_of(x, x.way))


def edits_of(x: Exchange, api: str) -> Overrides:
    """What the channel does to a body of this API."""
    reach = x.outlet.reach
    return NOTHING if reach is None else reach.edits(api, x.head.forward)


def translate(x: Exchange) -> None:
    """Write the request for the channel chosen, here and now.  Raises Refusal."""
    assert x.body is not None
    content, done = work(job_of(x), x.body.everything(), x.asked)
    take(x, Body(content), done)


def take(x: Exchange, body: Body, done: Done) -> None:
    """The request is written.  Raises Lossy."""
    if x.asked is None:
        x.asked = done.asked
    forget(x)
    if done.losses and (x.head.strict or x.token.options.get("strict")):
        body.close()
        raise Lossy(INVALID_REQUEST, f"This request cannot be translated without loss: {', '.join(done.losses)}")
    x.written = Written(body, done.losses, done.sha256)


def forget(x: Exchange) -> None:
    """The request as it was written is of no use any more."""
    written, x.written = x.written, None
    if written is not None:
        written.body.close()


def translated_path(x: Exchange, written: Written) -> tuple[bytes, bytes]:
    """(path, query) for the channel chosen; an answer of its dialect is expected from here on."""
    endpoint, asked = x.target.endpoint, x.asked
    assert endpoint is not None
    assert asked is not None
    reach = x.outlet.reach
    upstream = INVOKE if reach is not None and reach.is_invoke(x.way) else SPOKEN[x.way]
    if x.rescue is not None:
        x.translation = x.rescue.answer(upstream, Losses(written.losses))
    else:
        x.translation = Translation(SPOKEN[endpoint.conversation], upstream, asked, Losses(written.losses))
    path, query = SPOKEN[x.way].path(x.upstream_model, x.stream)
    if x.rescue is not None and x.rescue.path:
        path = x.rescue.path
    return path.encode(), query.encode()


def head_of(x: Exchange) -> bytes:
    """The client's end-to-end fields that mean something to any upstream, and those of the translated body."""
    head = x.head
    kept = head.foreign
    if not kept:
        lines = head.forward.split(b"\r\n")
        own = [line for line in lines if line and not line.lower().startswith(FOREIGN_PREFIXES)]
        kept = head.foreign = b"\r\n".join([*own, b"content-type: application/json\r\naccept: "])
    kept += SPOKEN[x.way].stream_type if x.stream else b"application/json"
    return kept + (b"\r\nanthropic-version: 2023-06-01\r\n" if x.way in ANTHROPIC else b"\r\n")


def fields_of(x: Exchange, translation: Translation | Passage | Continued, upstream_request: bytes) -> list[bytes]:
    """The fields of a translated answer: its content type, what was lost, the upstream's id."""
    stream = x.stream and x.status < 400 and translation.framing != "array"
    parts = [b"content-type: text/event-stream; charset=utf-8\r\n" if stream else b"content-type: application/json\r\n"]
    if stream:
        parts.append(b"cache-control: no-cache\r\n")
    if upstream_request:
        parts.append(b"x-upstream-request-id: %b\r\n" % upstream_request)
    if translation.losses:
        parts.append(b"x-burncloud-lossy: %b\r\n" % ",".join(translation.losses.names()).encode())
    return parts
