"""The request as it goes up to one channel: the client's bytes, but for a few splices.

A channel may know the model by another name (or the request name none), and a stream must be asked to state its
usage; both are put into the bytes in place, and so is what the channel's options or its vendor ask for (reach.py):
nothing is serialised anew (DATAPLANE.md rule 7).  The head is ours: the channel's host and credential, the client's
end-to-end fields.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from burncloud.adaptors.meter import UsageStripper
from burncloud.adaptors.multipart import boundary, model_field, rename_model
from burncloud.adaptors.overrides import NOTHING, Overrides
from burncloud.adaptors.passage import Passage
from burncloud.adaptors.peek import Placed, force_usage, peek_json, splice, with_usage
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router import opening
from burncloud.router.exchange import DIALLING, Exchange
from burncloud.router.outlets import Outlet
from burncloud.router.reach import Reach
from burncloud.router.routes import Endpoint, with_model
from burncloud.router.translate import head_of, translated_path
from burncloud.wire.body import PIECE_BYTES

JOIN_BYTES_MAX: Final = 16 << 10
"""A body up to here is copied behind its head; a longer one goes beside it in the same write."""


def make_upload(x: Exchange) -> None:
    """Set `x.upload` (and `x.pump`, where the body is spooled) for the channel chosen.  Raises Refusal."""
    outlet, target, body = x.outlet, x.target, x.body
    endpoint = target.endpoint
    if body is None:
        opening.ask(x)
        return
    assert endpoint is not None
    x.upstream_model = x.ability.name
    written = x.written
    if written is not None:
        path, query = translated_path(x, written)
        content = b"" if written.body.spooled else written.body.whole()
        if written.body.spooled:
            x.pump = written.body.pieces()
        _compose(x, b"POST", path, query, _with_vendors(outlet, head_of(x)), content, written.body.size)
        return
    head = _with_vendors(outlet, x.head.forward)
    path, rename, ask, edits = _changes(x)
    cuts: list[tuple[int, int, bytes]] = []
    if body.spooled or (body.size > PIECE_BYTES and x.form is None and (rename or ask or edits)):
        first = b""
        cuts = _cuts(x, rename, ask, edits)
        x.pump = body.spliced(cuts)
        size = body.size + sum(len(new) - (end - start) for start, end, new in cuts)
    else:
        first = body.whole()
        if rename:
            if x.form is not None:
                first = _name_in_form(x, first, rename)
            else:
                first = splice(first, {"model": msgspec.json.encode(rename)})
        if x.form is None:
            if ask:
                first = _ask_for_usage(x, first, endpoint.dialect)
            if edits:
                first = edits.onto(first)
        size = len(first)
    _compose(x, x.method, path, target.query, head, first, size, cuts)


def _changes(x: Exchange) -> tuple[bytes, str, bool, Overrides]:
    """What becomes of a body that goes up as it came: (path, name of the model to put in, ask for usage?, edits)."""
    outlet, target = x.outlet, x.target
    endpoint = target.endpoint
    assert endpoint is not None
    name, path = x.upstream_model, target.path
    edits = NOTHING if outlet.reach is None else _edits(x, outlet.reach, endpoint)
    rename = name != (x.model if x.stand_in is None else x.stand_in.given_up[0])
    if rename and target.model:
        path = with_model(target, name)
        rename = False
    rename = (rename or _is_unnamed(x, endpoint)) and "model" not in edits.remove
    return path, name if rename else "", x.stream and endpoint.usage_option and not x.usage_asked, edits


def hash_first(x: Exchange, loop: asyncio.AbstractEventLoop, then: Callable[[Exchange, Outlet], None]) -> bool:
    """Whether a large body must be hashed for a signature before it can be sent; `then` is called when it is."""
    outlet, body = x.outlet, x.body
    if outlet.reach is None or x.way or body is None or not body.spooled or x.digest[0] is outlet:
        return False
    if not outlet.reach.signs(x.key.secret):
        return False
    x.state = DIALLING
    x.upstream_model = x.ability.name
    pieces = body.spliced(_cuts(x, *_changes(x)[1:]))
    loop.call_soon(_hash, x, loop, pieces, hashlib.sha256(), then)
    return True


def _hash(
    x: Exchange,
    loop: asyncio.AbstractEventLoop,
    pieces: Iterator[bytes],
    made: hashlib._Hash,
    then: Callable[[Exchange, Outlet], None],
) -> None:
    """One piece a turn of the loop: 64 MiB at once would hold it for 40 ms."""
    if x.done or x.state is not DIALLING:
        return
    piece = next(pieces, None)
    if piece is not None:
        made.update(piece)
        loop.call_soon(_hash, x, loop, pieces, made, then)
        return
    x.digest = (x.outlet, made.hexdigest())
    then(x, x.outlet)


def _edits(x: Exchange, reach: Reach, endpoint: Endpoint) -> Overrides:
    """What the channel does to a body that goes up as it came."""
    api = endpoint.conversation or endpoint.name
    if reach.is_invoke(api):
        x.translation = Passage()
    return reach.edits(api, x.head.forward)


def _with_vendors(outlet: Outlet, head: bytes) -> bytes:
    """The head with the fields that the vendor wants and the client did not send."""
    for field, value in outlet.vendor.headers:
        if field.lower().encode() not in head.lower():
            head += f"{field}: {value}\r\n".encode("latin-1")
    return head


def _compose(
    x: Exchange,
    method: bytes,
    path: bytes,
    query: bytes,
    head: bytes,
    first: bytes,
    size: int,
    cuts: Sequence[tuple[int, int, bytes]] = (),
) -> None:
    """`first`: what of the body is in memory; `size`: of all of it; `cuts`: how a spooled one is spliced."""
    x.bytes_up = size
    outlet = x.outlet
    reach = outlet.reach
    if reach is None:
        where = outlet.path(path) + query
    else:
        where, head = _reached(x, reach, method, path, query, head, first, cuts)
    if size > JOIN_BYTES_MAX:
        x.upload_body = first
        first = b""
    x.upload = b"%b %b HTTP/1.1\r\n%bcontent-length: %d\r\n%b\r\n%b" % (
        method, where, x.key.head, size, head, first,
    )  # fmt: skip


def _reached(
    x: Exchange,
    reach: Reach,
    method: bytes,
    path: bytes,
    query: bytes,
    head: bytes,
    first: bytes,
    cuts: Sequence[tuple[int, int, bytes]],
) -> tuple[bytes, bytes]:
    """(path with query, the client's fields) at a channel that is reached in a way of its own; signed, if need be."""
    endpoint, body = x.target.endpoint, x.body
    assert endpoint is not None
    assert body is not None
    api = x.way or endpoint.conversation or endpoint.name
    own = reach.path(api, x.upstream_model, x.stream, path)
    where = reach.with_query(x.outlet.path(path) if own is None else own, query)
    pieces: Iterable[bytes] = (first,)
    if x.pump is not None:
        pieces = x.written.body.pieces() if x.written is not None else body.spliced(list(cuts))
    known = x.written.sha256 if x.written is not None else x.digest[1] if x.digest[0] is x.outlet else ""
    return where, reach.head(head, api) + reach.signature(x.key.secret, method, where, pieces, known)


def _is_unnamed(x: Exchange, endpoint: Endpoint) -> bool:
    """Whether the body names no model, and the one that is billed must be written into it."""
    if not endpoint.default_model:
        return False
    if x.form is not None:
        return not x.form_peek.model
    return x.sliced is not None and x.sliced.value("model") is None


def _name_in_form(x: Exchange, body: bytes, name: str) -> bytes:
    """A form in memory with this model named in it."""
    if x.form_peek.model:
        return rename_model(body, x.form_peek.model_span, name)
    return model_field(boundary(x.head.content_type), name) + body


def _ask_for_usage(x: Exchange, body: bytes, dialect: str) -> bytes:
    """The body with include_usage set; a client that did not ask for the usage chunk will not see it."""
    before = peek_json(body, dialect)
    spliced = force_usage(body, before)
    after = peek_json(spliced, dialect)
    if after.model != before.model or after.stream != before.stream or not after.include_usage:
        raise Refusal(INVALID_REQUEST, "'stream_options' cannot be read")
    x.stripper = UsageStripper()
    return spliced


def _cuts(x: Exchange, name: str, ask: bool, more: Overrides) -> list[tuple[int, int, bytes]]:
    """The same splices for a large body, which goes up in pieces, from its file or from memory: a copy is dear."""
    if x.form is not None:
        if name and x.form_peek.model:
            return [(*x.form_peek.model_span, name.encode())]
        return [(0, 0, model_field(boundary(x.head.content_type), name))] if name else []
    assert x.body is not None
    known = x.sliced if x.body.spooled else Placed(x.body.whole())
    if known is None:
        return []
    edits: dict[str, bytes | None] = {"model": msgspec.json.encode(name)} if name else {}
    if ask:
        edits["stream_options"] = with_usage(known.value("stream_options"))
        x.stripper = UsageStripper()
    if more:
        edits |= more.edits(known.keys())
    return known.cuts(edits)
