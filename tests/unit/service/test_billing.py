"""From records to what is booked: pure, but for verify."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from sqlalchemy import text

from burncloud.database.engine import Database
from burncloud.database.ledger import Fault
from burncloud.database.schema import receipts
from burncloud.domain.journal import Again, Attempt, End, JournalRecord, Kept, Progress, Return
from burncloud.domain.usage import KINDS, Usage
from burncloud.service.billing import booking as make_booking
from burncloud.service.billing import check_end, interrupted, sort_records, verify
from burncloud.service.segments import Poison
from tests.books import add_accounts, end, intent

HOUR = 1_699_999_200


def test_a_receipt_becomes_a_row_column_by_column() -> None:
    names = [column.name for column in receipts.columns]
    record = end(7, 30, 50)
    for place, name in enumerate(End.__struct_fields__):
        if name not in ("usage", "attempts"):  # each field a value of its own kind, so that a swap would show
            old = getattr(record, name)
            setattr(record, name, f"text {place}" if isinstance(old, str) else old)
    row = dict(zip(names, make_booking(4, [record]).receipts[0], strict=True))
    assert (row["journal"], row["x"], row["late"]) == (4, 7, False)
    for name in End.__struct_fields__:
        if name not in ("usage", "attempts"):
            assert row[name] == getattr(record, name), name
    assert {kind: row[kind] for kind in KINDS} == {kind: getattr(record.usage, kind) for kind in KINDS}


def test_every_attempt_becomes_a_row() -> None:
    sends = (Attempt(1, 5, 50, "first", 1, 500, 0, 11, 7), Attempt(2, 6, 60, "failover", 1, 200, 30, 22))
    booked = make_booking(4, [end(7, 30, attempts=sends)])
    assert booked.attempts == [
        (4, 7, 1, 19_675, 5, 50, "first", 1, 500, 0, 11, 7),
        (4, 7, 2, 19_675, 6, 60, "failover", 1, 200, 30, 22, 0),
    ]
    assert [row for row in booked.balances if row[0] == "channel"] == [("channel", 6, 30, 0)]


CASES: list[tuple[str, list[End | Return], list[Any], list[Any]]] = [
    ("nothing", [], [], []),
    ("unlimited", [end(1, 30)], [("channel", 1, 30, 0), ("token", 1, 30, 0), ("user", 1, 30, 0)], []),
    (
        "drawn from leases",
        [end(1, 30, 50)],
        [("channel", 1, 30, 0), ("token", 1, 30, -30), ("user", 1, 30, -30)],
        [(4, "token", 1, 0, 30, 0), (4, "user", 1, 0, 30, 0)],
    ),
    (
        "dearer than its hold",
        [end(1, 70, 50)],
        [("channel", 1, 70, 0), ("token", 1, 70, -50), ("user", 1, 70, -50)],
        [(4, "token", 1, 0, 50, 0), (4, "user", 1, 0, 50, 0)],
    ),
    (
        "only the token is limited",
        [end(1, 30, 50, hold_user=0, draw_user=0)],
        [("channel", 1, 30, 0), ("token", 1, 30, -30), ("user", 1, 30, 0)],
        [(4, "token", 1, 0, 30, 0)],
    ),
    ("free", [end(1, 0)], [], []),
    ("a return", [Return("user", 3, 20)], [("user", 3, 0, -20)], [(4, "user", 3, 0, 0, 20)]),
    (
        "one row an account, sorted",
        [end(1, 5, token=9), end(2, 6, token=2), end(3, 7, token=9), Return("token", 9, 1)],
        [("channel", 1, 18, 0), ("token", 2, 6, 0), ("token", 9, 12, -1), ("user", 1, 18, 0)],
        [(4, "token", 9, 0, 0, 1)],
    ),
    ("a channel that nobody is", [end(1, 0, channel=0, attempts=())], [], []),
    ("accounts 0 are nobody's", [end(1, 9, user=0, token=0)], [("channel", 1, 9, 0)], []),
]


@pytest.mark.parametrize(("records", "balances", "leases"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_what_accounts_get(records: list[End | Return], balances: list[Any], leases: list[Any]) -> None:
    booked = make_booking(4, records)
    assert booked.balances == balances
    assert booked.leases == leases


def test_a_late_receipt_draws_on_nothing() -> None:
    """The journal's leases went back when it was closed."""
    booked = make_booking(4, [end(1, 30, 50), Return("user", 1, 20)], late=True)
    assert booked.balances == [("channel", 1, 30, 0), ("token", 1, 30, 0), ("user", 1, 30, 0)]
    assert booked.leases == []
    assert booked.receipts[0][-3:] == (True, "", "")


def test_the_roll_up_is_by_hour_and_route() -> None:
    later = end(4, 9).time_ns + 3_600_000_000_000
    usage = Usage(*range(1, 11))
    booked = make_booking(4, [end(1, 5), end(2, 6, usage=usage), end(3, 7, model="z"), end(4, 9, time_ns=later)])
    zeros = (0,) * (len(KINDS) - 2)
    assert booked.hourly == [
        (HOUR, 1, 1, 1, "m", 2, 101, 202, *range(3, 11), 11),
        (HOUR, 1, 1, 1, "z", 1, 100, 200, *zeros, 7),
        (HOUR + 3_600, 1, 1, 1, "m", 1, 100, 200, *zeros, 9),
    ]


