"""What a client has been told of an answer: the blocks of it, read from a stream that broke off.

The same events also bring a writer of the client's dialect to where the client stands, so that whatever is written
with it from then on fits: the same id, the next index, the next number.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Final, Protocol, runtime_checkable

from burncloud.adaptors import canon
from burncloud.adaptors.reading import text_size
from burncloud.adaptors.spoken import StreamReader, StreamWriter

SLICE_BYTES: Final = 16 << 10
"""So much of a stream is read again at once: half a millisecond, two where events are small."""
TEXT: Final = "text"
REFUSAL: Final = "refusal"
THOUGHT: Final = "thought"
CALL: Final = "call"
_KINDS: Final[dict[type, str]] = {
    canon.Text: TEXT,
    canon.Refusal: REFUSAL,
    canon.Reasoning: THOUGHT,
    canon.ToolCall: CALL,
}
SIGNING: Final = frozenset(("messages", "converse", "gemini"))
"""Dialects whose thinking is signed at its end: a part of it is worth nothing."""


@runtime_checkable
class Numbering(Protocol):
    """A writer that numbers its events."""

    def number_behind(self, delivered: bytes) -> bool:
        """Go on above the last number that these bytes hold; False = that cannot be."""


class Part:
    """A block of the answer; `text` is what a call has for arguments."""

    __slots__ = ("_text", "_texts", "closed", "index", "kind", "name", "signs")

    def __init__(self, kind: str, index: int, text: str = "", name: str = "", signs: bool = False) -> None:
        self.kind = kind
        self.index = index
        """As the client's writer knows it."""
        self.name = name
        self.signs = signs
        self.closed = False
        self._text = text
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """More of it."""
        if text:
            self._texts.append(text)

    @property
    def text(self) -> str:
        """All of it."""
        if self._texts:
            self._text = "".join([self._text, *self._texts])
            self._texts = []
        return self._text


class Told:
    """The blocks in their order, and why no other stream can go on with them."""

    __slots__ = ("hopeless", "next_index", "parts", "started")

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.hopeless = ""
        """Why nobody can go on; "" = somebody may."""
        self.next_index = 0
        self.started = False

    def note(self, event: canon.Event) -> None:
        """The client was told this."""
        if isinstance(event, canon.Delta):
            part = self.part(event.index)
            if part is not None:
                part.add(event.text)
            if event.signature or event.encrypted:
                self.hopeless = "signed thinking"
            elif event.logprobs is not None or event.transcript:
                self.hopeless = "log probabilities or sound"
        elif isinstance(event, canon.Opened):
            self._open(event)
        elif isinstance(event, canon.Closed):
            part = self.part(event.index)
            if part is not None:
                part.closed = True
        elif isinstance(event, canon.Started):
            self.started = True
        elif isinstance(event, canon.Stopped | canon.Ended):
            self.hopeless = "it had ended"
        elif isinstance(event, canon.Foreign):
            self.hopeless = "an event of its dialect alone"

    def _open(self, event: canon.Opened) -> None:
        block = event.block
        self.next_index = max(self.next_index, event.index + 1)
        kind = _KINDS.get(type(block), "")
        if event.choice or not kind:
            self.hopeless = "several choices" if event.choice else "a block that is no text"
            return
        text = block.arguments if isinstance(block, canon.ToolCall) else getattr(block, "text", "")
        part = Part(kind, event.index, text, block.name if isinstance(block, canon.ToolCall) else "")
        if isinstance(block, canon.Reasoning):
            part.signs = block.origin in SIGNING
            if block.signature or block.encrypted:
                self.hopeless = "signed thinking"
        self.parts.append(part)

    def part(self, index: int) -> Part | None:
        """The part of this index; the newest are asked for most."""
        for part in reversed(self.parts):
            if part.index == index:
                return part
        return None

    def reason(self) -> str:
        """Why nobody can go on with this; "" = somebody may."""
        if self.hopeless:
            return self.hopeless
        last = self.parts[-1] if self.parts else None
        return "signed thinking" if last is not None and last.signs and not last.closed else ""

    @property
    def answer(self) -> list[Part]:
        """What is no thinking."""
        return [part for part in self.parts if part.kind != THOUGHT]

    def prefix(self) -> str:
        """The text that another model could go on from; "" = there is none, or more than text was told."""
        answer = self.answer
        if any(part.kind != TEXT for part in answer):
            return ""
        return "".join(part.text for part in answer)

    @property
    def text_bytes(self) -> int:
        """UTF-8 bytes of all that was told."""
        return sum(text_size(part.text) + text_size(part.name) for part in self.parts)


def stand(reader: StreamReader, delivered: Iterable[bytes], writer: StreamWriter | None) -> Generator[None, None, Told]:
    """Read what was delivered; `writer`, where it is a fresh one, is brought to where the client stands.

    A slice at each step.  Raises Unreadable for a stream that is not of the reader's dialect.
    """
    told = Told()
    numbered: list[bytes] = []
    for piece in _slices(delivered):
        for event in reader.feed(piece):
            told.note(event)
            if writer is not None:
                writer.write(event)
        if isinstance(writer, Numbering):
            numbered.append(piece)
        yield
    for piece in numbered:
        assert isinstance(writer, Numbering)
        if not writer.number_behind(piece):
            told.hopeless = told.hopeless or "a block without a word"
            break
        yield
    return told


def _slices(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Pieces of whole lines."""
    for block in blocks:
        at = 0
        while at < len(block):
            end = block.rfind(b"\n", at, at + SLICE_BYTES) + 1 or block.find(b"\n", at + SLICE_BYTES) + 1 or len(block)
            yield block[at:end]
            at = end
