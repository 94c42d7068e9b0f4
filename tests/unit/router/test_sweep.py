"""Deadlines and slow readers: what is given up, when, and whose fault it was."""

from __future__ import annotations

import pytest

from burncloud.domain.snapshot import User
from tests.dialogue import Client, Dialogue, UpstreamEnd, channels
from tests.speech import DONE, LAST, answer, chat, chunk, completion, delta, post, stream_head, usage_chunk

TEXT = "x" * 10_000


def streaming(d: Dialogue, client: Client) -> UpstreamEnd:
    """The client's stream has begun."""
    client >> post(chat(stream=True))
    up = d.upstream()
    up << stream_head() + chunk(delta("Hi"))
    return up


def finish(up: UpstreamEnd) -> None:
    """A stream's proper end."""
    up << chunk(delta("", finish="stop") + usage_chunk() + DONE) + LAST


# The upstream's clocks


def test_first_byte() -> None:
    """A silent upstream is given up, and the next one asked."""
    with Dialogue(channels(2), first_byte_timeout_ms="10000") as d:
        client = d.client()
        client >> post(chat())
        first = d.upstream()
        d.later(9)
        assert d.silent
        d.later(2)
        assert first.wire.aborted
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert [a.sent for a in d.receipts()[0].attempts] == [1, 1]


def test_interim_answers_do_not_buy_time_for_ever() -> None:
    """Each is a sign of life; the total time ends it."""
    with Dialogue(first_byte_timeout_ms="10000", total_timeout_ms="60000") as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        for _ in range(62):
            up << b"HTTP/1.1 102 Processing\r\n\r\n"
            d.later(1)
        assert up.wire.aborted
        assert client.answer().status == 503


@pytest.mark.parametrize("held", [True, False])
def test_stall(held: bool) -> None:
    """Silence inside an answer: before the first content another channel answers, after it the stream was cut."""
    with Dialogue(channels(2 if held else 1), stall_timeout_ms="5000") as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head() + chunk(delta("", role="assistant") if held else delta("Hi"))
        for _ in range(4):
            d.later(3)
            up << chunk(b": ping\n\n")
        assert not up.wire.aborted
        d.later(6)
        assert up.wire.aborted
        if held:  # its head is out, but nothing else
            finish(d.upstream())
            assert client.answer().status == 200
            assert [(a.channel, a.reason) for a in d.receipts()[0].attempts] == [(1, "first"), (2, "continue")]
        else:
            assert b"service_unavailable" in client.answer().body
            assert d.receipts()[0].state == "cut"


def test_total() -> None:
    """An answer that never ends is ended."""
    with Dialogue(total_timeout_ms="30000") as d:
        client = d.client()
        up = streaming(d, client)
        for _ in range(31):
            up << chunk(delta("more"))
            d.later(1)
        assert up.wire.aborted
        assert b"service_unavailable" in client.answer().body


def test_a_lease_that_never_comes() -> None:
    """Silence of the control process is a 503, never a 402."""
    with Dialogue(user=User(1, limited=True)) as d:
        d.bank.mode = "silent"
        client = d.client()
        client >> post(chat())
        d.later(9)
        assert client.received == b""
        d.later(2)
        heard = client.answer()
        assert (heard.status, heard.field("retry-after")) == (503, "1")


def test_idle_connections_to_upstreams_are_closed() -> None:
    """After POOL_IDLE_MS."""
    with Dialogue(pool_idle_ms="5000") as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        up << answer(completion())
        d.later(4)
        assert not up.closed
        d.later(2)
        assert up.closed


# Slow clients (DATAPLANE.md rule 9)


def test_a_slow_client_slows_its_upstream() -> None:
    """Above 64 KiB unsent the upstream is not read; below 16 KiB it is again; all content arrives."""
    with Dialogue() as d:
        client = d.client()
        up = streaming(d, client)
        client.stop_reading()
        sent = [delta(f"{n:03}" + TEXT) for n in range(40)]
        for piece in sent:
            up << chunk(piece)
        finish(up)
        assert not up.wire.reading
        assert client.wire.unsent < (64 << 10) + 2 * len(sent[0])
        while not client.answers():
            client.read(20_000)
            up.flush()
            assert client.wire.unsent < (64 << 10) + 2 * len(sent[0])
        assert client.answer().body == delta("Hi") + b"".join(sent) + delta("", finish="stop") + DONE
        assert d.receipts()[0].state == "done"