FLAWS: list[tuple[dict[str, Any], str]] = [
    ({"charge": 31}, "sum of its attempts"),
    ({"attempts": ()}, "sum of its attempts"),
    ({"charge": -1, "attempts": (Attempt(1, 1, 1, "first", charge=-1),)}, "out of range"),
    ({"charge": 1 << 63, "attempts": (Attempt(1, 1, 1, "first", charge=1 << 63),)}, "out of range"),
    ({"draw_user": 51}, "more than it holds"),
    ({"draw_token": -1}, "more than it holds"),
    ({"draw_token": 31}, "more than it charges"),
]


@pytest.mark.parametrize(("changes", "reason"), FLAWS)
def test_what_must_not_be_booked_is_set_apart(changes: dict[str, Any], reason: str) -> None:
    good, bad = sort_records(8, [end(1, 30, 50), msgspec.structs.replace(end(2, 30, 50), **changes), end(3, 30, 50)])
    assert [seq for seq, _ in good] == [8, 10]
    assert [(seq, x) for seq, x, _, _ in bad] == [(9, 2)]
    assert reason in bad[0][3]


def test_other_records_need_no_booking() -> None:
    records: list[JournalRecord | Poison] = [
        intent(), Again(1, 2, 1, 1, "failover"), Progress(1, Usage(), 3), end(1, 3), Return("token", 1, 4),
        Return("nobody", 1, 4), Return("user", 1, -4), Poison(b"?", "why"),
    ]  # fmt: skip
    good, bad = sort_records(1, records)
    assert [seq for seq, _ in good] == [4, 5]
    assert [(seq, reason) for seq, _, _, reason in bad] == [
        (6, "is no return of a lease"),
        (7, "is no return of a lease"),
        (8, "why"),
    ]


AGAINS = (Again(7, 2, 5, 50, "failover"), Again(7, 3, 6, 60, "hedge"))
INTERRUPTED: list[tuple[str, Kept, int, int, list[tuple[int, int, int, int]]]] = [
    ("charged by the intent's estimate", Kept(7, intent(hold=50, lost=20)), 20, 20, [(1, 1, 2, 20)]),
    ("or by its progress", Kept(7, intent(hold=50, lost=20), (), Progress(7, Usage(3), 35)), 35, 35, [(1, 1, 2, 35)]),
    ("draws no more than it holds", Kept(7, intent(hold=10, lost=20)), 20, 10, [(1, 1, 2, 20)]),
    ("unlimited", Kept(7, intent(lost=20)), 20, 0, [(1, 1, 2, 20)]),
    ("nothing is charged", Kept(7, intent(hold=50)), 0, 0, [(1, 1, 2, 0)]),
    (
        "the last attempt bears the charge",
        Kept(7, intent(hold=50, lost=20), AGAINS),
        20,
        20,
        [(1, 1, 2, 0), (2, 5, 2, 0), (3, 6, 2, 20)],
    ),
]


@pytest.mark.parametrize(
    ("kept", "charge", "draw", "attempts"), [case[1:] for case in INTERRUPTED], ids=[case[0] for case in INTERRUPTED]
)
def test_an_interrupted_exchange(kept: Kept, charge: int, draw: int, attempts: list[tuple[int, ...]]) -> None:
    receipt = interrupted(kept)
    assert (receipt.x, receipt.state, receipt.estimated, receipt.status) == (7, "interrupted", True, 0)
    assert (receipt.charge, receipt.draw_user, receipt.draw_token) == (charge, draw, draw)
    assert [(a.n, a.channel, a.sent, a.charge) for a in receipt.attempts] == attempts
    assert (receipt.channel, receipt.key) == (receipt.attempts[-1].channel, receipt.attempts[-1].key)
    shared = set(receipt.__struct_fields__) & set(kept.intent.__struct_fields__) - {"channel", "key"}
    assert {name: getattr(receipt, name) for name in shared} == {name: getattr(kept.intent, name) for name in shared}
    check_end(receipt)


async def test_verify_of_a_new_database(db: Database) -> None:
    report = await verify(db)
    assert report.ok
    assert (report.accounts, report.receipts, report.faults, report.open_journals, report.put_aside) == (
        0,
        0,
        [],
        [],
        0,
    )


async def test_verify_names_what_is_wrong(db: Database) -> None:
    await add_accounts(db)
    async with db.begin() as connection:
        await connection.execute(text("INSERT INTO balances (kind, id, used) VALUES ('user', 1, 7)"))
        await connection.execute(text("INSERT INTO journals (uuid, node) VALUES ('j', 'n')"))
    report = await verify(db)
    assert not report.ok
    assert report.faults == [Fault("used", "user", "1", 7, 0)]
    assert [journal.uuid for journal in report.open_journals] == ["j"]


def test_an_interrupted_exchange_that_another_model_had_taken_over() -> None:
    """It is billed by that one's intent; the first attempt stays where it was."""
    second = msgspec.structs.replace(intent(hold=90, lost=40, channel=8), model="spare", requested="m")
    kept = Kept(7, intent(hold=50, lost=20), (Again(7, 2, 5, 50, "failover"), Again(7, 3, 8, 80, "fallback", second)))
    receipt = interrupted(msgspec.msgpack.decode(msgspec.msgpack.encode(kept), type=Kept))
    assert (receipt.model, receipt.requested, receipt.charge, receipt.hold_user) == ("spare", "m", 40, 90)
    assert [(a.n, a.channel, a.charge) for a in receipt.attempts] == [(1, 1, 0), (2, 5, 0), (3, 8, 40)]
    check_end(receipt)
