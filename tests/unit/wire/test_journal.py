"""The journal: one write a tick, what waits for it, segments that follow each other, and a disk that fails."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from burncloud import clock
from burncloud.domain import journal as records
from burncloud.domain.journal import Again, Close, End, Header, Intent, JournalRecord, Kept, Progress, Return
from burncloud.domain.usage import Usage
from burncloud.wire import journal as module
from burncloud.wire.files import write_at
from burncloud.wire.journal import CANNOT_WRITE, NO_ROOM, RETENTION_MS, TOO_LONG, JournalWriter
from tests.stage import Done, Loop

SIZE = 16 << 10
INTENT = Intent(1, 1, "req", "", 1, 1, 1, 1, "m", "m", "chat", "default", False, 1, 1, 1, 100, 0, 0, 0)


def end(x: int) -> End:
    """A receipt."""
    return End(
        x, 1, 1, "req", "", 1, 1, 1, 1, "m", "m", "chat", "default", False, 1, 1, 1, 100, 0, 0, 0, 0, 7, Usage(1, 2),
        False, "done", 200, 1, 1, 1, 1, "", "", (),
    )  # fmt: skip


class Desk:
    """A journal on a small disk whose writes are watched and can be made to fail."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.loop = Loop()
        self.events: list[str] = []
        self.faults: list[int | None] = []
        """For each coming write: an errno, or minus the bytes that a short write takes, or None = it succeeds."""
        self.executor_open = True
        self._waiting: list[Any] = []
        monkeypatch.setattr(module, "SEGMENT_BYTES", SIZE)
        monkeypatch.setattr(module, "SETTLE_ROOM_BYTES", SIZE // 8)
        monkeypatch.setattr(module, "write_at", self.write)
        monkeypatch.setattr(clock, "monotonic_ms", lambda: int(self.loop.now * 1000))
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: self)
        self.journal = JournalWriter(root, "j" * 32, "l" * 32, "node", 1 << 30)
        self.journal.open()
        self.folder = root / ("j" * 32)

    def call_soon(self, call: Any, *args: Any) -> None:
        """For the writer: the loop."""
        self.loop.call_soon(call, *args)

    def run_in_executor(self, executor: None, call: Any, *args: Any) -> Any:
        """At once, or when the script lets it."""
        if self.executor_open:
            return Done(call, args)
        later = Later(call, args)
        self._waiting.append(later)
        return later

    def executor(self) -> None:
        """What waited in the executor is done."""
        self.executor_open = True
        waiting, self._waiting = self._waiting, []
        for later in waiting:
            later.run()

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """A watched pwrite."""
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault > 0:
            raise OSError(fault, os.strerror(fault))
        if fault is not None:
            data = data[:fault]
        self.events.append("write")
        return write_at(fd, data, offset)

    def tick(self) -> None:
        """One turn of the loop."""
        self.loop.tick()

    def exchange(self) -> int:
        """An intent and its end."""
        x = self.journal.intend(INTENT)
        self.journal.end(end(x))
        self.tick()
        return x

    def segments(self) -> list[list[JournalRecord]]:
        """The records of each segment in use, its header first; a broken tail is left out."""
        found = [records.scan(path.read_bytes()).records for path in sorted(self.folder.glob("*.seg"))]
        return [segment for segment in found if segment]

    def numbered(self) -> dict[int, JournalRecord]:
        """Number → record, over all segments; a number that stands twice must hold the same record."""
        found: dict[int, JournalRecord] = {}
        for segment in self.segments():
            header = segment[0]
            assert isinstance(header, Header)
            for number, record in enumerate(segment[1:], header.first_seq):
                assert found.setdefault(number, record) == record
        return found

    def check(self) -> None:
        """Each end's x is the number of an intent, and numbers run without a gap."""
        numbered = self.numbered()
        assert list(numbered) == list(range(1, len(numbered) + 1))
        for record in numbered.values():
            if isinstance(record, (End, Again, Progress, Kept)):
                assert isinstance(numbered[record.x], Intent), record


