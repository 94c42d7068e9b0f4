"""Streams in Chat's form: chunks with deltas of each choice, a finish reason, the usage, [DONE].

The deltas are the hot path: one typed decode on the way in, a ready prefix and one encoded string on the way out.
The reader tells ends and usage when the stream ends: several vendors finish a choice twice, or count on after it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud import clock
from burncloud.adaptors import canon
from burncloud.adaptors.bodies import event_bytes
from burncloud.adaptors.chat.answer import made_id, read_stop, write_failure, write_stop, write_tier, write_usage
from burncloud.adaptors.chat.blocks import Writing, write_citation, write_image
from burncloud.adaptors.chat.calls import Numbers
from burncloud.adaptors.chat.deltas import Choice, Delta
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.chat.reasoning import FORMATS, text_detail
from burncloud.adaptors.chat.turns import write_call
from burncloud.adaptors.failures import failure_in
from burncloud.adaptors.openai_chat import ChatUsage, XGroq, usage_of
from burncloud.adaptors.reading import BAD_JSON, lenient
from burncloud.adaptors.splitter import Splitter
from burncloud.adaptors.streaming import EventReader, EventWriter, whole_event
from burncloud.domain.usage import Usage

# Reading


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: Delta | None = None
    message: Delta | None = None
    finish_reason: str | None = None
    logprobs: dict[str, Any] | None = None
    stop_reason: Any = None
    matched_stop: Any = None


class _Chunk(msgspec.Struct, gc=False):
    id: str | None = None
    model: str | None = None
    created: int | float | None = None
    service_tier: str | None = None
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    x_groq: XGroq | None = None
    error: Any = None
    object: str | None = None


_decode: Final = msgspec.json.Decoder(_Chunk).decode
_KNOWN: Final = frozenset({*_Chunk.__struct_fields__, "obfuscation", "p"})
_DONE: Final = _Chunk()


class StreamReader(EventReader[bytes]):
    """Chat's stream; without a finish reason or [DONE] it was cut."""

    __slots__ = ("_choices", "_id", "_numbers", "_usage")
    dialect = DIALECT

    def __init__(self) -> None:
        super().__init__(Splitter())
        self._choices: dict[int, Choice] = {}
        self._numbers = Numbers()
        self._usage: Usage | None = None
        self._id = ""

    def _at_end(self, found: list[canon.Event]) -> None:
        if not self._over and any(told.stop is not None for told in self._choices.values()):
            self._end(found)

    def _read(self, payload: bytes, found: list[canon.Event]) -> None:
        if self._over:
            return
        try:
            chunk = _decode(payload)
        except BAD_JSON:
            chunk = _odd(payload)
            if chunk is _DONE:
                self._end(found)
                return
        if chunk.error or chunk.object == "error":
            self._over = True
            found.append(canon.Failed(failure_in_stream(payload)))
            return
        if not self._started:
            if chunk.choices is None and chunk.usage is None:
                raise canon.Unreadable("the stream is none of chat completions")
            self._start(chunk, payload, found)
        usage = chunk.usage
        if usage is None and chunk.x_groq is not None:
            usage = chunk.x_groq.usage
        if usage is not None:
            self._usage = usage_of(usage) or self._usage
        for choice in chunk.choices or ():
            told = self._choices.get(choice.index)
            if told is None:
                told = self._choices[choice.index] = Choice(
                    choice.index, made_id(self._id, choice.index), self._numbers
                )
            delta = choice.delta if choice.delta is not None else choice.message
            if choice.logprobs is not None and any(choice.logprobs.values()):
                told.logprobs = choice.logprobs
            if delta is not None:
                try:
                    told.say(delta, found)
                except ValueError as error:
                    raise canon.Unreadable(f"the stream is malformed: {error}") from None
            if choice.finish_reason:
                told.stop = (choice.finish_reason, choice.stop_reason or choice.matched_stop)

    def _start(self, chunk: _Chunk, payload: bytes, found: list[canon.Event]) -> None:
        self._started = True
        self._id = chunk.id or ""
        created = int(chunk.created) if chunk.created and 0 < chunk.created < 1 << 40 else 0
        whole = whole_event(payload)
        extra = {name: value for name, value in whole.items() if name not in _KNOWN and value not in (None, "", [])}
        found.append(
            canon.Started(self._id, chunk.model or "", created, None, chunk.service_tier or "", extra, DIALECT)
        )

    def _end(self, found: list[canon.Event]) -> None:
        """Everything closed, every choice's end, the usage."""
        self._over = True
        if not self._started:
            raise canon.Unreadable("the stream ended before it began")
        for told in self._choices.values():
            if told.logprobs is not None and told.kind == "text":
                found.append(canon.Delta(told.index, logprobs=told.logprobs, choice=told.choice))
            told.close(found)
        for told in self._choices.values():
            reason, sequence = told.stop or ("", None)
            stop = read_stop(reason, sequence, called=bool(told.calls), refused=told.refused)
            found.append(canon.Stopped(stop, told.choice))
        if self._usage is not None:
            found.append(canon.Used(self._usage))
        found.append(canon.Ended())


