"""Who is granted how much: the rule by table, then the granter with its recalls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from burncloud.database import journals, leases
from burncloud.database.engine import Database
from burncloud.database.journals import Guard
from burncloud.database.leases import Standing
from burncloud.domain.link import Ask, Grant, Recall
from burncloud.service import leases as service
from burncloud.service.leases import Granter, Question, decide
from tests.books import Account, add_accounts, balance

USER, TOKEN = ("user", 1), ("token", 1)
NOW_S = 20_000 * 86_400 + 86_000  # 2024-10-04, 400 s before midnight UTC
BOTH = Ask(1, 1, 10, 100, 1, 10, 100)


def standing(user: int = -1, token: int = -1, opened: int = 1, **changes: Any) -> Standing:
    """Limits of user 1 and token 1; nothing used, nothing leased; journal 7 is open."""
    return Standing(opened, {7: "open"}, {USER: user, TOKEN: token}, {}, {}, {}, NOW_S)._replace(**changes)


CASES: list[tuple[str, Standing, Ask, Grant]] = [
    ("as much as it wants", standing(1_000, 1_000), BOTH, Grant(1, "ok", 100, 100)),
    ("a quarter of what is left", standing(1_000, 200), BOTH, Grant(1, "ok", 100, 50)),
    ("shared among the open journals", standing(1_000, 1_000, opened=5), BOTH, Grant(1, "ok", 50, 50)),
    ("its need when there is little", standing(1_000, 12), BOTH, Grant(1, "ok", 100, 10)),
    ("the last of it", standing(10, 10), BOTH, Grant(1, "ok", 10, 10)),
    ("both or neither: the user is short", standing(9, 1_000), BOTH, Grant(1, "denied", 0, 0, "user")),
    ("both or neither: the token is short", standing(1_000, 9), BOTH, Grant(1, "denied", 0, 0, "token")),
    ("unlimited takes what it wants", standing(), BOTH, Grant(1, "ok", 100, 100)),
    ("only the token", standing(0, 1_000), Ask(2, 0, 0, 0, 1, 10, 100), Grant(2, "ok", 0, 100)),
    ("only the user", standing(1_000, 0), Ask(2, 1, 10, 100, 0, 0, 0), Grant(2, "ok", 100, 0)),
    (
        "used and leased are gone",
        standing(1_000, 1_000, balances={USER: (900, 95), TOKEN: (0, 0)}),
        BOTH,
        Grant(1, "denied", 0, 0, "user"),
    ),
    (
        "totals are cumulative, in a no, too",
        standing(1_000, 5, granted={(7, *USER): 40, (7, *TOKEN): 30, (8, *USER): 9}),
        BOTH,
        Grant(1, "denied", 40, 30, "token"),
    ),
    (
        "totals are cumulative",
        standing(1_000, 1_000, granted={(7, *USER): 40, (7, *TOKEN): 30}),
        BOTH,
        Grant(1, "ok", 140, 130),
    ),
    ("over its limit", standing(1_000, 10, balances={TOKEN: (50, 0)}), BOTH, Grant(1, "denied", 0, 0, "token")),
    ("nobody", standing(1_000, limits={USER: 1_000}), BOTH, Grant(1, "denied", 0, 0, "token")),
    ("a journal that is closed", standing(1_000, 1_000, states={7: "closed"}), BOTH, Grant(1, "unavailable")),
    ("a journal that is not there", standing(1_000, 1_000, states={}), BOTH, Grant(1, "unavailable")),
    (
        "a budget shares what is not charged and not leased",
        standing(budgets={USER: {"daily": 60}}, balances={USER: (900, 40)}),
        BOTH,
        Grant(1, "ok", 10, 100),
    ),
    (
        "a day's budget is used up until midnight",
        standing(budgets={USER: {"daily": 49, "monthly": 500}}, balances={USER: (900, 40)}),
        BOTH,
        Grant(1, "denied", 0, 0, "user", 400),
    ),
    (
        "a month's until its end",
        standing(budgets={TOKEN: {"daily": 5, "monthly": 9}}),
        BOTH,
        Grant(1, "denied", 0, 0, "token", 400 + 27 * 86_400),
    ),
    (
        "the quota counts, too",
        standing(5, budgets={USER: {"daily": 5}}),
        BOTH,
        Grant(1, "denied", 0, 0, "user"),
    ),
    ("a refill needs nothing", standing(20, 20), Ask(1, 1, 0, 100, 1, 0, 100), Grant(1, "ok", 5, 5)),
]


@pytest.mark.parametrize(("now", "ask", "grant"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
async def test_the_rule(now: Standing, ask: Ask, grant: Grant) -> None:
    answers, given = decide(now, [Question(7, ask)])
    assert answers == [grant]
    granted = {key: now.granted.get(key, 0) + amount for key, amount in given.items()}
    if grant.outcome == "ok":
        assert {kind: total for (_, kind, _), total in granted.items()} == {
            kind: total for kind, total in (("user", grant.user_granted), ("token", grant.token_granted)) if total
        }
    else:
        assert granted == {}


async def test_questions_of_one_batch_do_not_spend_the_same_money() -> None:
    questions = [Question(7, Ask(n, 1, 40, 40, 0, 0, 0)) for n in range(4)]
    answers, given = decide(standing(100), questions)
    assert [answer.outcome for answer in answers] == ["ok", "ok", "denied", "denied"]
    assert given == {(7, *USER): 80}


async def test_a_try_whose_commit_was_unheard_is_not_granted_twice() -> None:
    question = Question(7, Ask(1, 1, 100, 100, 0, 0, 0))
    assert decide(standing(100), [question]) == ([Grant(1, "ok", 100)], {(7, *USER): 100})
    after = standing(100, balances={USER: (0, 100)}, granted={(7, *USER): 100})
    assert decide(after, [question]) == ([Grant(1, "ok", 100)], {})
    assert decide(standing(100), [question]) == ([Grant(1, "ok", 100)], {(7, *USER): 100}), "it was rolled back"


class FakeBooks:
    """Journals a, b, …, some of them live; a recall is answered by `answer`."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.live = {"a", "b"}
        self.silent: set[str] = set()
        """Connected, but they do not answer."""
        self.pending: list[asyncio.Task[None]] = []
        """Answers under way."""
        self.waited_for: list[list[str]] = []
        self.recalls: list[tuple[str, Recall]] = []
        self.failed: list[BaseException] = []
        self.answer: Callable[[str, Recall], Any] = lambda uuid, recall: None

    def is_live(self, uuid: str) -> bool:
        return uuid in self.live

    def recall(self, uuid: str, recall: Recall) -> None:
        self.recalls.append((uuid, recall))
        self.answer(uuid, recall)

    async def caught_up(self, uuids: Iterable[str], timeout_ms: int) -> bool:
        self.waited_for.append(list(uuids))
        if not self.live - self.silent >= set(self.waited_for[-1]):
            await asyncio.sleep(timeout_ms / 1000)
            return False
        await asyncio.gather(*self.pending)
        return True

    def fail(self, error: BaseException) -> None:
        self.failed.append(error)


