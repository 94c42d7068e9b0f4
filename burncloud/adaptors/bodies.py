"""Bodies in and out: what every dialect does around its own reading and writing.

What cannot be read or written is said in one way: as a Refusal where the client's request is at fault, as Unreadable
where the upstream's answer is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import msgspec

from burncloud.adaptors.canon import Request, Unreadable
from burncloud.adaptors.failures import failure_in
from burncloud.adaptors.fields import Fields, body_fields
from burncloud.adaptors.reading import BAD_JSON
from burncloud.errors import INVALID_REQUEST, Refusal

T = TypeVar("T")
P = ParamSpec("P")


def request_of(read: Callable[[Fields, str, bool], Request], body: bytes, model: str, stream: bool) -> Request:
    """What a dialect reads of a request's members; Refusal if it is malformed."""
    fields = body_fields(body)
    try:
        return read(fields, model, stream)
    except ValueError as error:
        raise Refusal(INVALID_REQUEST, f"the request body cannot be read: {error}") from None


def answer_of(read: Callable[[Any], T], body: bytes) -> T:
    """What a dialect reads of an answer's JSON; Unreadable if it is none of its."""
    try:
        return read(msgspec.json.decode(body))
    except BAD_JSON:
        raise Unreadable("the upstream's answer is not valid JSON") from None
    except Refusal as error:
        raise Unreadable(f"the upstream's answer is malformed: {error.message}") from None


def no_answer(value: Any, what: str) -> Unreadable:
    """To raise for JSON that is no answer: an error object under a good status is told as it is."""
    if type(value) is dict and value.get("error"):
        return Unreadable(f"the upstream answered with an error: {failure_in(502, value).message}")
    return Unreadable(what)


def count_in(body: bytes, member: str) -> int:
    """The count of tokens that an answer tells in one of its members; Unreadable if it tells none."""
    value = answer_of(lambda value: value, body)
    count = value.get(member) if type(value) is dict else None
    if type(count) is not int or count < 0:
        raise Unreadable("the upstream's answer is no count of tokens")
    return count


def request_bytes(write: Callable[P, Any], *given: P.args, **more: P.kwargs) -> bytes:
    """What a dialect writes of a request; Refusal if it cannot be written."""
    try:
        return encoded(write(*given, **more))
    except (ValueError, RecursionError) as error:
        raise Refusal(INVALID_REQUEST, f"the request cannot be translated: {error}") from None


def answer_bytes(write: Callable[P, Any], *given: P.args, **more: P.kwargs) -> bytes:
    """What a dialect writes of an answer; Unreadable if it cannot be written."""
    try:
        return encoded(write(*given, **more))
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"the upstream's answer cannot be translated: {error}") from None


def event_bytes(value: Any) -> bytes:
    """An event of a stream in JSON; Unreadable if it cannot be written."""
    try:
        return encoded(value)
    except ValueError as error:
        raise Unreadable(f"the upstream's stream cannot be translated: {error}") from None


def encoded(value: Any) -> bytes:
    """Compact JSON; ValueError where the value nests too deep or holds half a character."""
    try:
        return msgspec.json.encode(value)
    except (RecursionError, TypeError, OverflowError) as error:
        raise ValueError("nested too deep to be written") from error


def put(body: dict[str, Any], **members: Any) -> None:
    """Members that say something: False and 0 do."""
    body.update((name, value) for name, value in members.items() if value is not None and value not in ("", [], {}))


def joined(known: Any, more: Any) -> Any:
    """Two objects as one, member by member; anything else is replaced."""
    if type(known) is not dict or type(more) is not dict:
        return known if more is None else more
    return {**known, **{name: joined(known.get(name), value) for name, value in more.items()}}
