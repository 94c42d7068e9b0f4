"""The mutation check: one rule of the protocol taken out at a time, and the kill loop must turn red.

    python -m tests.slow.mutate [--engine sqlite|postgres] [--rounds 12] [--seed N] [NAME …]

A loop that stays green without a rule proves nothing about that rule.  The same ways to kill with every rule in
place (the last column) must stay green, for as many rounds as the mutation took.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from tests.postgres import Databases, Server
from tests.slow.house import House
from tests.slow.kill_loop import KillLoop, Tally
from tests.slow.shim.rules import MUTATIONS

WAYS: Final[dict[str, tuple[str, ...]]] = {
    "intent_before_send": ("worker.after_send", "random worker"),
    "synced_offset": ("power",),
    "watermark_in_booking": ("control.after_commit",),
    "draw_with_receipt": ("control.before_commit",),
    "copy_forward": ("old worker",),
    "end_before_last_bytes": ("random worker",),
    "replay_under_lock": ("random control",),
    "epoch": ("passed by",),
}
"""Mutation → where it should hurt."""


class Verdict(NamedTuple):
    """What became of one mutation."""

    name: str
    rounds: int
    """Until it was noticed (0 = it was not)."""
    first: str
    """The first violation."""
    green: bool
    """The same rounds with every rule in place were clean."""


async def run(name: str, url: str, seed: int, rounds: int, ways: Sequence[str]) -> Tally:
    """The loop without a rule ("" = with all of them), until the first violation."""
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        async with KillLoop(House(Path(folder) / "house", url, mutate=name), seed) as loop:
            return await loop.run(rounds, ways, stop_at_first=True)


def check(name: str, databases: Databases | None, seed: int, rounds: int) -> Verdict:
    """One mutation, and the same without it."""

    def url() -> str:
        return databases.make() if databases is not None else ""

    red = asyncio.run(run(name, url(), seed, rounds, WAYS[name]))
    green = asyncio.run(run("", url(), seed, red.rounds, WAYS[name]))
    first = red.violations[0] if red.violations else ""
    return Verdict(name, red.rounds if first else 0, first, not green.violations)


def table(verdicts: Sequence[Verdict]) -> str:
    """For people."""
    lines = [f"{'rule taken out':24} {'noticed in round':16}  {'with it':8} first violation"]
    for verdict in verdicts:
        noticed = str(verdict.rounds) if verdict.rounds else "NOT AT ALL"
        lines.append(f"{verdict.name:24} {noticed:16}  {'clean' if verdict.green else 'RED':8} {verdict.first[:150]}")
    return "\n".join(lines)


def main() -> int:
    """The command; 1 if a mutation was not noticed, or the product itself is red."""
    parser = argparse.ArgumentParser(prog="python -m tests.slow.mutate", description=__doc__)
    parser.add_argument("--engine", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MUTATIONS))
    options = parser.parse_args()
    server = Server() if options.engine == "postgres" else None
    try:
        databases = None
        if server is not None:
            server.start()
            databases = Databases(server.url)
        names = options.names or list(MUTATIONS)
        verdicts = [check(name, databases, options.seed, options.rounds) for name in names]
    finally:
        if server is not None:
            server.remove()
    print(f"\nmutation check on {options.engine}, seed {options.seed}\n{table(verdicts)}", flush=True)
    return int(not all(verdict.rounds and verdict.green for verdict in verdicts))


if __name__ == "__main__":
    sys.exit(main())
