"""Grants: slices of a user's and a token's quota for a worker to reserve from, both or neither.

`least(want, limit − used − leased)` if that is at least the need, else no; want shrinks with what is left, so
that several workers share the rest (`decide`).  All questions that wait are answered in one transaction.  Before
a no, other workers give back what they do not use; while one account is being gathered for one asker, its
other askers wait their turn, or two workers could pass the last request's money to and fro for ever.  A no is
the database's own: while money lies with a worker that is gone and not yet replayed, the answer is
"unavailable" (shared MONEY.md §4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

import msgspec

from burncloud import clock, crash, logs
from burncloud.database.driver import Tx
from burncloud.database.engine import DATABASE_ERRORS, Database
from burncloud.database.journals import Guard, StaleEpoch
from burncloud.database.leases import Account, Holding, Standing, add_grants, holdings, read_standing
from burncloud.domain.budgets import left_s
from burncloud.domain.link import Ask, Grant, Recall
from burncloud.domain.money import AMOUNT_NANO_MAX

GRANT_DEADLINE_MS: Final = 5_000
"""As long a question waits for the database; then "unavailable"."""
LAPSE_MS: Final = 1_000
"""As long a question waits for workers to answer a recall, or for the replay of a dead one that holds the money."""
ELSEWHERE_MS: Final = 50
"""As often it is looked whether money that nobody here can recall came back."""
REFUSED_MS: Final = 100
"""As long after a gathering in vain nobody is asked again for the same journal, unless somebody got something since."""
BATCH: Final = 64
GATHERINGS_MAX: Final = 3
REMEMBERED_MAX: Final = 10_000
UNPLANNED: Final = 1 << 63
SHARES: Final = 4
"""A grant takes at most 1/(SHARES x open journals) of what is free, unless it needs more."""

OK: Final = "ok"
DENIED: Final = "denied"
UNAVAILABLE: Final = "unavailable"

log = logs.logger(__name__)

Lease = tuple[int, str, int]
"""(journal number, kind, account)."""


class Books(Protocol):
    """What the granter needs of its owner (service/journals.py)."""

    def is_live(self, uuid: str) -> bool:
        """Whether the journal's worker is connected and can be asked to give back."""

    def recall(self, uuid: str, recall: Recall) -> None:
        """Ask it to, and book what comes without waiting for the next round."""

    async def caught_up(self, uuids: Iterable[str], timeout_ms: int) -> bool:
        """Wait until these have answered and what they wrote is booked; False if that takes longer."""

    def fail(self, error: BaseException) -> None:
        """The books are another's now."""


class Question:
    """One Ask while it is being answered."""

    def __init__(self, journal: int, ask: Ask) -> None:
        self.journal = journal
        self.ask = ask
        self.planned: dict[Account, int] = {}
        """Cumulative totals that an earlier try wrote, if its COMMIT took effect."""
        self.answer: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()

    def parts(self) -> Iterator[tuple[Account, int, int]]:
        """(account, need, want) of what is asked: the user, then the token."""
        ask = self.ask
        if ask.user and (ask.user_need or ask.user_want):
            yield ("user", ask.user), ask.user_need, ask.user_want
        if ask.token and (ask.token_need or ask.token_want):
            yield ("token", ask.token), ask.token_need, ask.token_want


class _Ledger:
    """The standing while a batch is decided: what was read, plus what was given since."""

    def __init__(self, standing: Standing) -> None:
        self.standing = standing
        self.given: dict[Lease, int] = {}
        self.leased: dict[Account, int] = {}

    def free(self, account: Account) -> int:
        """What may still be granted; −1 if there is no such account."""
        limit = self.standing.limits.get(account)
        if limit is None:
            return -1
        used, leased = self.standing.balances.get(account, (0, 0))
        leased += self.leased.get(account, 0)
        free = AMOUNT_NANO_MAX if limit < 0 else limit - used - leased
        budgets = self.standing.budgets.get(account)
        if budgets:
            free = min(free, *(left - leased for left in budgets.values()))
        return max(0, free)

    def retry_s(self, account: Account, need: int) -> int:
        """Seconds until a budget that is too small for the need now begins anew; 0 = it is no budget that is short."""
        used, leased = self.standing.balances.get(account, (0, 0))
        leased += self.leased.get(account, 0)
        limit = self.standing.limits.get(account, 0)
        if 0 <= limit < used + leased + need:
            return 0
        budgets = self.standing.budgets.get(account, {})
        now_s = self.standing.now_s
        return max((left_s(period, now_s) for period, left in budgets.items() if left - leased < need), default=0)

    def granted(self, lease: Lease) -> int:
        return self.standing.granted.get(lease, 0) + self.given.get(lease, 0)

    def give(self, lease: Lease, amount: int) -> None:
        if amount:
            self.given[lease] = self.given.get(lease, 0) + amount
            account = lease[1:]
            self.leased[account] = self.leased.get(account, 0) + amount


