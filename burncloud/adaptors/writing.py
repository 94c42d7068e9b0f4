"""What every writer of blocks has to know; each dialect adds what it knows of models and of its own marks."""

from __future__ import annotations

from typing import Any

from burncloud.adaptors import canon


class Writing:
    """`own`: it was read from the same dialect; `answer`: an answer is written, not a request."""

    __slots__ = ("answer", "losses", "own")

    def __init__(self, losses: canon.Losses, *, own: bool, answer: bool = False) -> None:
        self.losses = losses
        self.own = own
        self.answer = answer

    def fill(self, value: dict[str, Any], extra: canon.Extra) -> dict[str, Any]:
        """The block with the fields that only this dialect knows, object into object; another's are lost."""
        if extra and self.own:
            for name, more in extra.items():
                known = value.get(name)
                value[name] = {**known, **more} if type(known) is dict and type(more) is dict else more
        elif extra:
            self.losses.extra(extra)
        return value
