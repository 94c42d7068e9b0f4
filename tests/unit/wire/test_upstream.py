"""One upstream connection, and an upstream that misbehaves on it in every way we thought of.

Rules 1, 2 and 12 of DATAPLANE.md: what cannot be trusted is cut off, what was never heard of may be asked again.
"""

from __future__ import annotations

import pytest

from burncloud.router.translate import TURN_BYTES
from tests.dialogue import Client, Dialogue, UpstreamEnd, channels
from tests.speech import (
    DONE,
    LAST,
    answer,
    chat,
    chunk,
    completion,
    delta,
    in_chunks,
    post,
    problem,
    stream_head,
    usage_chunk,
)  # fmt: skip

GOOD = completion()
JSON = "Content-Type: application/json"


def asked(d: Dialogue, **fields: object) -> tuple[Client, UpstreamEnd]:
    """A client whose request has reached an upstream."""
    client = d.client()
    client >> post(chat(**fields))
    return client, d.upstream()


def reused(d: Dialogue, **fields: object) -> tuple[Client, UpstreamEnd]:
    """The same on a connection that has answered before."""
    client, up = asked(d)
    up << answer(GOOD)
    assert client.answer().status == 200
    client >> post(chat(**fields))
    assert d.upstream() is up
    return client, up


def raw(*lines: str, body: bytes = b"") -> bytes:
    """An answer of exactly these lines."""
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


# What is no answer: 502, and the connection is never used again

BROKEN = {
    "no HTTP": b"hello\r\n\r\n",
    "an SSH banner": b"SSH-2.0-OpenSSH_9.2\r\n",
    "a bad status": raw("HTTP/1.1 abc OK", "Content-Length: 0"),
    "a status of two digits": raw("HTTP/1.1 20 OK", "Content-Length: 0"),
    "status 600": raw("HTTP/1.1 600 OK", "Content-Length: 0"),
    "status 999": raw("HTTP/1.1 999 OK", "Content-Length: 0"),
    "gzip as a coding": raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: gzip, chunked", body=in_chunks(GOOD)),
    "gzip and close": raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: gzip", "Connection: close", body=GOOD),
    "a coding of its own": raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: x", body=in_chunks(GOOD)),
    "both lengths": raw(
        "HTTP/1.1 200 OK", JSON, "Content-Length: 9", "Transfer-Encoding: chunked", body=in_chunks(GOOD)
    ),
    "two lengths": raw("HTTP/1.1 200 OK", JSON, "Content-Length: 9", "Content-Length: 8", body=GOOD),
    "a negative length": raw("HTTP/1.1 200 OK", JSON, "Content-Length: -1"),
    "a bad chunk": raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked", body=b"zz\r\n"),
    "a folded field": raw("HTTP/1.1 200 OK", "X: a\r\n b", "Content-Length: 0"),
    "NUL in a field": raw("HTTP/1.1 200 OK", "X: a\0b", "Content-Length: 0"),
    "101 unasked": raw(
        "HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", body=b"\x81\x00"
    ),
    "101 without a protocol": raw("HTTP/1.1 101 Switching Protocols"),
    "a redirect": raw("HTTP/1.1 302 Found", "Location: http://other.test/", "Content-Length: 0"),
    "an empty answer": answer(b""),
}


@pytest.mark.parametrize("name", BROKEN)
@pytest.mark.parametrize("size", [1 << 20, 1], ids=["whole", "bytes"])
def test_what_is_no_answer(name: str, size: int) -> None:
    """One channel, no other to go to: 502 without a word of what came, nothing charged, the connection cut."""
    with Dialogue() as d:
        client, up = asked(d)
        up.say_split(BROKEN[name], size)
        heard = client.answer()
        assert heard.status == 502
        assert heard.json["error"]["code"] == "bad_gateway"
        assert "location" not in {field.lower() for field, _ in heard.fields}
        assert up.wire.aborted
        assert not client.closed
        [end] = d.receipts()
        assert (end.state, end.charge, end.status, len(end.attempts)) == ("failed", 0, 502, 1)


@pytest.mark.parametrize("name", BROKEN)
def test_another_channel_answers_instead(name: str) -> None:
    """Nothing of a broken answer has reached the client, so the next channel can."""
    with Dialogue(channels(2)) as d:
        client, first = asked(d)
        first << BROKEN[name]
        second = d.upstream()
        assert second.origin is not first.origin
        second << answer(GOOD)
        assert client.answer().body == GOOD
        [end] = d.receipts()
        assert [(a.channel, a.reason, a.sent) for a in end.attempts] == [(1, "first", 1), (2, "failover", 1)]
        assert end.channel == 2
        assert [a.charge for a in end.attempts] == [0, end.charge]


