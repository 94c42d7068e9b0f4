"""Streams of Converse: messageStart, blocks one by one (start, deltas, stop), messageStop, metadata, each in a frame.

A text, thinking and citations begin with their first delta, without a start.  What the vendor ran itself (server
tools) is collected until it is whole and told as one Raw block.  The deltas are the hot path: one typed decode on
the way in, one encoded string between ready bytes on the way out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded, event_bytes
from burncloud.adaptors.converse.answer import (
    read_stop,
    read_usage,
    usage_rest,
    write_failure,
    write_stop,
    write_tier,
    write_usage,
)
from burncloud.adaptors.converse.blocks import DIALECT, ORIGINS, read_block, redacted
from burncloud.adaptors.converse.citations import read_citation, write_citation
from burncloud.adaptors.converse.content import Writing, blob_of, write_blocks
from burncloud.adaptors.converse.tools import call_id, tool_name
from burncloud.adaptors.eventstream import Decoder, Frame, framed, write_headers
from burncloud.adaptors.failures import failure_in
from burncloud.adaptors.messages.sequence import Sequence
from burncloud.adaptors.reading import BAD_JSON, lenient
from burncloud.adaptors.streaming import EventReader, EventWriter, member_text, whole_event
from burncloud.errors import Refusal

Events = list[canon.Event]

# Reading


class _Thought(msgspec.Struct, gc=False):
    text: str | None = None
    signature: str | None = None
    redactedContent: str | None = None


class _Input(msgspec.Struct, gc=False):
    input: str | None = None


class _Delta(msgspec.Struct, gc=False):
    text: str | None = None
    toolUse: _Input | None = None
    reasoningContent: _Thought | None = None
    citation: dict[str, Any] | None = None
    toolResult: list[Any] | None = None
    image: dict[str, Any] | None = None


class _BlockDelta(msgspec.Struct, gc=False):
    contentBlockIndex: int = -1
    delta: _Delta | None = None


_decode: Final = msgspec.json.Decoder(_BlockDelta).decode

EXCEPTIONS: Final = {
    "internalServerException": 500,
    "modelStreamErrorException": 500,
    "modelTimeoutException": 504,
    "serviceUnavailableException": 503,
    "throttlingException": 429,
    "validationException": 400,
}
"""Exceptions inside a stream, and the status that says the same (AWS API reference, "ConverseStream")."""


def failure_of_frame(frame: Frame) -> canon.Failure | None:
    """What a frame that is no event says; None for an event."""
    kind = frame.headers.get(":message-type")
    if kind == "event" or kind is None:
        return None
    try:
        value = msgspec.json.decode(frame.payload)
    except BAD_JSON:
        value = None
    if kind == "error":  # an error of the stream itself, told in the headers
        code, said = frame.headers.get(":error-code"), frame.headers.get(":error-message")
        failure = failure_in(500, value if type(value) is dict else said)
        return canon.Failure(500, failure.message, str(code or ""))
    name = str(frame.headers.get(":exception-type", ""))
    status = EXCEPTIONS.get(name[:1].lower() + name[1:], 500)
    original = value.get("originalStatusCode") if type(value) is dict else None
    if type(original) is int and 400 <= original < 600:
        status = original
    failure = failure_in(status, value)
    return canon.Failure(status, failure.message, name)


class _Whole:
    """A block that is told when it is whole."""

    __slots__ = ("kind", "parts", "start")

    def __init__(self, kind: str, start: dict[str, Any]) -> None:
        self.kind = kind
        self.start = start
        self.parts: list[Any] = []

    def block(self) -> canon.Block:
        """What came."""
        inside = dict(self.start)
        if self.kind == "toolUse":
            text = "".join(self.parts)
            try:
                inside["input"] = msgspec.json.decode(text) if text else {}
            except BAD_JSON:
                inside["input"] = text
        elif self.kind == "toolResult":
            inside["content"] = self.parts
        else:
            for part in self.parts:
                inside.update(part)
        try:
            return read_block({self.kind: inside}, "contentBlock")
        except Refusal:
            return canon.Raw(DIALECT, {self.kind: inside})


class StreamReader(EventReader[Frame]):
    """Converse's stream.  `names`: those of renamed tools (tools.renamed)."""

    __slots__ = ("_blocks", "_names", "_stopped", "_whole")
    dialect = DIALECT

    def __init__(self, names: Mapping[str, str] | None = None) -> None:
        super().__init__(Decoder())
        self._blocks = Sequence()
        self._whole: dict[int, _Whole] = {}
        self._names = names or {}
        self._stopped = False

    def _at_end(self, found: Events) -> None:
        if self._stopped and not self._over:
            self._over = True
            found.append(canon.Ended())

    def _read(self, frame: Frame, found: Events) -> None:
        if self._over:
            return
        kind = frame.headers.get(":event-type")
        if kind == "contentBlockDelta":
            self._on_delta(frame.payload, found)
            return
        failure = failure_of_frame(frame)
        if failure is not None:
            self._over = True
            found.append(canon.Failed(failure))
            return
        handler = _HANDLERS.get(kind)
        value = whole_event(frame.payload)
        if handler is not None:
            handler(self, value, found)
        elif kind and kind != "initial-response":
            value.pop("p", None)
            found.append(canon.Foreign(DIALECT, {"type": kind, **value}))

    def _on_delta(self, payload: bytes, found: Events) -> None:
        try:
            event = _decode(payload)
        except BAD_JSON:
            event = lenient(_BlockDelta, whole_event(payload))
        delta, wire = event.delta, event.contentBlockIndex
        if delta is None:
            return
        if delta.text is not None and wire == self._blocks.wire and self._blocks.open >= 0:
            if delta.text:
                found.append(canon.Delta(self._blocks.open, delta.text))
            return
        whole = self._whole.get(wire)
        if whole is not None:
            _collect(whole, delta)
            return
        self._head(found)
        thought = delta.reasoningContent
        if thought is not None and thought.redactedContent is not None:
            self._blocks.begin(wire, redacted(thought.redactedContent), found)
            return
        call = delta.toolUse
        kind = "input_json_delta" if call is not None else "text_delta" if thought is None else "thinking_delta"
        index = self._blocks.open
        if wire != self._blocks.wire or index < 0:
            index, found = self._blocks.elsewhere(wire, kind, found)
        _tell(index, delta, found)

    def _on_start(self, value: dict[str, Any], found: Events) -> None:
        self._head(found)

    def _on_block(self, value: dict[str, Any], found: Events) -> None:
        self._head(found)
        wire, start = _index(value), value.get("start")
        start = start if type(start) is dict else {}
        kind = next(iter(start), "")
        inside = start.get(kind)
        inside = inside if type(inside) is dict else {}
        if kind != "toolUse" or inside.get("type", "tool_use") != "tool_use":
            if kind:
                self._whole[wire] = _Whole(kind, inside)
            return
        name = member_text(inside, "name")
        call = canon.ToolCall(member_text(inside, "toolUseId"), self._names.get(name, name), "")
        self._blocks.begin(wire, call, found)

    def _on_block_end(self, value: dict[str, Any], found: Events) -> None:
        wire = _index(value)
        whole = self._whole.pop(wire, None)
        if whole is not None:
            self._blocks.begin(wire, whole.block(), found)
        self._blocks.end(wire, found)

    def _on_stop(self, value: dict[str, Any], found: Events) -> None:
        self._head(found)
        self._blocks.end_all(found)
        stop = read_stop(value.get("stopReason"))
        extra = {name: rest for name, rest in value.items() if name not in _STOP and rest is not None}
        self._stopped = True
        found.append(canon.Stopped(stop or canon.Stop("other"), extra=extra))

    def _on_metadata(self, value: dict[str, Any], found: Events) -> None:
        usage = value.get("usage")
        usage = usage if type(usage) is dict else {}
        for name, rest in {**value, **usage_rest(usage)}.items():
            if name not in _METADATA and rest:
                found.append(canon.Foreign(DIALECT, {"type": name, name: rest}))
        known = read_usage(usage)
        if known is not None:
            found.append(canon.Used(known))
        if self._stopped:
            self._over = True
            found.append(canon.Ended())


