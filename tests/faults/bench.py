"""The whole bench: the cases of the table, played at once as far as the machine allows, and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tests.faults.callers import Caller
from tests.faults.house import Case, House
from tests.faults.plays import PLAYS
from tests.faults.scorecard import as_json
from tests.faults.table import ROWS

AT_ONCE: Final = 6
PATIENCE_S: Final = 120.0
CROSSINGS: Final = (
    ("chat", ("chat", "messages")),
    ("chat", ("chat", "gemini")),
    ("chat", ("messages", "chat")),
    ("chat", ("responses", "chat")),
    ("responses", ("responses", "chat")),
    ("responses", ("responses", "messages")),
    ("messages", ("messages", "chat")),
    ("messages", ("messages", "gemini")),
    ("gemini", ("gemini", "chat")),
    ("gemini", ("gemini", "messages")),
)
"""(caller, (primary, spare)): what is translated, and continued in translation."""


def cases(
    only: Sequence[str] = (), dialects: Sequence[str] = (), quick: bool = False, crossed: bool | None = None
) -> list[Case]:
    """The cases to play.  `only`: names of rows; `dialects`: of callers; `crossed`: with other dialects only (True),
    without them (False), or both."""
    found = []
    for row in ROWS:
        if (
            (only and row.name not in only)
            or (quick and not row.quick)
            or (only == () and quick and row.name == "flap")
        ):
            continue
        ways = [(caller, (caller, caller)) for caller in row.callers] if crossed is not True else []
        if row.crossed and crossed is not False:
            ways += CROSSINGS
        for caller, voices in ways:
            if dialects and caller not in dialects:
                continue
            found += [Case(row, caller, mode == "stream", voices) for mode in row.modes]
    return found


async def play(
    folder: Path, chosen: Sequence[Case], settings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The scorecard of these cases; `settings` go over the bench's own (house.py)."""
    began = time.monotonic()
    asyncio.get_running_loop().set_exception_handler(_mute_generators)
    slots = asyncio.Semaphore(AT_ONCE)
    async with House(folder, chosen, settings) as house:
        await asyncio.gather(*(_play(case, house.caller(case), slots) for case in chosen))
        await house.book()
        wrong = await house.verified()
    return as_json(chosen, wrong, time.monotonic() - began)


def _mute_generators(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An SDK whose stream is left in its middle drops its generators as it may; anything else is said."""
    if "asyncgen" not in context:
        loop.default_exception_handler(context)


async def _play(case: Case, caller: Caller, slots: asyncio.Semaphore) -> None:
    patient = case.row.play == "flap"  # it waits on purpose, and takes no slot from those that work
    try:
        async with asyncio.timeout(None if patient else PATIENCE_S * 4):
            if patient:
                await PLAYS[case.row.play](case, caller)
                return
            async with slots, asyncio.timeout(PATIENCE_S):
                await PLAYS[case.row.play](case, caller)
    except TimeoutError:
        case.complaints.append("the row did not end")
