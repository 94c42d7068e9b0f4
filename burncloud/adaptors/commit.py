"""Looking at the stream while it is held or passed: the commit point and the usage chunk that was not asked for.

Rule 13 of shared DATAPLANE.md: the head of a stream is held until its first content-bearing event, so
that an upstream that fails before it can still be replaced.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from burncloud.adaptors import events
from burncloud.adaptors.dialects import reader_of
from burncloud.adaptors.encodings import AT_ONCE_BYTES_MAX, Inflater
from burncloud.adaptors.reading import BAD_JSON, Tally

Verdict = Literal["wait", "content", "error"]

HELD_BYTES_MAX: Final = 64 << 10
"""An event that might be the usage chunk is held back up to this."""


def first_content(head: bytes, dialect: str, endpoint: str, encoding: str = "") -> Verdict:
    """The commit-point test on the first bytes of an SSE answer (all of it so far).

    "wait": only comments, pings, role-only chunks and other openings so far; "content": something that a
    user would miss, or an end with its reason; "error": an error event came first, or [DONE] without a word
    or a reason before it.  An event that is not complete yet says nothing.  A payload that the dialect does
    not know is content: it is not ours to hold, and so is what is encoded in a way that we cannot read.
    """
    return first_said(head, dialect, endpoint, encoding)[0]


def first_said(head: bytes, dialect: str, endpoint: str, encoding: str = "") -> tuple[Verdict, bytes]:
    """The same, and the error event."""
    if encoding:
        inflater = Inflater(encoding, AT_ONCE_BYTES_MAX)
        head = inflater.feed(head)
        if inflater.broken:
            return "content", b""
    reader = reader_of(dialect, endpoint)
    block = events.unify(head.removeprefix(events.BOM))
    end = block.rfind(b"\n\n")
    if end < 0:
        return "wait", b""
    for event in block[:end].split(b"\n\n"):
        payload = events.event_data(event)
        if event.startswith(b"event: error") or b"\nevent: error" in event:
            return "error", event
        if not payload:
            continue
        if payload.strip() == b"[DONE]":
            return "error", event  # no word was said before it, not even why it ends
        tally = Tally()
        known = reader.event(payload, tally)
        if tally.error:
            return "error", event
        if tally.content or not known:
            return "content", b""
    return "wait", b""


class _UsageChunk(msgspec.Struct, gc=False):
    choices: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()


_decode: Final = msgspec.json.Decoder(_UsageChunk).decode
_CHOICES: Final = re.compile(rb'"choices"\s*:\s*(?:\[\s*[^\]\s]|[^\[\s])')


def _is_usage_chunk(event: bytes) -> bool:
    """An event with `choices: []` and a usage object."""
    if b'"usage"' not in event:
        return False
    try:
        chunk = _decode(events.event_data(events.unify(event)))
    except BAD_JSON:
        return False
    choices = bytes(chunk.choices)
    return choices[:1] == b"[" and not choices[1:-1].strip() and bytes(chunk.usage)[:1] == b"{"


class UsageStripper:
    """Removes the usage chunk that we asked for from an OpenAI stream whose client did not.

    strip() each piece, then finish().  All other bytes pass unchanged and at once; only an event in
    progress that may still turn out to be that chunk waits for its end.
    """

    __slots__ = ("_held", "_passing")

    def __init__(self) -> None:
        self._held = b""
        self._passing = False
        """The event in progress was seen not to be the usage chunk: its rest passes, too."""

    def strip(self, data: bytes) -> bytes:
        """The bytes to pass on now."""
        if not self._held and not self._passing and data.endswith(b"\n\n"):
            at = data.find(b'"usage"')
            if at < 0 or (data.startswith(b":null", at + 7) and data.find(b'"usage"', at + 12) < 0):
                return data  # whole events (mostly one) that state no usage
        return self._strip(data)

    def _strip(self, data: bytes) -> bytes:
        data = self._held + data
        self._held = b""
        out: list[bytes] = []
        pos = 0
        while pos < len(data):
            end = events.event_end(data, pos)
            if end < 0:
                rest = data[pos:]
                self._passing = self._passing or not _may_be_usage(rest)
                # the blank line may be split: its beginning is needed to find its end
                keep = _line_ends(rest) if self._passing else len(rest)
                out.append(rest[: len(rest) - keep])
                self._held = rest[len(rest) - keep :]
                break
            if self._passing or not _is_usage_chunk(data[pos:end]):
                out.append(data[pos:end])
            self._passing = False
            pos = end
        return b"".join(out)

    def finish(self) -> bytes:
        """At the end of the stream: what is still held back (the end of a cut event)."""
        held, self._held = self._held, b""
        if not self._passing and _is_usage_chunk(held):
            return b""
        return held


def _line_ends(data: bytes) -> int:
    """How many bytes at the end are line ends."""
    return len(data) - len(data.rstrip(b"\r\n"))


def _may_be_usage(event: bytes) -> bool:
    """Whether an event in progress can still become the usage chunk."""
    return len(event) <= HELD_BYTES_MAX and _CHOICES.search(event) is None