class Later:
    """A future of the executor that is done when the script says so."""

    def __init__(self, call: Any, args: tuple[Any, ...]) -> None:
        self._call, self._args = call, args
        self._callbacks: list[Any] = []

    def add_done_callback(self, call: Any) -> None:
        """Later."""
        self._callbacks.append(call)

    def run(self) -> None:
        """Now."""
        done = Done(self._call, self._args)
        for call in self._callbacks:
            call(done)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """An open journal."""
    made = Desk(tmp_path, monkeypatch)
    made.events.clear()
    yield made
    made.faults.clear()
    with contextlib.suppress(OSError):  # a test may have closed it
        made.journal.close()


def ok_of(desk: Desk) -> list[tuple[str, bool]]:
    """A list that waiters fill."""
    heard: list[tuple[str, bool]] = []

    def told(name: str, ok: bool) -> None:
        desk.events.append(name)
        heard.append((name, ok))

    desk.told = told  # type: ignore[attr-defined]
    return heard


# One write a tick


def test_open(desk: Desk) -> None:
    """A folder of its own, a lock, a header, and a spare."""
    assert oct(desk.folder.stat().st_mode)[-3:] == "700"
    assert sorted(path.name for path in desk.folder.iterdir()) == ["00000001.seg", "00000002.seg", "lock"]
    assert all(path.stat().st_size == SIZE for path in desk.folder.glob("*.seg"))
    [[header]] = desk.segments()
    assert header == Header(1, "l" * 32, "node", "j" * 32, 1)
    assert desk.journal.ready


def test_the_lock_is_held(desk: Desk) -> None:
    """For life: the replay of a living journal must not begin."""
    fd = os.open(desk.folder / "lock", os.O_RDWR)
    with pytest.raises(OSError):
        module.lock_file(fd)
    desk.journal.close()
    module.lock_file(fd)
    os.close(fd)


def test_one_write_a_tick_then_those_who_wait(desk: Desk) -> None:
    """Whatever was queued goes in one write; nobody is told before it."""
    heard = ok_of(desk)
    numbers = []
    for n in range(3):
        numbers.append(desk.journal.intend(INTENT))
        desk.journal.after(desk.told, f"w{n}")  # type: ignore[attr-defined]
    assert desk.events == []
    desk.tick()
    assert numbers == [1, 2, 3]
    assert desk.events == ["write", "w0", "w1", "w2"]
    assert heard == [("w0", True), ("w1", True), ("w2", True)]
    assert desk.journal.seq == 3


def test_what_a_waiter_queues_is_the_next_tick_s(desk: Desk) -> None:
    """It is not released with the write that it did not stand in."""

    def told(name: str, ok: bool) -> None:
        desk.events.append(name)
        if name == "first":
            desk.journal.intend(INTENT)
            desk.journal.after(told, "second")

    desk.journal.intend(INTENT)
    desk.journal.after(told, "first")
    desk.tick()
    assert desk.events == ["write", "first", "write", "second"]


def test_who_waits_for_nothing(desk: Desk) -> None:
    """All is written already: told in the next tick."""
    heard = ok_of(desk)
    desk.journal.after(desk.told, "a")  # type: ignore[attr-defined]
    assert heard == []
    desk.tick()
    assert heard == [("a", True)]


def test_every_record(desk: Desk) -> None:
    """In order, and numbered."""
    grown: list[int] = []
    desk.journal.on_grown = grown.append
    x = desk.journal.intend(INTENT)
    desk.journal.again(Again(x, 2, 2, 2, "failover"))
    desk.journal.progress(Progress(x, Usage(1), 5))
    desk.journal.give_back(Return("user", 1, 5))
    desk.journal.end(end(x))
    desk.tick()
    assert [type(record) for record in desk.numbered().values()] == [Intent, Again, Progress, Return, End]
    assert grown == [5]


