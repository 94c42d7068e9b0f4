"""One answer that is held whole, in memory or in a file, until it can be turned over (wholes.py)."""

from __future__ import annotations

from collections.abc import Iterator

from burncloud.wire.body import Body, Budget
from burncloud.wire.heads import AnswerHead


class Held:
    """The answer of one attempt.  Its file and its room go when nobody has it any more: attempts end in many ways."""

    __slots__ = ("_files", "_room", "body", "flow", "flowing", "head", "no_body")

    def __init__(self, head: AnswerHead, no_body: bool, files: Budget) -> None:
        self.head = head
        self.no_body = no_body
        self.body = Body()
        """As it came, then as it goes."""
        self.flow: Iterator[bytes] | None = None
        """The pieces that are still to be sent."""
        self.flowing = False
        """The next of them are due at the next turn of the loop."""
        self._files = files
        self._room = 0

    def add(self, content: bytes, most: int) -> bool:
        """More of it; False if it is more than `most` bytes, or there is no room for it."""
        body = self.body
        try:
            body.add(content)
        except OSError:
            return False
        if body.spooled and not self._room:
            if not self._files.take(most):
                return False
            self._room = most
        return body.size <= most

    def replace(self, body: Body) -> None:
        """What goes to the client stands in the place of what came."""
        self.body.close()
        self.body = body

    def close(self) -> None:
        """Let go of it."""
        self.flow = None
        self.body.close()
        room, self._room = self._room, 0
        if room:
            self._files.give(room)

    def __del__(self) -> None:
        self.close()