_STOP: Final = frozenset({"stopReason", "p"})
_METADATA: Final = frozenset({"usage", "metrics", "p"})
_HANDLERS: Final[dict[Any, Callable[[StreamReader, dict[str, Any], Events], None]]] = {
    "messageStart": StreamReader._on_start,
    "contentBlockStart": StreamReader._on_block,
    "contentBlockStop": StreamReader._on_block_end,
    "messageStop": StreamReader._on_stop,
    "metadata": StreamReader._on_metadata,
}


def _tell(index: int, delta: _Delta, found: Events) -> None:
    """What a delta says of an open block."""
    thought, call = delta.reasoningContent, delta.toolUse
    if thought is not None:
        if thought.text or thought.signature:
            found.append(canon.Delta(index, thought.text or "", thought.signature or ""))
    elif call is not None:
        if call.input:
            found.append(canon.Delta(index, call.input))
    elif delta.citation is not None:
        found.append(canon.Delta(index, citation=read_citation(delta.citation)))
    elif delta.text:
        found.append(canon.Delta(index, delta.text))


def _collect(whole: _Whole, delta: _Delta) -> None:
    """What a delta says of a block that is told when it is whole; what is not of its kind says nothing."""
    if whole.kind == "toolUse":
        whole.parts += [delta.toolUse.input] if delta.toolUse is not None and delta.toolUse.input else []
    elif whole.kind == "toolResult":
        whole.parts += delta.toolResult or []
    elif delta.image is not None:
        whole.parts.append(delta.image)


