"""Streams of legacy Completions: chunks of text of each choice, a finish reason, the usage, [DONE]."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud import clock
from burncloud.adaptors import canon
from burncloud.adaptors.bodies import event_bytes
from burncloud.adaptors.chat.answer import read_stop, write_failure, write_stop, write_usage
from burncloud.adaptors.chat.stream import failure_in_stream
from burncloud.adaptors.completions.answer import read_logprobs, write_logprobs
from burncloud.adaptors.completions.prompt import DIALECT
from burncloud.adaptors.openai_chat import ChatUsage, usage_of
from burncloud.adaptors.reading import BAD_JSON, lenient
from burncloud.adaptors.splitter import Splitter
from burncloud.adaptors.streaming import EventReader, EventWriter, whole_event
from burncloud.domain.usage import Usage

# Reading


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    text: str | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    error: Any = None
    object: str | None = None


_decode: Final = msgspec.json.Decoder(_Chunk).decode


class _Told:
    """One choice: its block, and how it ended."""

    __slots__ = ("finish", "index", "open")

    def __init__(self, index: int) -> None:
        self.index = index
        self.open = False
        self.finish = ""


class StreamReader(EventReader[bytes]):
    """The stream; without a finish reason or [DONE] it was cut."""

    __slots__ = ("_choices", "_usage")
    dialect = DIALECT

    def __init__(self) -> None:
        super().__init__(Splitter())
        self._choices: dict[int, _Told] = {}
        self._usage: Usage | None = None

    def _at_end(self, found: list[canon.Event]) -> None:
        if not self._over and any(told.finish for told in self._choices.values()):
            self._end(found)

    def _read(self, payload: bytes, found: list[canon.Event]) -> None:
        if self._over:
            return
        try:
            chunk = _decode(payload)
        except BAD_JSON:
            if payload.strip() == b"[DONE]":
                self._end(found)
                return
            chunk = lenient(_Chunk, whole_event(payload))
        if chunk.error or chunk.object == "error":
            self._over = True
            found.append(canon.Failed(failure_in_stream(payload)))
            return
        if not self._started:
            if chunk.choices is None and chunk.usage is None:
                raise canon.Unreadable("the stream is none of completions")
            self._started = True
            created = int(chunk.created) if chunk.created and 0 < chunk.created < 1 << 40 else 0
            found.append(canon.Started(chunk.id or "", chunk.model or "", created, dialect=DIALECT))
        if chunk.usage is not None:
            self._usage = usage_of(chunk.usage) or self._usage
        for choice in chunk.choices or ():
            told = self._choices.get(choice.index)
            if told is None:
                told = self._choices[choice.index] = _Told(len(self._choices))
            if choice.text:
                if not told.open:
                    told.open = True
                    found.append(canon.Opened(told.index, canon.Text(""), choice.index))
                logprobs = read_logprobs(choice.logprobs) if choice.logprobs is not None else None
                found.append(canon.Delta(told.index, choice.text, logprobs=logprobs, choice=choice.index))
            told.finish = choice.finish_reason or told.finish

    def _end(self, found: list[canon.Event]) -> None:
        self._over = True
        if not self._started:
            raise canon.Unreadable("the stream ended before it began")
        found.extend(canon.Closed(told.index, choice) for choice, told in self._choices.items() if told.open)
        found.extend(canon.Stopped(read_stop(told.finish), choice) for choice, told in self._choices.items())
        if self._usage is not None:
            found.append(canon.Used(self._usage))
        found.append(canon.Ended())


# Writing


class StreamWriter(EventWriter):
    """Texts alone.  `include_usage`: the client asked for the chunk with the usage."""

    __slots__ = ("_chars", "_head", "_own", "_stopped", "_texts", "_with_usage")

    def __init__(self, model: str, include_usage: bool, losses: canon.Losses) -> None:
        super().__init__(model, losses)
        self._with_usage = include_usage
        self._own = False
        self._head: dict[str, Any] = {}
        self._texts: set[int] = set()
        self._chars: dict[int, int] = {}
        self._stopped: set[int] = set()

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        if type(event) is canon.Delta:
            return self._text(event.choice, event.text, event.logprobs) if event.index in self._texts else b""
        return self._step(event)

    def _on_started(self, event: canon.Started) -> bytes:
        self._own = event.dialect == DIALECT
        self._usage = event.usage
        self._losses.extra(event.extra)
        self._head = {
            "id": event.id or "cmpl-0",
            "object": "text_completion",
            "created": event.created or clock.now_s(),
            "model": self._model or event.model,
        }
        return b""

    def _on_opened(self, event: canon.Opened) -> bytes:
        block = event.block
        if not isinstance(block, canon.Text | canon.Refusal):
            self._losses.block(block)
            return b""
        self._texts.add(event.index)
        return self._text(event.choice, block.text) if block.text else b""

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        self._stopped.add(event.choice)
        reason = write_stop(event.stop, False, False, self._losses, own=self._own)
        return self._chunk([{"index": event.choice, "text": "", "logprobs": None, "finish_reason": reason}])

    def _on_ended(self, event: canon.Ended) -> bytes:
        out = b""
        if not self._stopped:
            out = self._on_stopped(canon.Stopped(canon.Stop("stop")))
        if self._with_usage and self._usage is not None:
            out += self._chunk([], usage=write_usage(self._usage, {}))
        return out + b"data: [DONE]\n\n"

    def _on_failed(self, event: canon.Failed) -> bytes:
        return b"data: %s\n\n" % write_failure(event.failure)

    def _chunk(self, choices: list[dict[str, Any]], **members: Any) -> bytes:
        if not self._head:
            self._on_started(canon.Started("", ""))
        return b"data: %s\n\n" % event_bytes({**self._head, "choices": choices, **members})

    def _text(self, choice: int, text: str, logprobs: dict[str, Any] | None = None) -> bytes:
        chars = self._chars.get(choice, 0)
        self._chars[choice] = chars + len(text)
        old = None if logprobs is None else write_logprobs(logprobs, chars)
        if not text and old is None:
            return b""
        return self._chunk([{"index": choice, "text": text, "logprobs": old, "finish_reason": None}])