def test_a_clean_stop(desk: Desk) -> None:
    """Z, if nothing is open."""
    desk.exchange()
    desk.journal.close()
    assert isinstance(list(desk.numbered().values())[-1], Close)


def test_a_stop_with_something_open(desk: Desk) -> None:
    """No Z: control will close it as interrupted."""
    desk.journal.intend(INTENT)
    desk.journal.close()
    assert [type(record) for record in desk.numbered().values()] == [Intent]


# Rollover


def test_rollover_copies_what_is_open(desk: Desk) -> None:
    """The next segment begins with copies, so that no older one is needed for them."""
    x = desk.journal.intend(INTENT)
    desk.journal.again(Again(x, 2, 2, 2, "failover"))
    desk.journal.progress(Progress(x, Usage(1), 5))
    while len(desk.segments()) < 2:
        desk.exchange()
    second = desk.segments()[1]
    assert second[1] == Kept(x, INTENT, (Again(x, 2, 2, 2, "failover"),), Progress(x, Usage(1), 5))
    assert not [record for record in second[2:] if isinstance(record, Kept)]
    desk.journal.end(end(x))
    desk.tick()
    desk.check()
    assert len(list(desk.folder.glob("*.seg"))) == 3


def test_many_rollovers(desk: Desk) -> None:
    """Numbers run through all of them."""
    open_ = [desk.journal.intend(INTENT) for _ in range(5)]
    for n in range(600):
        desk.exchange()
        if n % 150 == 99:
            desk.journal.end(end(open_.pop()))
    assert len(desk.segments()) > 4
    desk.check()


def test_a_rollover_in_the_middle_of_a_tick(desk: Desk) -> None:
    """Who waits is woken after it, not within it: what he appends is numbered rightly."""
    numbers: list[int] = []

    def told(_: object, ok: bool) -> None:
        assert ok
        if len(numbers) < 400:
            x = desk.journal.intend(INTENT)
            numbers.append(x)
            desk.journal.after(told, None)
            if len(numbers) % 3 == 0:
                desk.journal.end(end(x))

    for _ in range(50):
        desk.journal.intend(INTENT)
        desk.journal.after(told, None)
    desk.tick()
    desk.check()
    numbered = desk.numbered()
    assert all(isinstance(numbered[x], Intent) for x in numbers)