def test_the_stall_clock_stands_still_meanwhile() -> None:
    """The upstream is not blamed for a client that reads slowly."""
    with Dialogue(stall_timeout_ms="5000", client_stall_timeout_ms="30000") as d:
        client = d.client()
        up = streaming(d, client)
        client.stop_reading()
        for _ in range(10):
            up << chunk(delta(TEXT))
        assert not up.wire.reading
        d.later(20)
        assert not up.wire.aborted
        client.read()
        up.flush()
        d.later(4)
        finish(up)
        assert client.answer().status == 200
        assert d.receipts()[0].state == "done"


def test_a_client_that_stands_still_is_cut_off() -> None:
    """A minute without taking a byte; it is gone then, and pays for what it had."""
    with Dialogue() as d:
        client = d.client()
        up = streaming(d, client)
        client.stop_reading()
        for _ in range(10):
            up << chunk(delta(TEXT))
        d.later(59)
        assert not client.wire.lost
        d.later(2)
        assert client.wire.aborted
        assert up.wire.aborted
        [end] = d.receipts()
        assert (end.state, end.charge > 0) == ("gone", True)


def test_a_client_that_reads_slowly_is_not() -> None:
    """What counts is progress, not whether the buffer ever empties."""
    with Dialogue() as d:
        client = d.client()
        up = streaming(d, client)
        client.stop_reading()
        for _ in range(10):
            up << chunk(delta(TEXT))
        finish(up)
        for _ in range(200):
            client.read(400)
            d.later(1)
            assert not client.wire.aborted
        client.read()
        up.flush()
        assert client.answer().status == 200


def test_unsent_bytes_of_all_clients_are_bounded() -> None:
    """Above the worker's bound the longest-stalled ones go, until the rest fits."""
    with Dialogue(unsent_bytes_max="200000") as d:
        pairs = []
        for _ in range(4):
            client = d.client()
            up = streaming(d, client)
            client.stop_reading()
            pairs.append((client, up))
            d.later(0.1)
        for _, up in pairs:
            for _ in range(8):
                up << chunk(delta(TEXT))
            assert not up.wire.reading
            d.later(0.01)
        d.later(1)
        assert [client.wire.aborted for client, _ in pairs] == [True, True, False, False]
        for client, up in pairs[2:]:
            client.read()
            up.flush()
            finish(up)
            assert client.answer().status == 200


def test_answers_that_are_held_count_with_what_is_unsent() -> None:
    """Above the worker's bound the largest are not held until their end; all arrive whole."""
    with Dialogue(unsent_bytes_max="230000") as d:
        sizes = (90_000, 150_000, 120_000)
        calls = []
        for size in sizes:
            client = d.client()
            client >> post(chat())
            up, body = d.upstream(), completion("x" * size)
            whole = answer(body)
            up << whole[:-10]
            assert client.quiet
            calls.append((client, up, whole, body))
        d.later(1)
        assert [bool(client.received) for client, *_ in calls] == [False, True, False]
        for client, up, whole, body in calls:
            up << whole[-10:]
            assert client.answer().body == body


def test_one_that_breaks_does_not_stop_the_sweep() -> None:
    """The janitor comes again, whatever he stumbled over."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        look = d.sweep._look
        d.sweep._look = None  # type: ignore[assignment, method-assign]
        with pytest.raises(TypeError):
            d.later(1)
        d.sweep._look = look  # type: ignore[method-assign]
        d.later(301)
        assert up.wire.aborted


def test_stop() -> None:
    """No more ticks."""
    with Dialogue(client_idle_timeout_ms="1000", head_timeout_ms="1000") as d:
        client = d.client()
        d.sweep.stop()
        d.later(10)
        assert not client.closed
        d.sweep.start()
