"""Upstreams on real sockets, plain and TLS, that break off, lie, stand still or close when they like."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
from pathlib import Path

import pytest
import trustme

from tests.rig import Conn, Rig, hear, until
from tests.speech import DONE, LAST, answer, chat, chunk, completion, delta, post, problem, stream_head, usage_chunk

MIB = 1 << 20
STOP = delta("", finish="stop")
GOOD = answer(completion())


class Authority:
    """A private CA and a server's context."""

    def __init__(self, folder: Path, name: str = "localhost") -> None:
        ca = trustme.CA()
        self.file = str(folder / "ca.pem")
        ca.cert_pem.write_to_path(self.file)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(name).configure_cert(self.server)


def plain(conn: Conn) -> None:
    """Answers everything."""
    while True:
        conn.read()
        conn.send(GOOD)


def streaming(conn: Conn) -> None:
    """A stream of 5 MB in small writes."""
    while True:
        conn.read()
        conn.send(stream_head())
        for _ in range(500):
            conn.send(chunk(delta("y" * 10_000)))
        conn.send(chunk(STOP + usage_chunk() + DONE) + LAST)


# TLS


def test_tls(tmp_path: Path) -> None:
    """Answers and streams over a verified connection, which is kept."""
    ca = Authority(tmp_path)
    with Rig(tmp_path / "rig", streaming, tls=ca.server, options={"ca_file": ca.file}) as rig, rig.connect() as client:
        for _ in range(3):
            client.sendall(post(chat(stream=True)))
            [heard] = hear(client)
            assert heard.body == delta("y" * 10_000) * 500 + STOP + DONE
        assert rig.upstream.connections == 1


def test_tls_carries_large_bodies(tmp_path: Path) -> None:
    """20 MB up over TLS, from the spool, without filling the memory."""
    sizes: list[int] = []

    def script(conn: Conn) -> None:
        while True:
            sizes.append(len(conn.read().body))
            conn.send(GOOD)

    ca = Authority(tmp_path)
    with Rig(tmp_path / "rig", script, tls=ca.server, options={"ca_file": ca.file}) as rig:
        rig.ask(post(chat()))
        before = rig.memory_bytes()
        message = post(chat(user="u" * (20 * MIB)))
        assert rig.ask(message)[0].status == 200
        assert sizes[1] == len(message.partition(b"\r\n\r\n")[2])
        assert rig.memory_bytes() - before < 16 * MIB


@pytest.mark.parametrize("name", ["localhost", "elsewhere.test"])
def test_a_certificate_that_cannot_be_trusted(tmp_path: Path, name: str) -> None:
    """Of an unknown authority, or of another name: no request goes there, 503."""
    ca = Authority(tmp_path, name)
    options: dict[str, object] = {} if name == "localhost" else {"ca_file": ca.file}
    with Rig(tmp_path / "rig", plain, tls=ca.server, options=options) as rig:
        assert rig.ask(post(chat()))[0].status == 503
        [end] = rig.wait_receipts(1)
        assert (end.state, end.attempts) == ("failed", ())


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_stream_breaks_off(tmp_path: Path, tls: bool, how: str) -> None:
    """Whatever the transport: an error event, state cut, the client's connection serves on."""

    def script(conn: Conn) -> None:
        conn.read()
        conn.send(stream_head() + chunk(delta("Hello")))
        time.sleep(0.1)
        if how == "RST":
            conn.reset()

    ca = Authority(tmp_path)
    context, options = (ca.server, {"ca_file": ca.file}) if tls else (None, None)
    with Rig(tmp_path / "rig", script, tls=context, options=options) as rig, rig.connect() as client:  # type: ignore[arg-type]
        for _ in range(2):
            client.sendall(post(chat(stream=True)))
            [heard] = hear(client)
            assert heard.body.startswith(delta("Hello"))
            assert b"service_unavailable" in heard.body
        assert [end.state for end in rig.wait_receipts(2)] == ["cut", "cut"]


@pytest.mark.parametrize("goodbye", [True, False])
def test_tls_and_the_end_of_a_connection(tmp_path: Path, goodbye: bool) -> None:
    """An answer that only the connection's end completes, ended by FIN without close_notify: anybody on the way could
    have done that, so it is no end."""

    def script(conn: Conn) -> None:
        conn.read()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
        conn.send(head + completion())
        time.sleep(0.1)
        if goodbye:
            assert isinstance(conn.sock, ssl.SSLSocket)
            conn.sock.unwrap().close()
        else:
            socket.socket(fileno=conn.sock.detach()).close()

    ca = Authority(tmp_path)
    with Rig(tmp_path / "rig", script, tls=ca.server, options={"ca_file": ca.file}) as rig:
        heard = rig.ask(post(chat()))
        assert [a.status for a in heard] == [200 if goodbye else 502]


# Keep-alive


