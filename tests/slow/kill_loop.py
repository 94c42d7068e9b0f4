"""The kill loop: proof that no crash loses or doubles money.

    python -m tests.slow.kill_loop --rounds 200 --engine both [--seed N] [--workers 1|2] [--mutate RULE] [--tally FILE]

Each round runs load against the real product, kills it in one way (kills.py), lets it come back, waits until
everything is booked, and compares what clients, upstream and ledger say (invariants.py).  docs/money.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from burncloud.database.engine import open_database
from tests.postgres import Databases, Server
from tests.slow import invariants
from tests.slow.house import House
from tests.slow.invariants import Account
from tests.slow.kills import WAYS, Way
from tests.slow.kinds import PRICE
from tests.slow.ledger import Receipt
from tests.slow.load import Client, Load
from tests.slow.shim.rules import MUTATIONS
from tests.slow.successor import judge_passed_by

RICH, POOR = 14, 4
"""Clients."""
SETTLE_S: Final = 20.0
"""As long a round may take to be booked."""
SYNC_SLACK_S: Final = 1.0
"""What a loss of power may take: the last sync interval (50 ms), and what a busy machine adds."""
STOP_EVERY: Final = 8
"""Rounds between two clean stops, after which nothing may be on lease."""


@dataclass
class Tally:
    """What happened."""

    rounds: int = 0
    requests: int = 0
    received: int = 0
    rows: int = 0
    states: Counter[str] = field(default_factory=Counter)
    sends: Counter[str] = field(default_factory=Counter)
    """Attempts by their reason."""
    outcomes: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    """Processes that died at a crash point."""
    missed: Counter[str] = field(default_factory=Counter)
    """Crash points that were not reached in time."""
    stops: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    seeds: list[int] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count another run in."""
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class KillLoop:
    """One product, killed over and over."""

    def __init__(self, house: House, seed: int, mixed: bool = False) -> None:
        """`mixed`: go from one worker to two and back at each clean stop."""
        self.house = house
        self.tally = Tally()
        self._rng = random.Random(seed)
        self._mixed = mixed
        self._receipts = 0
        self._deck: list[str] = []
        self.load = Load(house.product.port, house.keys, self._rng)

    async def __aenter__(self) -> KillLoop:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Start everything."""
        house = self.house
        await house.open()
        db = open_database(house.url)
        try:
            await house.add_account(db, "poor", 0, -1)
            await house.add_account(db, "poor-a", -1, 0)
            await house.add_account(db, "poor-b", -1, 0, user=house.accounts["poor-a"].user)
        finally:
            await db.close()
        house.remember_syncs()
        await house.start()
        self.load.start(RICH, POOR)

    async def close(self) -> None:
        """End everything."""
        await self.load.stop()
        self.house.close()

    async def run(self, rounds: int, ways: Sequence[str] = (), stop_at_first: bool = False) -> Tally:
        """So many rounds, through the ways given (all), and a clean stop at the end."""
        started = time.monotonic()
        for _ in range(rounds):
            await self.round(self._next_way(ways))
            if stop_at_first and self.tally.violations:
                break
            if self.tally.rounds % STOP_EVERY == 0:
                await self.stop_and_start()
        if not (stop_at_first and self.tally.violations):
            await self.stop()
        self.tally.seconds += time.monotonic() - started
        return self.tally

    def _next_way(self, ways: Sequence[str]) -> str:
        if not self._deck:
            self._deck = list(ways or WAYS)
            self._rng.shuffle(self._deck)
        return self._deck.pop()

    # A round

    async def round(self, way: str, do: Way | None = None, alarms: Sequence[str] = ()) -> None:
        """Load, kill, come back, compare.  `do`: a way of a test's own; `alarms`: kinds that the product may raise."""
        house, tally = self.house, self.tally
        tally.rounds += 1
        tally.ways[way] += 1
        prefix = f"r{tally.rounds}-"
        await self._top_up()
        self.load.begin(prefix)
        await (do or WAYS[way])(house, self._rng)
        cut_at = time.monotonic() if way == "power" else 0.0
        if cut_at:
            house.lose_power(self._rng)
            await house.start(wait=False)
        self._count_falls()
        await house.ensure_running()
        await self.load.pause()
        faults = await self._settle(prefix, cut_at)
        faults = faults or await self._use_up(prefix, cut_at)
        faults += invariants.refusals(self.load.sent, [name for name in house.keys if not name.startswith("poor")])
        faults += house.complaints([*alarms, "broken", "gap"] if cut_at else alarms)
        self._note(prefix, way, faults)
        house.passed_by = None
        await self._count(prefix)

    def _count_falls(self) -> None:
        for fallen in self.house.fallen():
            (self.tally.points if fallen.died else self.tally.missed)[fallen.point] += 1

    async def _settle(self, prefix: str, cut_at: float) -> list[str]:
        """Wait until all is booked; what is wrong when it stays wrong."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            faults = await self._compare(prefix, cut_at)
            if not faults or time.monotonic() > deadline:
                return faults
            await asyncio.sleep(0.2)

    async def _compare(self, prefix: str, cut_at: float) -> list[str]:
        house = self.house
        sent = self.load.sent
        seen = house.seen(prefix)
        opened = await house.ledger.open_journals()
        lost: set[str] = set()
        shaken: set[str] = set()
        if cut_at:
            synced = cut_at - SYNC_SLACK_S
            lost = {one.id for one in sent if synced < one.started <= cut_at}
            shaken = {one.id for one in sent if one.started <= synced < one.ended}
        if opened > house.workers:
            return [f"{opened} journals are open, {house.workers} workers run"]
        receipts = await house.ledger.receipts(prefix)
        faults = invariants.judge(sent, seen, receipts, lost, shaken)
        books = await house.ledger.books()
        faults += invariants.judge_books(books, house.accounts, self._receipts + len(receipts), house.workers)
        if house.passed_by is not None:
            faults += await judge_passed_by(house, house.passed_by)
        return faults or await house.verify()

    def _note(self, prefix: str, way: str, faults: list[str]) -> None:
        self.tally.violations += [f"{prefix}{way}: {fault}" for fault in faults]
        for fault in faults[:10]:
            print(f"  !! {prefix}{way}: {fault}", flush=True)

    async def _count(self, prefix: str) -> None:
        tally = self.tally
        receipts: list[Receipt] = await self.house.ledger.receipts(prefix)
        self._receipts += len(receipts)
        tally.requests += len(self.load.sent)
        tally.received += sum(self.house.seen(prefix).values())
        tally.rows += len(receipts)
        tally.states.update(receipt.state for receipt in receipts)
        tally.sends.update(attempt.reason for receipt in receipts for attempt in receipt.attempts)
        tally.outcomes.update(one.outcome for one in self.load.sent)

    # Quota

    async def _top_up(self) -> None:
        """Give the poor something for this round: whole requests."""
        house = self.house
        token, user = house.accounts["poor"], house.accounts["poor-a"]
        more = self._rng.randint(3, 40) * PRICE
        await house.set_limits("poor", token.token_limit + more, token.user_limit)
        await house.set_limits("poor-a", user.token_limit, user.user_limit + more)

    async def _use_up(self, prefix: str, cut_at: float) -> list[str]:
        """Everything is booked and nothing runs: what quota is left must be usable to the last request."""
        faults: list[str] = []
        await asyncio.sleep(1.1)  # a denial may be remembered for a second
        for name in ("poor", "poor-a"):
            deadline = time.monotonic() + SETTLE_S
            while not faults:
                account = self.house.accounts[name]
                kind, id_, limit = ("token", account.token, account.token_limit)
                if limit < 0:
                    kind, id_, limit = ("user", account.user, account.user_limit)
                used = (await self.house.ledger.books()).balances.get((kind, id_), (0, 0))[0]
                if used == limit:
                    break
                if used > limit or time.monotonic() > deadline:
                    faults.append(f"{name}: {used} of {limit} used, and the rest cannot be")
                    break
                faults += await self._spend(name, (limit - used) // PRICE)
                faults = faults or await self._settle(prefix, cut_at)  # what was spent is booked
        return faults

    async def _spend(self, account: str, count: int) -> list[str]:
        """Send so many fixed requests at once, each of which must be answered or told to come back."""
        clients = [Client(self.load.port) for _ in range(min(count, 20))]
        sent = await asyncio.gather(*(self.load.ask(client, "fixed", account) for client in clients))
        for client in clients:
            client.close()
        if not any(one.outcome == "402" for one in sent):
            return []
        books = await self.house.ledger.books()
        payer = self.house.accounts[account]
        leases = [lease for lease in books.leases if (lease.kind, lease.account) in _keys(payer)]
        stands = {key: books.balances.get(key) for key in _keys(payer)}
        saw = [f"{one.id} {one.outcome} after {one.ended - one.started:.2f} s" for one in sent]
        return [f"{account}: 402, although {count} more were paid for: {saw}; {payer} {stands} {leases}"]

    # Stops

    async def stop(self) -> None:
        """A clean stop, under load every second time; nothing may be on lease afterwards."""
        house, tally = self.house, self.tally
        tally.stops += 1
        prefix = f"s{tally.stops}-"
        self.load.begin(prefix)
        await asyncio.sleep(self._rng.uniform(0.3, 1.0))
        if tally.stops % 2:
            await self.load.pause()
        status = await house.stop()
        await self.load.pause()
        faults = [f"the stop ended with status {status}"] if status else []
        faults += await self._compare(prefix, 0.0)
        faults += invariants.judge_stopped(await house.ledger.books()) + house.complaints()
        self._note(prefix, "stop", faults)
        await self._count(prefix)

    async def stop_and_start(self) -> None:
        """A clean stop, and another start."""
        await self.stop()
        workers = 3 - self.house.workers if self._mixed else self.house.workers
        await self.house.start(workers=workers)


def _keys(account: Account) -> tuple[tuple[str, int], tuple[str, int]]:
    return ("token", account.token), ("user", account.user)


def table(tally: Tally, title: str) -> str:
    """The closing table."""

    def row(counter: Counter[str]) -> str:
        return " · ".join(f"{name} {count}" for name, count in sorted(counter.items()))

    lines = [
        title,
        f"seeds         {', '.join(map(str, sorted(tally.seeds)))}",
        f"rounds        {tally.rounds} in {tally.seconds:.0f} s, {tally.stops} clean stops",
        f"requests      {tally.requests} sent, {tally.received} received by the upstream, {tally.rows} rows",
        f"clients saw   {row(tally.outcomes)}",
        f"rows          {row(tally.states)}",
        f"sends         {row(tally.sends)}",
        "kills by way and crash point (died there / not reached in time)",
    ]
    for way, count in sorted(tally.ways.items()):
        died = f"  {tally.points[way]} / {tally.missed[way]}" if way in tally.points or way in tally.missed else ""
        lines.append(f"  {way:26} {count:4} rounds{died}")
    lines.append(f"violations    {len(tally.violations)}")
    lines += [f"  {violation}" for violation in tally.violations[:50]]
    return "\n".join(lines)


def added_up(tally: Tally, path: Path) -> Tally:
    """The run together with those that the file holds; from now on it holds this one, too."""
    if path.exists():
        held = json.loads(path.read_text())
        tally.add(Tally(**{name: type(getattr(tally, name))(value) for name, value in held.items()}))
    path.write_text(json.dumps(vars(tally)))
    return tally


async def run_engine(engine: str, options: argparse.Namespace, url: str) -> Tally:
    """The loop on one engine."""
    with tempfile.TemporaryDirectory(prefix="kill-loop-") as folder:
        house = House(Path(folder) / "house", url, options.workers or 1, options.mutate)
        async with KillLoop(house, options.seed, mixed=not options.workers) as loop:
            watcher = asyncio.create_task(_progress(loop, engine, options.rounds))
            try:
                return await loop.run(options.rounds, options.ways, stop_at_first=bool(options.mutate))
            finally:
                watcher.cancel()


async def _progress(loop: KillLoop, engine: str, rounds: int) -> None:
    shown = 0
    while True:
        await asyncio.sleep(0.5)
        tally = loop.tally
        if tally.rounds // 10 > shown:
            shown = tally.rounds // 10
            print(
                f"{engine}: round {tally.rounds} of {rounds}, {tally.requests} requests, {tally.rows} rows, "
                f"{tally.states['interrupted']} interrupted, {len(tally.violations)} violations",
                flush=True,
            )


def _workers(count: int) -> str:
    return {0: "1 and 2 workers in turn", 1: "1 worker"}.get(count, f"{count} workers")


def main() -> int:
    """The command; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.slow.kill_loop", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--engine", choices=("sqlite", "postgres", "both"), default="both")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, choices=(1, 2), default=0, help="default: 1 and 2 in turn")
    parser.add_argument("--mutate", choices=sorted(MUTATIONS), default="", help="take this rule out: it must turn red")
    parser.add_argument("--tally", type=Path, help="a long run in pieces: add to what is counted in this file")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=[], help="only these ways to kill")
    options = parser.parse_args()
    bad = False
    for engine in ("sqlite", "postgres") if options.engine == "both" else (options.engine,):
        server = None
        try:
            url = ""
            if engine == "postgres":
                server = Server()
                server.start()
                url = Databases(server.url).make()
            tally = asyncio.run(run_engine(engine, options, url))
            tally.seeds = [options.seed]
        finally:
            if server is not None:
                server.remove()
        bad = bad or bool(tally.violations)
        if options.tally is not None:
            tally = added_up(tally, options.tally)
        print("\n" + table(tally, f"kill loop on {engine}, {_workers(options.workers)}") + "\n", flush=True)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
