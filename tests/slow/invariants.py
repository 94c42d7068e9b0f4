"""What must hold after any crash, as pure functions over what the three sides say: clients, upstream, ledger.

Each gives sentences, one a violation; none = all is well.  docs/money.md says why each rule is there.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from tests.slow.kinds import KINDS
from tests.slow.ledger import Books, Receipt
from tests.slow.load import COMPLETE, CUT, REFUSED, Sent

NEVER_A_ROW: Final = ("400", "401", "402", "403", "404", "429", REFUSED)
"""Outcomes of requests that were turned away before a send (a 429 may also be the end of failed attempts)."""
UNKNOWN: Final = 2
SENT: Final = 1


class Account(NamedTuple):
    """A payer: a token and its user, with their limits (−1 = none)."""

    token: int
    user: int
    token_limit: int
    user_limit: int


def judge(
    sent: Sequence[Sent],
    seen: Mapping[str, int],
    receipts: Sequence[Receipt],
    lost: Collection[str] = (),
    shaken: Collection[str] = (),
) -> list[str]:
    """Requests, upstream and ledger of one round: does each row tell the truth about its request?

    `seen`: request id → how often its head arrived at the upstream.  After a loss of power: `lost` are ids whose
    intent may be gone, `shaken` those whose last records may be gone, but not the intent.
    """
    faults: list[str] = []
    rows: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in receipts:
        rows[receipt.id].append(receipt)
    known = {one.id for one in sent}
    faults += [f"{id_}: a row that no client asked for" for id_ in rows.keys() - known]
    faults += [f"{id_}: the upstream saw a request that no client sent" for id_ in seen.keys() - known]
    for one in sent:
        what = f"{one.id} ({one.kind}, client saw {one.outcome})"
        if one.id in lost or one.id in shaken:
            count = len(rows[one.id])
            if count > 1 or (not count and one.id in shaken and seen.get(one.id)):
                faults.append(f"{what}: {count} rows after a loss of power")
            continue
        faults += [f"{what}: {fault}" for fault in _judge_one(one, seen.get(one.id, 0), rows[one.id])]
    return faults


def _judge_one(one: Sent, seen: int, rows: list[Receipt]) -> list[str]:
    if len(rows) > 1:
        return [f"{len(rows)} rows"]
    if not rows:
        faults = [f"the upstream received it {seen} x, but it has no row"] if seen else []
        if one.outcome in (COMPLETE, CUT):
            faults.append("it was answered, but has no row")
        return faults
    row = rows[0]
    faults = _judge_attempts(row, seen) + _judge_charge(one, row)
    if one.outcome == COMPLETE and row.state != "done":
        faults.append(f"it was answered whole, but its row is {row.state}")
    if one.outcome == CUT and row.state != "cut":
        faults.append(f"the client was told of a break, but its row is {row.state}")
    if one.outcome in NEVER_A_ROW and row.state != "failed":
        faults.append(f"it was refused, but has a row: {row.state}")
    if row.late:
        faults.append("its row came after its journal had been closed")
    return faults


def _judge_attempts(row: Receipt, seen: int) -> list[str]:
    """Every request received is one attempt; every attempt was received, or is marked unknown for a reason."""
    faults: list[str] = []
    count = Counter(attempt.sent for attempt in row.attempts)
    if not count[SENT] <= seen <= count[SENT] + count[UNKNOWN]:
        faults.append(f"the upstream received it {seen} x, its row ({row.state}) has attempts {row.attempts}")
    for attempt, following in zip(row.attempts, (*row.attempts[1:], None), strict=False):
        reconnected = following is not None and following.reason == "reconnect"
        if attempt.sent == UNKNOWN and row.state != "interrupted" and not reconnected:
            faults.append(f"attempt {attempt.n} of a row that is {row.state} is said to be unknown")
    if sum(attempt.charge for attempt in row.attempts) != row.charge:
        faults.append(f"its charge {row.charge} is not the sum of its attempts {row.attempts}")
    return faults


def _judge_charge(one: Sent, row: Receipt) -> list[str]:
    kind = KINDS[one.kind]
    if row.state == "done" and row.charge != kind.charge:
        return [f"done, but charged {row.charge} in place of {kind.charge}"]
    if row.state == "failed" and row.charge:
        return [f"nobody answered, but it is charged {row.charge}"]
    if row.state == "interrupted" and not 0 < row.charge <= row.reserve:
        return [f"interrupted, and charged {row.charge} of a reserve of {row.reserve}"]
    return []


def judge_books(books: Books, accounts: Mapping[str, Account], receipts: int, workers: int) -> list[str]:
    """The sums: `receipts` rows in all are known from the rounds; at most `workers` journals may be open."""
    faults: list[str] = []
    if books.receipts != receipts:
        faults.append(f"the ledger has {books.receipts} rows, the rounds saw {receipts}")
    for key in sorted(books.balances.keys() | books.used.keys()):
        used, leased = books.balances.get(key, (0, 0))
        if used != books.used.get(key, 0):
            faults.append(f"{key}: used is {used}, its rows add up to {books.used.get(key, 0)}")
        if leased < 0:
            faults.append(f"{key}: leased is {leased}")
    faults += [
        f"a lease has given more than it got: {lease}"
        for lease in books.leases
        if min(lease.granted - lease.drawn - lease.returned, lease.granted, lease.drawn, lease.returned) < 0
    ]
    for name, account in accounts.items():
        for kind, id_, limit in (
            ("token", account.token, account.token_limit),
            ("user", account.user, account.user_limit),
        ):
            used = books.balances.get((kind, id_), (0, 0))[0]
            if 0 <= limit < used:
                faults.append(f"{name}: the {kind} has used {used} of {limit}, at fixed prices")
    if books.quarantined:
        faults.append(f"{books.quarantined} records were put aside")
    if books.open_journals > workers:
        faults.append(f"{books.open_journals} journals are open, {workers} workers run")
    return faults


def judge_stopped(books: Books) -> list[str]:
    """After a clean stop nothing is on lease and every journal is closed."""
    balances = books.balances.items()
    faults = [f"{key}: {leased} is on lease after a clean stop" for key, (_, leased) in balances if leased]
    faults += [f"a lease outlived a clean stop: {lease}" for lease in books.leases]
    if books.open_journals:
        faults.append(f"{books.open_journals} journals are open after a clean stop")
    return faults


def refusals(sent: Sequence[Sent], rich: Collection[str]) -> list[str]:
    """No 402 where quota is ample, and no refusal that only a wrong key would earn."""
    return [
        f"{one.id} ({one.account}): {one.outcome} while quota was ample"
        for one in sent
        if one.outcome in ("401", "403") or (one.outcome == "402" and one.account in rich)
    ]
