"""A playbook for the data plane: a scripted dialogue between a client, the worker and its upstreams.

The real Downstream, Gateway, Answers, Desk, Upstream and JournalWriter run here on a loop, a clock and transports
of our own, so that each byte, tick and millisecond is the script's:

    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        up << answer(completion())
        assert client.answer().body == completion()

Leaving the `with` ends every connection and then checks what must hold after any dialogue at all: one End for each
Intent, one attempt for each request that an upstream got, no hold, room, relay or exchange left behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from unittest import mock

from burncloud import clock, config
from burncloud.domain import journal as records
from burncloud.domain import link
from burncloud.domain.journal import Again, End, Intent, JournalRecord
from burncloud.domain.pricing import Price
from burncloud.domain.snapshot import Channel, Token, User
from burncloud.router import world as world_module
from burncloud.router.gateway import Gateway
from burncloud.router.sweep import Sweep
from burncloud.wire import journal as journal_module
from burncloud.wire.downstream import Downstream
from burncloud.wire.files import write_at
from burncloud.wire.journal import JournalWriter
from burncloud.wire.pool import Origin
from burncloud.wire.upstream import Upstream
from tests.speech import Answer, Request, read_answers, read_requests
from tests.stage import START_S, Loop, Transport

KEY: Final = "sk-test"
UPSTREAM_KEY: Final = "sk-up"
MODEL: Final = "gpt-4"
WALL_NS: Final = 1_800_000_000 * 1_000_000_000
MEMORY_FOLDER: Final = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where there is one: a journal for each dialogue would keep a disk busy."""
SEGMENT_BYTES: Final = 256 << 10
"""Journal segments are small here: making them costs nothing, and they roll over."""


class Far:
    """The far end of a connection, spoken for by the script."""

    def __init__(self, dialogue: Dialogue, protocol: Any, side: str, peer: str = "127.0.0.1") -> None:
        self._dialogue = dialogue
        self._backlog: list[bytes] = []
        self.protocol = protocol
        self.wire = Transport(dialogue.loop, dialogue.events, side, protocol, peer)
        protocol.connection_made(self.wire)
        dialogue.loop.tick()

    @property
    def closed(self) -> bool:
        """Whether the worker has ended the connection."""
        return self.wire.lost or self.wire.half_closed

    @property
    def received(self) -> bytes:
        """All that the worker sent to this end."""
        return bytes(self.wire.sent)

    def say(self, data: bytes) -> None:
        """One read's worth of bytes for the worker; kept back while it does not read."""
        self._backlog.append(data)
        self.flush()

    def flush(self) -> None:
        """Hand over what was kept back."""
        while self._backlog and self.wire.reading and not self.wire.closing:
            self.protocol.data_received(self._backlog.pop(0))
            self._dialogue.loop.tick()

    def say_split(self, data: bytes, size: int = 1) -> None:
        """The same in reads of `size` bytes."""
        for at in range(0, len(data), size):
            self.say(data[at : at + size])

    def hang_up(self) -> None:
        """FIN from this end."""
        if not self.wire.closing:
            self.protocol.eof_received()
            self.wire.close()
        self._dialogue.loop.tick()

    def reset(self) -> None:
        """RST from this end."""
        self.wire.lose(ConnectionResetError())
        self._dialogue.loop.tick()

    def stop_reading(self) -> None:
        """From now on this end takes nothing."""
        self.wire.slow = True

    def read(self, count: int = 1 << 40) -> None:
        """Take bytes that were waiting."""
        self.wire.take(count)
        self._dialogue.loop.tick()


class Client(Far):
    """A client of the worker."""

    def __init__(self, dialogue: Dialogue, peer: str) -> None:
        self.protocol: Downstream
        super().__init__(dialogue, Downstream(dialogue.gateway, dialogue.loop), "down", peer)  # type: ignore[arg-type]
        self._methods: list[bytes] = []
        self._given = 0

    def __rshift__(self, data: bytes) -> Client:
        """`client >> bytes`: the client says this, in one read."""
        self.say(data)
        return self

    def answers(self, methods: list[bytes] | None = None) -> list[Answer]:
        """All answers so far, read strictly; bytes that make no answer are an error."""
        return read_answers(self.received, self.closed, methods or [])

    def answer(self) -> Answer:
        """The next answer, which must have come and be complete."""
        answers = self.answers()
        assert len(answers) > self._given, f"no further answer; all that came: {self.received[-500:]!r}"
        self._given += 1
        return answers[self._given - 1]

    @property
    def quiet(self) -> bool:
        """Whether nothing came beyond the answers already looked at."""
        return len(self.answers()) == self._given


