"""The request as it goes up to one channel: the client's bytes, but for the two splices.

A channel may know the model by another name (or the request name none), and a stream must be asked to state its
usage; both are put into the bytes in place, nothing is serialised anew (DATAPLANE.md rule 7).  The head is ours: the
channel's host and credential, the client's end-to-end fields.
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud.adaptors.meter import UsageStripper
from burncloud.adaptors.multipart import boundary, model_field, rename_model
from burncloud.adaptors.peek import force_usage, peek_json, splice, with_usage
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router.exchange import Exchange
from burncloud.router.outlets import Outlet
from burncloud.router.routes import Endpoint, with_model
from burncloud.router.translate import head_of, translated_path
from burncloud.wire.body import Body

JOIN_BYTES_MAX: Final = 16 << 10
"""A body up to here is copied behind its head; a longer one goes beside it in the same write."""


def make_upload(x: Exchange) -> None:
    """Set `x.upload` (and `x.pump`, where the body is spooled) for the channel chosen.  Raises Refusal."""
    outlet, target, body = x.outlet, x.target, x.body
    endpoint = target.endpoint
    assert body is not None
    assert endpoint is not None
    x.upstream_model = name = outlet.models.get(x.model) or x.model
    written = x.written
    if written is not None:
        path, query = translated_path(x, written)
        content = b"" if written.body.spooled else written.body.whole()
        if written.body.spooled:
            x.pump = written.body.pieces()
        head = _with_vendors(outlet, head_of(x))
        _compose(x, b"POST", outlet.path(path) + query, head, content, written.body.size)
        return
    path = target.path
    head = _with_vendors(outlet, x.head.forward)
    rename = name != x.model
    if rename and target.model:
        path = with_model(target, name)
        rename = False
    rename = rename or _is_unnamed(x, endpoint)
    ask = x.stream and endpoint.usage_option and not x.usage_asked
    if body.spooled:
        first = b""
        size = _spooled(x, body, name if rename else "", ask)
    else:
        first = body.whole()
        if rename:
            if x.form is not None:
                first = _name_in_form(x, first, name)
            else:
                first = splice(first, {"model": msgspec.json.encode(name)})
        if ask and x.form is None:
            first = _ask_for_usage(x, first, endpoint.dialect)
        size = len(first)
    _compose(x, x.method, outlet.path(path) + target.query, head, first, size)


def _with_vendors(outlet: Outlet, head: bytes) -> bytes:
    """The head with the fields that the vendor wants and the client did not send."""
    for field, value in outlet.vendor.headers:
        if field.lower().encode() not in head.lower():
            head += f"{field}: {value}\r\n".encode("latin-1")
    return head


def _compose(x: Exchange, method: bytes, path: bytes, head: bytes, first: bytes, size: int) -> None:
    """`first`: what of the body is in memory; `size`: of all of it."""
    x.bytes_up = size
    if size > JOIN_BYTES_MAX:
        x.upload_body = first
        first = b""
    x.upload = b"%b %b HTTP/1.1\r\n%bcontent-length: %d\r\n%b\r\n%b" % (
        method, path, x.key.head, size, head, first,
    )  # fmt: skip


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


def _spooled(x: Exchange, body: Body, name: str, ask: bool) -> int:
    """Have a large body go up from its file, in pieces, with the same two splices; its length."""
    cuts: list[tuple[int, int, bytes]] = []
    if x.form is not None:
        if name and x.form_peek.model:
            cuts = [(*x.form_peek.model_span, name.encode())]
        elif name:
            cuts = [(0, 0, model_field(boundary(x.head.content_type), name))]
    elif x.sliced is not None:
        edits = {"model": msgspec.json.encode(name)} if name else {}
        if ask:
            edits["stream_options"] = with_usage(x.sliced.value("stream_options"))
            x.stripper = UsageStripper()
        cuts = x.sliced.cuts(edits)
    x.pump = body.spliced(cuts)
    return body.size + sum(len(new) - (end - start) for start, end, new in cuts)