def _odd(payload: bytes) -> _Chunk:
    """A chunk with a member of another type than usual; _DONE for the end."""
    if payload.strip() == b"[DONE]":
        return _DONE
    return lenient(_Chunk, whole_event(payload))


def failure_in_stream(payload: bytes) -> canon.Failure:
    """An error in mid-stream; its status where it says one."""
    value = whole_event(payload)
    error = value.get("error")
    status = 500
    for holder in (error, value):
        for name in ("status_code", "status", "code"):
            given = holder.get(name) if type(holder) is dict else None
            if type(given) is int and 400 <= given < 600:
                return failure_in(given, value)
    return failure_in(status, value)


# Writing

_END: Final = b'},"logprobs":null,"finish_reason":null}]}\n\n'
_CALL_END: Final = b"}}]" + _END
_DONE_EVENT: Final = b"data: [DONE]\n\n"
_string: Final = msgspec.json.Encoder().encode


class _Made:
    """A block that is being written."""

    __slots__ = ("block", "detail", "middle", "prefix", "suffix")

    def __init__(self, block: canon.Block) -> None:
        self.block = block
        self.prefix = b""
        """Of a chunk whose text is written as it comes; b"" for the kinds that need more."""
        self.middle = b""
        """Where the text is told twice: what stands between."""
        self.suffix = _END
        self.detail = -1
        """Index of the detail in which the thinking is told; −1 = not told yet."""


class _Told:
    """One choice: what was told of it."""

    __slots__ = ("begun", "calls", "chars", "details", "images", "links", "refused", "stopped")

    def __init__(self) -> None:
        self.begun = False
        self.calls = 0
        self.chars = 0
        """Of text, for the places of citations."""
        self.details = 0
        self.images = 0
        self.links = 0
        self.refused = False
        self.stopped = False