class UpstreamEnd(Far):
    """An upstream of the worker: one connection."""

    def __init__(self, dialogue: Dialogue, origin: Origin) -> None:
        self.protocol: Upstream
        self.origin = origin
        super().__init__(dialogue, Upstream(dialogue.gateway.answers, origin, dialogue.loop), "up")  # type: ignore[arg-type]
        self.seen = 0

    def __lshift__(self, data: bytes) -> UpstreamEnd:
        """`upstream << bytes`: the upstream says this, in one read."""
        self.say(data)
        return self

    @property
    def requests(self) -> list[Request]:
        """The requests that came, read strictly; the last may still lack a part of its body."""
        return read_requests(self.received)

    @property
    def request(self) -> Request:
        """The newest request."""
        return self.requests[-1]


class Dial:
    """A connection that the worker asked for."""

    def __init__(self, dialogue: Dialogue, origin: Origin, done: Callable[[Upstream | None, str], None]) -> None:
        self._dialogue = dialogue
        self._done = done
        self.origin = origin
        self.open = True

    def accept(self, slow: bool = False) -> UpstreamEnd:
        """It stands; `slow`: the other side takes nothing yet."""
        self.open = False
        self.origin.open += 1
        end = UpstreamEnd(self._dialogue, self.origin)
        end.wire.slow = slow
        self._dialogue.upstreams.append(end)
        self._done(end.protocol, "")
        self._dialogue.loop.tick()
        return end

    def refuse(self, reason: str = "refused") -> None:
        """It does not."""
        self.open = False
        self._done(None, reason)
        self._dialogue.loop.tick()


class Bank:
    """The control process as a lease desk sees it: limits by (kind, account), grants, denials, silence."""

    def __init__(self) -> None:
        self.limits: dict[tuple[str, int], int] = {}
        self.mode = "ok"
        """ok · unavailable · silent (keeps the questions) · down (the link is broken)."""
        self.granted: dict[tuple[str, int], int] = {}
        self.questions: list[link.Ask] = []

    def answer(self, ask: link.Ask, returned: Callable[[str, int], int]) -> link.Grant:
        """Both or neither, least(want, what is left), else "denied"."""
        if self.mode == "unavailable":
            return link.Grant(ask.n, "unavailable")
        sides = (("user", ask.user, ask.user_need, ask.user_want), ("token", ask.token, ask.token_need, ask.token_want))
        give: dict[tuple[str, int], int] = {}
        short = ""
        for kind, account, need, want in sides:
            if account:
                out = self.granted.get((kind, account), 0) - returned(kind, account)
                left = max(0, self.limits.get((kind, account), 1 << 60) - out)
                give[kind, account] = min(left, want)
                if left < need:
                    short = short or kind
        if not short:
            for key, amount in give.items():
                self.granted[key] = self.granted.get(key, 0) + amount
        totals = [self.granted.get((kind, account), 0) if account else 0 for kind, account, _, _ in sides]
        return link.Grant(ask.n, "denied" if short else "ok", totals[0], totals[1], short)


def channels(count: int, **fields: Any) -> list[Channel]:
    """Channels 1…count of an OpenAI-compatible vendor, each with a host of its own."""
    given = {"vendor": "openai-compatible", "models": {MODEL: MODEL}} | fields
    return [
        Channel(n, f"ch_{n}", base_url=f"http://up{n}.test/v1", keys=((n * 10, UPSTREAM_KEY),), **given)
        for n in range(1, count + 1)
    ]


PRICE: Final = Price(MODEL, 1, *[30 * 10**9, 60 * 10**9, *([30 * 10**9] * 3), 60 * 10**9, *([30 * 10**9] * 4)])


