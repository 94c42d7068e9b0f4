"""Streams in Anthropic's form: message_start, blocks (start, deltas, stop) one by one, message_delta, message_stop.

The deltas are the hot path: one typed decode on the way in, a ready prefix and one encoded string on the way out.
The end is held back until the canonical stream ends, since the usage of other dialects comes after the stop reason
and message_delta tells both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.failures import failure_in
from burncloud.adaptors.messages import frames
from burncloud.adaptors.messages.answer import (
    FAILURE_STATUSES,
    message,
    read_stop,
    read_tier,
    read_usage,
    usage_rest,
    write_failure,
    write_stop,
    write_tier,
    write_usage,
)
from burncloud.adaptors.messages.blocks import DIALECT, Writing, read_block, tool_id, write_citation
from burncloud.adaptors.messages.envelope import sealed_call, sealed_reasoning
from burncloud.adaptors.messages.sequence import Sequence
from burncloud.adaptors.reading import BAD_JSON, lenient
from burncloud.adaptors.splitter import Splitter
from burncloud.adaptors.streaming import EventReader, EventWriter, member_text, whole_event
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal

# Reading


class _Delta(msgspec.Struct, gc=False):
    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: dict[str, Any] | None = None


class _Event(msgspec.Struct, gc=False):
    type: str = ""
    index: int = -1
    delta: _Delta | None = None
    content_block: dict[str, Any] | None = None
    message: dict[str, Any] | None = None


_decode: Final = msgspec.json.Decoder(_Event).decode
_TEXTS: Final = frozenset({"text_delta", "thinking_delta", "input_json_delta"})


class StreamReader(EventReader[bytes]):
    """Anthropic's stream."""

    __slots__ = ("_blocks", "_stopped", "_usage")
    dialect = DIALECT

    def __init__(self) -> None:
        super().__init__(Splitter())
        self._blocks = Sequence()
        self._stopped = False
        self._usage: Usage | None = None

    def _at_end(self, found: list[canon.Event]) -> None:
        if self._stopped and not self._over:
            self._over = True
            found.append(canon.Ended())

    def _read(self, payload: bytes, found: list[canon.Event]) -> None:
        if self._over:
            return
        try:
            event = _decode(payload)
        except BAD_JSON:
            event = _odd(payload)
        delta = event.delta
        if event.type == "content_block_delta" and delta is not None:
            index = self._blocks.open
            if event.index != self._blocks.wire or index < 0:
                self._head(found)
                index, found = self._blocks.elsewhere(event.index, delta.type, found)
            if delta.type in _TEXTS:
                text = delta.text or delta.thinking or delta.partial_json
                if text:
                    found.append(canon.Delta(index, text))
            elif delta.type == "signature_delta":
                found.append(canon.Delta(index, "", delta.signature or ""))
            elif delta.type == "citations_delta" and delta.citation:
                found.append(canon.Delta(index, citation=delta.citation))
            else:
                found.append(canon.Foreign(DIALECT, whole_event(payload)))
            return
        handler = _HANDLERS.get(event.type)
        if handler is not None:
            handler(self, event, payload, found)
        elif event.type:
            found.append(canon.Foreign(DIALECT, whole_event(payload)))

    def _on_start(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if self._started:
            return
        given = event.message or {}
        usage = given.get("usage")
        if type(usage) is not dict:
            usage = {}
        self._usage = read_usage(usage)
        extra = {name: value for name, value in given.items() if name not in _MESSAGE and value is not None}
        self._started = True
        found.append(
            canon.Started(
                member_text(given, "id"),
                member_text(given, "model"),
                usage=self._usage,
                service_tier=read_tier(usage),
                extra=extra | usage_rest(usage),
                dialect=DIALECT,
            )
        )

    def _on_block(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        try:
            block = read_block(event.content_block, "content_block")
        except (Refusal, ValueError) as error:
            raise canon.Unreadable(f"the stream is malformed: {error}") from None
        rest: canon.Delta | None = None
        if type(block) is canon.Text:
            rest = canon.Delta(0, block.text)
            block.text = ""
        elif type(block) is canon.ToolCall:
            rest = canon.Delta(0, "" if block.arguments == "{}" else block.arguments)
            block.arguments = ""
        elif type(block) is canon.Reasoning and not block.encrypted:
            rest = canon.Delta(0, block.text, block.signature)
            block.text = block.signature = ""
        self._head(found)
        index, found = self._blocks.begin(event.index, block, found)
        if rest is not None and (rest.text or rest.signature):
            rest.index = index
            found.append(rest)

    def _on_block_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        self._blocks.end(event.index, found)

    def _on_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        whole = whole_event(payload)
        delta, usage = whole.get("delta"), whole.get("usage")
        delta = delta if type(delta) is dict else {}
        usage = usage if type(usage) is dict else {}
        stop = read_stop(delta.get("stop_reason"), delta.get("stop_sequence"))
        if stop is not None:
            self._blocks.end_all(found)
            extra = {
                name if name in _IN_DELTA else f"delta.{name}": value
                for name, value in delta.items()
                if name not in _STOP and value is not None
            }
            extra |= {name: value for name, value in whole.items() if name not in _END and value is not None}
            self._stopped = True
            found.append(canon.Stopped(stop, extra=extra | usage_rest(usage)))
        known = read_usage(usage, self._usage) if usage else None
        if known is not None:
            self._usage = known
            found.append(canon.Used(known))

    def _on_stop(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        self._blocks.end_all(found)
        self._over = True
        found.append(canon.Ended())

    def _on_ping(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        found.append(canon.Ping())

    def _on_error(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        error = whole_event(payload).get("error")
        kind = member_text(error, "type") if type(error) is dict else ""
        self._over = True
        found.append(canon.Failed(failure_in(FAILURE_STATUSES.get(kind, 500), error)))


_MESSAGE: Final = frozenset({"id", "model", "usage", "type", "role", "content", "stop_reason", "stop_sequence"})
_END: Final = frozenset({"type", "delta", "usage"})
_STOP: Final = frozenset({"stop_reason", "stop_sequence"})
_IN_DELTA: Final = frozenset({"stop_details", "container"})
_HANDLERS: Final[dict[str, Callable[[StreamReader, _Event, bytes, list[canon.Event]], None]]] = {
    "message_start": StreamReader._on_start,
    "content_block_start": StreamReader._on_block,
    "content_block_stop": StreamReader._on_block_end,
    "message_delta": StreamReader._on_end,
    "message_stop": StreamReader._on_stop,
    "ping": StreamReader._on_ping,
    "error": StreamReader._on_error,
}


def _odd(payload: bytes) -> _Event:
    """An event with a member of another type than usual; one without a type for a [DONE] that somebody put there."""
    if payload.strip() == b"[DONE]":
        return _Event()
    return lenient(_Event, whole_event(payload))


# Writing


class _Open:
    """A block that is being written; `start` is its content_block as long as that waits for something to show."""

    __slots__ = ("block", "index", "kind", "prefix", "start")

    def __init__(self, block: canon.Block, kind: tuple[bytes, bytes], start: dict[str, Any]) -> None:
        self.block = block
        self.kind = kind
        self.start: dict[str, Any] | None = start
        self.index = -1
        self.prefix = b""
        """Of a delta whose text is written as it comes; b"" before the start, and for the kinds that need more."""


class StreamWriter(EventWriter):
    """write() canonical events, get the bytes of Anthropic's.  `model` is the name to show; "" = the upstream's.

    `include_usage` changes nothing: this dialect always tells the usage.
    """

    __slots__ = ("_called", "_head", "_next", "_open", "_own", "_stopped", "_to")

    def __init__(self, model: str, include_usage: bool, losses: canon.Losses) -> None:
        super().__init__(model, losses)
        self._own = False
        self._to = Writing(losses, own=False, answer=True)
        self._head: canon.Started | None = canon.Started("", "")
        self._open: dict[int, _Open] = {}
        self._next = 0
        self._called = False
        self._stopped = canon.Stopped(canon.Stop("stop"))

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        if type(event) is canon.Delta:
            made = self._open.get(event.index)
            if made is None:
                return b""
            if event.logprobs is not None:
                self._losses.add("logprobs")
            if made.prefix and event.text and not (event.signature or event.encrypted or event.citation):
                return made.prefix + frames.string(event.text) + frames.DELTA_END
            return self._more(made, event)
        return self._step(event)

    def _on_started(self, event: canon.Started) -> bytes:
        if self._head is None:
            return b""
        self._own = self._to.own = event.dialect == DIALECT
        self._usage = event.usage
        self._head = event
        return self._begin()

    def _begin(self) -> bytes:
        """message_start, if it is not yet written."""
        head = self._head
        if head is None:
            return b""
        self._head = None
        value = message(head.id, self._model or head.model, [])
        value["usage"] = write_usage(head.usage, head.extra if self._own else {}, self._losses)
        write_tier(value["usage"], head.service_tier, self._losses)
        if self._own:
            value.update((name, rest) for name, rest in head.extra.items() if not name.startswith("usage."))
        else:
            self._losses.extra(head.extra)
        return frames.event("message_start", {"message": value})

    def _on_opened(self, event: canon.Opened) -> bytes:
        if event.choice:
            self._losses.add("n")
            return b""
        out = self._begin() + self._close_all()
        block = event.block
        opener = _OPENERS.get(type(block))
        made = opener(self, block) if opener is not None else None
        if made is None:
            self._losses.block(block)
            return out
        self._open[event.index] = made
        if isinstance(block, canon.ToolCall):
            self._called = True
            if block.signature:
                out += self._carried(block)
                made.block = msgspec.structs.replace(block, signature="")
            return out + self._start(made) + self._said(made, block.arguments)
        if self._own or isinstance(block, canon.Raw):
            out += self._start(made)
        out += self._said(made, _shown(block))
        if isinstance(block, canon.Reasoning) and block.origin == DIALECT:
            out += self._signed(made, block.signature)
        return out

    def _open_text(self, block: canon.Text | canon.Refusal) -> _Open:
        return _Open(block, frames.TEXT, self._to.rest({"type": "text", "text": ""}, None, block.extra))

    def _open_audio(self, block: canon.Audio) -> _Open:
        self._losses.add("audio")
        self._losses.rest(block)
        return _Open(block, frames.TEXT, {"type": "text", "text": ""})

    def _open_reasoning(self, block: canon.Reasoning) -> _Open:
        value: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}
        if block.encrypted and block.origin == DIALECT:
            value = {"type": "redacted_thinking", "data": block.encrypted}
        return _Open(block, frames.THINKING, self._to.rest(value, None, block.extra))

    def _open_call(self, block: canon.ToolCall) -> _Open:
        call_id = block.id if self._own else tool_id(block.id)
        value: dict[str, Any] = {"type": "tool_use", "id": call_id, "name": block.name, "input": {}}
        if block.custom:
            self._losses.add("custom_tools")
        return _Open(block, frames.INPUT, self._to.rest(value, None, block.extra))

    def _open_raw(self, block: canon.Raw) -> _Open | None:
        return _Open(block, frames.INPUT, block.value) if block.dialect == DIALECT else None

    def _carried(self, block: canon.ToolCall) -> bytes:
        """A redacted block that carries the signature of a call."""
        return self._redacted(sealed_call(block.signature, tool_id(block.id)))

    def _redacted(self, data: str) -> bytes:
        index = self._next
        self._next += 1
        start = frames.block_start(index, {"type": "redacted_thinking", "data": data})
        return start + frames.block_stop(index)

    def _start(self, made: _Open) -> bytes:
        """content_block_start, if it is not yet written."""
        if made.start is None:
            return b""
        value, made.start = made.start, None
        made.index = self._next
        self._next += 1
        out = frames.block_start(made.index, value)
        block = made.block
        if isinstance(block, canon.ToolCall) and block.custom:
            return out + frames.delta(made.index, made.kind, '{"input":"')
        if not isinstance(block, canon.Audio | canon.ToolCall):
            made.prefix = frames.delta_prefix(made.index, made.kind)
        return out

    def _said(self, made: _Open, text: str) -> bytes:
        """More text of a block."""
        if not text:
            return b""
        out = self._start(made)
        if not made.prefix and isinstance(made.block, canon.ToolCall):
            if made.block.custom:  # its text becomes a part of a string
                text = frames.string(text)[1:-1].decode()
            elif text == "null":  # no arguments, as some models say it
                return out
            else:
                made.prefix = frames.delta_prefix(made.index, made.kind)
        return out + frames.delta(made.index, made.kind, text)

    def _signed(self, made: _Open, signature: str) -> bytes:
        if not signature:
            return b""
        return self._start(made) + frames.delta(made.index, frames.SIGNATURE, signature)

    def _more(self, made: _Open, delta: canon.Delta) -> bytes:
        """What a delta says, in all its parts."""
        block = made.block
        out = self._said(made, delta.transcript if isinstance(block, canon.Audio) else delta.text)
        citation = None if delta.citation is None else write_citation(delta.citation, self._to)
        if citation is not None:
            out += self._start(made)
            cited = {"type": "citations_delta", "citation": citation}
            out += frames.event("content_block_delta", {"index": made.index, "delta": cited})
        if isinstance(block, canon.ToolCall) and delta.signature:
            made.block = msgspec.structs.replace(block, signature=delta.signature)
        elif isinstance(block, canon.Reasoning) and block.origin == DIALECT:
            out += self._signed(made, delta.signature)
        elif isinstance(block, canon.Reasoning) and (delta.signature or delta.encrypted):
            made.block = msgspec.structs.replace(  # carried at the block's end, when all of it is known
                block, signature=delta.signature or block.signature, encrypted=delta.encrypted or block.encrypted
            )
        return out

    def _on_closed(self, event: canon.Closed) -> bytes:
        made = self._open.pop(event.index, None)
        return b"" if made is None else self._close(made)

    def _close_all(self) -> bytes:
        if not self._open:
            return b""
        out = b"".join(self._close(made) for made in self._open.values())
        self._open.clear()
        return out

    def _close(self, made: _Open) -> bytes:
        """The end of a block; a block in which nothing was said leaves no trace."""
        block, out, after = made.block, b"", b""
        if isinstance(block, canon.Reasoning) and block.origin != DIALECT:
            carried = sealed_reasoning(block, is_summary=bool(block.summary and not block.text))
            if made.start is not None and carried:
                return self._redacted(carried)
            if carried:
                out = frames.delta(made.index, frames.SIGNATURE, carried)
        if made.start is not None:
            return b""
        if isinstance(block, canon.ToolCall):
            if block.custom:
                out = frames.delta(made.index, made.kind, '"}')
            after = self._carried(block) if block.signature else b""
        return out + frames.block_stop(made.index) + after

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        if event.choice == 0:
            self._stopped = event
        return b""

    def _on_ended(self, event: canon.Ended) -> bytes:
        out = self._begin() + self._close_all()
        stopped = self._stopped
        delta = write_stop(stopped.stop, self._called, self._losses, own=self._own)
        usage = write_usage(self._usage, stopped.extra if self._own else {}, self._losses)
        if self._usage is None or not self._usage.cache_write_1h:
            usage.pop("cache_creation", None)  # message_start alone has the split
        rest: dict[str, Any] = {}
        if not self._own:
            self._losses.extra(stopped.extra)
        for name, value in stopped.extra.items() if self._own else ():
            if name in _IN_DELTA or name.startswith("delta."):
                delta[name.removeprefix("delta.")] = value
            elif not name.startswith("usage."):
                rest[name] = value
        return out + frames.event("message_delta", {"delta": delta, "usage": usage, **rest}) + frames.MESSAGE_STOP

    def _on_ping(self, event: canon.Ping) -> bytes:
        return frames.PING

    def _on_failed(self, event: canon.Failed) -> bytes:
        return b"event: error\ndata: %s\n\n" % write_failure(event.failure)

    def _on_foreign(self, event: canon.Foreign) -> bytes:
        kind = str(event.value.get("type") or event.dialect)
        if event.dialect != DIALECT:
            return super()._on_foreign(event)
        return self._begin() + frames.event(kind, event.value)


def _shown(block: canon.Block) -> str:
    """The text that a block has when it begins."""
    if isinstance(block, canon.Text | canon.Refusal):
        return block.text
    if isinstance(block, canon.Audio):
        return block.transcript
    if isinstance(block, canon.Reasoning):
        return block.text or "\n\n".join(block.summary)
    return ""


_OPENERS: Final[dict[type, Callable[[StreamWriter, Any], _Open | None]]] = {
    canon.Text: StreamWriter._open_text,
    canon.Refusal: StreamWriter._open_text,
    canon.Audio: StreamWriter._open_audio,
    canon.Reasoning: StreamWriter._open_reasoning,
    canon.ToolCall: StreamWriter._open_call,
    canon.Raw: StreamWriter._open_raw,
}
