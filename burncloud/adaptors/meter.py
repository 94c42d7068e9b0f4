"""The meter beside the passing response bytes.

While an answer passes, only references to its pieces are kept.  A plain answer is decoded at its end
(a large one is scanned for the few members that matter).  Of a stream the last events are decoded at
its end; what is dropped before (above 16 KiB) is digested first: the last usage statement in it is
read, and the share of delivered text in it is sampled, for the estimate of a stream that will be cut.
Rules 13 and 14 of shared DATAPLANE.md; why no head is kept: docs/decisions/0010.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud.adaptors import events
from burncloud.adaptors.commit import UsageStripper as UsageStripper
from burncloud.adaptors.commit import first_content as first_content
from burncloud.adaptors.dialects import SPEAKING, reader_of
from burncloud.adaptors.encodings import AT_ONCE_BYTES_MAX, Inflater
from burncloud.adaptors.estimate import output_tokens
from burncloud.adaptors.reading import Reader, Reading, Tally, answer_size
from burncloud.adaptors.scan import Malformed, TopScanner, value_end
from burncloud.domain.usage import Usage

HOLD_BYTES: Final = 3 << 10
"""Of a stream this much is held before the older part is digested."""
KEEP_BYTES: Final = 1 << 10
"""And at least this much of its end stays."""
EARLIER_BYTES: Final = 900
"""And of the events before that so much, until there are _TAIL_EVENTS."""
EVENT_BYTES_MAX: Final = 512 << 10
"""An event in progress is held up to this, long strings in it shortened; of a longer one only the end."""
PLAIN_BYTES_MAX: Final = 64 << 10
"""A plain answer is held whole up to this."""
SCAN_BYTES: Final = 64 << 10
STEP_BYTES: Final = 32 << 10
STEP_BYTES_MAX: Final = 192 << 10
"""So much of a plain answer is looked at in one turn: a quarter more than came in, within these bounds."""
ARRAY_STEP_BYTES: Final = 160 << 10
"""Of an array, whose elements are found one by one."""
ELEMENT_BYTES_MAX: Final = 1 << 20
_ELEMENTS: Final = 32
"""Elements of an array that are read of what came at once; of more, a sample."""
_TAIL_EVENTS: Final = 4
_SAMPLES: Final = 3
_SAMPLE_BYTES: Final = 4 << 10


def billable(reading: Reading, prompt_estimate: int) -> tuple[Usage, bool]:
    """(usage to charge, estimated?): the upstream's numbers, completed by estimates where missing or cut off.

    A cut stream may have stated its input and a first count of output (Anthropic's message_start): its
    output is then what was delivered, if that is more.
    """
    usage = reading.usage
    if usage is None:
        return Usage(prompt_estimate, reading.output_estimate_tokens), True
    if reading.complete:
        return usage, False
    stated = usage.output + usage.reasoning + usage.audio_output + usage.image_output
    missing = reading.output_estimate_tokens - stated
    if missing <= 0:
        return usage, False
    usage = Usage(*msgspec.structs.astuple(usage))
    usage.output += missing
    return usage, True


def read_plain(dialect: str, endpoint: str, data: bytes) -> Reading:
    """The reading of a plain answer that is here whole, as a Meter fed with it would give."""
    tally = Tally()
    if reader_of(dialect, endpoint).body(data, tally):
        usage = tally.usage
        if usage is not None:
            return Reading(usage, tally.terminal, tally.finish, tally.error, 0)
    meter = Meter(dialect, endpoint, False)
    meter.feed(data)
    return meter.finish()


class Meter:
    """feed() every piece of the de-chunked answer, then finish() once.

    `endpoint`: a name of adaptors/dialects.py; unknown ones are read generically.  `sse`: the content type is
    text/event-stream.  `encoding`: the answer's content-encoding, "" or "identity" for none.
    """

    __slots__ = ("_bytes", "_endpoint", "_held", "_inflater", "_limit", "_pieces", "_sink")

    def __init__(self, dialect: str, endpoint: str, sse: bool, encoding: str = "") -> None:
        reader = reader_of(dialect, endpoint)
        self._sink: _Stream | _Plain = _Stream(reader) if sse else _Plain(reader, endpoint)
        self._endpoint = endpoint
        self._pieces: list[bytes] = []
        self._held = 0
        self._limit = self._sink.hold
        self._inflater = None
        if encoding and encoding != "identity":
            self._inflater = Inflater(encoding, AT_ONCE_BYTES_MAX)
            self._sink.step = AT_ONCE_BYTES_MAX
        self._bytes = 0

    def feed(self, data: bytes) -> None:
        """Keep a reference; now and then digest what was kept."""
        if self._inflater is not None:
            self._bytes += len(data)
            data = self._inflater.feed(data)
        self._pieces.append(data)
        self._held += len(data)
        if self._held > self._limit:
            self._digest()

    def _digest(self) -> None:
        sink = self._sink
        if self._inflater is None:
            sink.step = min(max(STEP_BYTES, len(self._pieces[-1]) * 5 // 4), STEP_BYTES_MAX)
        rest = sink.digest(b"".join(self._pieces))
        self._pieces = [rest]
        self._held = len(rest)
        self._limit = sink.hold if sink.behind else max(sink.hold, min(self._held * 3 // 2, EVENT_BYTES_MAX))

    @property
    def tail(self) -> bytes:
        """What is kept of the end, as it came."""
        return b"".join(self._pieces)

    def finish(self) -> Reading:
        """Decode what is left and tell."""
        if self._inflater is not None and self._inflater.broken:
            text = self._bytes if self._endpoint in SPEAKING else 0
            return Reading(None, True, "", False, output_tokens(text))
        pieces = self._pieces
        tally = self._sink.finish(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        usage = tally.usage
        estimate = 0
        if usage is None or not tally.terminal:
            estimate = output_tokens(tally.text_bytes)
        return Reading(usage, tally.terminal, tally.finish, tally.error, estimate)


class _Stream:
    """Server-sent events."""

    hold = HOLD_BYTES
    step = STEP_BYTES
    behind = False

    def __init__(self, reader: Reader[Any, Any]) -> None:
        self._reader = reader
        self._tally = Tally()
        self._started = False
        self._phase = 0
        self._head_read = not reader.head_usage
        self._beheaded = b""
        """The first bytes of an event whose middle was dropped."""

    def digest(self, block: bytes) -> bytes:
        """Absorb the older part of the block; the rest is to be kept."""
        held_back = b""
        if block.endswith(b"\r"):
            block, held_back = block[:-1], b"\r"
        block = self._clean(block)
        cut = _cut_of(block)
        if cut >= 0:
            self._drop(block[:cut])
            block = block[cut + 2 :]
        else:
            block = squeezed(block)
            if len(block) > EVENT_BYTES_MAX:
                block = self._behead(block)
        return block + held_back

    def _behead(self, block: bytes) -> bytes:
        """Too much without enough ends of events to cut at: absorb whole events, drop the middle of the last."""
        if not self._beheaded:
            cut = block.rfind(b"\n\n")
            if cut >= 0:
                self._absorb(block[:cut])
                block = block[cut + 2 :]
        if len(block) > EVENT_BYTES_MAX:
            self._beheaded = self._beheaded or block[:256]
            block = block[-SCAN_BYTES:]
        return block

    def _absorb(self, block: bytes) -> None:
        if not self._head_read:
            self._read_head(block, self._tally)
        for payload in events.payloads(block):
            self._reader.event(payload, self._tally)

    def _clean(self, block: bytes) -> bytes:
        if not self._started:
            self._started = True
            block = block.removeprefix(events.BOM)
        return events.unify(block)

    def _drop(self, block: bytes) -> None:
        """Absorb whole events that will not be seen again: head, last usage, and a sample of the text."""
        reader, tally = self._reader, self._tally
        if self._beheaded:
            block = self._salvage(block)
        if not self._head_read:
            self._read_head(block, tally)
        last = None
        for match in _usage_pattern(reader.usage_key).finditer(block):
            last = match
        if last is not None:
            start, end = _event_at(block, last.start())
            seen = Tally(usage=tally.usage)
            reader.event(events.event_data(block[start:end]), seen)
            tally.usage = seen.usage
        tally.text_bytes += self._sample(block)

    def _sample(self, block: bytes) -> int:
        """About how many bytes of delivered text the block's events hold: their share at evenly spread bytes."""
        size = len(block)
        samples = max(_SAMPLES, min(size // _SAMPLE_BYTES, 64))
        # from block to block at another place, or the spots would fall into step with the events
        self._phase = phase = (self._phase + 40503) & 0xFFFF
        seen, share, text, before = Tally(), 0, 0, -1
        for sample in range(samples):
            start, end = _event_at(block, ((sample << 16) + phase) * size // (samples << 16))
            if start != before:
                before, text = start, seen.text_bytes
                self._reader.event(events.event_data(block[start:end]), seen)
                text = seen.text_bytes - text
            share += (text << 16) // (end - start + 2)
        return (share * size // samples) >> 16

    def _read_head(self, block: bytes, tally: Tally) -> None:
        """The first events, up to the one with usage."""
        self._head_read = True
        pos = 0
        for _ in range(_TAIL_EVENTS):
            end = block.find(b"\n\n", pos)
            if end < 0:
                end = len(block)
            head = Tally()
            self._reader.event(events.event_data(block[pos:end]), head)
            if head.usage is not None:
                tally.usage = head.usage
                return
            pos = end + 2

    def _salvage(self, block: bytes) -> bytes:
        """Read kind and usage of an event whose middle was dropped; what follows it in the block."""
        end = block.find(b"\n\n")
        event, rest = (block, b"") if end < 0 else (block[:end], block[end + 2 :])
        kind = _TYPE.search(self._beheaded)
        if kind is not None:
            self._reader.event(b'{"type":"%b"}' % kind.group(1), self._tally)
        self._beheaded = b""
        key = self._reader.usage_key
        last = None
        for match in _usage_pattern(key).finditer(event):
            last = match
        if last is not None:
            stop = value_end(event, last.end() - 1)
            if stop > 0:
                found = Tally()
                if self._reader.body(b'{"%b":%b}' % (key.encode(), event[last.end() - 1 : stop]), found):
                    self._tally.usage = found.usage or self._tally.usage
        return rest

    def finish(self, block: bytes) -> Tally:
        """The tally of the whole stream."""
        reader, tally = self._reader, self._tally
        block = self._clean(block)
        if self._beheaded:
            block = self._salvage(block)
        if not self._head_read:
            self._read_head(block, tally)
        quick = _copy(tally)
        for payload in events.last_payloads(block, _TAIL_EVENTS):
            reader.event(payload, quick)
        if quick.terminal and quick.finish and quick.usage is not None:
            return quick
        for payload in events.payloads(block):
            reader.event(payload, tally)
        if not tally.terminal and (block.startswith(b"event: error") or b"\nevent: error" in block):
            tally.error = True
        return tally


class _Plain:
    """One JSON object; also a JSON array (Gemini without alt=sse), JSON lines, and what is no JSON at all."""

    hold = PLAIN_BYTES_MAX
    step = STEP_BYTES
    behind = False
    """There is more to look at than was looked at."""

    def __init__(self, reader: Reader[Any, Any], endpoint: str) -> None:
        self._reader = reader
        self._speaking = endpoint in SPEAKING
        self._endpoint = endpoint
        self._tally = Tally()
        self._scanner: TopScanner | None = None
        self._array = False
        self._opaque = False
        self._scanned_bytes = 0

    def digest(self, block: bytes) -> bytes:
        """Absorb what can be absorbed; the rest is to be kept."""
        if self._opaque:
            return b""
        if self._array or block[:64].lstrip()[:1] == b"[":
            return self._elements(block)
        if self._scanner is None:
            self._scanner = TopScanner(self._reader.watched)
            self.hold = SCAN_BYTES
        self._scan(self._scanner, block[: self.step])
        rest = block[self.step :]
        self.behind = bool(rest)
        return rest

    def _scan(self, scanner: TopScanner, block: bytes) -> None:
        self._scanned_bytes += len(block)
        try:
            scanner.feed(block)
        except Malformed:
            self._opaque = True

    def _elements(self, block: bytes) -> bytes:
        """Absorb each whole element of the array as an event; the rest is to be kept."""
        self._array = True
        spans, start = _spans(block, min(self.step, ARRAY_STEP_BYTES))
        self.behind = bool(spans) and start < len(block)
        if spans:
            self._absorb(block, spans)
            return block[start:]
        rest = squeezed(block[start:])
        if len(rest) > ELEMENT_BYTES_MAX:
            self._opaque = True
            return b""
        return rest

    def _absorb(self, block: bytes, spans: list[tuple[int, int]]) -> None:
        """The last elements, the last usage before them, and of the text before them a sample."""
        reader, tally = self._reader, self._tally
        earlier, last = spans[:-_ELEMENTS], spans[-_ELEMENTS:]
        if earlier:
            key = f'"{reader.usage_key}"'.encode()
            seen, size = Tally(), 0
            for start, end in earlier[:: 1 + len(earlier) // _ELEMENTS]:
                reader.event(block[start:end], seen)
                size += end - start
            tally.text_bytes += seen.text_bytes * (earlier[-1][1] - earlier[0][0]) // size
            for start, end in reversed(earlier):
                if block.find(key, start, end) >= 0:
                    found = Tally(usage=tally.usage)
                    reader.event(block[start:end], found)
                    tally.usage = found.usage
                    break
        for start, end in last:
            reader.event(block[start:end], tally)

    def finish(self, block: bytes) -> Tally:
        """The tally of the whole answer; `terminal` says that it came to its end."""
        tally = self._tally
        if self._opaque:
            tally.terminal = True
            return tally
        if self._scanner is not None:
            return self._finish_scan(self._scanner, block)
        if not self._array and self._reader.body(block, tally):
            if tally.usage is None and self._speaking:
                tally.text_bytes = answer_size(block)
            return tally
        first = block[:64].lstrip()[:1]
        if self._array or first == b"[":
            self._array = True
            spans, _ = _spans(block, len(block))
            self._absorb(block, spans)
            return tally
        if first == b"{":
            for line in block.splitlines():
                self._reader.event(line, tally)
            if tally.usage is None and self._speaking:
                tally.text_bytes = max(tally.text_bytes, len(block))
            return tally
        tally.terminal = True
        if self._endpoint == "audio" and _is_text(block):
            tally.text_bytes = len(block)
        return tally

    def _finish_scan(self, scanner: TopScanner, block: bytes) -> Tally:
        self._scan(scanner, block)
        tally = self._tally
        try:
            scanner.finish()
            complete = True
        except Malformed:
            complete = False
        parts = [b'"%b":%b' % (key.encode(), value) for key, value in scanner.values.items()]
        self._reader.body(b"{" + b",".join(parts) + b"}", tally)
        tally.terminal = complete
        if tally.usage is None and self._speaking:
            tally.text_bytes = self._scanned_bytes
        return tally


_TYPE: Final = re.compile(rb'"type"\s*:\s*"([\w.]{1,64})"')
_USAGE: Final = {
    "usage": re.compile(rb'"usage"\s*:\s*\{'),
    "usageMetadata": re.compile(rb'"usageMetadata"\s*:\s*\{'),
}


def _usage_pattern(key: str) -> re.Pattern[bytes]:
    return _USAGE[key]


def _cut_of(block: bytes) -> int:
    """The end of the last event that need not stay; −1 = all must."""
    cut = block.rfind(b"\n\n", 0, len(block) - KEEP_BYTES)
    least = cut - EARLIER_BYTES
    for _ in range(block.count(b"\n\n", cut + 2), _TAIL_EVENTS):
        earlier = block.rfind(b"\n\n", max(0, least), max(0, cut))
        if earlier < 0 < least:
            break
        cut = earlier
    return cut


def _event_at(block: bytes, pos: int) -> tuple[int, int]:
    """The event around `pos` in a block of whole events (after the blank line, if `pos` is at its end)."""
    start = block.rfind(b"\n\n", 0, pos + 1)
    start = 0 if start < 0 else start + 2
    end = block.find(b"\n\n", start)
    return start, (len(block) if end < 0 else end)


def squeezed(block: bytes) -> bytes:
    """The block without the middle of the long string (base64) that it ends in, if it does: still as good JSON."""
    quote = block.rfind(b'"')
    if len(block) - quote <= 2 * SCAN_BYTES:
        return block
    middle = quote + 128  # behind what stands before the data in a data: URL
    if any(block.find(sign, middle - 1) >= 0 for sign in (b"\\", b",", b":")):
        return block  # text with escapes, or numbers
    return block[:middle] + block[-SCAN_BYTES:]


def _spans(block: bytes, step: int) -> tuple[list[tuple[int, int]], int]:
    """(where the whole elements of an array stand that begin in the first `step` bytes, where the rest begins)."""
    spans: list[tuple[int, int]] = []
    pos = 0
    while True:
        start = block.find(b"{", pos)
        if start < 0:
            return spans, len(block)
        if start >= step:
            return spans, start
        end = value_end(block, start)
        if end < 0:
            return spans, start
        spans.append((start, end))
        pos = end


def _copy(tally: Tally) -> Tally:
    usage = tally.usage
    if usage is not None:
        usage = Usage(*msgspec.structs.astuple(usage))
    return Tally(usage, tally.finish, tally.terminal, tally.content, tally.error, tally.text_bytes)


def _is_text(data: bytes) -> bool:
    """Subtitles and plain transcripts, as against sound."""
    if b"\0" in data[:1024]:
        return False
    try:
        data[:1024].decode()
    except UnicodeDecodeError as error:
        return error.start > 1020  # a character cut by the window
    return True
