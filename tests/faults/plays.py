"""Who calls when.  A play calls, and says what only it can see to be wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from tests.faults.callers import PATIENCE_S, Caller, Heard
from tests.faults.house import Case

FLAP_EVERY_S: Final = 0.5
BACK_WITHIN_S: Final = 30.0
PROBES_MAX: Final = 10
"""Requests that a primary may get in a minute of being down: 3 until it is known, then 1, 2, 4 … 30 s apart."""
CROWD: Final = 10
LEAVE_AFTER: Final = 20


async def _ask(
    case: Case, caller: Caller, leave_after: int = 0, beside: bool = False, patience_s: float = PATIENCE_S
) -> Heard:
    heard = await caller.ask(case.caller, case.model, case.stream, leave_after, patience_s)
    heard.beside = beside
    case.heard.append(heard)
    return heard


async def once(case: Case, caller: Caller) -> None:
    """One call."""
    await _ask(case, caller)


async def respect(case: Case, caller: Caller) -> None:
    """Four calls at once after the 429 has said two seconds, one when they are over."""
    started = time.monotonic()
    for _ in range(4):
        await _ask(case, caller)
    await asyncio.sleep(max(0.0, started + 3.0 - time.monotonic()))
    await _ask(case, caller)
    visits = case.upstreams["primary"].visits
    if len(visits) > 1 and visits[1].started - visits[0].started < 1.9:
        case.complaints.append(f"back after {visits[1].started - visits[0].started:.2f} s, before Retry-After")


async def alone(case: Case, caller: Caller) -> None:
    """One call; the second attempt comes when it may."""
    await _ask(case, caller)
    visits = case.upstreams["primary"].visits
    if len(visits) > 1 and visits[1].started - visits[0].ended < 0.95:
        case.complaints.append(f"back after {visits[1].started - visits[0].ended:.2f} s, before Retry-After")


async def crowd(case: Case, caller: Caller) -> None:
    """Ten at once, then one more, which must not meet the broken one."""
    await asyncio.gather(*(_ask(case, caller) for _ in range(CROWD - 1)))
    met = len(case.upstreams["primary"].visits)
    await _ask(case, caller)
    if len(case.upstreams["primary"].visits) > met:
        case.complaints.append("asked again at once after a burst of failures")


async def mistakes(case: Case, caller: Caller) -> None:
    """Six bad requests, then a good one: it is served where they were refused."""
    for _ in range(6):
        await _ask(case, caller)
    good = await _ask(case, caller, beside=True)
    if good.error or case.upstreams["primary"].visits[-1].n != 7:
        case.complaints.append(f"a good request after them: {good.told}")


async def leave(case: Case, caller: Caller) -> None:
    """It hangs up after some tokens."""
    heard = await _ask(case, caller, LEAVE_AFTER)
    await asyncio.sleep(1.0)
    visit = case.upstreams["primary"].visits[0]
    if visit.end != "gone":
        case.complaints.append("the upstream was not cancelled within 1 s")
    elif visit.ended - heard.left_at > 0.5:
        case.complaints.append(f"the upstream was cancelled {visit.ended - heard.left_at:.2f} s after the caller left")


async def leave_early(case: Case, caller: Caller) -> None:
    """It hangs up before anything came."""
    await _ask(case, caller, patience_s=0.4)
    await asyncio.sleep(0.5)


async def leave_in_switch(case: Case, caller: Caller) -> None:
    """It hangs up while another upstream is asked to go on."""
    heard = await _ask(case, caller, patience_s=1.0)
    await asyncio.sleep(0.5)
    for visit in case.upstreams["spare"].visits:
        if visit.end != "gone" or visit.ended - heard.left_at > 0.4:
            case.complaints.append("the spare was not cancelled")


async def flap(case: Case, caller: Caller) -> None:
    """A call every half second, until the primary has answered three times again."""
    primary = case.upstreams["primary"]
    down_s = 60.0 if case.row.name == "flap" else 4.0
    started = time.monotonic()
    back = 0
    while time.monotonic() < started + down_s + BACK_WITHIN_S and back < 3:
        heard = await _ask(case, caller)
        back += "primary" in "".join(heard.answerers)
        await asyncio.sleep(FLAP_EVERY_S)
    seen = primary.visits
    down = [visit for visit in seen if visit.started - seen[0].started < down_s]
    up = [visit for visit in seen if visit.started - seen[0].started >= down_s]
    if len(down) > PROBES_MAX:
        case.complaints.append(f"{len(down)} requests reached the primary while it was down")
    if back < 3:
        case.complaints.append(f"not back within {BACK_WITHIN_S:.0f} s of recovery")
    elif up:
        back_s = up[0].started - seen[0].started - down_s
        case.notes.append(f"{len(down)} requests met it while down, back {back_s:.1f} s after recovery")


Play = Callable[[Case, Caller], Awaitable[None]]
PLAYS: Final[dict[str, Play]] = {
    play.__name__: play for play in (once, respect, alone, crowd, mistakes, leave, leave_early, leave_in_switch, flap)
}
