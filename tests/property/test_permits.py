"""Nodes that share limits through a real Valkey: whatever the order of things, no window holds more than the limit.

The script runs in the server, by a clock of the test's.  Answers may be late, lost, or come twice; nodes may fall
silent; the server may forget everything.  As long as nobody has to decide alone, the limit holds exactly; and where
nothing goes wrong, what it allows is admitted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from burncloud import clock
from burncloud.router import permits
from burncloud.router.permit_script import SCRIPT
from burncloud.router.permits import Permits
from burncloud.wire.permits import SharedWindows
from burncloud.wire.redis import RedisError
from burncloud.wire.windows import CELL_MS, WINDOW_MS, Account, Full
from tests.stage import Loop
from tests.valkey import Talk, Valkey, make_valkey

START_MS = 5_000_000
UNDER_OUR_CLOCK = SCRIPT.text.replace(b"redis.call('TIME')", b"{tonumber(ARGV[2]) / 1000, 0}").replace(
    b"clock[1] * 1000 + math.floor(clock[2] / 1000)", b"tonumber(ARGV[2])"
)
LIMIT, TOKEN_LIMIT, PLACES = 12, 240, 4
SERVER_AHEAD_MS = 7_000_123


@pytest.fixture(scope="module")
def running() -> Iterator[Valkey]:
    with make_valkey() as valkey:
        yield valkey


@pytest.fixture
def server(running: Valkey) -> Iterator[Talk]:
    with Talk(running) as talk:
        yield talk


class Far:
    """The server as one node sees it: calls are delivered when the test says so."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.here = True
        self.late = False
        self.mute = False
        """Its worker stands still."""
        self.calls: list[tuple[Sequence[bytes], bytes, Callable[[Any], object]]] = []

    def look(self) -> None:
        """Nothing to see."""

    def run(self, keys: Sequence[bytes], argument: bytes, done: Callable[[Any], object]) -> bool:
        self.calls.append((keys, argument, done))
        return True

    def deliver(self, lose: bool = False, twice: bool = False) -> None:
        """The oldest call reaches the server; `lose`: its answer does not come back."""
        keys, argument, done = self.calls.pop(0)
        reply = self._world.evaluate(keys, argument)
        if twice:
            reply = self._world.evaluate(keys, argument)
        done(RedisError("lost") if lose else reply)


