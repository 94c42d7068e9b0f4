"""The gate of a stream: whole, sound events go on, what is none is dropped and counted, an error stops it.

A client's SDK decodes each event and gives up at the first that it cannot decode, so an event that is no JSON (a proxy
that broke it, a half-sent one before a cut) must not reach it, and a client must never be left in the middle of one:
else nothing can be said to it any more.  The bytes of every sound event go on untouched.  An event in progress waits
for its end; the client could do nothing with its beginning (docs/decisions/0091).
"""

from __future__ import annotations

import json
from typing import Any, Final, Protocol

import msgspec

from burncloud.adaptors import events
from burncloud.adaptors.canon import Failure
from burncloud.adaptors.commit import first_content
from burncloud.adaptors.dialects import reader_of
from burncloud.adaptors.reading import BAD_JSON, Tally
from burncloud.adaptors.record import Record

EVENT_BYTES_MAX: Final = 192 << 10
"""A longer event in progress passes unseen, and the stream cannot be continued any more."""
_FIELDS: Final = (b"data", b"event", b"id", b"retry", b":")
PASS, DROP, STOP = range(3)
_LF, _CR = b"\n\r"  # numbers are found in bytes four times as fast as bytes are


class _Look(msgspec.Struct, gc=False):
    """What tells an error among events; decoding it checks all the JSON."""

    error: Any = None
    type: str | None = None
    object: str | None = None


_look: Final = msgspec.json.Decoder(_Look).decode
_valid: Final = msgspec.json.Decoder(msgspec.Raw).decode
_ERRORS: Final = frozenset(("error", "response.failed"))


class Stage(Protocol):
    """Who gets the events next: a UsageStripper, a Translation, a Passage."""

    def strip(self, data: bytes) -> bytes:
        """What the client gets for these."""

    def finish(self) -> bytes:
        """What is left at the end."""