def _index(value: dict[str, Any]) -> int:
    found = value.get("contentBlockIndex")
    return found if type(found) is int else -1


# Writing


def _head(kind: str) -> bytes:
    return write_headers({":event-type": kind, ":content-type": "application/json", ":message-type": "event"})


_HEADS: Final = {
    kind: _head(kind)
    for kind in (
        "messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop", "metadata",
    )
}  # fmt: skip
_DELTA_HEAD: Final = _HEADS["contentBlockDelta"]
_TEXT: Final = b'{"contentBlockIndex":%d,"delta":{"text":%b}}'
_THOUGHT: Final = b'{"contentBlockIndex":%d,"delta":{"reasoningContent":{"text":%b}}}'
_ARGUMENTS: Final = b'{"contentBlockIndex":%d,"delta":{"toolUse":{"input":%b}}}'
_string: Final = msgspec.json.Encoder().encode


def _event(kind: str, value: dict[str, Any]) -> bytes:
    return framed(_HEADS.get(kind) or _head(kind), event_bytes(value))


class _Open:
    """A block that is being written; `index` is −1 as long as nothing of it is shown, `form` makes a delta of text."""

    __slots__ = ("arguments", "block", "form", "index")

    def __init__(self, block: canon.Block, form: bytes) -> None:
        self.block = block
        self.form = form
        self.index = -1
        self.arguments = ""
        """Of a custom tool, which are told at the end."""


