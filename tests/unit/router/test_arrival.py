"""Bodies on their way in: limits, room, order of those who wait, and what a hostile upload costs."""

from __future__ import annotations

import os

import pytest

from burncloud.adaptors.peek import SlicedPeek
from burncloud.router.arrival import SLICE_BYTES
from burncloud.router.sweep import ROOM_WAIT_S
from tests.dialogue import Dialogue
from tests.speech import LAST, answer, chat, chunk, chunked, completion, post

MIB = 1 << 20


def value(size: int) -> dict[str, object]:
    """A chat request of about this many bytes."""
    return chat(user="u" * size)


# Limits


@pytest.mark.parametrize("coded", [False, True], ids=["declared", "chunked"])
@pytest.mark.parametrize("limit", [1000, 2 * MIB])
def test_a_body_above_the_limit(coded: bool, limit: int) -> None:
    """413: at once where the length was declared, as soon as it is passed where it was not."""
    with Dialogue(body_bytes_max=str(limit)) as d:
        client = d.client()
        body = value(limit + 100)
        client.say_split(chunked(body, sizes=(50_000,)) if coded else post(body), 60_000)
        heard = client.answer()
        assert (heard.status, heard.json["error"]["code"]) == (413, "request_too_large")
        assert client.closed is (coded or limit > MIB)
        assert d.silent


@pytest.mark.parametrize("coded", [False, True], ids=["declared", "chunked"])
def test_a_body_at_the_limit(coded: bool) -> None:
    """The limit itself is allowed."""
    message = post(value(2000))
    size = len(message.partition(b"\r\n\r\n")[2])
    with Dialogue(body_bytes_max=str(size)) as d:
        client = d.client()
        client >> (chunked(value(2000)) if coded else message)
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_the_wall_has_its_own_limit() -> None:
    """8 MiB for management requests."""
    with Dialogue() as d:
        client = d.client()
        client >> post(b"", "/api/v1/users", length=9 * MIB)
        assert client.answer().status == 413


# Room


def budgets(d: Dialogue) -> tuple[int, int]:
    """What is taken of memory and of disk."""
    arrivals = d.gateway.arrivals
    return arrivals._memory.total - arrivals._memory.free, arrivals._spool.total - arrivals._spool.free


def test_room_is_taken_before_the_body_comes() -> None:
    """Its declared length in memory up to 1 MiB, above that on the disk; given back at the end."""
    with Dialogue() as d:
        small, large = d.client(), d.client()
        small >> post(b"", length=5000)
        large >> post(b"", length=5 * MIB)
        assert budgets(d) == (5000, 5 * MIB)
        small.reset()
        large.reset()
        assert budgets(d) == (0, 0)


def test_a_chunked_body_that_turns_out_large() -> None:
    """Its length is unknown: 1 MiB of memory, then as much disk as it may become; no way past the disk's budget."""
    with Dialogue(body_bytes_max=str(4 * MIB), spool_bytes=str(6 * MIB)) as d:
        first, second = d.client(), d.client()
        head, _, _ = chunked(b"").partition(b"0\r\n")
        for client in (first, second):
            client >> head + chunk(b'{"model":"gpt-4","user":"')
        assert budgets(d) == (2 * MIB, 0)
        for client in (first, second):
            for _ in range(20):
                client >> chunk(b"u" * 100_000)
        assert budgets(d) == (0, 4 * MIB)
        assert second.answer().status == 503
        assert second.closed
        first >> chunk(b'"}') + LAST
        assert len(d.upstream().request.body) > 2_000_000


def test_who_does_not_fit_waits_in_order() -> None:
    """First come, first served; a small one does not slip past a large one that waits."""
    with Dialogue(body_memory_bytes="1000000") as d:
        clients = [d.client() for _ in range(4)]
        for client, size in zip(clients, (900_000, 600_000, 90_000, 300_000), strict=True):
            client >> post(value(size - 200), length=None)[:50_000]
        assert [client.wire.reading for client in clients] == [True, False, False, False]
        clients[0].reset()
        assert [client.wire.reading for client in clients] == [True, True, True, True]


def test_a_body_that_was_whole_while_it_waited() -> None:
    """It came in one read with its head: it is served as soon as there is room."""
    with Dialogue(body_memory_bytes="10000") as d:
        first, second = d.client(), d.client()
        first >> post(b"", length=9000)
        second >> post(value(5000))
        assert d.silent
        first.reset()
        d.upstream() << answer(completion())
        assert second.answer().status == 200


def test_who_waits_for_too_long_is_told() -> None:
    """503 with Retry-After; his place in the line is gone, and his connection is heard again."""
    with Dialogue(body_memory_bytes="10000") as d:
        first, second, third = d.client(), d.client(), d.client()
        first >> post(b"", length=6000)
        second >> post(value(8000))[:500]
        d.later(ROOM_WAIT_S / 2)
        third >> post(value(3000))
        assert not third.wire.reading
        d.later(ROOM_WAIT_S / 2 - 1)
        assert second.received == third.received == b""
        d.later(2)
        heard = second.answer()
        assert (heard.status, heard.field("retry-after")) == (503, "5")
        assert second.wire.reading
        d.upstream() << answer(completion())
        assert third.answer().status == 200
        second >> post(value(8000))[500:] + post(value(1000))
        d.upstream() << answer(completion())
        assert [a.status for a in second.answers()] == [503, 200]