class Node:
    """A node with two workers on one table."""

    def __init__(self, world: World, name: str, nodes: int) -> None:
        self.windows = SharedWindows(alone=True)
        self.far = [Far(world) for _ in range(2)]
        self.workers = [Permits(world.loop, far, self.windows, b"p", name) for far in self.far]
        for worker in self.workers:
            worker.nodes = nodes
        self.accounts = [Account("a", 7, LIMIT, TOKEN_LIMIT, PLACES), Account("b", 8, LIMIT * 2)]
        for account in self.accounts:
            account.part = (account.requests // nodes, account.tokens // nodes, account.concurrency // nodes)


class World:
    """Nodes, a clock, a server, and everything that was admitted."""

    def __init__(self, server: Talk, nodes: int, patch: pytest.MonkeyPatch, waits: bool = False) -> None:
        self.loop: Any = Loop()
        self.started = self.loop.now
        self.talk = server
        self.talk(b"FLUSHALL")
        self.sha = self.talk(b"SCRIPT", b"LOAD", UNDER_OUR_CLOCK)
        patch.setattr(clock, "monotonic_ms", lambda: self.now_ms)
        if not waits:  # the server has known for long who is there
            self.talk(b"HSET", b"p:nodes", b":born", b"%d" % (self.server_ms - 100_000))
            for number in range(nodes):
                self.talk(b"HSET", b"p:nodes", b"n%d" % number, b"%d" % self.server_ms)
        self.nodes = [Node(self, f"n{number}", nodes) for number in range(nodes)]
        self.admitted: list[tuple[int, int]] = []
        self.flying: list[tuple[Node, Permits, int, int]] = []
        self.refused = 0

    @property
    def now_ms(self) -> int:
        return START_MS + int((self.loop.now - self.started) * 1000)

    @property
    def server_ms(self) -> int:
        """Its clock is another one."""
        return self.now_ms + SERVER_AHEAD_MS

    def evaluate(self, keys: Sequence[bytes], argument: bytes) -> Any:
        return self.talk(b"EVALSHA", self.sha, b"%d" % len(keys), *keys, argument, b"%d" % self.server_ms)

    def ask(self, node: Node, worker: int, tokens: int) -> None:
        """A request comes."""

        def decide(full: object) -> None:
            if full is None:
                self.admitted.append((self.now_ms, tokens))
                self.flying.append((node, node.workers[worker], node.windows.cell, tokens))
            else:
                self.refused += 1

        found = node.workers[worker].admit(node.accounts, tokens, decide)
        if found is True:
            decide(None)
        elif found is not False:
            decide(found)
        self.loop.tick()

    def leave(self, used: int) -> None:
        """One that is under way ends."""
        if self.flying:
            node, worker, cell, tokens = self.flying.pop(0)
            node.windows.leave(node.accounts, cell, used - tokens)
            if used < tokens:
                worker.refund(node.accounts, cell, tokens - used)
                for number, (at, amount) in enumerate(self.admitted):
                    if (at // CELL_MS, amount) == (cell, tokens):
                        self.admitted[number] = (at, used)
                        break

    def step(self, seconds: float) -> None:
        """Time passes, quarters of a second are noticed."""
        for _ in range(int(seconds / 0.25)):
            self.loop.advance(0.25)
            for node in self.nodes:
                for worker, far in zip(node.workers, node.far, strict=True):
                    if not far.mute:
                        worker.tick()
            self.settle()

    def settle(self) -> None:
        """All that was asked is answered."""
        busy = True
        while busy:
            busy = False
            for far in (far for node in self.nodes for far in node.far):
                while far.calls and not far.late and not far.mute:
                    far.deliver()
                    busy = True
            self.loop.tick()

    def check(self) -> None:
        """No window too full."""
        for at, _ in self.admitted:
            inside = [tokens for then, tokens in self.admitted if at - WINDOW_MS < then <= at]
            assert len(inside) <= LIMIT
            assert sum(inside) <= TOKEN_LIMIT
        assert len(self.flying) <= PLACES


def never_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever would have to decide without the server refuses."""

    def refuse(self: Permits, accounts: Sequence[Account], tokens: int) -> Full:
        return Full(accounts[0], "requests", 1)

    monkeypatch.setattr(Permits, "_alone", refuse)


def test_all_of_the_limit_by_one_of_two_nodes(server: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server, 2, monkeypatch)
    for _ in range(LIMIT + 3):
        world.ask(world.nodes[0], 0, 10)
        world.settle()
        world.leave(10)
    assert len(world.admitted) == LIMIT
    world.ask(world.nodes[1], 0, 10)
    world.settle()
    assert len(world.admitted) == LIMIT
    world.step(WINDOW_MS / 1000 + 1)
    for _ in range(LIMIT + 3):
        world.ask(world.nodes[1], 1, 10)
        world.settle()
        world.leave(10)
    assert len(world.admitted) == 2 * LIMIT
    world.check()


def test_what_one_does_not_use_the_other_gets(server: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server, 2, monkeypatch)
    one, other = world.nodes
    for _ in range(4):  # quickly: it fetches ahead
        world.ask(one, 0, 10)
        world.settle()
        world.leave(10)
        world.step(0.25)
    world.step(1.5)  # and gives back
    for _ in range(LIMIT):
        world.ask(other, 0, 10)
        world.settle()
        world.leave(10)
    assert len(world.admitted) == LIMIT
    world.check()


def test_tokens_not_used_come_back(server: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server, 2, monkeypatch)
    for _ in range(5):
        world.ask(world.nodes[0], 0, 200)
        world.settle()
        world.leave(20)
        world.step(0.5)
    assert [tokens for _, tokens in world.admitted] == [20] * 3  # a fourth would be 60 + 200
    world.check()


def test_places(server: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server, 2, monkeypatch)
    for number in range(PLACES + 2):
        world.ask(world.nodes[number % 2], 0, 1)
        world.settle()
    assert len(world.flying) == PLACES
    world.step(70)  # they last, and go on counting
    world.ask(world.nodes[0], 1, 1)
    world.settle()
    assert len(world.flying) == PLACES
    world.leave(1)
    world.step(0.5)
    world.ask(world.nodes[1], 1, 1)
    world.settle()
    assert len(world.flying) == PLACES
    world.check()


def test_a_node_that_falls_silent_used_all_that_it_held(server: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server, 2, monkeypatch)
    gone, other = world.nodes
    world.ask(gone, 0, 10)
    world.settle()
    for far in gone.far:
        far.late = True
    for _ in range(2 * LIMIT):
        world.ask(other, 0, 10)
        world.settle()
        world.leave(10)
        world.step(0.5)
    world.leave(10)
    assert LIMIT // 2 <= len(world.admitted) < LIMIT  # the other's half is set aside while it is away
    world.check()


def test_a_server_that_forgets_is_told(server: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(server, 2, monkeypatch)
    for number in range(LIMIT):
        world.ask(world.nodes[number % 2], 0, 10)
        world.settle()
        world.leave(10)
    assert len(world.admitted) == LIMIT
    world.step(5)
    world.talk(b"FLUSHDB")
    for node in world.nodes:
        for worker in node.workers:
            worker.back()
    world.step(4)
    for number in range(LIMIT):
        world.ask(world.nodes[number % 2], 1, 10)
        world.settle()
    assert len(world.admitted) == LIMIT
    world.step(55)
    for number in range(LIMIT + 4):
        world.ask(world.nodes[number % 2], 1, 10)
        world.settle()
        world.leave(10)
    assert len(world.admitted) == 2 * LIMIT
    world.check()


def test_who_comes_first_to_a_server_that_forgot_waits_for_the_others(
    server: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(server, 2, monkeypatch)
    for number in range(LIMIT):
        world.ask(world.nodes[number % 2], 0, 10)
        world.settle()
        world.leave(10)
    world.step(1)
    world.talk(b"FLUSHDB")
    for node in world.nodes:
        for worker in node.workers:
            worker.back()
    late = world.nodes[1].far[0]
    late.late = True  # one of its workers is there, but not the one that knows
    for round_ in range(6):
        for _ in range(LIMIT):
            world.ask(world.nodes[0], 0, 10)
            world.settle()
        world.step(0.5)
        late.late = round_ < 2
    assert len(world.admitted) == LIMIT
    world.check()


def test_permits_are_worthless_before_the_server_takes_them_for_used(
    server: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_alone(monkeypatch)
    world = World(server, 2, monkeypatch)
    slow, other = world.nodes
    for _ in range(2):
        for _ in range(2):
            world.ask(slow, 0, 10)
            world.settle()
            world.leave(10)
        world.step(0.25)
    world.ask(slow, 0, 10)
    world.settle()
    assert slow.windows.held(slow.accounts[0])[0] > 0
    for far in slow.far:
        far.mute = True
    for worker in slow.workers:
        worker.nodes = 1  # nothing is set aside for it
    other.workers[0].nodes = other.workers[1].nodes = 1
    world.step(3)
    world.ask(other, 0, 10)
    world.settle()  # what the slow one held is taken for used now
    world.step(8)
    for _ in range(LIMIT):
        world.ask(slow, 0, 10)
        world.leave(10)
    world.step(53)
    for _ in range(LIMIT):
        world.ask(other, 0, 10)
        world.settle()
        world.leave(10)
    assert len([at for at, _ in world.admitted if at > world.now_ms - 1_000]) == LIMIT
    world.check()


@pytest.mark.parametrize("seed", range(6))
def test_a_server_that_dies_in_the_middle_and_comes_back_empty(
    server: Talk, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Both nodes ask all the time; they lose it, keep their parts, and get it back: never more than the limit."""
    chance = random.Random(seed)
    world = World(server, 2, monkeypatch)
    everybody = [far for node in world.nodes for far in node.far]
    gone, back = chance.uniform(3, 50), chance.uniform(70, 130)
    while (since := (world.now_ms - START_MS) / 1000) < 200:
        for far in everybody:
            far.here, far.late = not gone < since < back, gone < since < back
        if back <= since < back + 1:
            world.talk(b"FLUSHDB")
            for node in world.nodes:
                for worker in node.workers:
                    worker.back()
            back -= 1_000  # once
        for node in world.nodes if chance.random() < 0.9 else world.nodes[:1]:
            world.ask(node, chance.randint(0, 1), 10)
            world.settle()
            world.leave(10)
        world.step(0.25)
        world.loop.advance(chance.choice([0.02, 0.1, 0.2]))
    world.check()
    assert len(world.admitted) > 2 * LIMIT


@pytest.mark.parametrize("seed", range(4))
def test_greedy_nodes_get_all_and_no_more(server: Talk, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    chance = random.Random(seed)
    world = World(server, 2, monkeypatch)
    for round_ in range(620):
        for node in world.nodes:
            world.ask(node, chance.randint(0, 1), 10 if seed % 2 else 40)
            world.settle()
            world.leave(10 if seed % 2 else 35)
        world.loop.advance(chance.choice([0.02, 0.1, 0.2]))
        if not round_ % 2:
            world.step(0.25)
    world.check()
    rounds = (world.now_ms - START_MS) // (WINDOW_MS + 1_000)
    assert rounds >= 2
    assert len(world.admitted) >= rounds * (LIMIT if seed % 2 else (TOKEN_LIMIT - 40) // 35)


@pytest.mark.parametrize("seed", range(25))
def test_any_order_of_things(server: Talk, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Two or three nodes; answers late, lost and doubled: never more than the limit."""
    chance = random.Random(seed)
    world = World(server, chance.choice([1, 2, 3]), monkeypatch, waits=chance.random() < 0.3)
    never_alone(monkeypatch)
    for _ in range(chance.randint(100, 400)):
        node = chance.choice(world.nodes)
        what = chance.random()
        if what < 0.5:
            world.ask(node, chance.randint(0, 1), chance.choice([1, 10, 10, 30, 100]))
        elif what < 0.7:
            world.leave(chance.choice([1, 5, 10]))
        elif what < 0.9:
            far = chance.choice(node.far)
            if far.calls:
                far.deliver(lose=chance.random() < 0.2, twice=chance.random() < 0.2)
                world.loop.tick()
        elif what < 0.93:
            world.step(chance.choice([0.25, 1, 2.5, 20, 61]))
        else:
            world.loop.advance(chance.choice([0.001, 0.01, 0.3, 3]))
    world.settle()
    world.check()


def test_the_bounds_of_the_module() -> None:
    assert permits.WAIT_S < 0.005
