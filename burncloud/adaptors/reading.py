"""What a dialect's file gives to the meter: a `Reader` that absorbs answers into a `Tally`.

A dialect declares msgspec Structs with only the fields it looks at, and one function for each that
adds a decoded value to the tally.  Decoding is strict and fast first; where a provider sends a field
in a type of its own, the same Struct is filled again field by field, and the odd field left out.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable
from typing import Any, Final, Generic, TypeGuard, TypeVar

import msgspec

from burncloud.domain.usage import Usage

TOKENS_MAX: Final = 1 << 40
"""A larger count is nonsense and is cut to this, so that no sum leaves 64 bits."""

Count = int | float | None
"""How a count may come: null and 12.0 are seen in the wild."""

BAD_JSON: Final = (msgspec.MsgspecError, RecursionError, ValueError)

T = TypeVar("T", bound=msgspec.Struct)
B = TypeVar("B", bound=msgspec.Struct)


class Tally(msgspec.Struct, gc=False):
    """What was seen of one answer, in the order of its bytes: a later statement replaces an earlier one."""

    usage: Usage | None = None
    finish: str = ""
    """The raw finish/stop reason or status."""
    terminal: bool = False
    """The event that ends this dialect's streams was seen."""
    content: bool = False
    """Something that a user would miss was seen: text, reasoning, a tool call, an image, an end."""
    error: bool = False
    text_bytes: int = 0
    """UTF-8 bytes of delivered text, reasoning and tool arguments."""


def whole(value: Count) -> int:
    """A token count: absent, negative or not finite is 0."""
    if not value:
        return 0
    if type(value) is not int:
        try:
            value = int(value)
        except (ValueError, OverflowError):
            return 0
    return 0 if value < 0 else min(value, TOKENS_MAX)


def text_size(text: str | None) -> int:
    """UTF-8 bytes of a text."""
    if not text:
        return 0
    return len(text) if text.isascii() else len(text.encode("utf-8", "replace"))


_TEXT_KEYS: Final = frozenset({
    "text", "thinking", "content", "partial_json", "arguments", "refusal", "reasoning_content", "transcript",
})  # fmt: skip
_OBJECT_KEYS: Final = frozenset({"input", "args"})


def parts_size(value: Any) -> int:
    """UTF-8 bytes of all that a plain answer says: strings under text keys, arguments of tool calls."""
    if isinstance(value, list):
        return sum(parts_size(item) for item in value)
    if not isinstance(value, dict):
        return 0
    size = 0
    for key, item in value.items():
        if isinstance(item, str):
            size += text_size(item) if key in _TEXT_KEYS else 0
        elif key in _OBJECT_KEYS and isinstance(item, dict):
            size += len(msgspec.json.encode(item))
        else:
            size += parts_size(item)
    return size


def answer_size(data: bytes) -> int:
    """`parts_size` of a plain answer; 0 if it is no JSON."""
    try:
        return parts_size(msgspec.json.decode(data))
    except BAD_JSON:
        return 0


class Reading(msgspec.Struct, gc=False):
    """What the meter saw."""

    usage: Usage | None
    """As the upstream stated it (the last statement of a stream); None = it stated none."""
    complete: bool
    """The answer came to its own end (a stream: its terminal event was seen)."""
    finish: str
    """The raw finish/stop reason or status; "" = none."""
    error: bool
    """An error object or event inside the answer."""
    output_estimate_tokens: int
    """Estimated from the delivered text; 0 where usage came and the answer is complete."""


class Reader(Generic[T, B]):
    """One endpoint of one dialect.

    `chunk` is an event of its stream, `body` its plain answer; `absorb_chunk` and `absorb_body` add one to
    a tally.  `head_usage`: the first event states usage, too.  `watched`: the members of a plain answer that
    are kept where it is too large to be held.  `usage_key`: how the member with the usage is called.
    """

    def __init__(
        self,
        chunk: type[T],
        absorb_chunk: Callable[[T, Tally], None],
        body: type[B],
        absorb_body: Callable[[B, Tally], None],
        watched: frozenset[str],
        usage_key: str = "usage",
        head_usage: bool = False,
        done: bool = False,
    ) -> None:
        self._chunk = chunk
        self._body = body
        self._decode_chunk = msgspec.json.Decoder(chunk).decode
        self._decode_body = msgspec.json.Decoder(body).decode
        self._absorb_chunk = absorb_chunk
        self._absorb_body = absorb_body
        self.watched = watched
        self.usage_key = usage_key
        self.head_usage = head_usage
        self._done = done

    def event(self, payload: bytes, tally: Tally) -> bool:
        """Absorb one event's data; False if it is nothing that this dialect knows."""
        try:
            chunk = self._decode_chunk(payload)
        except BAD_JSON:
            if payload.strip() == b"[DONE]":
                if self._done:
                    tally.terminal = tally.content = True
                return True
            odd = _tolerant(self._chunk, payload)
            if odd is None:
                return False
            chunk = odd
        self._absorb_chunk(chunk, tally)
        return True

    def body(self, data: bytes, tally: Tally) -> bool:
        """Absorb a plain answer; False if it is no JSON object."""
        try:
            body = self._decode_body(data)
        except BAD_JSON:
            odd = _tolerant(self._body, data)
            if odd is None:
                return False
            body = odd
        self._absorb_body(body, tally)
        return True


def _tolerant(kind: type[T], data: bytes) -> T | None:
    """The Struct from JSON whose fields may have any type; None if it is no JSON object."""
    try:
        value = msgspec.json.decode(data)
    except BAD_JSON:
        return None
    return lenient(kind, value) if isinstance(value, dict) else None


def stated(kind: type[T], value: dict[str, Any]) -> T:
    """A Struct from a decoded object, strictly first; where a field has a type of its own, field by field."""
    try:
        return msgspec.convert(value, kind)
    except BAD_JSON:
        return lenient(kind, value)


def lenient(kind: type[T], value: dict[str, Any]) -> T:
    """A Struct from a decoded object; a field whose value does not fit keeps its default."""
    fields: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in value:
            continue
        given = value[field.encode_name]
        try:
            fields[field.name] = msgspec.convert(given, field.type)
        except BAD_JSON:
            for part in typing.get_args(field.type) if isinstance(field.type, types.UnionType) else (field.type,):
                item_type = typing.get_args(part)[0] if typing.get_origin(part) is list else None
                if isinstance(given, dict) and _is_struct(part):
                    fields[field.name] = lenient(part, given)
                elif isinstance(given, list) and _is_struct(item_type):
                    fields[field.name] = [lenient(item_type, item) for item in given if isinstance(item, dict)]
    return kind(**fields)


def _is_struct(hint: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(hint, type) and issubclass(hint, msgspec.Struct)
