"""From journal records to what the ledger books, and back: does everything add up?

The worker has computed each charge; here it is booked unchanged, counted up by account so that a batch
costs one row an account (shared MONEY.md §3).  An exchange that a crash interrupted gets its receipt here:
charged by its last progress record, else by its intent's estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import Final, NamedTuple

import msgspec

from burncloud.database import journals as journal_rows
from burncloud.database import ledger
from burncloud.database.connection import Conn
from burncloud.database.driver import Row
from burncloud.database.engine import Database
from burncloud.database.ledger import Booking, Fault
from burncloud.domain.journal import Attempt, End, Intent, JournalRecord, Kept, Return, encode_payload
from burncloud.domain.money import AMOUNT_NANO_MAX
from burncloud.domain.usage import Usage
from burncloud.service.segments import Poison

HOUR_NS: Final = 3_600_000_000_000
HOUR_S: Final = 3_600
INTERRUPTED: Final = "interrupted"
"""State of a receipt that was made here, for an exchange that a crash cut off."""
INTERRUPTED_ATTEMPT: Final = 2
"""Attempt.sent: nobody knows whether it left."""

_ENDS = End.__struct_fields__.index("usage")
_astuple = msgspec.structs.astuple
_KINDS_OF_RETURN: Final = ("user", "token")


class Flaw(Exception):
    """A record that must not be booked; the message is the reason."""


def check_end(end: End) -> None:
    """Raises Flaw where booking this receipt would break a sum or cannot be stored."""
    total = 0
    for attempt in end.attempts:
        total += attempt.charge
    if total != end.charge:
        raise Flaw(f"charge {end.charge} is not the sum of its attempts {total}")
    if not 0 <= end.charge <= AMOUNT_NANO_MAX:
        raise Flaw(f"charge {end.charge} is out of range")
    if not (0 <= end.draw_user <= end.hold_user and 0 <= end.draw_token <= end.hold_token):
        raise Flaw("draws more than it holds")
    if end.draw_user > end.charge or end.draw_token > end.charge:
        raise Flaw("draws more than it charges")


class _Sums:
    """What a batch adds, by account."""

    def __init__(self, journal: int) -> None:
        self.journal = journal
        self.leases: dict[tuple[str, int], list[int]] = {}
        self.users: dict[int, list[int]] = {}
        self.tokens: dict[int, list[int]] = {}
        self.channels: dict[int, int] = {}
        self.hourly: dict[tuple[int, int, int, int, str], list[int]] = {}
        self.spend: dict[tuple[str, int, int], int] = {}

    def give_back(self, kind: str, account: int, amount: int) -> None:
        self.leases.setdefault((kind, account), [0, 0])[1] += amount
        accounts = self.users if kind == "user" else self.tokens
        accounts.setdefault(account, [0, 0])[1] -= amount

    def charge(self, kind: str, accounts: dict[int, list[int]], account: int, charge: int, draw: int) -> None:
        sums = accounts.get(account)
        if sums is None:
            sums = accounts[account] = [0, 0]
        sums[0] += charge
        if draw:
            sums[1] -= draw
            self.leases.setdefault((kind, account), [0, 0])[0] += draw

    def add(self, end: End, usage: tuple[int, ...], late: bool) -> None:
        charge = end.charge
        if charge:  # draws are part of it
            day = end.day
            for kind, account in (("user", end.user), ("token", end.token)):
                if account:
                    self.spend[kind, account, day] = self.spend.get((kind, account, day), 0) + charge
            if end.user:
                self.charge("user", self.users, end.user, charge, 0 if late else end.draw_user)
            if end.token:
                self.charge("token", self.tokens, end.token, charge, 0 if late else end.draw_token)
            for attempt in end.attempts:
                if attempt.charge:
                    self.channels[attempt.channel] = self.channels.get(attempt.channel, 0) + attempt.charge
        key = (end.time_ns // HOUR_NS * HOUR_S, end.user, end.token, end.channel, end.model)
        counts = self.hourly.get(key)
        if counts is None:
            self.hourly[key] = [1, *usage, charge]
        else:
            counts[:] = map(add, counts, (1, *usage, charge))

    def booking(self, receipts: list[Row], attempts: list[Row]) -> Booking:
        accounts: list[Row] = [("channel", id_, self.channels[id_], 0) for id_ in sorted(self.channels)]
        for kind, sums in (("token", self.tokens), ("user", self.users)):
            accounts += [(kind, id_, *sums[id_]) for id_ in sorted(sums)]
        leases: list[Row] = [(self.journal, *key, 0, *self.leases[key]) for key in sorted(self.leases)]
        hourly: list[Row] = [(*key, *self.hourly[key]) for key in sorted(self.hourly)]
        spend: list[Row] = [(*key, self.spend[key]) for key in sorted(self.spend)]
        return Booking(receipts, attempts, leases, accounts, hourly, spend)


def booking(journal: int, records: Iterable[End | Return], late: bool = False) -> Booking:
    """What these records of a journal (by its number) add to the ledger.

    `late`: the journal is closed, its leases have gone back already, so nothing is drawn on them.
    """
    receipts: list[Row] = []
    attempts: list[Row] = []
    sums = _Sums(journal)
    for record in records:
        if isinstance(record, Return):
            if not late:
                sums.give_back(record.kind, record.account, record.amount)
            continue
        usage = _astuple(record.usage)
        sums.add(record, usage, late)
        fields = _astuple(record)
        receipts.append(
            (journal, *fields[:_ENDS], *usage, *fields[_ENDS + 1 : -3], late, record.lossy, record.requested)
        )
        for attempt in record.attempts:
            n, *rest = _astuple(attempt)
            attempts.append((journal, record.x, n, record.day, *rest))
    return sums.booking(receipts, attempts)


class Sorted(NamedTuple):
    """A slice of records, told apart."""

    good: list[tuple[int, End | Return]]
    """With their numbers."""
    bad: list[tuple[int, int, bytes, str]]
    """(number, x or 0, payload, reason)."""


def sort_records(first: int, records: Sequence[JournalRecord | Poison]) -> Sorted:
    """Pick out what is booked (ends, returns) and what cannot be; the rest needs no booking."""
    good: list[tuple[int, End | Return]] = []
    bad: list[tuple[int, int, bytes, str]] = []
    for seq, record in enumerate(records, first):
        if isinstance(record, End):
            try:
                check_end(record)
            except Flaw as flaw:
                bad.append((seq, record.x, encode_payload(record), str(flaw)))
            else:
                good.append((seq, record))
        elif isinstance(record, Return):
            if record.kind in _KINDS_OF_RETURN and 0 <= record.amount <= AMOUNT_NANO_MAX:
                good.append((seq, record))
            else:
                bad.append((seq, 0, encode_payload(record), "is no return of a lease"))
        elif isinstance(record, Poison):
            bad.append((seq, 0, record.payload, record.reason))
    return Sorted(good, bad)


def interrupted(kept: Kept) -> End:
    """The receipt of an exchange that never ended: each attempt's fate unknown, the charge on the last one."""
    first, intent = kept.intent, billed(kept)
    usage, charge = Usage(), intent.charge_lost
    if kept.progress is not None:
        usage, charge = kept.progress.usage, kept.progress.charge
    sends = [(1, first.channel, first.key, "first")] + [(a.n, a.channel, a.key, a.reason) for a in kept.agains]
    attempts = tuple(
        Attempt(n, channel, key, reason, INTERRUPTED_ATTEMPT, 0, charge if place == len(sends) else 0)
        for place, (n, channel, key, reason) in enumerate(sends, 1)
    )
    last = attempts[-1]
    return End(
        x=kept.x,
        time_ns=intent.time_ns,
        day=intent.day,
        request=intent.request,
        client_request=intent.client_request,
        user=intent.user,
        token=intent.token,
        channel=last.channel,
        key=last.key,
        model=intent.model,
        upstream_model=intent.upstream_model,
        endpoint=intent.endpoint,
        group=intent.group,
        stream=intent.stream,
        price_revision=intent.price_revision,
        model_ratio_ppm=intent.model_ratio_ppm,
        group_ratio_ppm=intent.group_ratio_ppm,
        reserve=intent.reserve,
        hold_user=intent.hold_user,
        hold_token=intent.hold_token,
        draw_user=min(charge, intent.hold_user),
        draw_token=min(charge, intent.hold_token),
        charge=charge,
        usage=usage,
        estimated=True,
        state=INTERRUPTED,
        status=0,
        duration_us=0,
        first_byte_us=0,
        bytes_up=0,
        bytes_down=0,
        client="",
        upstream_request="",
        attempts=attempts,
        requested=intent.requested,
    )