# A second answer


@pytest.mark.parametrize("tail", [
    answer(b"evil", status=500), b"HTTP/1.1 200 OK\r\nX-", b"H", b"garbage", b"HTTP/1.1 100 Continue\r\n\r\n",
    b"\0", answer(completion("evil")),
])  # fmt: skip
@pytest.mark.parametrize("coded", [False, True])
def test_bytes_behind_the_answer(tail: bytes, coded: bool) -> None:
    """In the same read: the answer stands as it was, and what follows it is nobody's, now or later."""
    with Dialogue() as d:
        client, up = asked(d)
        said = (
            raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked", body=in_chunks(GOOD)) if coded else answer(GOOD)
        )
        up << said + tail
        heard = client.answer()
        assert (heard.status, heard.body) == (200, GOOD)
        assert client.quiet
        assert up.wire.aborted
        client >> post(chat())
        assert d.upstream() is not up


def test_bytes_while_idle() -> None:
    """Nobody asked: the connection is cut, and the next request takes another one."""
    with Dialogue() as d:
        client, up = asked(d)
        up << answer(GOOD)
        client.answer()
        up << answer(completion("evil"))
        assert up.wire.aborted
        client >> post(chat())
        other = d.upstream()
        assert other is not up
        other << answer(GOOD)
        assert client.answer().body == GOOD


def test_a_stray_line_end_behind_the_answer() -> None:
    """Some servers send one; it ends nothing and begins nothing."""
    with Dialogue() as d:
        client, up = asked(d)
        up << answer(GOOD) + b"\r\n"
        assert client.answer().body == GOOD
        client >> post(chat())
        assert d.upstream() is up
        up << answer(GOOD)
        assert client.answer().body == GOOD


# Connections that die


@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_a_fresh_connection_dies_unheard(how: str) -> None:
    """The upstream may have worked on it: no second try with the same channel."""
    with Dialogue() as d:
        client, up = asked(d)
        getattr(up, how)()
        assert client.answer().status == 502
        assert len(d.upstreams) == 1


@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_a_reused_connection_dies_unheard(how: str) -> None:
    """It was probably closed before the request came: one fresh connection to the same channel, as an attempt of its
    own (DATAPLANE.md rule 2)."""
    with Dialogue() as d:
        client, up = reused(d)
        getattr(up, how)()
        fresh = d.upstream()
        assert fresh is not up
        assert fresh.request.json == chat()
        fresh << answer(GOOD)
        assert client.answer().body == GOOD
        end = d.receipts()[1]
        assert [(a.reason, a.sent, a.channel) for a in end.attempts] == [("first", 2, 1), ("reconnect", 1, 1)]


def test_the_fresh_one_dies_too() -> None:
    """One reconnect, then it counts against the channel."""
    with Dialogue() as d:
        client, up = reused(d)
        up.hang_up()
        d.upstream().hang_up()
        assert client.answer().status == 502
        assert len(d.upstreams) == 2


def test_a_connection_that_was_dialled_for_somebody_else() -> None:
    """It stood idle, so it may be stale like any other, though it never answered."""
    with Dialogue(dialling="wait") as d:
        client = d.client()
        client >> post(chat())
        client.reset()
        up = d.dials[0].accept()
        d.dialling = "accept"
        client = d.client()
        client >> post(chat())
        assert d.upstream() is up
        up.hang_up()
        d.upstream() << answer(GOOD)
        assert client.answer().body == GOOD