def test_who_leaves_the_line_makes_way() -> None:
    """Nobody waits behind somebody who is gone."""
    with Dialogue(body_memory_bytes="10000") as d:
        first, second, third = d.client(), d.client(), d.client()
        first >> post(b"", length=6000)
        second >> post(b"", length=9000)
        third >> post(value(1000))
        assert d.silent
        second.reset()
        d.upstream() << answer(completion())
        assert third.answer().status == 200


def test_a_thousand_who_left_the_line() -> None:
    """However many."""
    with Dialogue(body_memory_bytes="10000") as d:
        first = d.client()
        first >> post(b"", length=9000)
        crowd = [d.client() for _ in range(1500)]
        for client in crowd:
            client >> post(b"", length=5000)
        for client in crowd:
            client.reset()
        first.reset()
        assert budgets(d) == (0, 0)


def test_a_thousand_who_are_refused_one_after_the_other() -> None:
    """Each gives its room to the next in the moment it gets it."""
    with Dialogue(body_memory_bytes="10000") as d:
        first = d.client()
        first >> post(b"", length=9000)
        crowd = [d.client() for _ in range(1500)]
        for client in crowd:
            client >> post(b"[" * 5000)
        first.reset()
        assert {client.answer().status for client in crowd} == {400}
        assert budgets(d) == (0, 0)


# What an upload costs


def test_crumbs_do_not_fill_the_memory() -> None:
    """A mebibyte in chunks of one byte is held in about a mebibyte, not in a million objects."""
    with Dialogue() as d:
        client = d.client()
        body = post(value(100_000)).partition(b"\r\n\r\n")[2]
        message = chunked(body, sizes=(1,))
        client.say_split(message[:-5], 50_000)
        [x] = d.gateway.live
        assert x.body is not None
        assert len(x.body._parts) < 1000
        client >> message[-5:]
        assert d.upstream().request.body == body


@pytest.mark.parametrize("size", [int(1.5 * MIB), 5 * MIB])
def test_a_large_body_costs_no_memory(size: int) -> None:
    """It goes to an unlinked file, and up from there as fast as the upstream takes it."""
    with Dialogue(dialling="wait") as d:
        client = d.client()
        message = post(value(size))
        client.say_split(message[:-1], 65_536)
        [x] = d.gateway.live
        assert x.body is not None
        assert x.body.spooled
        assert x.body._parts == []
        assert os.fstat(x.body._fd).st_nlink == 0
        client >> message[-1:]
        up = d.dials[0].accept(slow=True)
        while not up.request.complete:
            assert up.wire.unsent <= MIB
            up.read(300_000)
        assert up.request.body == message.partition(b"\r\n\r\n")[2]
        up << answer(completion())
        up.seen = 1
        assert client.answer().status == 200
        assert [x.body for x in (x,)] == [None]


def test_a_slow_upload_lives_as_long_as_it_moves() -> None:
    """A client that stalls for a minute is told 408; one that sends on is not."""
    with Dialogue() as d:
        alive, stalled = d.client(), d.client()
        message = post(value(20_000))
        stalled >> message[:5000]
        for at in range(0, len(message), 4000):
            alive >> message[at : at + 4000]
            d.later(30)
        d.upstream() << answer(completion())
        assert alive.answer().status == 200
        heard = stalled.answer()
        assert heard.status == 408
        assert stalled.closed


def test_a_drip_is_ended_by_the_total_time() -> None:
    """A byte a minute is a sign of life, but not for ever."""
    with Dialogue(total_timeout_ms="300000") as d:
        client = d.client()
        message = post(value(20_000))
        for byte in message[:200]:
            client >> bytes([byte])
        for byte in message[200:208]:
            client >> bytes([byte])
            d.later(50)
        assert client.answer().status == 408


def test_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A spool that cannot be written: 503, and everything is given back."""
    with Dialogue() as d:
        client = d.client()
        message = post(value(3 * MIB))
        client.say_split(message[: 2 * MIB], 500_000)

        def full(fd: int, data: bytes) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "write", full)
        client >> message[2 * MIB : 2 * MIB + 1000]
        monkeypatch.undo()
        heard = client.answer()
        assert (heard.status, heard.field("retry-after")) == (503, "5")
        assert budgets(d) == (0, 0)


# The loop stays free


def test_a_large_body_is_read_slice_by_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much came at once: a slice a turn of the loop, and nothing more from the connection until it is read."""
    slices: list[tuple[int, bool]] = []
    feed = SlicedPeek.feed
    with Dialogue() as d:
        client = d.client()

        def seen(sliced: SlicedPeek, piece: bytes) -> None:
            slices.append((len(piece), client.wire.reading))
            feed(sliced, piece)

        monkeypatch.setattr(SlicedPeek, "feed", seen)
        client >> post(value(3 * MIB))
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert client.wire.reading
    assert sum(size for size, _ in slices) > 3 * MIB
    assert max(size for size, _ in slices) <= SLICE_BYTES
    assert not any(reading for _, reading in slices)


def test_a_large_body_that_is_no_json() -> None:
    """It is refused as soon as that is seen, and the connection is read on."""
    with Dialogue() as d:
        client = d.client()
        client >> post(b"[" * (2 * MIB))
        assert client.answer().status == 400
        assert client.wire.reading
        assert d.silent