def test_connections_that_close_when_they_like(tmp_path: Path) -> None:
    """An upstream that closes after each answer, now or a moment later, without saying so: every request is answered,
    none is lost in the gap, and the books show each send."""
    lock = threading.Lock()
    received = 0
    wait = random.Random(1)

    def script(conn: Conn) -> None:
        nonlocal received
        for _ in range(wait.randint(1, 3)):
            conn.read()
            with lock:
                received += 1
            conn.send(GOOD)
            time.sleep(wait.choice((0, 0, 0.0005, 0.002)))

    with Rig(tmp_path, script) as rig, rig.connect() as client:
        for _ in range(400):
            client.sendall(post(chat()))
            [heard] = hear(client)
            assert heard.status == 200
        ends = rig.wait_receipts(400)
        sure = sum(attempt.sent == 1 for end in ends for attempt in end.attempts)
        unknown = sum(attempt.sent == 2 for end in ends for attempt in end.attempts)
        assert sure <= received <= sure + unknown
        assert {end.state for end in ends} == {"done"}


def test_bytes_that_nobody_asked_for(tmp_path: Path) -> None:
    """A second answer, in the same write or a moment later, is never taken for the next request's."""

    def script(conn: Conn) -> None:
        conn.read()
        late = rig_wait.pop()
        conn.send(GOOD if late else GOOD + answer(completion("evil")))
        if late:
            time.sleep(0.05)
            conn.send(answer(completion("evil")))
        time.sleep(0.2)

    rig_wait = [n % 2 == 0 for n in range(20)]
    with Rig(tmp_path, script) as rig, rig.connect() as client:
        for _ in range(20):
            client.sendall(post(chat()))
            [heard] = hear(client)
            assert heard.body == completion()
            time.sleep(0.08)
        assert rig.upstream.connections == 20


def test_it_closes_while_it_is_written_to(tmp_path: Path) -> None:
    """A large body to an upstream that answers 413 early and closes: the answer is relayed where it arrived, else it
    is a failed attempt; the worker serves on."""

    def script(conn: Conn) -> None:
        conn.read_head()
        conn.send(problem(413, "too large", "Connection: close"))
        time.sleep(0.2)
        conn.close()

    with Rig(tmp_path, script) as rig:
        for _ in range(5):
            [heard] = rig.ask(post(chat(user="u" * (8 * MIB))))
            assert heard.status in (413, 502)
        assert len(rig.wait_receipts(5)) == 5


def test_it_reads_nothing(tmp_path: Path) -> None:
    """A large body to an upstream that stands still: bounded memory, given up in time, the next one is served."""
    still = threading.Event()

    def script(conn: Conn) -> None:
        if not still.is_set():
            still.set()
            time.sleep(6)
            return
        plain(conn)

    with Rig(tmp_path, script, first_byte_timeout_ms="3000", retry_same_ms="0") as rig:
        rig_before = rig.memory_bytes()
        heard = rig.ask(post(chat(user="u" * (20 * MIB))))
        assert [a.status for a in heard] == [503]
        assert rig.memory_bytes() - rig_before < 16 * MIB
        assert rig.ask(post(chat()))[0].status == 200


def test_nobody_listens(tmp_path: Path) -> None:
    """503 at once, and a row."""
    with Rig(tmp_path, plain) as rig:
        rig.upstream.close()
        started = time.monotonic()
        assert rig.ask(post(chat()))[0].status == 503
        assert time.monotonic() - started < 2
        [end] = rig.wait_receipts(1)
        assert (end.state, end.attempts, end.charge) == ("failed", (), 0)


def test_heads_and_trailers_without_end(tmp_path: Path) -> None:
    """Each is cut off before it fills the memory."""

    def script(conn: Conn) -> None:
        request = conn.read()
        if request.json.get("stream"):
            conn.send(stream_head() + chunk(delta("Hi")) + b"0\r\nX-T: ")
        else:
            conn.send(b"HTTP/1.1 200 OK\r\nX-A: ")
        while True:
            conn.send(b"a" * 65536)

    with Rig(tmp_path, script) as rig:
        before = rig.memory_bytes()
        assert rig.ask(post(chat()))[0].status == 502
        assert b"service_unavailable" in rig.ask(post(chat(stream=True)))[0].body
        assert rig.memory_bytes() - before < 8 * MIB
        until(lambda: rig.control.stats.get("live") == 0, "nothing is live")


def test_a_thousand_chunks_in_one_read(tmp_path: Path) -> None:
    """Chunks of one byte, 100,000 of them: the content arrives, re-framed, at a bearable cost."""

    def script(conn: Conn) -> None:
        conn.read()
        body = completion("z" * 100_000)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        conn.send(head + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + LAST)

    with Rig(tmp_path, script) as rig:
        started = time.monotonic()
        [heard] = rig.ask(post(chat()))
        assert heard.body == completion("z" * 100_000)
        assert time.monotonic() - started < 5
