"""One answer from several streams: what its client has, and what each stream had a part in.

The prompt is billed once, the output as it was delivered; each attempt carries its own part of the charge, so that a
channel's sum is what its streams were worth (MONEY.md §1, §3).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from burncloud.adaptors.canon import Failed, Failure, Losses
from burncloud.adaptors.estimate import output_tokens
from burncloud.adaptors.meter import billable
from burncloud.adaptors.prefill import Prefill
from burncloud.adaptors.reading import Reading
from burncloud.adaptors.record import Record
from burncloud.adaptors.seam import Continued, Seam
from burncloud.adaptors.spoken import Asked, Dialect, StreamWriter
from burncloud.adaptors.told import Told
from burncloud.domain.journal import Attempt
from burncloud.domain.pricing import Price, charge
from burncloud.domain.usage import Usage
from burncloud.errors import SERVICE_UNAVAILABLE

_NOTHING: Final = Usage()


class Rescued:
    """The answer of an exchange whose stream broke off."""

    __slots__ = (
        "_billed", "_first", "_parts", "_read_bytes", "_stated", "_withheld", "asked", "beside", "dialect", "dropped",
        "given", "how", "may_prefill", "record", "seam", "sends", "spoke", "steps", "told", "until", "writer",
    )  # fmt: skip

    def __init__(self, record: Record, reading: Reading, prompt: int, attempt: int, withheld: bytes) -> None:
        """`record`: of the first stream; `prompt`: estimated tokens; `attempt`: index of its attempt.

        `withheld`: the error event that ended it, if the client may see that as it is.
        """
        self.record: Record | None = record
        self._withheld = withheld
        self._stated = reading.usage is not None
        self._first = reading, prompt
        self._parts: list[tuple[int, Usage]] = [(attempt, billable(reading, prompt)[0])]
        """(index of the attempt, what it delivered) of those that broke off."""
        self._billed = _NOTHING
        self._read_bytes = 0
        """Of the text told, what those that broke off delivered."""
        self.sends = 0
        """Attempts to go on."""
        self.dropped = 0
        """Malformed events of the streams that broke off."""
        self.until = self.spoke = 0.0
        """Loop times: when it is too late to go on, and when the client last got a sign of life."""
        self.steps: Iterator[None] | None = None
        """The record while it is read."""
        self.beside = False
        """The request is too large to be read here: `asked` does not hold what was said."""
        self.asked: Asked
        # known when the record was read
        self.dialect: str
        """The client's."""
        self.told: Told
        self.writer: StreamWriter
        self.may_prefill = True
        # the attempt under way
        self.given = ""
        self.how: Prefill | None = None
        self.seam: Seam | None = None

    @property
    def ready(self) -> bool:
        """The record was read."""
        return hasattr(self, "told")

    def stood(self, told: Told, writer: StreamWriter) -> None:
        """The record was read: this is where the client stands."""
        self.told, self.writer = told, writer
        self._read_bytes = told.text_bytes
        reading, prompt = self._first
        counted = msgspec.structs.replace(reading, output_estimate_tokens=output_tokens(told.text_bytes))
        self._parts[0] = self._parts[0][0], billable(counted, prompt)[0]  # all of it was read: no sample any more
        self.drop()

    @property
    def path(self) -> str:
        """Where the attempt under way is to be asked for; "" = at the usual place."""
        return self.how.path if self.given and self.how is not None else ""

    def answer(self, upstream: Dialect, losses: Losses) -> Continued:
        """What reads the answer of the attempt under way."""
        echoes = self.how is not None and self.how.echoes
        foreign = upstream.name != self.dialect
        self.seam = seam = Seam(self.told, self.writer, self.given, echoes, self.bill, foreign)
        return Continued(upstream, self.asked, seam, self.writer, losses, self.asked.framing)

    def lament(self, text: str) -> bytes:
        """Nobody goes on: an error in the client's dialect, the upstream's own where nothing came after it."""
        if self._withheld and len(self._parts) == 1:
            return self._withheld
        return self.writer.write(Failed(Failure(SERVICE_UNAVAILABLE.status, text, SERVICE_UNAVAILABLE.code)))

    def drop(self) -> None:
        """What was recorded is not needed any more."""
        if self.record is not None:
            self.record.drop()
            self.record = None

    def broke(self, attempt: int) -> None:
        """The stream that went on broke off, too."""
        self._parts.append((attempt, Usage(0, self._new_tokens())))
        self._read_bytes = self.told.text_bytes

    def _billed_first(self) -> Usage:
        """What the first stream was worth: the prompt, and what it delivered."""
        first, billed = self._parts[0][1], self._billed
        return msgspec.structs.replace(
            billed, output=first.output, reasoning=first.reasoning,
            audio_output=first.audio_output, image_output=first.image_output,
        )  # fmt: skip

    def _new_tokens(self) -> int:
        """What was delivered beyond what the attempts so far had delivered."""
        return output_tokens(self.told.text_bytes - self._read_bytes) if self.ready else 0

    def bill(self, usage: Usage) -> Usage:
        """The whole answer's usage, from what the stream that told its end states."""
        if not self.given:
            return usage  # it told all of it, from the prompt on
        first = self._parts[0][1]
        before = sum(_output(part) for _, part in self._parts)
        if self._stated:
            whole = Usage(*msgspec.structs.astuple(first))
        else:
            whole = Usage(*msgspec.structs.astuple(usage))
            whole.input = max(0, whole.input - output_tokens(len(self.given.encode())))
        repeated = self.seam is not None and self.seam.repeated
        whole.output = usage.output if repeated else before + usage.output
        whole.reasoning = usage.reasoning
        whole.audio_output, whole.image_output = usage.audio_output, usage.image_output
        return whole

    def used(self, reading: Reading | None, ended: bool) -> tuple[Usage, bool]:
        """(what is billed for all of it, whether that is estimated).  `reading`: of the attempt under way."""
        if ended and reading is not None and reading.complete and reading.usage is not None:
            self._billed = self.bill(reading.usage)
            return self._billed, bool(self.given)
        whole = Usage(*msgspec.structs.astuple(self._parts[0][1]))
        whole.output += sum(_output(part) for _, part in self._parts[1:]) + self._new_tokens()
        self._billed = whole
        return whole, True

    def share(self, attempts: tuple[Attempt, ...], cost: int, price: Price, ratio_ppm: int, ended: bool) -> Attempt:
        """Lay the charge on the attempts: on each that broke off what it delivered, the rest on the last, which
        answered."""
        # the first read the prompt, as it is billed
        parts = [(index, self._billed_first() if not number else usage) for number, (index, usage) in
                 enumerate(self._parts)]  # fmt: skip
        if ended or self._new_tokens():
            parts.append((len(attempts) - 1, _NOTHING))
        left = cost
        fixed = charge(price, _NOTHING, ratio_ppm)
        for number, (index, usage) in enumerate(parts[:-1]):
            part = min(left, charge(price, usage, ratio_ppm) - (fixed if number else 0))
            attempts[index].charge += part
            left -= part
        last = attempts[parts[-1][0]]
        last.charge += left
        return last


def _output(usage: Usage) -> int:
    return usage.output + usage.reasoning + usage.audio_output + usage.image_output
