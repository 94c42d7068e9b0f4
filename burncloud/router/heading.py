"""The head of an answer: the upstream's own fields that may be seen, our framing, our names for what answered."""

from __future__ import annotations

from typing import Protocol

from burncloud.adaptors.passage import Passage
from burncloud.adaptors.seam import Continued
from burncloud.adaptors.spoken import Dialect
from burncloud.adaptors.translation import Translation
from burncloud.errors import METHOD_NOT_ALLOWED, Refusal, error_body
from burncloud.router.exchange import Exchange
from burncloud.router.routes import Endpoint
from burncloud.router.translate import fields_of
from burncloud.wire.body import SPOOL_FROM
from burncloud.wire.heads import STATUS_LINES, AnswerHead


class Heard(Protocol):
    """What of an upstream's connection a head is made from."""

    head: AnswerHead
    no_body: bool


def head_for(x: Exchange, up: Heard, length: int) -> bytes:
    """The answer's head; `length` ≥ 0 = the whole content is known."""
    said = up.head
    stated = said.length
    parts = [STATUS_LINES.get(x.status, STATUS_LINES[502])]
    if x.translation is None:
        parts += said.forward
    else:
        stated = -1
        parts += fields_of(x, x.translation, said.request_id)
    if said.request_id:
        x.upstream_request = said.request_id.decode("latin-1")
    if x.relay:
        parts += said.control_only
    if up.no_body or x.status in (204, 304):
        if stated >= 0 and x.status != 204:
            parts.append(b"content-length: %d\r\n" % stated)
    elif length >= 0:
        parts.append(b"content-length: %d\r\n" % length)
    elif stated >= 0 and not x.sse:
        parts.append(b"content-length: %d\r\n" % stated)
    elif x.http11:
        x.chunked = True
        parts.append(b"transfer-encoding: chunked\r\n")
    else:
        x.keep_alive = False
    if not x.keep_alive:
        parts.append(b"connection: close\r\n")
    elif not x.http11:
        parts.append(b"connection: keep-alive\r\n")
    if x.relay:
        parts.append(b"x-request-id: %b\r\n\r\n" % x.request_id.encode())
    else:
        parts.append(b"x-request-id: %b\r\n%b%b\r\n" % (x.request_id.encode(), x.outlet.ref_field, x.fields))
    return b"".join(parts)


def own_answer(x: Exchange, status: int, body: bytes, extra: bytes) -> bytes:
    """A whole answer of our own; `extra`: more fields of its head."""
    if not x.complete and (x.length > SPOOL_FROM or x.head.chunked or x.head.expect):
        x.keep_alive = False
    close = b"" if x.keep_alive else b"connection: close\r\n"
    shown = b"" if x.method == b"HEAD" else body
    return b"%bcontent-type: application/json\r\ncontent-length: %d\r\n%b%bx-request-id: %b\r\n\r\n%b" % (
        STATUS_LINES[status], len(body), close, extra, x.request_id.encode(), shown,
    )  # fmt: skip


def refused(x: Exchange, refusal: Refusal) -> tuple[int, bytes, bytes]:
    """(status, body, more fields) of an error in the caller's dialect.

    Where somebody was asked to count tokens and could not, no error is due: they are estimated.
    """
    row, endpoint = refusal.row, x.target.endpoint
    if x.attempts and row.status >= 500 and endpoint is not None and endpoint.counted:
        return estimate(x, endpoint)
    extra = x.fields + (b"retry-after: %d\r\n" % refusal.retry_after_s if refusal.retry_after_s else b"")
    if row is METHOD_NOT_ALLOWED:
        extra += b"allow: %b\r\n" % x.target.allow
    return row.status, error_body(row, refusal.message, endpoint.shape if endpoint is not None else "openai"), extra


def estimate(x: Exchange, endpoint: Endpoint) -> tuple[int, bytes, bytes]:
    """The same for the estimated tokens of a request that nobody can count; the answer says so."""
    return 200, (endpoint.counted % x.prompt_billed).encode(), b"x-burncloud-estimated: true\r\n"


def heard(translation: Translation | Passage | Continued, head: AnswerHead) -> Dialect:
    """The dialect in which the upstream answers; what only the head of its answer says is noted."""
    if isinstance(translation, Translation):
        translation.heard(head.forward, head.request_id)
    return translation.upstream
