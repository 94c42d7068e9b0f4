"""What a row says: a fault, and what must be seen of it by the caller, the upstreams and in the ledger."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from tests.faults.faults import Plan, good
from tests.faults.upstream import Door
from tests.faults.voices import IN, OUT

Range = tuple[int, int]
Text = Literal["whole", "part", "none"]
MODES: Final = ("stream", "plain")
STREAM: Final = ("stream",)
PLAIN: Final = ("plain",)
HALF: Final = 24
"""Tokens before a stream is disturbed."""
LONG: Final = 100_000
PREFILL: Final = (("prefill", "plain"),)
"""The operator says that its models go on from a beginning."""


@dataclass(frozen=True)
class Expect:
    """What each call of a row must come to."""

    text: Text = "whole"
    error: str = ""
    """Its status; "*" = any that says what it is; "any" = even one that does not; "" = none may come."""
    within_s: float = 3.0
    first_within_s: float = 3.0
    primary: Range = (1, 1)
    """Requests that reach it, at least and at most, in the whole row."""
    spare: Range = (1, 1)
    answerer: str = "spare"
    """Whose answer's id the caller sees."""
    finish: str = ""
    """"" = the caller's dialect's ordinary stop · "filtered"."""
    attempts: str = ""
    """The ledger's, like "first 429, failover 200"; of the last call of the row."""
    state: str = "done"
    usage: tuple[int, int] | None = (IN, OUT)
    """Billed input and output tokens; None = nothing is billed."""
    slack: tuple[int, int] = (0, 0)
    """By how much an estimate may differ."""
    estimated: bool | None = False
    """None = either."""
    told: bool = True
    """The caller is told the usage that is billed."""
    model: str = ""
    """What stands behind the row's name in the name of the model that is billed."""
    sends_max: int = 3
    """Most attempts in one row of the ledger."""
    begun: bool | None = None
    """Whether the spare was given the beginning of the answer to go on from; None = no matter."""
    loser: str = ""
    """Who was asked, too, and cut off when the other could answer (a hedge): it stands there with its cost."""
    let_go_s: float = 0.0
    """The primary's connection must be given up within this time from its request; 0 = no matter."""


@dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    title: str
    expect: Expect
    primary: Plan = good
    spare: Plan | None = good
    door: Door = "plain"
    spare_door: Door = "plain"
    modes: tuple[str, ...] = MODES
    play: str = "once"
    quick: bool = True
    """It is part of the version that CI runs."""
    callers: tuple[str, ...] = ("chat", "responses", "messages", "gemini")
    keys: tuple[str, ...] = ("sk-upstream",)
    """Of the primary."""
    spare_options: tuple[tuple[str, Any], ...] = ()
    stand_in: str = ""
    """The spare serves another model, whose name is the row's with this behind it."""
    token: str = ""
    """The caller's token is made with this option and value; "" = it is everybody's."""
    setup: tuple[tuple[str, ...], ...] = ()
    """Commands of the CLI before it begins; MODEL stands for the model's name."""
    for_plain: Expect | None = None
    """What differs where no stream is asked for."""
    crossed: bool = field(default=False)
    """Also played with a primary and a spare of different dialects."""

    def expected(self, stream: bool) -> Expect:
        """For this mode."""
        return self.expect if stream or self.for_plain is None else self.for_plain


def moved(status: int, **changes: object) -> Expect:
    """The primary fails before any content: the spare answers, whole."""
    return replace(Expect(attempts=f"first {status}, failover 200"), **changes)  # type: ignore[arg-type]


UNSENT: Final = Expect(primary=(0, 0), attempts="failover 200")
"""The primary was never reached: it is no attempt."""
CUT: Final = Expect("part", "*", state="cut", answerer="primary", spare=(0, 0), usage=(IN, HALF), slack=(25, 6),
                    estimated=None)  # fmt: skip
"""Nobody goes on: an error, never a false stop."""
CONTINUED: Final = Expect(attempts="first 200, continue 200", answerer="primary", estimated=None)
PASSED: Final = Expect(spare=(0, 0), answerer="primary", attempts="first 200")
REFUSED: Final = Expect(
    text="none", spare=(0, 0), answerer="", attempts="first 400", usage=None, error="400", within_s=1.5
)
DOWN: Final = Expect(
    text="none", error="503", answerer="", state="failed", usage=None, within_s=8.0, primary=(1, 2), spare=(1, 2)
)