class Room:
    """A granter with two journals."""

    def __init__(self, db: Database, books: FakeBooks, granter: Granter, ids: dict[str, int]) -> None:
        self.db = db
        self.books = books
        self.granter = granter
        self.ids = ids
        self.tasks = books.pending

    async def ask(self, uuid: str, need: int, want: int = 0, kind: str = "user") -> Grant:
        """Ask for one account, or for both."""
        user = (1, need, want) if kind != "token" else (0, 0, 0)
        token = (1, need, want) if kind != "user" else (0, 0, 0)
        return await self.granter.ask(uuid, self.ids[uuid], Ask(1, *user, *token))

    async def give_back(self, uuid: str, recall: Recall, amount: int) -> None:
        """As if a return had been booked."""
        async with self.db.begin() as connection:
            values = {"j": self.ids[uuid], "k": recall.kind, "a": amount}
            lease = "UPDATE leases SET returned = returned + :a WHERE journal = :j AND kind = :k AND account = 1"
            await connection.execute(text(lease), values)
            await connection.execute(
                text("UPDATE balances SET leased = leased - :a WHERE kind = :k AND id = 1"), values
            )
        self.granter.returned({(recall.kind, 1)})

    def returns(self, amount: int, uuid: str = "b", delay_s: float = 0.01) -> None:
        """Have a journal answer the first recall of each kind with this much; then it has no more."""
        done: set[str] = set()

        async def later(recall: Recall) -> None:
            await asyncio.sleep(delay_s)
            await self.give_back(uuid, recall, amount)

        def answer(asked: str, recall: Recall) -> None:
            if asked == uuid and recall.kind not in done:
                done.add(recall.kind)
                self.tasks.append(asyncio.create_task(later(recall)))

        self.books.answer = answer