class StreamWriter(EventWriter):
    """write() canonical events, get frames.  Converse names no model and always tells the usage."""

    __slots__ = ("_called", "_head", "_metadata", "_next", "_open", "_own", "_stopped", "_to")

    def __init__(self, model: str, include_usage: bool, losses: canon.Losses) -> None:
        super().__init__(model, losses)
        self._own = False
        self._to = Writing(losses, own=False, answer=True)
        self._head = True
        self._open: dict[int, _Open] = {}
        self._next = 0
        self._called = False
        self._stopped = canon.Stopped(canon.Stop("stop"))
        self._metadata: dict[str, Any] = {}

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        if type(event) is canon.Delta:
            made = self._open.get(event.index)
            if made is None:
                return b""
            if event.logprobs is not None:
                self._losses.add("logprobs")
            if (
                made.index >= 0
                and made.form
                and event.text
                and not (event.signature or event.encrypted or event.citation)
            ):
                return framed(_DELTA_HEAD, made.form % (made.index, _string(event.text)))
            return self._more(made, event)
        return self._step(event)

    def _on_started(self, event: canon.Started) -> bytes:
        if not self._head:
            return b""
        self._own = self._to.own = event.dialect == DIALECT
        self._usage = event.usage
        tier = write_tier(event.service_tier, self._losses, own=self._own)
        if tier is not None:
            self._metadata["serviceTier"] = tier
        if not self._own:
            self._losses.extra(event.extra)
        return self._begin()

    def _begin(self) -> bytes:
        if not self._head:
            return b""
        self._head = False
        return _event("messageStart", {"role": "assistant"})

    def _on_opened(self, event: canon.Opened) -> bytes:
        if event.choice:
            self._losses.add("n")
            return b""
        out = self._begin() + self._close_all()
        block = event.block
        if isinstance(block, canon.ToolCall):
            return out + self._open_call(event.index, block)
        if isinstance(block, canon.Reasoning):
            self._open[event.index] = made = _Open(block, _THOUGHT)
            text = block.text or "\n\n".join(block.summary)
            return out + self._said(made, text) + self._sealed(made, block.signature, block.encrypted)
        if isinstance(block, canon.Text | canon.Refusal | canon.Audio):
            self._open[event.index] = made = _Open(block, _TEXT)
            self._to.fill({}, block.extra)
            if isinstance(block, canon.Audio):
                self._losses.add("audio")
            out += self._said(made, block.transcript if isinstance(block, canon.Audio) else block.text)
            for citation in block.citations if isinstance(block, canon.Text) else ():
                out += self._cited(made, citation)
            return out
        return out + self._at_once(block)

    def _open_call(self, index: int, block: canon.ToolCall) -> bytes:
        self._called = True
        if block.custom:
            self._losses.add("custom_tools")
        if block.signature:
            self._losses.add("thinking_signature")
        self._open[index] = made = _Open(block, b"" if block.custom else _ARGUMENTS)
        made.index = self._take()
        start: dict[str, Any] = {"toolUseId": block.id, "name": block.name}
        if not self._own:
            start = {"toolUseId": call_id(block.id), "name": tool_name(block.name, self._losses)}
        out = _event("contentBlockStart", {"start": {"toolUse": start}, "contentBlockIndex": made.index})
        return out + self._said(made, block.arguments)

    def _at_once(self, block: canon.Block) -> bytes:
        """A block that comes whole: an image, what the vendor ran itself."""
        out = b""
        for value in write_blocks([block], self._to):
            kind, inside = next(iter(value.items()))
            if type(inside) is not dict:
                continue
            start = {name: rest for name, rest in inside.items() if name not in ("input", "content", "source")}
            index = self._take()
            out += _event("contentBlockStart", {"start": {kind: start}, "contentBlockIndex": index})
            delta: Any = {"source": inside["source"]} if "source" in inside else inside.get("content")
            if "input" in inside:
                delta = {"input": encoded(inside["input"]).decode()}
            if delta:
                out += _event("contentBlockDelta", {"delta": {kind: delta}, "contentBlockIndex": index})
            out += _event("contentBlockStop", {"contentBlockIndex": index})
        return out

    def _take(self) -> int:
        self._next += 1
        return self._next - 1

    def _said(self, made: _Open, text: str) -> bytes:
        """More text of a block."""
        if not text:
            return b""
        if isinstance(made.block, canon.ToolCall) and made.block.custom:
            made.arguments += text
            return b""
        if made.index < 0:
            made.index = self._take()
        return framed(_DELTA_HEAD, made.form % (made.index, _string(text)))

    def _delta(self, made: _Open, delta: dict[str, Any]) -> bytes:
        if made.index < 0:
            made.index = self._take()
        return _event("contentBlockDelta", {"contentBlockIndex": made.index, "delta": delta})

    def _sealed(self, made: _Open, signature: str, encrypted: str) -> bytes:
        if not (signature or encrypted):
            return b""
        block = made.block
        assert isinstance(block, canon.Reasoning)
        if block.origin not in ORIGINS:
            self._losses.add("thinking_signature")
            return b""
        out = self._delta(made, {"reasoningContent": {"signature": signature}}) if signature else b""
        if encrypted:
            blob = blob_of(canon.Reasoning(encrypted=encrypted, origin=block.origin))
            out += self._delta(made, {"reasoningContent": {"redactedContent": blob}})
        return out

    def _cited(self, made: _Open, citation: dict[str, Any]) -> bytes:
        written = write_citation(citation)
        if written is None:
            self._losses.add("citations")
            return b""
        return self._delta(made, {"citation": written})

    def _more(self, made: _Open, delta: canon.Delta) -> bytes:
        """What a delta says, in all its parts."""
        block = made.block
        out = self._said(made, delta.transcript if isinstance(block, canon.Audio) else delta.text)
        if delta.citation is not None:
            out += self._cited(made, delta.citation)
        if isinstance(block, canon.Reasoning):
            out += self._sealed(made, delta.signature, delta.encrypted)
        elif delta.signature:
            self._losses.add("thinking_signature")
        return out

    def _on_closed(self, event: canon.Closed) -> bytes:
        made = self._open.pop(event.index, None)
        return b"" if made is None else self._close(made)

    def _close_all(self) -> bytes:
        out = b"".join([self._close(made) for made in self._open.values()])
        self._open.clear()
        return out

    def _close(self, made: _Open) -> bytes:
        """The end of a block; one in which nothing was said leaves no trace."""
        out = b""
        if isinstance(made.block, canon.ToolCall) and made.block.custom:
            text = encoded({"input": made.arguments})
            out = framed(_DELTA_HEAD, _ARGUMENTS % (made.index, _string(text.decode())))
        return out + _event("contentBlockStop", {"contentBlockIndex": made.index}) if made.index >= 0 else out

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        if event.choice == 0:
            self._stopped = event
            if not self._own:
                self._losses.extra(event.extra)
        return b""

    def _on_ended(self, event: canon.Ended) -> bytes:
        out = self._begin() + self._close_all()
        stop = write_stop(self._stopped.stop, self._called, self._losses, own=self._own)
        extra = self._stopped.extra if self._own else {}
        usage = write_usage(self._usage, self._metadata if self._own else {}, self._losses)
        rest = {name: value for name, value in self._metadata.items() if not name.startswith("usage.")}
        out += _event("messageStop", {"stopReason": stop, **extra})
        return out + _event("metadata", {"usage": usage, "metrics": {"latencyMs": 0}, **rest})

    def _on_ping(self, event: canon.Ping) -> bytes:
        return b""

    def _on_failed(self, event: canon.Failed) -> bytes:
        status = event.failure.status
        name = next((name for name, of in EXCEPTIONS.items() if of == status), "")
        name = name or ("validationException" if status < 500 else "internalServerException")
        head = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
        return framed(write_headers(head), write_failure(event.failure))

    def _on_foreign(self, event: canon.Foreign) -> bytes:
        kind = str(event.value.get("type") or event.dialect)
        if event.dialect != DIALECT:
            return super()._on_foreign(event)
        if kind in event.value:
            self._metadata[kind] = event.value[kind]
        else:
            rest = {name: value for name, value in event.value.items() if name != "type"}
            return self._begin() + _event(kind, rest)
        return b""