class Sieve:
    """strip() each read, finish() at the end; `failed` when an error came."""

    __slots__ = (
        "_after", "_behind", "_dialect", "_endpoint", "_passing", "_rest", "_size",
        "begun", "dropped", "failed", "missing", "passed", "record",
    )  # fmt: skip

    def __init__(self, dialect: str, endpoint: str, after: Stage | None, record: Record | None) -> None:
        self._dialect, self._endpoint = dialect, endpoint
        self._after = after
        self.record = record
        """Of what went on, in the upstream's own bytes; None = nobody will ask."""
        self._rest: list[bytes] = []
        self._size = 0
        self._passing = False
        """The event in progress is too long to be held."""
        self.begun = True
        """Content has come, or nobody asked."""
        self.dropped = 0
        self.failed = b""
        """The error event that came: it, and all behind it, is held back."""
        self._behind = b""
        self.passed = b""
        """The error event that was let go: all behind it passes as it comes."""
        self.missing = b""
        """What the last event lacks, should anything more be said to the client."""

    def strip(self, data: bytes) -> bytes:
        """The bytes to pass on now."""
        end = -2 if data[-2:] == b"\n\n" else -4 if data[-4:] == b"\r\n\r\n" else 0
        if end and not self._size and not self._passing:
            start = 6 if data[:7] == b"data: {" else _behind_name(data)
            if start and data[:12] != b"event: error" and (data.isascii() or _is_utf8(data)):
                payload = data[start:end]
                if _LF in payload or _CR in payload:  # several, or one whose JSON goes on where its data does not
                    sound = _are_sound(data)
                else:
                    try:
                        look = _look(payload)
                    except BAD_JSON:
                        sound = False
                    else:
                        sound = look.error is None and look.type not in _ERRORS and look.object != "error"
                if sound and not self.failed:
                    record = self.record
                    if record is not None:
                        record.add(data)
                    after = self._after
                    return data if after is None else after.strip(data)
        return self._strip(data)

    def _strip(self, data: bytes) -> bytes:
        """Event by event."""
        if self.failed:
            self._behind += data
            return b""
        if self.passed:
            return data if self._after is None else self._after.strip(data)
        if self._passing:
            return self._pass_long(data)
        if self._size:
            if not _may_end(self._rest[-1], data):
                return self._keep(data)
            data = b"".join([*self._rest, data])
            self._rest, self._size = [], 0
        out: list[bytes] = []
        pos = 0
        while (end := events.event_end(data, pos)) >= 0:
            event = data[pos:end]
            verdict = self._judge(event)
            if verdict == STOP:
                self.failed, self._behind = event, data[end:]
                return self._give(b"".join(out))
            if verdict == PASS:
                out.append(event)
            else:
                self.dropped += 1
            pos = end
        given = self._give(b"".join(out))
        return given + self._keep(data[pos:]) if pos < len(data) else given

    def _give(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self.record is not None:
            self.record.add(data)
        return data if self._after is None else self._after.strip(data)

    def _keep(self, data: bytes) -> bytes:
        self._rest.append(data)
        self._size += len(data)
        if self._size <= EVENT_BYTES_MAX:
            return b""
        data, self._rest, self._size = b"".join(self._rest), [], 0
        self._passing = True
        if self.record is not None:
            self.record.forget()
        return self._pass_long(data)

    def _pass_long(self, data: bytes) -> bytes:
        """The rest of an event that was too long; nothing of this stream is kept any more."""
        data, self._rest = b"".join([*self._rest, data]), []
        end = events.event_end(data)
        if end < 0:
            end = len(data.rstrip(b"\r\n"))  # its empty line may be split
            self._rest = [data[end:]]
            return data[:end] if self._after is None else self._after.strip(data[:end])
        self._passing = False
        head = data[:end] if self._after is None else self._after.strip(data[:end])
        return head + (self._strip(data[end:]) if end < len(data) else b"")

    def _judge(self, event: bytes) -> int:
        """What is to be done with a whole event."""
        if not (event.isascii() or _is_utf8(event)):
            return DROP
        lines = events.unify(event.removeprefix(events.BOM))
        payload = events.event_data(lines.rstrip(b"\n"))
        named_error = lines.startswith(b"event: error") or b"\nevent: error" in lines
        if not payload or payload.strip() == b"[DONE]":
            known = all(line.startswith(_FIELDS) for line in lines.split(b"\n") if line)
            return STOP if named_error else PASS if known else DROP
        try:
            look = _look(payload)
        except BAD_JSON:
            return STOP if named_error else PASS if _is_odd_json(payload) else DROP
        if named_error or look.error is not None or look.type in _ERRORS or look.object == "error":
            tally = Tally()
            reader_of(self._dialect, self._endpoint).event(payload, tally)
            if tally.error or named_error:
                return STOP
        return PASS

    def finish(self) -> bytes:
        """At the end of the stream: a last event that lacks only its empty line, and what others hold."""
        rest, self._rest, self._size = b"".join(self._rest), [], 0
        out = b""
        if self._passing:
            out = rest if self._after is None else self._after.strip(rest)
        elif rest and not self.failed:
            verdict = self._judge(rest)
            if verdict == PASS:
                if events.event_data(events.unify(rest).rstrip(b"\n")):
                    end = b"\n" if rest[-1:] == b"\n" else b"\n\n"
                    out = self._give(rest + end)
                    if self._after is None:
                        out, self.missing = rest, end
            elif verdict == STOP:
                self.failed = rest
            else:
                self.dropped += 1
        return out if self._after is None else out + self._after.finish()

    def listen(self) -> None:
        """Be attentive to the first content: the stream is let go before it."""
        if self.begun:
            self.begun = False
            self._after = _Listener(self, self._dialect, self._endpoint, self._after)

    def heard(self, after: Stage | None) -> None:
        """There it is."""
        self.begun = True
        self._after = after

    def drop(self) -> None:
        """The stream is over: nobody will ask for its record."""
        if self.record is not None:
            self.record.drop()

    def release(self) -> bytes:
        """The error that was held back, for a client that is to see it, and what came behind it."""
        failed, self.failed = self.failed, b""
        if not failed:
            return b""
        end = b"" if self._behind or events.event_end(failed) >= 0 else b"\n\n"
        said, self._behind = failed + end + self._behind, b""
        return said if self._after is None else self._after.strip(said)

    def let_go(self) -> bytes:
        """The same while the stream goes on: it is left alone from here, and nobody can go on with it."""
        self.drop()
        self.record, self.passed, self._passing = None, self.failed, True
        return self.release()


class _Listener:
    """A stage that is there until the first content has come by."""

    __slots__ = ("_after", "_dialect", "_endpoint", "_sieve")

    def __init__(self, sieve: Sieve, dialect: str, endpoint: str, after: Stage | None) -> None:
        self._sieve = sieve
        self._dialect, self._endpoint = dialect, endpoint
        self._after = after

    def strip(self, data: bytes) -> bytes:
        """Whole events, or a piece of one that is too long to be held: such a one says something."""
        if events.event_end(data) < 0 or first_content(data, self._dialect, self._endpoint) == "content":
            self._sieve.heard(self._after)
        return data if self._after is None else self._after.strip(data)

    def finish(self) -> bytes:
        """What is left at the end."""
        return b"" if self._after is None else self._after.finish()


class Logged:
    """The same face for a stream that is no server-sent events (AWS frames, whose sums are checked): only a record."""

    __slots__ = ("_after", "dropped", "missing", "passed", "record")

    def __init__(self, after: Any, record: Record | None) -> None:
        self._after = after
        after.withholds = True
        self.record = record
        self.dropped = 0
        self.missing = self.passed = b""

    @property
    def failed(self) -> Failure | None:
        """The error that came; those behind it hold it back."""
        failure: Failure | None = self._after.failure
        return failure

    def strip(self, data: bytes) -> bytes:
        """All of it goes on."""
        if self.record is not None:
            self.record.add(data)
        told: bytes = self._after.strip(data)
        return told

    def finish(self) -> bytes:
        """What others hold."""
        told: bytes = self._after.finish()
        return told

    def drop(self) -> None:
        """The stream is over: nobody will ask for its record."""
        if self.record is not None:
            self.record.drop()

    def release(self) -> bytes:
        """The error, told by those behind it."""
        told: bytes = self._after.cut("") if self.failed is not None else b""
        return told


def _are_sound(block: bytes) -> bool:
    """Whether these are several usual events, and none of them an error."""
    if b"\r" in block:
        return False
    for event in block[:-2].split(b"\n\n"):
        start = 6 if event[:7] == b"data: {" else _behind_name(event)
        payload = event[start:]
        if not start or event[:12] == b"event: error" or _LF in payload:
            return False
        try:
            look = _look(payload)
        except BAD_JSON:
            return False
        if look.error is not None or look.type in _ERRORS or look.object == "error":
            return False
    return True


def _behind_name(data: bytes) -> int:
    """Where the JSON of an event begins that has its name in its first line; 0 = it is otherwise."""
    end = data.find(b"\n", 0, 80)
    return end + 7 if data[:6] == b"event:" and data[end : end + 8] == b"\ndata: {" else 0


def _may_end(before: bytes, data: bytes) -> bool:
    """Whether an event in progress can end with this read."""
    if b"\n\n" in data or b"\r" in data or b"\r" in before[-3:]:
        return True
    return data[:1] == b"\n" and before[-1:] == b"\n"


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_odd_json(payload: bytes) -> bool:
    """JSON that is no object of the usual types, or that only Python's own decoder takes (NaN)."""
    try:
        _valid(payload)
    except BAD_JSON:
        try:
            json.loads(payload)
        except (ValueError, RecursionError):
            return False
    return True
