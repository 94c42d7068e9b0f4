"""Whether a channel, or one model or key of it, may be asked now: four states, as a table.

    ready     asked; failures are counted
    cooling   not asked until a time comes; that time grows with each relapse, and ends
    probing   one request goes to see; the others wait for what becomes of it
    off       refused by the vendor: not asked until it is changed, or a rare probe finds it good

Pure: time is given, nothing is scheduled.  `available` is a plain attribute, since every choice reads it.
What one worker has learned the others are `told`: they keep away as long, and a little longer, so that the one who
found out is also the one who goes to see.
"""

from __future__ import annotations

from typing import Final

from burncloud.domain.parts import COOLING, OFF, PROBING, READY, REFUSED, STATES

BUSY: Final = "busy"
"""429: one is enough."""

FAILURES_IN_A_ROW: Final = 3
WINDOW: Final = 20
"""Outcomes that are remembered for the error rate."""
WINDOW_FAILURES: Final = 10
"""As many failures among them open the breaker, too."""
COOL_S: Final = 1.0
COOL_S_MAX: Final = 20.0
OFF_S: Final = 60.0
OFF_S_MAX: Final = 3600.0
RETRY_AFTER_S_MAX: Final = 600.0
"""A longer Retry-After is not believed."""
PROBE_S: Final = 30.0
"""A probe that nothing was heard of for so long does not keep others waiting."""
TOLD_S: Final = 1.0
"""Who was only told probes this much later than who found out: by then that one's probe is under way, or over."""


class Breaker:
    """One thing that can fail by itself: a key of a channel, or a model at it."""

    __slots__ = (
        "_cool_s", "_failures", "_off_s", "_row", "_seen", "available", "by", "fault", "reason", "state", "status",
        "until",
    )  # fmt: skip

    def __init__(self) -> None:
        self.state = READY
        self.available = True
        """It may be asked: ready, or probing and nobody has asked yet."""
        self.until = 0.0
        """When cooling ends (or a probe is given up): loop time, seconds."""
        self.reason = ""
        """Why it is not ready: the fault's kind."""
        self.status = 0
        """What the upstream answered then; 0 = nothing."""
        self.fault = ("", 0)
        """The last fault that it was blamed for, and its status, in whatever state it is."""
        self.by = ""
        """Who went to see."""
        self._row = 0
        self._cool_s = COOL_S
        self._off_s = OFF_S
        self._seen = 0
        """Bits of the last WINDOW outcomes, 1 = failure, the newest lowest."""
        self._failures = 0

    def __repr__(self) -> str:
        return f"<Breaker {self.state}{' ' + self.reason if self.reason else ''}>"

    def succeeded(self) -> bool:
        """An answer came; True if this closed the breaker."""
        self._row = 0
        if self._failures:
            self._note(0)
        if self.state is READY:
            return False
        self._close()
        return True

    def failed(self, now: float, reason: str, retry_after_s: float = 0.0) -> bool:
        """An attempt failed; True if it is not available any more for that, or for longer.

        What was on its way when it opened is no relapse: only the vendor's word makes the pause longer then.
        """
        self._row += 1
        self._note(1)
        if self.state is OFF or (self.state is COOLING and now + min(retry_after_s, RETRY_AFTER_S_MAX) <= self.until):
            return False
        tripped = self._row >= FAILURES_IN_A_ROW or self._failures >= WINDOW_FAILURES
        if self.state is READY and not tripped and not retry_after_s and reason != BUSY:
            return False
        self.cool(now, reason, retry_after_s)
        return True

    def cool(self, now: float, reason: str, retry_after_s: float = 0.0) -> None:
        """Leave it alone for a while: as long as the vendor says, else longer at each relapse."""
        pause = min(retry_after_s, RETRY_AFTER_S_MAX)
        if not pause:
            pause, self._cool_s = self._cool_s, min(2 * self._cool_s, COOL_S_MAX)
        known = self.until if self.state is COOLING else 0.0
        self.state, self.reason, self.until = COOLING, reason, max(known, now + pause)
        self.available = False

    @property
    def troubled(self) -> bool:
        """It is not ready, or has failures to forget."""
        return self.state is not READY or self._failures > 0

    def turn_off(self, now: float, reason: str) -> bool:
        """The vendor refuses it: it is probed again after OFF_S, then ever more rarely.  True if that is news."""
        if self.state is OFF:
            return False  # what was on its way then, and no relapse
        news = self.reason != reason
        self.state, self.reason, self.available = OFF, reason, False
        self.until, self._off_s = now + self._off_s, min(2 * self._off_s, OFF_S_MAX)
        return news

    def taken(self, now: float, who: str = "") -> None:
        """It is being asked: a probe keeps the others away until something is heard of it."""
        if self.state is PROBING:
            self.available, self.by = False, who
            self.until = now + PROBE_S

    def spared(self, who: str = "") -> bool:
        """The one who asked left before an answer: nothing was learned.  True if others may go and see now."""
        if self.state is not PROBING or self.available or self.by != who:
            return False
        self.available = True
        return True

    @property
    def step_s(self) -> float:
        """The next pause, if it fails again."""
        return self._off_s if self.reason == REFUSED else self._cool_s

    def told(self, now: float, state: str, reason: str, status: int, left_s: float, step_s: float) -> bool:
        """Another worker has found this out; True if it changes anything here."""
        if state == READY:
            news = self.state is not READY
            self._row = 0
            self._close()
            return news
        if self.state is OFF and state != OFF and self.reason != reason:
            return False  # a failed model or connection says nothing for a key that is refused
        if state not in STATES:
            return False  # of another version
        self.state = next(known for known in STATES if known == state)
        self.reason, self.status, self.until, self.by = reason, status, now + left_s + TOLD_S, ""
        self.available = self.state is PROBING and not left_s
        if reason == REFUSED:
            self._off_s = min(max(step_s, OFF_S), OFF_S_MAX)
        else:
            self._cool_s = min(max(step_s, COOL_S), COOL_S_MAX)
        return True

    def tick(self, now: float) -> bool:
        """Has its time come?  True if it may be asked again."""
        if self.available or now < self.until:
            return False
        self.state, self.available = PROBING, True
        return True

    def _close(self) -> None:
        self.state, self.reason, self.status, self.available, self.until = READY, "", 0, True, 0.0
        self._cool_s, self._off_s, self._seen, self._failures = COOL_S, OFF_S, 0, 0

    def _note(self, failure: int) -> None:
        oldest = self._seen >> (WINDOW - 1) & 1
        self._seen = (self._seen << 1 | failure) & ((1 << WINDOW) - 1)
        self._failures += failure - oldest