def _answer(ledger: _Ledger, question: Question) -> Grant:
    n = question.ask.n
    if ledger.standing.states.get(question.journal) != "open":
        return Grant(n, UNAVAILABLE)
    amounts: dict[Account, int] = {}
    denied, retry_s = "", 0
    for account, need, want in question.parts():
        amounts[account] = 0
        if ledger.granted((question.journal, *account)) >= question.planned.get(account, UNPLANNED):
            continue
        free = ledger.free(account)
        if free < need:
            if not denied:
                denied, retry_s = account[0], ledger.retry_s(account, need)
            continue
        amounts[account] = max(need, min(want, free // (SHARES * max(1, ledger.standing.open_journals))))
    totals = {}
    for account, amount in amounts.items():
        lease = (question.journal, *account)
        if not denied:
            ledger.give(lease, amount)
            question.planned[account] = ledger.granted(lease)
        totals[account[0]] = ledger.granted(lease)
    return Grant(n, DENIED if denied else OK, totals.get("user", 0), totals.get("token", 0), denied, retry_s)


def decide(standing: Standing, questions: list[Question]) -> tuple[list[Grant], dict[Lease, int]]:
    """The answers, in the order of the questions, and what to write: (journal, kind, account) → amount."""
    ledger = _Ledger(standing)
    return [_answer(ledger, question) for question in questions], ledger.given


class Granter:
    """Answers questions; one task, one transaction for all that wait."""

    def __init__(self, db: Database, guard: Guard, books: Books) -> None:
        self._db = db
        self._guard = guard
        self._books = books
        self._waiting: list[Question] = []
        self._wake = asyncio.Event()
        self._turns: dict[Account, asyncio.Lock] = {}
        """Held while an account is gathered for one asker."""
        self._returned: dict[Account, asyncio.Event] = {}
        self._refused: dict[tuple[str, Account], tuple[int, str]] = {}
        """When, and with which outcome, gathering was in vain for a journal."""
        self._granted: dict[Account, int] = {}
        """When somebody last got something of it, which may be had from him."""
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to answer."""
        self._task = asyncio.create_task(self._serve())

    async def stop(self) -> None:
        """Stop; whoever still waits hears "unavailable"."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        _refuse(self._waiting)
        self._waiting = []

    def returned(self, accounts: set[Account]) -> None:
        """A booking has just freed something of these accounts."""
        for account in accounts & self._returned.keys():
            self._returned[account].set()

    async def ask(self, uuid: str, journal: int, ask: Ask) -> Grant:
        """The answer to a worker's question; `journal` is the number of its journal `uuid`.  Never raises."""
        asked_ms = clock.monotonic_ms()
        grant = Grant(ask.n, UNAVAILABLE)
        for _ in range(GATHERINGS_MAX):
            for account, _, _ in Question(journal, ask).parts():
                turn = self._turns.get(account)
                if turn is not None and turn.locked():
                    async with turn:  # wait for whoever gathers this account
                        pass
            grant = await self._once(journal, ask)
            if grant.outcome != DENIED:
                break
            short = _short(ask, grant)
            turn = self._turns.setdefault(short, asyncio.Lock())
            async with turn:
                grant = await self._gather(uuid, journal, ask, short, asked_ms)
            if grant.outcome != DENIED or _short(ask, grant) == short:
                break
        return grant

    async def _once(self, journal: int, ask: Ask) -> Grant:
        question = Question(journal, ask)
        self._waiting.append(question)
        self._wake.set()
        return await question.answer

    async def _gather(self, uuid: str, journal: int, ask: Ask, account: Account, asked_ms: int) -> Grant:
        """Have journals return what they do not use of the account, and ask again as it comes in.

        It is a no once everybody has answered, the asker's own returns are booked, and still too little is there.
        """
        started_ms = clock.monotonic_ms()
        then_ms, outcome = self._refused.get((uuid, account), (asked_ms - REFUSED_MS, DENIED))
        if then_ms > max(asked_ms - REFUSED_MS, self._granted.get(account, 0)):
            # All was gathered for this journal while this question waited its turn, and it was not enough for another.
            if not await self._books.caught_up([uuid], LAPSE_MS):
                outcome = UNAVAILABLE
            grant = await self._once(journal, ask)
            return grant if grant.outcome != DENIED else msgspec.structs.replace(grant, outcome=outcome)
        event = self._returned[account] = asyncio.Event()
        try:
            while True:
                event.clear()
                others = [holding for holding in await self._holdings(account) if holding.uuid != uuid]
                here = self._recall(account, others)
                left_ms = started_ms + LAPSE_MS - clock.monotonic_ms()
                quiet = await self._quiet([uuid, *(holding.uuid for holding in others)], event, left_ms)
                grant = await self._once(journal, ask)
                if grant.outcome != DENIED or _short(ask, grant) != account:
                    return grant
                if here and quiet:
                    outcome = DENIED
                    break
                if clock.monotonic_ms() - started_ms >= LAPSE_MS:
                    outcome = UNAVAILABLE
                    break
                if quiet:
                    await asyncio.sleep(ELSEWHERE_MS / 1000)
        except DATABASE_ERRORS as error:
            log.warning("holders of a lease cannot be read", extra={"error": str(error)})
            return Grant(ask.n, UNAVAILABLE)
        finally:
            del self._returned[account]
        self._refused[uuid, account] = (clock.monotonic_ms(), outcome)
        self._forget()
        return msgspec.structs.replace(grant, outcome=outcome)

    async def _quiet(self, uuids: list[str], event: asyncio.Event, timeout_ms: int) -> bool:
        """Wait until something came back (False), or until all have answered and nothing did (True)."""
        caught_up = asyncio.ensure_future(self._books.caught_up(uuids, timeout_ms))
        returned = asyncio.ensure_future(event.wait())
        try:
            await asyncio.wait((caught_up, returned), return_when=asyncio.FIRST_COMPLETED)
            return not event.is_set() and caught_up.done() and caught_up.result()
        finally:
            for task in (caught_up, returned):
                task.cancel()

    async def _holdings(self, account: Account) -> list[Holding]:
        async with self._db.read() as connection:
            return await holdings(connection, account)

    def _recall(self, account: Account, others: list[Holding]) -> bool:
        """False if one of the holders has no worker that could answer."""
        live = True
        for holding in others:
            if self._books.is_live(holding.uuid):
                self._books.recall(holding.uuid, Recall(*account, holding.granted))
            else:
                live = False
        return live

    def _forget(self) -> None:
        if max(len(self._refused), len(self._granted)) > REMEMBERED_MAX:
            self._refused.clear()
            self._granted.clear()
        if len(self._turns) > REMEMBERED_MAX:
            self._turns = {account: turn for account, turn in self._turns.items() if turn.locked()}

    async def _serve(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                questions, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
                try:
                    await self._answer(questions)
                finally:
                    _refuse(questions)

    async def _answer(self, questions: list[Question]) -> None:
        def work(tx: Tx) -> list[Grant]:
            journals = {question.journal for question in questions}
            accounts = {account for question in questions for account, _, _ in question.parts()}
            standing = read_standing(tx, self._guard, journals, accounts, clock.now_s())
            answers, grants = decide(standing, questions)
            add_grants(tx, grants)
            return answers

        try:
            answers = await self._db.ledger(work, GRANT_DEADLINE_MS)
        except StaleEpoch as error:
            self._books.fail(error)
        except Exception as error:
            log.warning("grants cannot be written", extra={"error": str(error)})
        else:
            if crash.ARMED:
                crash.point("control.grant_committed")
            now_ms = clock.monotonic_ms()
            for question, grant in zip(questions, answers, strict=True):
                if grant.outcome == OK:
                    self._granted.update((account, now_ms) for account, _, _ in question.parts())
                if not question.answer.done():
                    question.answer.set_result(grant)
            self._forget()


def _short(ask: Ask, grant: Grant) -> Account:
    """The account that the grant was denied for."""
    return ("user", ask.user) if grant.denied == "user" else ("token", ask.token)


def _refuse(questions: list[Question]) -> None:
    for question in questions:
        if not question.answer.done():
            question.answer.set_result(Grant(question.ask.n, UNAVAILABLE))
