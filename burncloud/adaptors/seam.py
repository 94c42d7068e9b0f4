"""A stream that broke off, gone on with by another one: the client sees one answer.

The other stream either goes on where the first broke off (a continuation: the text so far was given to the model as
the beginning of its answer) or tells the answer from its start (a restart).  Of a restart, and of a continuation whose
model repeats what it was given, the part that the client has is matched and withheld; where the two differ, nobody
can go on, and the client must hear so.  Thinking is not told a second time.  `Continued` has the face of a
Translation, so the way back of its attempt is the usual one (router/answer.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from burncloud.adaptors import canon
from burncloud.adaptors.encodings import Inflater
from burncloud.adaptors.spoken import Asked, Dialect, StreamReader, StreamWriter
from burncloud.adaptors.told import CALL, REFUSAL, TEXT, THOUGHT, Part, Told
from burncloud.domain.usage import Usage
from burncloud.errors import SERVICE_UNAVAILABLE

ECHO_CHARS_MIN: Final = 32
"""A model that begins with this much of what it was given repeats it; a shorter likeness may be chance."""


class Diverged(Exception):
    """The other stream is another answer."""


class Seam:
    """write() the other stream's events, get the bytes that the client lacks.  Raises Diverged."""

    def __init__(
        self,
        told: Told,
        writer: StreamWriter,
        given: str,
        echoes: bool,
        bill: Callable[[Usage], Usage],
        foreign: bool = False,
    ) -> None:
        """`given`: the text that the model was told to go on from, "" for a restart; `echoes`: its vendor repeats it.

        `bill`: from the other stream's usage to that of the whole answer; `foreign`: it is not of the client's dialect.
        """
        self.told = told
        self._writer = writer
        self._bill = bill
        self._foreign = foreign
        self._given = given
        self._echoes = echoes
        self._awaited = [] if given else told.answer
        """Parts that the client has and the other stream must tell first."""
        self._at = 0
        """How much of the first of them has been told again."""
        self._open: dict[int, Part | None] = {}
        """The other stream's blocks → where they go; None = nowhere."""
        self._start: str | None = "" if given else None
        """The other stream's first words, while they may be an echo."""
        self._first = -1
        """The block that they are in."""
        self._gap = told.prefix()[len(given) :] if given else ""
        """White space that the client has and the model was not given."""
        self.repeated = False
        """The model told what it was given once more, which its vendor does not say of it."""
        self.heard = False
        """The other stream tells something, new or not."""
        self.grew = False
        """The client was told something new."""
        self.ended = False

    # Events

    def write(self, event: canon.Event) -> bytes:
        """What the client gets for it."""
        if isinstance(event, canon.Delta):
            self.heard = True
            return self._on_delta(event)
        if isinstance(event, canon.Opened):
            return self._on_opened(event)
        if isinstance(event, canon.Closed):
            return self._on_closed(event)
        if isinstance(event, canon.Stopped):
            return self._on_stopped(event)
        if isinstance(event, canon.Used):
            return self._writer.write(canon.Used(self._bill(event.usage)))
        if isinstance(event, canon.Ended):
            out = self._settle()
            self.ended = self.grew = True
            return out + self._close_all() + self._writer.write(event)
        if isinstance(event, canon.Failed):
            return self._writer.write(event)
        if isinstance(event, canon.Started) and not self.told.started:
            self.told.started = True
            return self._writer.write(event)
        return b""  # its beginning, its signs of life, what only its dialect has

    def _on_opened(self, event: canon.Opened) -> bytes:
        block = event.block
        if event.choice:
            return b""
        if isinstance(block, canon.Reasoning) and self.told.parts:
            self._open[event.index] = None
            return b""
        text, name = _said(block)
        self.heard = self.heard or bool(text)
        kind = CALL if isinstance(block, canon.ToolCall) else REFUSAL if isinstance(block, canon.Refusal) else TEXT
        if isinstance(block, canon.Reasoning):
            kind = THOUGHT
        if self._awaited:
            part = self._awaited[0]
            if part.kind != kind or (kind == CALL and part.name != name):
                raise Diverged
            self._open[event.index] = part
            return self._more(part, text, event.index)
        if self._start is not None and kind == TEXT:
            self._first = event.index
            return self._listen(event.index, text)
        out = self._settle() if self._start is not None else b""
        last = self.told.parts[-1] if self.told.parts else None
        if kind in (TEXT, REFUSAL) and last is not None and last.kind == kind and not last.closed:
            self._open[event.index] = last
            return out + self._more(last, text)
        return out + self._begin(event.index, block, kind, text, name)

    def _begin(self, index: int, block: canon.Block, kind: str, text: str, name: str) -> bytes:
        """A block that the client has not seen."""
        out = self._close_all()
        told = self.told
        part = Part(kind, told.next_index, text, name)
        told.next_index += 1
        told.parts.append(part)
        self._open[index] = part
        self.grew = self.grew or bool(text or name) or kind not in (TEXT, REFUSAL, THOUGHT)
        return out + self._writer.write(canon.Opened(part.index, block))

    def _on_delta(self, event: canon.Delta) -> bytes:
        if event.index == self._first and self._start is not None:
            return self._listen(event.index, event.text)
        part = self._open.get(event.index)
        if part is None or event.choice:
            return b""
        if self._awaited and part is self._awaited[0]:
            return self._more(part, event.text, event.index)
        part.add(event.text)
        self.grew = self.grew or bool(event.text)
        event.index = part.index
        return self._writer.write(event)

    def _on_closed(self, event: canon.Closed) -> bytes:
        if event.index == self._first and self._start is not None:
            return self._settle()  # all that it said; whether it goes on is told by the next block
        part = self._open.pop(event.index, None)
        if part is None:
            return b""
        if self._awaited and part is self._awaited[0]:
            if self._at < len(part.text):
                if part.kind == TEXT:
                    return b""  # its dialect has cut the text in two
                raise Diverged
            self._awaited.pop(0)
            self._at = 0
        if part.closed or part.kind == TEXT:
            return b""  # the next one may go on with it; _close_all ends it
        part.closed = True
        return self._writer.write(canon.Closed(part.index))

    def _on_stopped(self, event: canon.Stopped) -> bytes:
        if event.choice:
            return b""
        if self._foreign:
            event.stop.raw = ""  # the writer may believe that all of the stream is of its own dialect
        out = self._settle()
        if self._awaited and (len(self._awaited) > 1 or self._at < len(self._awaited[0].text)):
            raise Diverged
        return out + self._close_all() + self._writer.write(event)

    # The likeness

    def _more(self, part: Part, text: str, index: int = -1) -> bytes:
        """Text of a part that the client has, or a piece of it; the rest of it is new.  `index`: the other's block."""
        while text and self._awaited and part is self._awaited[0]:
            have = part.text
            size = min(len(text), len(have) - self._at)
            if text[:size] != have[self._at : self._at + size]:
                raise Diverged
            self._at += size
            text = text[size:]
            if not text:
                return b""
            self._awaited.pop(0)
            self._at = 0
            following = self._awaited[0] if self._awaited else None
            if following is None:
                if part.closed:
                    raise Diverged
            elif part.kind == following.kind == TEXT:  # the client's dialect has cut the text in two
                part = self._open[index] = following
            else:
                raise Diverged
        if not text:
            return b""
        part.add(text)
        self.grew = True
        return self._writer.write(canon.Delta(part.index, text))

    def _listen(self, index: int, text: str) -> bytes:
        """The first words of a continuation: do they repeat what the model was given?"""
        heard = self._start = (self._start or "") + text
        given = self._given
        if len(heard) <= len(self._gap) and self._gap.startswith(heard):
            return b""
        if len(heard) < len(given) and given.startswith(heard) and (self._echoes or len(given) >= ECHO_CHARS_MIN):
            return b""
        if heard.startswith(given) and (self._echoes or len(given) >= ECHO_CHARS_MIN):
            heard = heard[len(given) :]
            self.repeated = not self._echoes
        return self._go_on(index, heard)

    def _settle(self) -> bytes:
        """No more will come of the first words: they are what they seem."""
        if self._start is None or self._first < 0:
            self._start = None
            return b""
        return self._go_on(self._first, self._start)

    def _go_on(self, index: int, text: str) -> bytes:
        """New text behind what the client has, but for white space that it has already."""
        self._start = None
        same = 0
        while same < min(len(self._gap), len(text)) and text[same] == self._gap[same]:
            same += 1
        text = text[same:]
        last = self.told.parts[-1] if self.told.parts else None
        if last is None or last.kind != TEXT or last.closed:
            return self._begin(index, canon.Text(text), TEXT, text, "")
        self._open[index] = last
        return self._more(last, text)

    def _close_all(self) -> bytes:
        """End what is open at the client."""
        out = b""
        for part in self.told.parts:
            if not part.closed:
                part.closed = True
                out += self._writer.write(canon.Closed(part.index))
        return out