@pytest.mark.parametrize("first", [b"H", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_a_reused_connection_dies_after_a_byte(first: bytes, how: str) -> None:
    """A byte of an answer says that the request was read: it is not sent again to the same channel."""
    with Dialogue() as d:
        client, up = reused(d)
        up << first
        getattr(up, how)()
        assert client.answer().status == 502
        assert len(d.upstreams) == 1


def test_a_reused_connection_stays_silent() -> None:
    """A time-out is never taken for a stale connection."""
    with Dialogue(first_byte_timeout_ms="5000") as d:
        client, up = reused(d)
        d.later(6)
        assert client.answer().status == 503
        assert up.wire.aborted
        assert len(d.upstreams) == 1


def test_an_idle_connection_that_ends_is_forgotten() -> None:
    """The next request does not meet it."""
    with Dialogue() as d:
        client, up = asked(d)
        up << answer(GOOD)
        client.answer()
        up.hang_up()
        client >> post(chat())
        assert d.upstream() is not up


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("said", [answer(GOOD)[:-1], answer(GOOD).partition(b"{")[0]])
def test_a_plain_answer_breaks_off_while_held(said: bytes, how: str) -> None:
    """It was not passed on yet, so another channel can answer."""
    with Dialogue(channels(2)) as d:
        client, up = asked(d)
        up << said
        getattr(up, how)()
        d.upstream() << answer(GOOD)
        assert client.answer().body == GOOD


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("coded", [False, True])
def test_a_long_answer_breaks_off(how: str, coded: bool) -> None:
    """Part of it has gone down: the client's connection ends with it, so that it cannot look complete."""
    with Dialogue() as d:
        client, up = asked(d)
        body = b'{"x":"' + b"a" * 400_000
        framing = "Transfer-Encoding: chunked" if coded else "Content-Length: 500000"
        up << raw("HTTP/1.1 200 OK", JSON, framing, body=chunk(body) if coded else body)
        assert client.received
        getattr(up, how)()
        assert client.wire.aborted
        assert client.answers() == []
        assert d.receipts()[0].state == "cut"


# The end of an answer without framing


@pytest.mark.parametrize(
    ("first", "complete"),
    [
        (("HTTP/1.1 200 OK", "Connection: close"), True),
        (("HTTP/1.1 200 OK", "Connection: X-A, Close"), True),
        (("HTTP/1.0 200 OK",), True),
        (("HTTP/1.1 200 OK",), False),
        (("HTTP/1.1 200 OK", "Connection: keep-alive"), False),
    ],
)
def test_eof_as_the_end(first: tuple[str, ...], complete: bool) -> None:
    """EOF completes an answer only where the upstream said that it would (DATAPLANE.md rule 12)."""
    with Dialogue() as d:
        client, up = asked(d)
        up << raw(*first, JSON, body=GOOD[:50])
        up << GOOD[50:]
        assert client.received == b""
        up.hang_up()
        heard = client.answer()
        assert heard.status == (200 if complete else 502)
        assert not complete or heard.body == GOOD


def test_rst_is_no_end() -> None:
    """A reset completes nothing."""
    with Dialogue() as d:
        client, up = asked(d)
        up << raw("HTTP/1.1 200 OK", "Connection: close", JSON, body=GOOD)
        up.reset()
        assert client.answer().status == 502


def test_a_length_and_eof() -> None:
    """A stated length holds, `Connection: close` or not."""
    with Dialogue() as d:
        client, up = asked(d)
        up << raw("HTTP/1.1 200 OK", "Connection: close", JSON, "Content-Length: 1000", body=GOOD)
        up.hang_up()
        assert client.answer().status == 502


# Reuse


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (answer(GOOD), True),
        (answer(GOOD, "Connection: keep-alive"), True),
        (answer(GOOD, "Connection: close"), False),
        (answer(GOOD).replace(b"HTTP/1.1", b"HTTP/1.0", 1), False),
        (answer(GOOD, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0", 1), True),
        (raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: chunked", body=in_chunks(GOOD, (7,))), True),
        (
            raw("HTTP/1.1 200 OK", JSON, "Transfer-Encoding: Chunked", body=in_chunks(GOOD)[:-2] + b"X-T: 1\r\n\r\n"),
            True,
        ),
        (raw("HTTP/1.1 204 No Content"), False),
        (problem(400), True),
        (problem(500), False),
    ],
)
def test_which_connections_are_kept(said: bytes, kept: bool) -> None:
    """As the upstream says; one that failed is not asked again."""
    with Dialogue() as d:
        client, up = asked(d)
        up << said
        client.answer()
        client >> post(chat())
        assert (d.upstream() is up) is kept


def test_interim_answers_are_swallowed() -> None:
    """1xx is between us and the upstream; its fields are not the answer's."""
    with Dialogue() as d:
        client, up = asked(d)
        up << raw("HTTP/1.1 100 Continue") + raw("HTTP/1.1 103 Early Hints", "Link: </x>", "X-Early: 1")
        up << raw("HTTP/1.1 102 Processing") + answer(GOOD)
        heard = client.answer()
        assert heard.body == GOOD
        assert not {"link", "x-early"} & {field.lower() for field, _ in heard.fields}
        client >> post(chat())
        assert d.upstream() is up


def test_interim_answers_without_end() -> None:
    """They are no sign of life: the connection is cut above 256 KiB of them."""
    with Dialogue() as d:
        client, up = asked(d)
        for _ in range(100):
            up << raw("HTTP/1.1 100 Continue") * 150
        assert client.answer().status == 502
        assert up.wire.aborted


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n"])
def test_a_head_without_end(start: bytes) -> None:
    """Nor is a head that never ends."""
    with Dialogue() as d:
        client, up = asked(d)
        up << start
        for n in range(60):
            up << (b"a" * 10_000 if start.endswith(b": ") else b"X-%d: %b\r\n" % (n, b"a" * 10_000))
        assert client.answer().status == 502
        assert up.wire.aborted


def test_trailers_without_end() -> None:
    """Nor trailers; what was passed on ends as a broken stream."""
    with Dialogue() as d:
        client, up = asked(d, stream=True)
        up << stream_head() + chunk(delta("Hi"))
        up << b"0\r\nX-T: "
        for _ in range(60):
            up << b"a" * 10_000
        assert up.wire.aborted
        assert client.answer().body.startswith(delta("Hi"))
        assert d.receipts()[0].state == "cut"


def test_an_early_answer_ends_the_upload() -> None:
    """A final answer before the body was sent is relayed; the rest is not sent, the connection not used again."""
    with Dialogue() as d:
        body = chat(user="u" * 3_000_000)
        client = d.client()
        message = post(body)
        client.say_split(message[:-1], 100_000)
        d.dialling = "wait"
        client >> message[-1:]
        [dial] = d.dials
        up = dial.accept(slow=True)
        sent = len(up.received)
        assert sent < 1_000_000
        up << problem(413, "too large")
        assert client.answer().status == 413
        assert up.wire.lost
        assert len(up.received) == sent
        assert not client.closed


# A read that is too long for one turn of the loop

LONG = b"".join(delta(f"word {n} ") for n in range(600))
REST = delta(finish="stop") + usage_chunk() + DONE


def said_at_once(d: Dialogue) -> tuple[Client, UpstreamEnd]:
    """A stream that comes in one read."""
    client, up = asked(d, stream=True, stream_options={"include_usage": True})
    up << stream_head() + chunk(LONG) + chunk(REST) + LAST
    return client, up


def test_a_long_read_is_handled_in_turns() -> None:
    """Nothing is lost, nothing comes twice; the connection is as good as before."""
    with Dialogue() as d:
        client, up = said_at_once(d)
        assert client.answer().body == LONG + REST
        writes = [len(data) for side, data in d.events if side == "down"]
        assert len(writes) >= len(LONG) // TURN_BYTES
        assert max(writes) < TURN_BYTES + 1000
        client >> post(chat())
        up << answer(GOOD)
        assert client.answer().status == 200
        assert len(d.upstreams) == 1


def test_a_slow_client_stops_a_long_read() -> None:
    with Dialogue() as d:
        client, up = asked(d, stream=True, stream_options={"include_usage": True})
        client.stop_reading()
        up << stream_head() + chunk(LONG) + chunk(REST) + LAST
        assert not up.wire.reading
        assert client.wire.unsent < 64 * 1024 + 2 * TURN_BYTES
        while not up.wire.reading:
            client.read()
        client.read()
        assert client.answer().body == LONG + REST


@pytest.mark.parametrize("beyond", [0, 1, 20])
def test_more_than_the_answer_in_a_long_read(beyond: int) -> None:
    """The rest of it is nobody's answer, wherever the turns are cut, and whoever asks next."""
    with Dialogue() as d:
        client, up = asked(d, stream=True, stream_options={"include_usage": True})
        client >> post(chat())
        most = TURN_BYTES - beyond - len(stream_head()) - len(LAST) - len(b"1000\r\n\r\n")
        body = b": %b\n\n" % (b"x" * (most - len(REST) - 4)) + REST
        up << stream_head() + chunk(body) + LAST + answer(b"x" * 3 * TURN_BYTES)
        assert client.answer().body == body
        assert not up.protocol.keep  # who waits for a connection gets another at once
        assert up.wire.aborted
        d.upstream() << answer(GOOD)
        assert client.answer().body == GOOD


def test_who_leaves_in_a_long_read() -> None:
    with Dialogue() as d:
        client, up = asked(d, stream=True, stream_options={"include_usage": True})
        client.stop_reading()
        up << stream_head() + chunk(LONG) + chunk(REST) + LAST
        client.reset()
        assert up.wire.aborted
        [end] = d.receipts()
        assert (end.state, end.charge > 0) == ("gone", True)


def test_repr_tells_the_state() -> None:
    """For logs and debuggers."""
    with Dialogue() as d:
        client, up = asked(d)
        assert "busy, 0" in repr(up.protocol)
        up << answer(GOOD) + LAST[:0]
        assert "idle, 1" in repr(up.protocol)
        up.reset()
        assert "lost" in repr(up.protocol)
        assert client.answer().status == 200
