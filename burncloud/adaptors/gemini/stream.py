"""Streams in Gemini's form: chunks of the answer, the last of which tells why it ended and what it used.

The deltas are the hot path: one typed decode on the way in, a ready prefix and one encoded string on the way out.
The reader tells ends and usage when the stream ends: older models give a finish reason with every chunk, and there
is no event at the end.  Calls come whole, so the writer gathers their arguments.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import event_bytes
from burncloud.adaptors.failures import failure_in
from burncloud.adaptors.gemini.answer import (
    blocked,
    failure_value,
    head,
    read_stop,
    read_tier,
    read_time,
    read_usage,
    usage_rest,
    write_rest,
    write_stop,
    write_usage,
)
from burncloud.adaptors.gemini.arrays import EventsOrArray
from burncloud.adaptors.gemini.blocks import Writing, read_part, write_parts
from burncloud.adaptors.gemini.chunks import Chunk, Part, candidate_at, decode, part_at
from burncloud.adaptors.gemini.citations import Cited, placed, read_links, write_grounding
from burncloud.adaptors.gemini.logprobs import read_logprobs, write_logprobs
from burncloud.adaptors.gemini.names import DIALECT, Names
from burncloud.adaptors.gemini.results import Ids, made_from
from burncloud.adaptors.reading import BAD_JSON, lenient
from burncloud.adaptors.streaming import EventReader, EventWriter, whole_event
from burncloud.errors import Refusal

# Reading


_KNOWN: Final = frozenset(Chunk.__struct_fields__)
_TAKEN: Final = frozenset({"content", "finishReason", "index", "logprobsResult"})
TEXT: Final = 1
THOUGHT: Final = 2
SOUND: Final = 3


class _Told:
    """What is known of one candidate."""

    __slots__ = ("called", "extra", "kind", "open", "reason", "signature", "texts")

    def __init__(self) -> None:
        self.signature = ""
        """Of the open text; it is told when the text ends."""
        self.open = -1
        self.kind = 0
        self.called = False
        self.reason: Any = None
        self.extra: canon.Extra = {}
        self.texts: list[str] = []


class StreamReader(EventReader[bytes]):
    """Gemini's stream, server-sent events or a JSON array; without a finish reason it was cut."""

    __slots__ = ("_ids", "_next", "_told", "_usage")
    dialect = DIALECT

    def __init__(self) -> None:
        super().__init__(EventsOrArray())
        self._told: dict[int, _Told] = {}
        self._ids = Ids()
        self._next = 0
        self._usage: dict[str, Any] | None = None

    def _at_end(self, found: list[canon.Event]) -> None:
        if not self._over and any(told.reason for told in self._told.values()):
            self._end(found)
        for choice, told in self._told.items():
            self._close(choice, told, found)

    def _read(self, payload: bytes, found: list[canon.Event]) -> None:
        if self._over:
            return
        try:
            chunk = decode(payload)
        except BAD_JSON:
            if payload.strip() == b"[DONE]":  # some gateways
                return
            chunk = lenient(Chunk, whole_event(payload))
        if chunk.error:
            self._over = True
            code = chunk.error.get("code") if type(chunk.error) is dict else None
            status = code if type(code) is int and 400 <= code <= 599 else 500
            found.append(canon.Failed(failure_in(status, chunk.error)))
            return
        if not self._started:
            self._start(chunk, payload, found)
        if chunk.usageMetadata is not None:
            self._use(chunk.usageMetadata)
        for at, candidate in enumerate(chunk.candidates or ()):
            told = self._told.get(candidate.index or 0)
            if told is None:
                told = self._told[candidate.index or 0] = _Told()
            parts = candidate.content.parts if candidate.content is not None else None
            for number, part in enumerate(parts or ()):
                if part.text is None:
                    self._say_other(part_at(payload, at, number), candidate.index or 0, told, found)
                else:
                    self._say(part, candidate.index or 0, told, found)
            if candidate.says_more():
                self._more(candidate_at(payload, at), told)
        feedback = chunk.promptFeedback
        if feedback is not None and feedback.get("blockReason") and not chunk.candidates:
            told = self._told.setdefault(0, _Told())
            told.reason = "SAFETY"
            told.extra["promptFeedback"] = feedback

    def _start(self, chunk: Chunk, payload: bytes, found: list[canon.Event]) -> None:
        if chunk.candidates is None and chunk.usageMetadata is None and chunk.promptFeedback is None:
            raise canon.Unreadable("the stream is none of generateContent")
        self._started = True
        answer_id = chunk.responseId or ""
        self._ids = Ids(made_from(answer_id, payload))
        extra = {
            name: value for name, value in whole_event(payload).items() if name not in _KNOWN and value is not None
        }
        found.append(
            canon.Started(
                answer_id, chunk.modelVersion or "", read_time(chunk.createTime), extra=extra, dialect=DIALECT
            )
        )

    def _use(self, usage: dict[str, Any]) -> None:
        """The last usage that has counts is the sum; Vertex AI tells its traffic type alone before the end."""
        if self._usage is None or "totalTokenCount" in usage or "promptTokenCount" in usage:
            self._usage = usage

    def _say(self, part: Part, choice: int, told: _Told, found: list[canon.Event]) -> None:
        """Text or a thought."""
        text, signature = part.text or "", part.thoughtSignature or ""
        if part.thought:
            if text or signature:
                if told.kind != THOUGHT:
                    self._open(canon.Reasoning(origin=DIALECT), THOUGHT, choice, told, found)
                found.append(canon.Delta(told.open, text, signature, choice=choice))
            if signature:
                self._close(choice, told, found)
            return
        if text:
            if told.kind != TEXT or told.signature:
                self._open(canon.Text(""), TEXT, choice, told, found)
            found.append(canon.Delta(told.open, text, choice=choice))
            told.texts.append(text)
        if signature and told.kind == TEXT and not told.signature:
            told.signature = signature
        elif signature:
            alone = canon.Reasoning(signature=signature, origin=DIALECT, extra={"alone": True})
            self._open(alone, 0, choice, told, found)
            self._close(choice, told, found)

    def _say_other(self, value: Any, choice: int, told: _Told, found: list[canon.Event]) -> None:
        """A call, a picture, a sound, or what has no equal elsewhere."""
        try:
            blocks = read_part(Names(value, "part"), self._ids)
        except (Refusal, ValueError) as error:
            raise canon.Unreadable(f"the stream is malformed: {error}") from None
        for block in blocks:
            if isinstance(block, canon.ToolCall):
                told.called = True
                arguments, block.arguments = block.arguments, ""
                self._open(block, 0, choice, told, found)
                found.append(canon.Delta(told.open, arguments, choice=choice))
            elif isinstance(block, canon.Audio):
                data, block.source.data = block.source.data, ""
                if told.kind != SOUND:
                    self._open(block, SOUND, choice, told, found)
                found.append(canon.Delta(told.open, data, choice=choice))
                continue
            else:
                self._open(block, 0, choice, told, found)
            self._close(choice, told, found)

    def _open(self, block: canon.Block, kind: int, choice: int, told: _Told, found: list[canon.Event]) -> None:
        self._close(choice, told, found)
        told.open, told.kind = self._next, kind
        self._next += 1
        found.append(canon.Opened(told.open, block, choice))

    def _close(self, choice: int, told: _Told, found: list[canon.Event]) -> None:
        if told.open >= 0:
            found.append(canon.Closed(told.open, choice))
        told.open, told.kind = -1, 0
        if told.signature:
            signed = canon.Reasoning(signature=told.signature, origin=DIALECT)
            found += (canon.Opened(self._next, signed, choice), canon.Closed(self._next, choice))
            self._next += 1
            told.signature = ""

    def _more(self, candidate: dict[str, Any], told: _Told) -> None:
        """What a candidate says beside its parts; it is told at the end."""
        told.reason = candidate.get("finishReason") or told.reason
        told.extra.update((name, value) for name, value in candidate.items() if name not in _TAKEN and value)
        result = candidate.get("logprobsResult")
        if type(result) is dict:
            known = told.extra.setdefault("logprobsResult", {})
            for name, value in result.items():
                known[name] = [*known.get(name, ()), *value] if type(value) is list else value

    def _end(self, found: list[canon.Event]) -> None:
        """Ends, usage, and the end."""
        self._over = True
        usage = read_usage(self._usage)
        rest = usage_rest(self._usage, usage)
        tier = read_tier(self._usage)
        if tier:
            rest["usage.serviceTier"] = tier if tier != "default" else "standard"
        for choice, told in self._told.items():
            self._tell_links(choice, told, found)
            self._close(choice, told, found)
            feedback = told.extra.get("promptFeedback")
            stop = blocked(feedback).stop if feedback else read_stop(told.reason, called=told.called)
            if stop is not None:
                found.append(canon.Stopped(stop, choice, told.extra | rest))
                rest = {}
        if usage is not None:
            found.append(canon.Used(usage))
        found.append(canon.Ended())

    def _tell_links(self, choice: int, told: _Told, found: list[canon.Event]) -> None:
        """Log probabilities and links on the text that is open."""
        logprobs = read_logprobs(told.extra.get("logprobsResult"))
        if told.kind != TEXT:
            return
        if logprobs is not None:
            found.append(canon.Delta(told.open, logprobs=logprobs, choice=choice))
            del told.extra["logprobsResult"]
        links = read_links(told.extra, "".join(told.texts))
        found += [canon.Delta(told.open, citation=link, choice=choice) for link in links]