async def make_room(db: Database, limit: int) -> Room:
    await add_accounts(db, limit, limit)
    books = FakeBooks(db)
    guard = await db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    ids = {}
    for uuid in ("a", "b"):
        row = await db.ledger(partial(journals.ensure_journal, guard=guard, uuid=uuid, now_s=1))
        ids[uuid] = row.id
    granter = Granter(db, guard, books)
    granter.start()
    return Room(db, books, granter, ids)


@pytest_asyncio.fixture
async def room(db: Database) -> AsyncIterator[Room]:
    """Limits of 100 on user and token."""
    made = await make_room(db, 100)
    yield made
    await asyncio.gather(*made.tasks)
    await made.granter.stop()


async def test_a_grant_stands_on_lease_and_balance(room: Room) -> None:
    assert await room.ask("a", 30, kind="both") == Grant(1, "ok", 30, 30)
    assert await room.ask("a", 30, kind="both") == Grant(1, "ok", 60, 60)
    assert await balance(room.db, "user") == await balance(room.db, "token") == Account(0, 60)
    async with room.db.read() as connection:
        assert await leases.count_outstanding(connection) == (2, 120)


async def test_many_at_once_never_exceed_the_limit(room: Room) -> None:
    answers = await asyncio.gather(*(room.ask("ab"[n % 2], 7, kind="both") for n in range(60)))
    assert len(room.books.recalls) <= 4, "one gathering a worker, not one a question"
    granted = [answer for answer in answers if answer.outcome == "ok"]
    assert len(granted) == 100 // 7
    assert {answer.outcome for answer in answers} == {"ok", "denied"}
    assert (await balance(room.db, "user")).leased == 7 * (100 // 7)


async def test_before_a_no_the_others_give_back(room: Room) -> None:
    await room.ask("b", 100)
    room.returns(60)
    assert await room.ask("a", 50) == Grant(1, "ok", 50)
    assert room.books.recalls == [("b", Recall("user", 1, 100))]


async def test_a_no_comes_when_all_have_answered(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LAPSE_MS", 60_000)
    await room.ask("b", 100)
    async with asyncio.timeout(10):
        assert (await room.ask("a", 50)).outcome == "denied"
        assert (await room.ask("a", 50)).outcome == "denied"
    assert len(room.books.recalls) == 1, "so soon after, nobody is asked again"


async def test_a_worker_that_does_not_answer_is_no_reason_for_402(room: Room) -> None:
    """It stands still, or is very busy: what it holds may be free."""
    await room.ask("b", 100)
    room.books.silent.add("b")
    assert (await room.ask("a", 50)).outcome == "unavailable"
    room.books.silent.clear()
    await asyncio.sleep(service.REFUSED_MS / 1000)
    assert (await room.ask("a", 50)).outcome == "denied"


async def test_a_no_is_quick_where_nobody_else_holds(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "LAPSE_MS", 60_000)
    await room.ask("a", 100)
    async with asyncio.timeout(10):
        assert await room.ask("a", 1) == Grant(1, "denied", 100, 0, "user")
    assert room.books.recalls == []


async def test_what_the_asker_itself_gave_back_is_booked_before_a_no(room: Room) -> None:
    """Its return is in its journal already, and not yet in the database."""
    await room.ask("a", 100)
    returns = iter([60, 0, 45])

    async def caught_up(uuids: Iterable[str], timeout_ms: int) -> bool:
        assert list(uuids) == ["a"]
        if amount := next(returns):
            await room.give_back("a", Recall("user", 1), amount)
        return True

    room.books.caught_up = caught_up  # type: ignore[method-assign]
    assert await room.ask("a", 50) == Grant(1, "ok", 150)
    assert (await room.ask("a", 50)).outcome == "denied"
    assert await room.ask("a", 50) == Grant(1, "ok", 200), "so soon after a gathering in vain, too"


async def test_too_little_comes_back(room: Room) -> None:
    await room.ask("b", 100)
    room.returns(10)
    assert (await room.ask("a", 50)).outcome == "denied"
    assert (await balance(room.db, "user")).leased == 90


async def test_first_the_user_then_the_token(room: Room) -> None:
    await room.ask("b", 100, kind="both")
    room.returns(100)
    assert await room.ask("a", 50, kind="both") == Grant(1, "ok", 50, 50)
    assert [recall.kind for _, recall in room.books.recalls] == ["user", "token"]


async def test_a_no_of_a_moment_ago_is_worth_nothing_once_somebody_got_more(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two workers of a user in his last requests: what came back went to the other one, who does not need it."""
    monkeypatch.setattr(service, "REFUSED_MS", 60_000)
    await room.ask("b", 100)
    assert (await room.ask("a", 60)).outcome == "denied"
    await room.give_back("b", Recall("user", 1), 100)
    assert (await room.ask("b", 50)).outcome == "ok"
    room.returns(50)
    assert (await room.ask("a", 60)).outcome == "ok"


async def test_money_with_a_dead_worker_is_no_reason_for_402(room: Room) -> None:
    await room.ask("b", 100)
    room.books.live.discard("b")
    assert (await room.ask("a", 50)).outcome == "unavailable"
    assert room.books.recalls == []


async def test_the_replay_of_a_dead_worker_is_waited_for(room: Room) -> None:
    await room.ask("b", 100)
    room.books.live.discard("b")
    asking = asyncio.create_task(room.ask("a", 50))
    await asyncio.sleep(0.2)
    assert not asking.done()
    await room.give_back("b", Recall("user", 1), 100)
    assert await asking == Grant(1, "ok", 50)


async def test_two_workers_do_not_pass_the_last_money_to_and_fro(room: Room) -> None:
    """Each has a part of what one request needs; one of them gets it all."""
    await asyncio.gather(room.ask("a", 40), room.ask("b", 60))
    held = {"a": 40, "b": 60}

    def answer(uuid: str, recall: Recall) -> None:
        amount, held[uuid] = held[uuid], 0
        room.tasks.append(asyncio.create_task(room.give_back(uuid, recall, amount)))

    room.books.answer = answer

    async def worker(uuid: str) -> bool:
        for _ in range(3):  # as a worker does: ask for what is short until it has 100 or hears no
            need = 100 - held[uuid]
            grant = await room.ask(uuid, need)
            if grant.outcome != "ok":
                return False
            held[uuid] += need
            if held[uuid] >= 100:
                held[uuid] = 0  # in flight now: a recall finds nothing
                return True
        return False

    assert sorted(await asyncio.gather(worker("a"), worker("b"))) == [False, True]


async def test_a_closed_journal_is_granted_nothing(room: Room) -> None:
    await room.db.ledger(lambda tx: journals.mark_closed(tx, room.ids["a"], 5))
    assert (await room.ask("a", 10)).outcome == "unavailable"
    assert (await balance(room.db, "user")).leased == 0


async def test_a_stale_epoch_ends_it(room: Room) -> None:
    await room.db.ledger(lambda tx: journals.bump_epoch(tx, "here"))
    assert (await room.ask("a", 10)).outcome == "unavailable"
    assert len(room.books.failed) == 1


async def test_a_database_that_is_gone_is_no_reason_for_402(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise ConnectionResetError("gone")

    monkeypatch.setattr(service, "GRANT_DEADLINE_MS", 50)
    monkeypatch.setattr(service, "read_standing", gone)
    assert (await room.ask("a", 10)).outcome == "unavailable"


async def test_whoever_waits_at_the_end_is_told(room: Room) -> None:
    guard = Guard("here", 1)
    granter = Granter(room.db, guard, room.books)
    asking = asyncio.create_task(granter.ask("a", 1, BOTH))
    await asyncio.sleep(0)
    await granter.stop()
    assert (await asking).outcome == "unavailable"