def billed(kept: Kept) -> Intent:
    """What it is billed by: the intent, or that of the model which was asked instead of it last."""
    return next((again.instead for again in reversed(kept.agains) if again.instead is not None), kept.intent)


class Report(NamedTuple):
    """What `verify` found."""

    ok: bool
    """Everything adds up.  Unreplayed journals and records put aside do not spoil it, but are money to come."""
    accounts: int
    receipts: int
    faults: list[Fault]
    open_journals: list[journal_rows.JournalRow]
    """Not yet replayed to their end: of running workers, or waiting for a control process."""
    put_aside: int
    """Records in quarantine."""


async def verify(db: Database) -> Report:
    """Does every `used` equal carry + Σ rows, every row Σ attempts, every `leased` Σ leases?

    Reads one consistent snapshot; works with the server up or down.  Raises DBAPIError.
    """
    async with db.read(snapshot=True) as connection:
        return await _verify(connection)


async def _verify(connection: Conn) -> Report:
    accounts, faults = await ledger.balance_faults(connection)
    receipts, more = await ledger.attempt_faults(connection)
    faults += more
    opened = await journal_rows.open_journals(connection)
    put_aside = await journal_rows.count_put_aside(connection)
    return Report(not faults, accounts, receipts, faults, opened, put_aside)