class StreamWriter(EventWriter):
    """write() canonical events, get the bytes of Chat's.  `model` is the name to show; "" = the upstream's.

    `include_usage`: the client asked for the chunk with the usage.  `legacy_functions`: it asked with `functions`.
    """

    __slots__ = ("_created", "_extra", "_head", "_id", "_legacy", "_made", "_to", "_told", "_with_usage")

    def __init__(
        self, model: str, include_usage: bool, losses: canon.Losses, *, legacy_functions: bool = False
    ) -> None:
        self._with_usage = include_usage
        self._legacy = legacy_functions
        super().__init__(model, losses)
        self._to = Writing(losses, own=False, answer=True)
        self._head = b""
        self._extra: dict[str, Any] = {}
        self._made: dict[int, _Made] = {}
        self._told: dict[int, _Told] = {}

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        if type(event) is canon.Delta:
            made = self._made.get(event.index)
            if made is None:
                return b""
            text = event.text
            if made.prefix and text and not (event.signature or event.encrypted or event.citation or event.logprobs):
                if type(made.block) is canon.Text:
                    self._told[event.choice].chars += len(text)
                elif made.middle:
                    string = _string(text)
                    return made.prefix + string + made.middle + string + made.suffix
                return made.prefix + _string(text) + made.suffix
            return self._more(made, event)
        return self._step(event)

    def _on_started(self, event: canon.Started) -> bytes:
        if self._head:
            return b""
        own = self._to.own = event.dialect == DIALECT
        head: dict[str, Any] = {
            "id": event.id or "chatcmpl-0",
            "object": "chat.completion.chunk",
            "created": event.created or clock.now_s(),
            "model": self._model or event.model,
        }
        head.update(write_tier(event.service_tier, self._losses, own=own))
        if own:
            head.update((name, value) for name, value in event.extra.items() if not name.startswith("usage."))
        else:
            self._losses.extra(event.extra)
        self._usage = event.usage
        self._head = b"data: " + event_bytes(head)[:-1]
        return self._choice(0)

    def _choice(self, choice: int) -> bytes:
        """The chunk that begins a choice, if it is not yet written."""
        out = b"" if self._head else self._on_started(canon.Started("", ""))
        told = self._told.setdefault(choice, _Told())
        if told.begun:
            return out
        told.begun = True
        return out + self._chunk(choice, {"role": "assistant", "content": "", "refusal": None})

    def _chunk(self, choice: int, delta: dict[str, Any], logprobs: Any = None, reason: str | None = None) -> bytes:
        value = [{"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": reason}]
        return self._head + b',"choices":' + event_bytes(value) + b"}\n\n"

    def _prefix(self, choice: int, member: bytes) -> bytes:
        return self._head + b',"choices":[{"index":%d,"delta":{%s' % (choice, member)

    def _on_opened(self, event: canon.Opened) -> bytes:
        choice, block = event.choice, event.block
        out = self._choice(choice)
        opener = _OPENERS.get(type(block))
        if opener is None:
            self._losses.block(block)
            return out
        if not self._to.own:
            self._losses.rest(block)
        made = self._made[event.index] = _Made(block)
        return out + opener(self, made, block, choice)

    def _open_text(self, made: _Made, block: canon.Text | canon.Refusal, choice: int) -> bytes:
        told = self._told[choice]
        told.refused = told.refused or isinstance(block, canon.Refusal)
        made.prefix = self._prefix(choice, b'"content":' if isinstance(block, canon.Text) else b'"refusal":')
        out = b""
        if block.text:
            told.chars += len(block.text)
            out = made.prefix + _string(block.text) + made.suffix
        for citation in block.citations if isinstance(block, canon.Text) else ():
            out += self._cite(citation, told.chars, choice)
        return out

    def _open_reasoning(self, made: _Made, block: canon.Reasoning, choice: int) -> bytes:
        if block.origin in ("", DIALECT):
            made.prefix = self._prefix(choice, b'"reasoning_content":')
        made.block = msgspec.structs.replace(block, text="", summary=[])
        return self._think(made, block.text or "\n\n".join(block.summary), choice)

    def _think(self, made: _Made, text: str, choice: int) -> bytes:
        """Thinking of another dialect: as text, and in a detail that gets its signature, as OpenRouter streams it."""
        if not text:
            return b""
        if made.prefix:
            string = _string(text)
            return made.prefix + string + (made.middle + string if made.middle else b"") + made.suffix
        block = made.block
        assert isinstance(block, canon.Reasoning)
        told = self._told[choice]
        made.detail = told.details
        told.details += 1
        kind, member = text_detail(block.origin)
        made.prefix = self._prefix(choice, b'"reasoning_content":')
        made.middle = b',"reasoning_details":[{"type":"%s","index":%d,"%s":' % (
            kind.encode(), made.detail, member.encode(),
        )  # fmt: skip
        made.suffix = b"}]" + _END
        detail = {
            "type": kind,
            "index": made.detail,
            member: text,
            **_whose(block),
        }  # told once: clients add up strings
        return self._chunk(choice, {"reasoning_content": text, "reasoning_details": [detail]})

    def _sign(self, made: _Made, choice: int) -> bytes:
        """What the vendor wants back with the thinking, when all of it is known."""
        block = made.block
        if not isinstance(block, canon.Reasoning) or not (block.signature or block.encrypted):
            return b""
        told = self._told[choice]
        signature, encrypted = block.signature, block.encrypted
        if block.origin == "gemini":
            signature, encrypted = "", signature
        details: list[dict[str, Any]] = []
        if signature and made.detail >= 0:
            details.append({"type": "reasoning.text", "index": made.detail, "signature": signature})
        elif signature:
            details.append({"type": "reasoning.text", "text": "", "signature": signature, **_whose(block)})
        if encrypted:
            details.append({"type": "reasoning.encrypted", "data": encrypted, **_whose(block)})
        for detail in details:
            if "index" not in detail:
                detail["index"] = told.details
                told.details += 1
        return self._chunk(choice, {"reasoning_details": details})

    def _open_call(self, made: _Made, block: canon.ToolCall, choice: int) -> bytes:
        told = self._told[choice]
        at = told.calls
        told.calls += 1
        call = write_call(block, self._to)
        if not block.arguments and not block.custom:
            call["function"]["arguments"] = ""  # they follow
        if self._legacy and "function" in call:
            made.prefix = self._prefix(choice, b'"function_call":{"arguments":')
            made.suffix = b"}" + _END
            return self._chunk(choice, {"function_call": call["function"]})
        member = b'"custom":{"input":' if block.custom else b'"function":{"arguments":'
        made.prefix = self._prefix(choice, b'"tool_calls":[{"index":%d,%s' % (at, member))
        made.suffix = _CALL_END
        return self._chunk(choice, {"tool_calls": [{"index": at, **call}]})

    def _open_audio(self, made: _Made, block: canon.Audio, choice: int) -> bytes:
        value = {"id": block.id or "audio_0"}
        value |= {"data": block.source.data} if block.source.data else {}
        value |= {"transcript": block.transcript} if block.transcript else {}
        return self._chunk(choice, {"audio": value})

    def _open_image(self, made: _Made, block: canon.Image, choice: int) -> bytes:
        image = write_image(block, self._to)
        if image is None:
            return b""
        if not self._to.own:  # as in _cite
            image = {**image, "index": self._told[choice].images}
            self._told[choice].images += 1
        return self._chunk(choice, {"images": [image]})

    def _more(self, made: _Made, delta: canon.Delta) -> bytes:
        """What a delta says, in all its parts."""
        block, choice = made.block, delta.choice
        told = self._told[choice]
        out = b""
        if isinstance(block, canon.Audio):
            value = {"data": delta.text} if delta.text else {}
            value |= {"transcript": delta.transcript} if delta.transcript else {}
            return self._chunk(choice, {"audio": value}) if value else b""
        if isinstance(block, canon.Reasoning):
            if delta.signature or delta.encrypted:
                made.block = msgspec.structs.replace(
                    block, signature=delta.signature or block.signature, encrypted=delta.encrypted or block.encrypted
                )
            return self._think(made, delta.text, choice)
        if delta.logprobs is not None:
            member = "refusal" if isinstance(block, canon.Refusal) else "content"
            out = self._chunk(choice, {member: delta.text}, delta.logprobs)
        elif delta.text:
            out = made.prefix + _string(delta.text) + made.suffix
        if isinstance(block, canon.Text):
            told.chars += len(delta.text)
            if delta.citation is not None:
                out += self._cite(delta.citation, told.chars, choice)
        if isinstance(block, canon.ToolCall) and delta.signature:
            signed = {"google": {"thought_signature": delta.signature}}
            out += self._chunk(choice, {"tool_calls": [{"index": told.calls - 1, "extra_content": signed}]})
        return out

    def _cite(self, citation: dict[str, Any], chars: int, choice: int) -> bytes:
        link = write_citation(citation, 0, chars)
        if link is None:
            self._losses.add("citations")
            return b""
        if not self._to.own:  # without it OpenAI's SDK cannot put a second one beside the first
            link = {**link, "index": self._told[choice].links}
            self._told[choice].links += 1
        return self._chunk(choice, {"annotations": [link]})

    def _on_closed(self, event: canon.Closed) -> bytes:
        made = self._made.pop(event.index, None)
        return b"" if made is None else self._sign(made, event.choice)

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        out = self._choice(event.choice)
        told = self._told[event.choice]
        if told.stopped:
            return out
        told.stopped = True
        if not self._to.own:
            self._losses.extra(event.extra)
        reason = write_stop(event.stop, told.calls > 0, told.refused, self._losses, own=self._to.own)
        if self._legacy and reason == "tool_calls":
            reason = "function_call"
        return out + self._chunk(event.choice, {}, None, reason)

    def _on_ended(self, event: canon.Ended) -> bytes:
        out = self._choice(0)
        for choice, told in self._told.items():
            if not told.stopped:
                out += self._on_stopped(canon.Stopped(canon.Stop("stop"), choice))
        if self._with_usage and self._usage is not None:
            out += self._head + b',"choices":[],"usage":' + event_bytes(write_usage(self._usage, {})) + b"}\n\n"
        return out + _DONE_EVENT

    def _on_failed(self, event: canon.Failed) -> bytes:
        return b"data: %s\n\n" % write_failure(event.failure)

    def _on_foreign(self, event: canon.Foreign) -> bytes:
        delta = event.value.get("delta")
        if event.dialect != DIALECT or type(delta) is not dict:
            return super()._on_foreign(event)
        return self._choice(0) + self._chunk(0, delta)


def _whose(block: canon.Reasoning) -> dict[str, Any]:
    """The members of a detail that say whose it is."""
    return {"format": FORMATS.get(block.origin, "unknown")} | ({"id": block.id} if block.id else {})


_OPENERS: Final[dict[type, Callable[[StreamWriter, _Made, Any, int], bytes]]] = {
    canon.Text: StreamWriter._open_text,
    canon.Refusal: StreamWriter._open_text,
    canon.Reasoning: StreamWriter._open_reasoning,
    canon.ToolCall: StreamWriter._open_call,
    canon.Audio: StreamWriter._open_audio,
    canon.Image: StreamWriter._open_image,
}