# Writing


class _Made:
    """A block that is being written.  `prefix`: of a chunk whose text is written as it comes."""

    __slots__ = ("block", "choice", "pieces", "prefix", "said", "start")

    def __init__(self, block: canon.Block, choice: int) -> None:
        self.block = block
        self.choice = choice
        self.prefix = b""
        self.pieces: list[str] = []
        """Arguments of a call."""
        self.said = False
        """Whether some of a thought was shown."""
        self.start = 0
        """Where in the text of the choice the block begins, in characters."""


class _Choice:
    """What is to be told at the end of a choice."""

    __slots__ = ("cited", "logprobs", "said", "stopped", "texts")

    def __init__(self) -> None:
        self.stopped: canon.Stopped | None = None
        self.cited: list[Cited] = []
        self.logprobs: list[Any] = []
        self.texts: list[str] = []
        self.said = 0


_string: Final = msgspec.json.Encoder().encode
_TEXT: Final = b'data: {"candidates":[{"content":{"parts":[{"text":'
_THOUGHT: Final = b'data: {"candidates":[{"content":{"parts":[{"thought":true,"text":'


class StreamWriter(EventWriter):
    """write() canonical events, get the bytes of Gemini's.  `model` is the name to show; "" = the upstream's.

    `array`: one JSON array instead of server-sent events.  `include_usage` changes nothing: this dialect always
    tells the usage.
    """

    __slots__ = ("_array", "_began", "_choices", "_head", "_made", "_started", "_to")

    def __init__(self, model: str, include_usage: bool, losses: canon.Losses, *, array: bool = False) -> None:
        super().__init__(model, losses)
        self._to = Writing(losses, own=False, answer=True)
        self._array = array
        self._began = False
        self._started = canon.Started("", "")
        self._head = b"}\n\n"
        self._made: dict[int, _Made] = {}
        self._choices: dict[int, _Choice] = {}

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        out = self._write(event)
        return self._elements(out, event) if self._array else out

    def _write(self, event: canon.Event) -> bytes:
        if type(event) is canon.Delta:
            made = self._made.get(event.index)
            if made is None:
                return b""
            if made.prefix and not (event.signature or event.encrypted or event.citation or event.logprobs):
                if type(made.block) is canon.Reasoning:
                    made.said = True
                else:
                    self._choices[made.choice].texts.append(event.text)
                    self._choices[made.choice].said += len(event.text)
                return made.prefix + _string(event.text) + self._tail(made.choice) if event.text else b""
            return self._more(made, event)
        return self._step(event)

    def _elements(self, out: bytes, event: canon.Event) -> bytes:
        """Chunks as members of one array, which ends with the stream."""
        chunks = [chunk[6:] for chunk in out.split(b"\n\n") if chunk]
        text = b",\r\n".join(chunks)
        if chunks:
            text = (b",\r\n" if self._began else b"[") + text
            self._began = True
        if isinstance(event, canon.Ended | canon.Failed):
            text += b"]" if self._began else b"[]"
        return text

    def _tail(self, choice: int) -> bytes:
        """What follows the string of a ready chunk."""
        return b'}],"role":"model"},"index":%d}]' % choice + self._head

    def _chunk(self, choice: int, parts: list[dict[str, Any]]) -> bytes:
        if not parts:
            return b""
        candidate = {"content": {"parts": parts, "role": "model"}, "index": choice}
        return b'data: {"candidates":[' + event_bytes(candidate) + b"]" + self._head

    def _on_started(self, event: canon.Started) -> bytes:
        self._to.own = event.dialect == DIALECT
        self._started = event
        self._usage = event.usage
        value = head(event.id, self._model or event.model, event.created)
        if self._to.own:
            value |= event.extra
        else:
            self._losses.extra(event.extra)
        self._head = (b"," + event_bytes(value)[1:] if value else b"}") + b"\n\n"
        return b""

    def _on_opened(self, event: canon.Opened) -> bytes:
        block, choice = event.block, event.choice
        told = self._choices.setdefault(choice, _Choice())
        made = _Made(_copy(block), choice)
        made.start = told.said
        if not self._to.own:
            self._losses.rest(block)
        if isinstance(block, canon.Image | canon.Document | canon.Raw):
            return self._chunk(choice, write_parts([block], self._to))
        self._made[event.index] = made
        if isinstance(block, canon.Text | canon.Refusal):
            made.prefix = _TEXT
        elif isinstance(block, canon.Reasoning):
            made.prefix = _THOUGHT
        first = block.transcript if isinstance(block, canon.Audio) else getattr(block, "text", "")
        if isinstance(block, canon.Reasoning) and block.summary and not first:
            first = "\n\n".join(block.summary)
        if isinstance(block, canon.ToolCall):
            made.pieces.append(block.arguments)
        out = self._more(made, canon.Delta(event.index, first, transcript=first)) if first else b""
        if isinstance(block, canon.Audio) and block.source.data:
            out += self._more(made, canon.Delta(event.index, block.source.data))
        return out

    def _more(self, made: _Made, delta: canon.Delta) -> bytes:
        """What a delta says, in all its parts."""
        block, told = made.block, self._choices[made.choice]
        if isinstance(block, canon.ToolCall):
            made.pieces.append(delta.text)
            block.signature = delta.signature or block.signature
            return b""
        if isinstance(block, canon.Audio):
            out = self._text(made, delta.transcript, _TEXT)
            if delta.text and delta.text != delta.transcript:
                kind = block.source.media_type or "audio/pcm"
                out += self._chunk(made.choice, [{"inlineData": {"mimeType": kind, "data": delta.text}}])
            return out
        if isinstance(block, canon.Reasoning):
            block.signature = delta.signature or block.signature
            block.encrypted = delta.encrypted or block.encrypted
            made.said = made.said or bool(delta.text)
            return _THOUGHT + _string(delta.text) + self._tail(made.choice) if delta.text else b""
        out = self._text(made, delta.text, _TEXT)
        if delta.citation is not None and not self._to.own:
            told.cited.append(placed(delta.citation, made.start, told.said))
        if delta.logprobs is not None:
            content = delta.logprobs.get("content")
            told.logprobs += content if type(content) is list else []
        return out

    def _text(self, made: _Made, text: str, prefix: bytes) -> bytes:
        if not text:
            return b""
        told = self._choices[made.choice]
        told.texts.append(text)
        told.said += len(text)
        return prefix + _string(text) + self._tail(made.choice)

    def _on_closed(self, event: canon.Closed) -> bytes:
        made = self._made.pop(event.index, None)
        if made is None:
            return b""
        block = made.block
        if isinstance(block, canon.ToolCall):
            block.arguments = "".join(made.pieces)
            return self._chunk(made.choice, write_parts([block], self._to))
        if isinstance(block, canon.Reasoning) and (block.signature or block.encrypted):
            if block.origin != DIALECT:
                parts = write_parts([block], self._to)
                return self._chunk(made.choice, [{**part, "text": ""} for part in parts])
            part: dict[str, Any] = {"text": "", "thought": True} if made.said else {"text": ""}
            return self._chunk(made.choice, [{**part, "thoughtSignature": block.signature}])
        return b""

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        self._choices.setdefault(event.choice, _Choice()).stopped = event
        return b""

    def _on_ended(self, event: canon.Ended) -> bytes:
        out = b"".join(self._on_closed(canon.Closed(index)) for index in list(self._made))
        if not self._choices:
            self._choices[0] = _Choice()
        body: dict[str, Any] = {"candidates": []}
        extra: canon.Extra = {}
        for choice, told in self._choices.items():
            candidate = self._last(choice, told, extra)
            if "promptFeedback" in candidate:
                body["promptFeedback"] = candidate["promptFeedback"]
            else:
                body["candidates"].append(candidate)
        if not body["candidates"]:
            del body["candidates"]
        if self._usage is not None:
            body["usageMetadata"] = write_usage(self._usage, self._losses)
        write_rest(body, extra, self._started.service_tier, self._losses, own=self._to.own)
        return out + b"data: " + event_bytes(body)[:-1] + self._head

    def _last(self, choice: int, told: _Choice, extra: canon.Extra) -> dict[str, Any]:
        """The candidate of the last chunk; what its end says of the usage goes into `extra`."""
        stopped = told.stopped or canon.Stopped(canon.Stop("stop"))
        own = self._to.own
        value: dict[str, Any] = {"content": {"parts": [{"text": ""}], "role": "model"}}
        if own and told.stopped is None:
            return {**value, "index": choice}
        value["finishReason"] = write_stop(stopped.stop, self._losses, own=own)
        value["index"] = choice
        logprobs = write_logprobs({"content": told.logprobs})
        if logprobs is not None:
            value["logprobsResult"] = logprobs
        for name, more in stopped.extra.items():
            if not own or name.startswith("usage."):
                extra[name] = more
            else:
                value[name] = more
        grounding = None if own else write_grounding(told.cited, "".join(told.texts), self._losses)
        if grounding is not None:
            value["groundingMetadata"] = grounding
        return value

    def _on_ping(self, event: canon.Ping) -> bytes:
        return b""  # this dialect has no sign of life

    def _on_failed(self, event: canon.Failed) -> bytes:
        return b"data: %s\n\n" % event_bytes(failure_value(event.failure))

    def _on_foreign(self, event: canon.Foreign) -> bytes:
        if event.dialect != DIALECT:
            return super()._on_foreign(event)
        return b"data: %s\n\n" % event_bytes(event.value)


def _copy(block: canon.Block) -> canon.Block:
    """A block that may be changed while it is written."""
    return msgspec.structs.replace(block)
