"""Streams in Responses' form: response.created, items with their parts, each begun, told and ended, response.completed.

The deltas are the hot path: one typed decode on the way in, a ready prefix and one encoded string on the way out.
The reader tells ends and usage when the stream ends.  The writer keeps what it told: every end repeats its text, and
the last event the whole response.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.events import payloads, unify
from burncloud.adaptors.failures import failure_in
from burncloud.adaptors.reading import BAD_JSON, lenient
from burncloud.adaptors.responses.making import Output
from burncloud.adaptors.responses.parts import DIALECT, DRAWN
from burncloud.adaptors.responses.response import (
    echo,
    made_id,
    read_created,
    read_rest,
    read_stop,
    read_usage,
    shell,
    write_error,
    write_stop,
    write_usage,
)
from burncloud.adaptors.responses.sequence import CALLS, Item, Sequence
from burncloud.adaptors.splitter import Splitter
from burncloud.adaptors.streaming import EventReader, EventWriter, member_text, whole_event
from burncloud.errors import Refusal

# Reading


class _Event(msgspec.Struct, gc=False):
    type: str | None = None
    delta: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    item_id: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    input: str | None = None
    logprobs: list[Any] | None = None
    item: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    annotation: dict[str, Any] | None = None
    response: dict[str, Any] | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(_Event).decode
_DONE: Final = _Event("[DONE]")


class StreamReader(EventReader[bytes]):
    """Responses' stream, whose last event tells the whole response again."""

    __slots__ = ("_at", "_by_id", "_sequence")
    dialect = DIALECT

    def __init__(self) -> None:
        super().__init__(Splitter())
        self._sequence = Sequence()
        self._at: dict[int, Item] = {}
        self._by_id: dict[str, Item] = {}

    def _read(self, payload: bytes, found: list[canon.Event]) -> None:
        if self._over:
            return
        try:
            event = _decode(payload)
        except BAD_JSON:
            event = _odd(payload)
        kind = event.type or ""
        handler = _HANDLERS.get(kind)
        try:
            if handler is not None:
                handler(self, event, payload, found)
            elif event.error:
                self._on_error(event, payload, found)
            elif kind:
                self._head(found)
                found.append(_other(_subject(kind), payload))
            elif not self._started:
                raise canon.Unreadable("the stream is none of responses")
        except (Refusal, ValueError) as error:
            raise canon.Unreadable(f"the stream is malformed: {error}") from None

    def _on_start(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if self._started:
            return
        self._started = True
        given = event.response or {}
        extra, said = read_rest(given)
        tier = member_text(given, "service_tier")
        created = read_created(given)
        found.append(
            canon.Started(
                member_text(given, "id"), member_text(given, "model"), created, None, tier, extra, DIALECT, said
            )
        )

    def _item(self, event: _Event, kind: str, found: list[canon.Event]) -> Item:
        """The item that an event belongs to: by its number, its id, or as the last one; a new one if it is none."""
        at, key = event.output_index, event.item_id
        item = self._at.get(at) if at is not None else None
        if item is None and key:
            item = self._by_id.get(key)
        if item is None and at is None and not key and self._sequence.items:
            item = self._sequence.items[-1]
        if item is None or (kind and item.kind != kind):
            item = next((other for other in reversed(self._sequence.items) if other.key == key and key), None)
            if item is None or (kind and item.kind != kind):
                item = self._add({"type": kind, "id": key}, at, found)
        return item

    def _add(self, value: dict[str, Any], at: int | None, found: list[canon.Event]) -> Item:
        self._head(found)
        item = self._sequence.add(value, found)
        self._at[len(self._at) if at is None else at] = item
        if item.key:
            self._by_id[item.key] = item
        return item

    def _on_item(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if event.item is None:
            return
        item = self._add(event.item, event.output_index, found)
        if item.kind not in _TOLD or item.by_server:
            found.append(_other(item.kind, payload))

    def _on_item_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if event.item is None:
            return
        key = event.item.get("id")
        event.item_id = key if type(key) is str else None
        kind = event.item.get("type")
        item = self._item(event, kind if type(kind) is str else "", found)
        if not item.done:
            self._sequence.finish(item, event.item, found)

    def _on_text(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if not event.delta:
            return
        item = self._item(event, "message", found)
        block = item.blocks.get(event.content_index or 0)
        sequence = self._sequence
        if block is None or block.over:
            kind = canon.Refusal if event.type == "response.refusal.delta" else canon.Text
            block = sequence.content(item, event.content_index or 0, kind, found)
        if event.logprobs:
            block.chars += len(event.delta)
            said = {"content": event.logprobs}
            sequence.tell(block, canon.Delta(block.index, event.delta, logprobs=said), found)
        else:
            sequence.text(block, event.delta, found)

    def _on_text_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        item = self._item(event, "message", found)
        kind = canon.Refusal if event.type == "response.refusal.done" else canon.Text
        text = event.refusal if event.refusal is not None else event.text
        if text:
            at = event.content_index or 0
            known = item.blocks.get(at)
            if known is None or len(text) > known.chars:
                self._sequence.rest(self._sequence.content(item, at, kind, found), text, found)

    def _on_part_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if event.part is not None and event.part.get("type") != "reasoning_text":
            self._sequence.part(self._item(event, "message", found), event.content_index or 0, event.part, found)

    def _on_annotation(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        item = self._item(event, "message", found)
        if event.annotation is not None:
            block = self._sequence.content(item, event.content_index or 0, canon.Text, found)
            self._sequence.cite(block, event.annotation, found)

    def _on_summary(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if event.delta:
            item = self._item(event, "reasoning", found)
            self._sequence.summary(item, event.summary_index or 0, event.delta, found)

    def _on_summary_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        item = self._item(event, "reasoning", found)
        told = item.summary.get(event.summary_index or 0, 0)
        if event.text and len(event.text) > told:
            self._sequence.summary(item, event.summary_index or 0, event.text[told:], found)

    def _on_thought(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if event.delta:
            item = self._item(event, "reasoning", found)
            block = self._sequence.thought(item, found, is_summary=False)
            self._sequence.text(block, event.delta, found)

    def _on_arguments(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        if event.delta:
            block = self._item(event, "", found).blocks.get(0)
            if block is not None:  # else it is told when the item ends, with the name
                self._sequence.text(block, event.delta, found)

    def _on_arguments_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        block = self._item(event, "", found).blocks.get(0)
        if block is not None:
            self._sequence.rest(block, event.arguments if event.arguments is not None else event.input, found)

    def _on_end(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        given = event.response or {}
        if event.type == "response.failed" or (given.get("error") and given.get("status") == "failed"):
            self._over = True
            found.append(canon.Failed(_failure(given.get("error"))))
            return
        if not self._started and event.type != "[DONE]":
            self._on_start(event, payload, found)
        self._head(found)
        self._backfill(given.get("output"), found)
        self._sequence.end_all(found)
        self._over = True
        if event.type == "response.incomplete":
            given.setdefault("status", "incomplete")
        stop = read_stop(given, called=self._sequence.called, refused=self._sequence.refused)
        extra, said = read_rest(given)
        rest = {name: value for name, value in whole_event(payload).items() if name not in _END} if given else {}
        found.append(canon.Stopped(stop, 0, extra | rest, said))
        usage = read_usage(given)
        if usage is not None:
            found.append(canon.Used(usage))
        found.append(canon.Ended())

    def _backfill(self, output: Any, found: list[canon.Event]) -> None:
        """What only the whole response tells."""
        items = [item for item in output if type(item) is dict] if type(output) is list else []
        known = list(self._sequence.items)
        for value in items:
            kind, key = value.get("type"), value.get("id")
            same = [item for item in known if item.kind == kind]
            item = next((other for other in same if key and other.key == key), same[0] if same else None)
            if item is None:
                item = self._add(value, None, found)
            else:
                known.remove(item)
            if not item.done:
                self._sequence.finish(item, value, found)

    def _on_ping(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        found.append(canon.Ping())

    def _on_error(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        self._over = True
        whole = whole_event(payload)
        found.append(canon.Failed(_failure(whole.get("error") or whole)))

    def _skip(self, event: _Event, payload: bytes, found: list[canon.Event]) -> None:
        """What is said again by other events."""


_TOLD: Final = frozenset({"message", "reasoning", *CALLS})
"""Items whose beginning is told by their blocks."""


class _Place(msgspec.Struct, gc=False):
    """Where an event stands."""

    sequence_number: int = -1
    output_index: int = -1


_place: Final = msgspec.json.Decoder(_Place).decode
_END: Final = frozenset({"type", "response", "sequence_number"})
_HANDLERS: Final[dict[str, Callable[[StreamReader, _Event, bytes, list[canon.Event]], None]]] = {
    "response.created": StreamReader._on_start,
    "response.queued": StreamReader._on_start,
    "response.in_progress": StreamReader._on_start,
    "response.output_item.added": StreamReader._on_item,
    "response.output_item.done": StreamReader._on_item_end,
    "response.content_part.added": StreamReader._skip,
    "response.content_part.done": StreamReader._on_part_end,
    "response.output_text.delta": StreamReader._on_text,
    "response.output_text.done": StreamReader._on_text_end,
    "response.output_text.annotation.added": StreamReader._on_annotation,
    "response.refusal.delta": StreamReader._on_text,
    "response.refusal.done": StreamReader._on_text_end,
    "response.reasoning_summary_part.added": StreamReader._skip,
    "response.reasoning_summary_part.done": StreamReader._skip,
    "response.reasoning_summary_text.delta": StreamReader._on_summary,
    "response.reasoning_summary_text.done": StreamReader._on_summary_end,
    "response.reasoning_text.delta": StreamReader._on_thought,
    "response.reasoning_text.done": StreamReader._skip,
    "response.function_call_arguments.delta": StreamReader._on_arguments,
    "response.function_call_arguments.done": StreamReader._on_arguments_end,
    "response.custom_tool_call_input.delta": StreamReader._on_arguments,
    "response.custom_tool_call_input.done": StreamReader._on_arguments_end,
    "response.completed": StreamReader._on_end,
    "response.incomplete": StreamReader._on_end,
    "response.failed": StreamReader._on_end,
    "response.done": StreamReader._on_end,
    "[DONE]": StreamReader._on_end,
    "keepalive": StreamReader._on_ping,
    "ping": StreamReader._on_ping,
    "error": StreamReader._on_error,
}


def _other(subject: str, payload: bytes) -> canon.Foreign:
    """An event that only Responses has; of a picture's making nothing is lost, since the picture itself comes whole."""
    return canon.Foreign(DIALECT, {"type": subject, "event": whole_event(payload)}, lost=subject != DRAWN)


def _subject(kind: str) -> str:
    """What an event is about: "web_search_call" of response.web_search_call.searching."""
    return kind.removeprefix("response.").partition(".")[0]


def _odd(payload: bytes) -> _Event:
    """An event with a member of another type than usual; _DONE for the end."""
    if payload.strip() == b"[DONE]":
        return _DONE
    return lenient(_Event, whole_event(payload))


_STATUSES: Final = {
    "rate_limit_exceeded": 429, "insufficient_quota": 429, "invalid_prompt": 400, "context_length_exceeded": 400,
    "invalid_request_error": 400, "invalid_image": 400, "server_error": 500, "slow_down": 503,
}  # fmt: skip
"""`code` of an error in a stream to the status it would have had."""


def _failure(error: Any) -> canon.Failure:
    """An error in mid-stream."""
    code = error.get("code") if type(error) is dict else None
    if type(code) is int and 400 <= code < 600:
        return failure_in(code, error)
    failure = failure_in(_STATUSES.get(str(code), 500), error)
    if type(code) is str and code:
        failure.kind = code
    return failure


# Writing


class StreamWriter(EventWriter):
    """write() canonical events, get the bytes of Responses'.  `model` is the name to show; "" = the upstream's.

    `include_usage` changes nothing: this dialect always tells the usage.  `request`: what the client asked, which the
    response repeats.
    """

    __slots__ = ("_extra", "_output", "_own", "_request", "_shell", "_stopped", "response")

    def __init__(
        self, model: str, include_usage: bool, losses: canon.Losses, *, request: canon.Request | None = None
    ) -> None:
        super().__init__(model, losses)
        self._request = request
        self._own = False
        self._output = Output(losses, request)
        self._shell: dict[str, Any] = {}
        self._extra: canon.Extra = {}
        self._stopped: canon.Stopped | None = None
        self.response: dict[str, Any] = {}
        """The whole response, when it has ended."""

    def write(self, event: canon.Event) -> bytes:
        """The bytes that are due now; b"" where nothing is."""
        if type(event) is canon.Delta:
            return self._output.delta(event)
        return self._step(event)

    def number_behind(self, delivered: bytes) -> bool:
        """What is written next has larger numbers than these bytes, the beginning of the same stream.

        False where they announce an item of which nothing is told: nobody could end it, and so not the response.
        """
        output = self._output
        for payload in payloads(unify(delivered)):
            try:
                place = _place(payload)
            except BAD_JSON:
                continue
            output.next_number = max(output.next_number, place.sequence_number + 1)
            if place.output_index >= output.next_item:
                return False
        return True

    def _on_started(self, event: canon.Started) -> bytes:
        if self._shell:
            return b""
        own = self._own = self._output.own = event.dialect == DIALECT
        key = event.id or "0"
        if not own and not key.startswith("resp"):
            key = f"resp_{key}"
        self._output.made = made_id(key)
        repeated = echo(self._request) | (event.said if own else {})
        self._shell = shell(
            key, self._model or event.model, event.created, repeated, event.service_tier, self._losses, own=own
        )
        self._usage = event.usage
        self._add_extra(event.extra)
        out = self._output.event("response.created", response=self._shell)
        return out + self._output.event("response.in_progress", response=self._shell)

    def _add_extra(self, extra: canon.Extra) -> None:
        if self._own:
            self._extra.update(extra)
            self._shell.update((name, value) for name, value in extra.items() if not name.startswith("usage."))
        else:
            self._losses.extra(extra)

    def _begin(self) -> bytes:
        return b"" if self._shell else self._on_started(canon.Started("", ""))

    def _on_opened(self, event: canon.Opened) -> bytes:
        if event.choice:
            self._losses.add("n")
            return b""
        return self._begin() + self._output.open(event.index, event.block)

    def _on_closed(self, event: canon.Closed) -> bytes:
        return b"" if event.choice else self._output.close(event.index)

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        if event.choice == 0 and self._stopped is None:
            self._stopped = event
        return b""

    def _on_ended(self, event: canon.Ended) -> bytes:
        out = self._begin()
        stopped = self._stopped or canon.Stopped(canon.Stop("stop"))
        self._add_extra(stopped.extra)
        if self._own:
            self._shell.update(stopped.said)
        ended = write_stop(stopped.stop, self._losses, refused=self._output.refused, own=self._own)
        out += self._output.end(complete=ended["status"] == "completed")
        self.response = self._whole(ended)
        return out + self._output.event(f"response.{_LAST.get(ended['status'], 'completed')}", response=self.response)

    def _whole(self, ended: dict[str, Any]) -> dict[str, Any]:
        """The response with all that was told."""
        value = {**self._shell, **ended, "output": self._output.items}
        if self._usage is not None:
            value["usage"] = write_usage(self._usage, self._extra)
        return value

    def _on_failed(self, event: canon.Failed) -> bytes:
        error = write_error(event.failure)
        out = self._output.event("error", **error)
        if not self._shell:
            return out
        failed = {"status": "failed", "error": {"code": error["code"], "message": error["message"]}}
        return out + self._output.event("response.failed", response=self._whole(failed))

    def _on_foreign(self, event: canon.Foreign) -> bytes:
        if event.dialect != DIALECT or not self._own:
            return super()._on_foreign(event)
        return self._begin() + self._output.foreign(event.value)


_LAST: Final = {"incomplete": "incomplete", "failed": "failed"}
"""status to the last event's name; all others have completed."""