def _said(block: canon.Block) -> tuple[str, str]:
    """(text, name) that a block begins with."""
    if isinstance(block, canon.ToolCall):
        return block.arguments, block.name
    text = getattr(block, "text", "")
    return (text if isinstance(text, str) else ""), ""


class Continued:
    """The answer of an attempt that goes on with another's; see Translation."""

    __slots__ = (
        "_inflater", "_reader", "_seam", "_writer", "diverged", "ended", "failure", "framing", "losses", "unreadable",
        "upstream", "withholds",
    )  # fmt: skip

    def __init__(
        self, upstream: Dialect, reads: Asked, seam: Seam, writer: StreamWriter, losses: canon.Losses, framing: str
    ) -> None:
        self.upstream = upstream
        self.losses = losses
        self.framing = framing
        self._reader: StreamReader = upstream.reader(reads)
        self._seam = seam
        self._writer = writer
        self._inflater: Inflater | None = None
        self.ended = False
        self.diverged = False
        """Nothing more can be told of it; `unreadable`: for it is none of its dialect."""
        self.unreadable = False
        self.withholds = True
        """As every other stage that stands behind a record: an error is not told at once."""
        self.failure: canon.Failure | None = None

    @property
    def content(self) -> bool:
        """The client was told something new, or the end."""
        return self._seam.grew

    def encoded(self, encoding: str) -> None:
        """The upstream compressed its answer though it was asked not to."""
        if encoding:
            self._inflater = Inflater(encoding)

    def strip(self, data: bytes) -> bytes:
        """Bytes of the upstream's stream → what the client lacks."""
        if self._inflater is not None:
            data = self._inflater.feed(data)
        try:
            return self._write(self._reader.feed(data))
        except canon.Unreadable:
            self.diverged = self.unreadable = True
            return b""

    def _write(self, events: list[canon.Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if self.diverged or self.failure is not None:
                break
            if isinstance(event, canon.Failed):
                self.failure = event.failure
                break
            try:
                out.append(self._seam.write(event))
            except Diverged:
                self.diverged = True
        self.ended = self._seam.ended
        return b"".join(out)

    def finish(self) -> bytes:
        """At the end of the upstream's bytes."""
        try:
            return self._write(self._reader.finish())
        except canon.Unreadable:
            return b""

    def cut(self, text: str) -> bytes:
        """Nobody goes on: an error in the client's dialect."""
        if self.ended:
            return b""
        return self._writer.write(
            canon.Failed(canon.Failure(SERVICE_UNAVAILABLE.status, text, SERVICE_UNAVAILABLE.code))
        )

    def whole(self, body: bytes) -> bytes:
        """A plain answer where a stream was asked for."""
        raise canon.Unreadable("a plain answer cannot go on with a stream")

    def collected(self) -> bytes:
        """Only streams are gone on with."""
        raise canon.Unreadable("only streams are gone on with")

    def failed(self, status: int, body: bytes) -> bytes:
        """An error answer is no continuation."""
        raise canon.Unreadable("an error answer cannot go on with a stream")