class Dialogue:
    """One worker's data plane with everything around it scripted; also its `House`."""

    def __init__(
        self,
        channels: list[Channel] = channels(1),  # noqa: B008 - never changed
        *,
        user: User = User(1),  # noqa: B008
        token: Token = Token(1, hashlib.sha256(KEY.encode()).digest(), 1),  # noqa: B008
        prices: tuple[Price, ...] = (PRICE,),
        dialling: str = "accept",
        **settings: str,
    ) -> None:
        """`dialling`: accept · refuse · wait (the script answers `dials`).

        `settings` as in the environment; a channel is not asked a second time unless RETRY_SAME_MS says so.
        """
        settings = {"retry_same_ms": "0", **settings}
        self._stack = contextlib.ExitStack()
        self._records = (channels, user, token, prices)
        self._settings = config.load({name.upper(): value for name, value in settings.items()})
        self.dialling = dialling
        self.loop = Loop()
        self.bank = Bank()
        self.dials: list[Dial] = []
        self.upstreams: list[UpstreamEnd] = []
        self.clients: list[Client] = []
        self.events: list[tuple[str, bytes]] = []
        """Everything that left the worker, in order: ("journal" | "up" | "down", bytes)."""
        self.disk_broken = False
        self.rings = 0
        self.journal: Any
        self.gateway: Gateway
        self.sweep: Sweep

    # Life

    def __enter__(self) -> Dialogue:
        stack, loop = self._stack, self.loop
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dialogue-", dir=MEMORY_FOLDER)))
        asyncio._set_running_loop(loop)  # type: ignore[arg-type]
        stack.callback(asyncio._set_running_loop, None)
        stack.enter_context(mock.patch.object(clock, "monotonic_ms", self._monotonic_ms))
        stack.enter_context(mock.patch.object(clock, "now_ns", self._now_ns))
        stack.enter_context(mock.patch.object(journal_module, "SEGMENT_BYTES", SEGMENT_BYTES))
        stack.enter_context(mock.patch.object(journal_module, "SETTLE_ROOM_BYTES", SEGMENT_BYTES // 8))
        stack.enter_context(mock.patch.object(journal_module, "write_at", self._write_at))
        self.journal = JournalWriter(folder, "a" * 32, "l" * 32, "node", 1 << 40)
        self.journal.open()
        self._folder = folder / ("a" * 32)
        self.gateway = Gateway(self, self._settings, "/control.sock", "test")
        self.gateway.pool.dial = self._dial  # type: ignore[method-assign]
        self.sweep = Sweep(self.gateway, self._settings)
        self.sweep.start()
        given, user, token, prices = self._records
        world = self.gateway.world
        world.chance = lambda: 0.0
        world.reload()
        for kind, rows in (("user", [user]), ("token", [token]), ("channel", given), ("price", list(prices))):
            world.put(link.Put(kind, world_module.records(list(rows))))
        world.ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None:
                self.settle()
        finally:
            self.disk_broken = False
            self.journal.close()
            self._stack.close()

    def _monotonic_ms(self) -> int:
        return int(self.loop.now * 1000)

    def _now_ns(self) -> int:
        return WALL_NS + int((self.loop.now - START_S) * 1_000_000_000)

    def _write_at(self, fd: int, data: bytes, offset: int) -> int:
        if self.disk_broken:
            raise OSError(5, "the disk is broken")
        if not data.startswith(b"\0"):
            self.events.append(("journal", data))
        return write_at(fd, data, offset)

    # House

    def ask(self, question: link.Ask) -> bool:
        """A question of the desk."""
        bank = self.bank
        if bank.mode == "down":
            return False
        bank.questions.append(question)
        if bank.mode != "silent":
            self.loop.call_soon(self.reply, question)
        return True

    def reply(self, question: link.Ask) -> None:
        """The bank's answer to a question."""
        desk = self.gateway.desk

        def returned(kind: str, account: int) -> int:
            lease = (desk.users if kind == "user" else desk.tokens).get(account)
            return lease.returned if lease is not None else 0

        desk.granted(self.bank.answer(question, returned))

    def ring(self) -> None:
        """A doorbell."""
        self.rings += 1

    # The script's hands

    def client(self, peer: str = "127.0.0.1") -> Client:
        """A new client connection."""
        client = Client(self, peer)
        self.clients.append(client)
        return client

    def _dial(self, origin: Origin, done: Callable[[Upstream | None, str], None], who: int = 0) -> None:
        dial = Dial(self, origin, done)
        self.dials.append(dial)
        if self.dialling != "wait":
            self.loop.call_soon(dial.accept if self.dialling == "accept" else dial.refuse)

    def upstream(self) -> UpstreamEnd:
        """The connection on which a request came that the script has not looked at yet."""
        self.loop.tick()
        for end in self.upstreams:
            requests = end.requests
            if len(requests) > end.seen:
                end.seen += 1
                return end
        raise AssertionError("no upstream got a request")

    @property
    def silent(self) -> bool:
        """Whether no request reached an upstream that the script has not looked at."""
        self.loop.tick()
        return all(len(end.requests) <= end.seen for end in self.upstreams)

    def later(self, seconds: float) -> None:
        """Let time pass, with everything that it brings."""
        self.loop.advance(seconds)

    def put(self, kind: str, *rows: Any) -> None:
        """A change from control."""
        self.gateway.world.put(link.Put(kind, world_module.records(list(rows))))

    # What must hold

    def written(self) -> list[JournalRecord]:
        """The records of the journal, copies (K) left out."""
        self.loop.tick()
        found: list[JournalRecord] = []
        for path in sorted(self._folder.glob("*.seg")):
            scanned = records.scan(path.read_bytes())
            assert not scanned.broken, path
            found += [r for r in scanned.records if not isinstance(r, records.Header | records.Kept)]
        return found

    def receipts(self) -> list[End]:
        """The Ends in the journal."""
        return [record for record in self.written() if isinstance(record, End)]

    def settle(self) -> None:
        """End all connections, then check that nothing is left and everything was booked once."""
        for end in (*self.clients, *self.upstreams):
            end.wire.lose(None)
        for dial in self.dials:
            if dial.open:
                dial.refuse()
        self.bank.mode = "ok"
        self.later(30)
        gateway, desk = self.gateway, self.gateway.desk
        assert not gateway.live, gateway.live
        assert not gateway.clients
        assert gateway.relay.running == 0
        assert gateway.arrivals._memory.free == gateway.arrivals._memory.total
        assert gateway.arrivals._spool.free == gateway.arrivals._spool.total
        assert not desk._lines
        for lease in (*desk.users.values(), *desk.tokens.values()):
            assert lease.held == 0, lease
            assert lease.granted - lease.drawn - lease.returned >= 0, lease
        for origin in gateway.pool._origins.values():
            assert origin.open == 0, origin
            assert not origin._idle
        self._check_journal()

    def _check_journal(self) -> None:
        intents: dict[int, Intent] = {}
        agains: dict[int, int] = {}
        ends: dict[int, End] = {}
        for number, record in enumerate(self._numbered(), 1):
            if isinstance(record, Intent):
                intents[number] = record
            elif isinstance(record, Again):
                agains[record.x] = agains.get(record.x, 0) + 1
                intents[record.x] = record.instead or intents[record.x]
            elif isinstance(record, End):
                assert record.x in intents, f"an end without an intent: {record}"
                assert record.x not in ends, f"a second end: {record}"
                ends[record.x] = record
                self._check_end(record, intents[record.x])
        assert set(intents) == set(ends), f"without an end: {set(intents) - set(ends)}"
        attempts = sum(1 for end in ends.values() for attempt in end.attempts if attempt.sent)
        control = {id(end) for end in self.upstreams if end.origin.key.scheme == "unix"}
        received = sum(len(end.requests) for end in self.upstreams if id(end) not in control)
        assert attempts == received, f"{attempts} attempts in the receipts, {received} requests at upstreams"

    def _numbered(self) -> list[JournalRecord]:
        """All records with a number of their own, copies too."""
        found: list[JournalRecord] = []
        for path in sorted(self._folder.glob("*.seg")):
            scanned = records.scan(path.read_bytes()).records
            if scanned:
                header = scanned[0]
                assert isinstance(header, records.Header)
                assert header.first_seq == len(found) + 1, (header, len(found))
                found += scanned[1:]
        return found

    def _check_end(self, end: End, intent: Intent) -> None:
        assert sum(attempt.charge for attempt in end.attempts) == end.charge, end
        assert [attempt.n for attempt in end.attempts] == list(range(1, len(end.attempts) + 1)), end
        assert end.model == intent.model or end.requested, end
        if end.endpoint == "realtime" or end.requested:  # the hold of a session grows, a stand-in's may be greater
            assert end.hold_user >= intent.hold_user
            assert end.hold_token >= intent.hold_token
        else:
            assert (end.hold_user, end.hold_token) == (intent.hold_user, intent.hold_token)
        assert end.draw_user == min(end.charge, end.hold_user)
        assert end.draw_token == min(end.charge, end.hold_token)
