"""Tool calls of one choice, whose pieces come in any order, as blocks of which one is open at a time.

OpenAI sends one call after another.  Others interleave them, leave the index or the id out, give every call index 0,
or send a call whole.  A call that begins while the arguments of the one before it are no complete JSON waits until
they are, or until the choice ends.
"""

from __future__ import annotations

from typing import Any

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.reading import BAD_JSON


class Function(msgspec.Struct, gc=False):
    """The name and arguments of a call, or a piece of them."""

    name: str | None = None
    arguments: str | dict[str, Any] | list[Any] | None = None


class Custom(msgspec.Struct, gc=False):
    """The same of a custom tool."""

    name: str | None = None
    input: str | None = None


class Google(msgspec.Struct, gc=False):
    """Gemini's corner of extra_content."""

    thought_signature: str | None = None


class ExtraContent(msgspec.Struct, gc=False):
    """What Gemini's door adds."""

    google: Google | None = None


class Piece(msgspec.Struct, gc=False):
    """One member of a delta's tool_calls."""

    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    extra_content: ExtraContent | None = None


class Numbers:
    """Counts the blocks of a stream."""

    __slots__ = ("next",)

    def __init__(self) -> None:
        self.next = 0

    def take(self) -> int:
        """The index of a new block."""
        self.next += 1
        return self.next - 1


class Call:
    """One call: what is known of it, and what of its arguments is not yet given on."""

    __slots__ = ("block", "custom", "id", "name", "said", "signature", "waiting")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.custom = False
        self.signature = ""
        self.waiting = ""
        self.said: list[str] = []
        self.block = -1
        """Index of the block; −1 = not opened yet."""

    def whole(self) -> bool:
        """Whether the arguments so far are complete."""
        if self.custom:
            return True
        try:
            msgspec.json.decode("".join(self.said) + self.waiting)
        except BAD_JSON:
            return False
        return True


class Calls:
    """The calls of one choice.  `made`: what goes into ids of calls that have none."""

    __slots__ = ("_at", "_by_index", "_list", "_made")

    def __init__(self, made: str) -> None:
        self._made = made
        self._list: list[Call] = []
        self._by_index: dict[int, Call] = {}
        self._at = 0

    def __bool__(self) -> bool:
        return bool(self._list)

    def open(self) -> bool:
        """Whether a call is not yet closed."""
        return self._at < len(self._list)

    def take(self, piece: Piece, choice: int, numbers: Numbers, found: list[canon.Event]) -> None:
        """Add a piece, give on what is due."""
        name, text, custom = _said(piece)
        call = self._which(piece, name)
        call.name = call.name or name
        call.id = call.id or piece.id or ""
        call.custom = custom
        if piece.extra_content is not None and piece.extra_content.google is not None:
            call.signature = piece.extra_content.google.thought_signature or call.signature
        call.waiting += text
        self._flow(choice, numbers, found, at_end=False)

    def close(self, choice: int, numbers: Numbers, found: list[canon.Event]) -> None:
        """Give on all that waits and close everything."""
        self._flow(choice, numbers, found, at_end=True)

    def _which(self, piece: Piece, name: str) -> Call:
        """The call that a piece belongs to, a new one if to none."""
        known = self._by_index.get(piece.index) if piece.index is not None else self._by_id(piece.id)
        if known is not None and not (name and known.name and self._another(known, piece)):
            return known
        call = Call()
        self._list.append(call)
        if piece.index is not None:
            self._by_index[piece.index] = call
        return call

    def _by_id(self, call_id: str | None) -> Call | None:
        if not self._list:
            return None
        if not call_id:
            return self._list[-1]
        return next((call for call in self._list if call.id == call_id), None)

    @staticmethod
    def _another(known: Call, piece: Piece) -> bool:
        """Whether a piece with a name begins a call of its own although its index is known."""
        if piece.id and known.id:
            return piece.id != known.id
        return bool(known.said or known.waiting) and known.whole()

    def _flow(self, choice: int, numbers: Numbers, found: list[canon.Event], *, at_end: bool) -> None:
        while self._at < len(self._list):
            call = self._list[self._at]
            if call.block < 0:
                if not call.name and not at_end:
                    return
                call.block = numbers.take()
                call_id = call.id or f"call_{self._made}_{self._at}"
                block = canon.ToolCall(call_id, call.name, "", call.signature, call.custom)
                found.append(canon.Opened(call.block, block, choice))
                call.signature = ""
            if call.waiting or call.signature:
                found.append(canon.Delta(call.block, call.waiting, call.signature, choice=choice))
                call.said.append(call.waiting)
                call.waiting = call.signature = ""
            if not at_end and (self._at == len(self._list) - 1 or not call.whole()):
                return
            found.append(canon.Closed(call.block, choice))
            self._at += 1


def _said(piece: Piece) -> tuple[str, str, bool]:
    """(name, arguments, whether it is a custom tool's)."""
    custom = piece.custom
    if custom is not None and (piece.type == "custom" or piece.function is None):
        return custom.name or "", custom.input or "", True
    function = piece.function
    if function is None:
        return "", "", False
    arguments = function.arguments
    if arguments is not None and type(arguments) is not str:
        arguments = encoded(arguments).decode()
    return function.name or "", arguments or "", False