def test_more_open_than_a_segment_holds(desk: Desk) -> None:
    """Their copies alone fill it: the segment is longer then, and the next rollover is not due with the next record."""
    for _ in range(3 * SIZE // len(records.frame(INTENT))):
        desk.journal.intend(INTENT)
    desk.tick()
    before = len(desk.segments())
    for _ in range(40):
        desk.exchange()
    assert len(desk.segments()) <= before + 2
    desk.check()


def test_no_spare_yet(desk: Desk) -> None:
    """The executor is slow: nothing new is admitted near the end, what runs settles behind it, and the order of the
    segments is their order in time."""
    desk.executor_open = False
    first = desk.segments()[0]
    while len(desk.segments()) < 2:
        desk.exchange()
    x = desk.journal.intend(INTENT)
    while desk.journal.ready:
        desk.exchange()
    for _ in range(60):
        desk.exchange()
    assert len(desk.segments()) == 2
    assert max(path.stat().st_size for path in desk.folder.glob("*.seg")) > SIZE
    desk.executor()
    desk.journal.end(end(x))
    desk.exchange()
    assert desk.journal.ready
    assert len(desk.segments()) == 3
    assert first
    desk.check()


def test_no_room_for_a_spare(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: not ready, until it is not full any more."""
    real = module._preallocate
    monkeypatch.setattr(module, "_preallocate", full)
    while len(desk.segments()) < 2:
        desk.exchange()
    assert desk.journal.failed == NO_ROOM
    assert not desk.journal.ready
    monkeypatch.setattr(module, "_preallocate", real)
    desk.journal.janitor()
    assert desk.journal.ready
    desk.check()


def full(fd: int) -> None:
    """No space left on device."""
    raise OSError(28, "No space left on device")


# A disk that fails


def test_a_failed_write_goes_to_the_spare(desk: Desk) -> None:
    """The segment is sealed, the records stand in the next one, those who waited hear nothing of it."""
    heard = ok_of(desk)
    desk.exchange()
    desk.faults = [5]
    x = desk.journal.intend(INTENT)
    desk.journal.after(desk.told, "a")  # type: ignore[attr-defined]
    desk.tick()
    assert heard == [("a", True)]
    assert desk.journal.ready
    desk.journal.end(end(x))
    desk.tick()
    assert len(desk.segments()) == 2
    desk.check()


@pytest.mark.parametrize("missing", [1, 20, 100])
def test_a_short_write(desk: Desk, missing: int) -> None:
    """What it left is cut off; the records stand whole in the next segment."""
    desk.exchange()
    desk.faults = [-missing]
    x = desk.journal.intend(INTENT)
    desk.tick()
    desk.journal.end(end(x))
    desk.tick()
    assert len(desk.segments()) == 2
    desk.check()


def test_nothing_can_be_written(desk: Desk) -> None:
    """Who waits is told no, once; the records wait and are written when it can be done."""
    heard = ok_of(desk)
    desk.exchange()
    desk.faults = [5] * 3
    x = desk.journal.intend(INTENT)
    desk.journal.after(desk.told, "a")  # type: ignore[attr-defined]
    desk.tick()
    assert heard == [("a", False)]
    assert desk.journal.failed == CANNOT_WRITE
    assert not desk.journal.ready
    desk.journal.end(end(x))
    desk.faults = []
    desk.journal.janitor()
    desk.tick()
    assert desk.journal.ready
    assert heard == [("a", False)]
    assert [type(record) for record in desk.numbered().values() if not isinstance(record, Kept)] == [
        Intent, End, Intent, End,
    ]  # fmt: skip
    desk.check()


def test_a_header_that_cannot_be_written(desk: Desk) -> None:
    """The new segment is given up, nothing is lost, and no exception reaches a request."""
    x = desk.journal.intend(INTENT)
    desk.tick()
    fill = (SIZE - desk.journal._offset) // len(records.frame(INTENT))
    for _ in range(fill):
        desk.journal.intend(INTENT)
    desk.faults = [None, 5]
    last = desk.journal.intend(INTENT)
    desk.tick()
    desk.journal.end(end(x))
    desk.journal.end(end(last))
    desk.journal.janitor()
    desk.tick()
    desk.check()
    assert desk.journal.ready
    assert isinstance(desk.numbered()[last], Intent)


def test_rewrite(desk: Desk) -> None:
    """Control could not sync: what is not acknowledged stands again in a new segment, with its old numbers."""
    first = [desk.exchange() for _ in range(5)]
    desk.journal.ack(4)
    x = desk.journal.intend(INTENT)
    desk.tick()
    desk.journal.rewrite()
    again = desk.segments()[1]
    header = again[0]
    assert isinstance(header, Header)
    assert header.first_seq == 5
    assert again[1:8] == list(desk.numbered().values())[4:11]
    assert again[8] == Kept(x, INTENT)
    desk.journal.end(end(x))
    desk.tick()
    desk.check()
    assert len(first) == 5


def test_rewrite_over_several_segments(desk: Desk) -> None:
    """All of them, also those longer than a segment should be; twice."""
    while len(desk.segments()) < 4:
        desk.exchange()
    before = desk.numbered()
    for _ in range(2):
        desk.journal.rewrite()
        newest = desk.segments()[-1]
        assert newest[1 : len(before) + 1] == list(before.values())
    desk.exchange()
    desk.check()


def test_rewrite_of_nothing(desk: Desk) -> None:
    """Everything is acknowledged."""
    desk.exchange()
    desk.journal.ack(2)
    desk.journal.rewrite()
    assert len(desk.segments()) == 1


# Acknowledgement


def old_segments(desk: Desk, count: int) -> None:
    """Fill so many segments."""
    while len(desk.segments()) <= count:
        desk.exchange()


def test_a_segment_goes_when_it_is_booked_and_old(desk: Desk) -> None:
    """Not before ten minutes after its last record was acknowledged."""
    old_segments(desk, 2)
    last = max(len(desk.segments()[0]) - 1, desk.journal._segments[1].kept_until)
    desk.journal.ack(last - 1)
    desk.loop.now += RETENTION_MS
    desk.journal.janitor()
    assert len(desk.segments()) == 3
    desk.journal.ack(last)
    desk.loop.now += RETENTION_MS / 1000 - 1
    desk.journal.janitor()
    assert len(desk.segments()) == 3
    desk.loop.now += 2
    desk.journal.janitor()
    assert len(desk.segments()) == 2
    assert not (desk.folder / "00000001.seg").exists()


def test_not_while_its_open_intents_are_copied_only_on_paper(desk: Desk) -> None:
    """The copies in the next segment must be acknowledged, too."""
    desk.journal.intend(INTENT)
    old_segments(desk, 1)
    last, copied = len(desk.segments()[0]) - 1, desk.journal._segments[1].kept_until
    assert copied > last
    desk.journal.ack(copied - 1)
    desk.loop.now += RETENTION_MS
    desk.journal.janitor()
    assert len(desk.segments()) == 2
    desk.journal.ack(copied)
    desk.loop.now += RETENTION_MS
    desk.journal.janitor()
    assert len(desk.segments()) == 1


def test_the_current_segment_stays(desk: Desk) -> None:
    """However much is acknowledged."""
    desk.exchange()
    desk.journal.ack(100)
    desk.loop.now += 2 * RETENTION_MS
    desk.journal.janitor()
    assert len(desk.segments()) == 1


def test_an_ack_never_goes_back(desk: Desk) -> None:
    """A late one says less than we know."""
    desk.journal.ack(5)
    desk.journal.ack(3)
    assert desk.journal.acked == 5


def test_the_limit(desk: Desk) -> None:
    """Above it nothing is admitted; half of it makes booked segments go early."""
    desk.journal._bytes_max = 4 * SIZE
    old_segments(desk, 4)
    desk.journal.janitor()
    assert desk.journal.failed == TOO_LONG
    assert not desk.journal.ready
    desk.journal.ack(desk.journal.seq)
    assert desk.journal.failed == ""
    assert desk.journal.ready
    assert len(desk.segments()) <= 3
    desk.journal.janitor()


def test_the_limit_is_seen_at_the_rollover(desk: Desk) -> None:
    """A journal that grows fast does not wait for the janitor."""
    desk.journal._bytes_max = 4 * SIZE
    while not desk.journal.failed:
        desk.exchange()
        desk.tick()
    assert desk.journal.failed == TOO_LONG
    assert len(desk.segments()) == 5  # the one that was too many


def test_open_fails_where_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker says so at its start."""
    monkeypatch.setattr(module, "write_at", lambda fd, data, offset: 0)
    monkeypatch.setattr(asyncio, "get_running_loop", Loop)
    with pytest.raises(OSError, match="first segment"):
        JournalWriter(tmp_path, "j" * 32, "l" * 32, "node", 1 << 30).open()


def test_an_intent_is_a_small_record() -> None:
    """Sizes above rest on it."""
    assert 40 < len(records.frame(INTENT)) < 120
    assert msgspec.msgpack.decode(records.encode_payload(INTENT))[0] == "I"


def test_a_journal_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the start: the next try finds the place free."""
    desk = Desk(tmp_path / "first", monkeypatch)
    again = JournalWriter(tmp_path / "again", "j" * 32, "l" * 32, "node", 1 << 30)
    desk.faults = [28]
    with pytest.raises(OSError, match="cannot be written"):
        again.open()
    assert not list((tmp_path / "again").iterdir())
    again = JournalWriter(tmp_path / "again", "j" * 32, "l" * 32, "node", 1 << 30)
    again.open()
    assert again.ready
    again.close()
