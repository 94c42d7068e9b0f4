"""A worker at the wrong moment: told to stop, killed, orphaned, without its control process or its disk."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from burncloud.domain import link
from burncloud.domain.journal import Close, End, Intent, Return
from burncloud.domain.snapshot import Token, User
from burncloud.router.world import records as rows_of
from tests.rig import HASH, Conn, Rig, hear, until
from tests.speech import DONE, LAST, answer, chat, chunk, completion, delta, get, post, stream_head, usage_chunk

STOP = delta("", finish="stop")


def plain(conn: Conn) -> None:
    """Answers everything."""
    while True:
        conn.read()
        conn.send(answer(completion()))


class Slow:
    """A stream that ends when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, conn: Conn) -> None:
        conn.read()
        conn.send(stream_head() + chunk(delta("Hello")))
        self.begun.set()
        self.go_on.wait(30)
        conn.send(chunk(STOP + usage_chunk() + DONE) + LAST)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_open_streams_finish(tmp_path: Path, number: int) -> None:
    """New connections are refused, idle ones closed, the stream ends in its own time, the journal ends cleanly."""
    slow = Slow()
    with Rig(tmp_path, slow) as rig, rig.connect() as idle, rig.connect() as client:
        client.sendall(post(chat(stream=True)) + post(chat()))
        assert slow.begun.wait(10)
        rig.process.send_signal(number)
        assert idle.recv(10) == b""
        rig._door.close()
        until(lambda: refused(rig), "no new connections")
        time.sleep(0.3)
        assert rig.process.poll() is None
        slow.go_on.set()
        [heard] = hear(client)
        assert heard.body == delta("Hello") + STOP + DONE
        assert client.recv(10) == b""
        assert rig.process.wait(10) == 0
        [end] = rig.receipts()
        assert (end.state, end.usage.output) == ("done", 20)


def refused(rig: Rig) -> bool:
    """Whether nobody listens any more."""
    try:
        rig.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_has_an_end(tmp_path: Path) -> None:
    """A stream that goes on for too long is cut off; its receipt is written before the journal is closed."""
    slow = Slow()
    with Rig(tmp_path, slow, drain_timeout_ms="700") as rig, rig.connect() as client:
        client.sendall(post(chat(stream=True)))
        assert slow.begun.wait(10)
        started = time.monotonic()
        assert rig.stop() == 0
        assert 0.6 < time.monotonic() - started < 5
        slow.go_on.set()
        written = rig.written()
        assert isinstance(written[-2], End)
        assert written[-2].state == "gone"
        assert isinstance(written[-1], Close)


def test_a_stop_returns_the_leases(tmp_path: Path) -> None:
    """What was granted and not used, before the journal's end."""
    limited = {"user": User(1, limited=True), "token": Token(1, HASH, 1, limited=True)}
    with Rig(tmp_path, plain, **limited) as rig:  # type: ignore[arg-type]
        assert rig.ask(post(chat()))[0].status == 200
        assert rig.stop() == 0
        written = rig.written()
        [end] = rig.receipts()
        returns = {record.kind: record.amount for record in written if isinstance(record, Return)}
        granted = rig.control.bank.granted
        assert returns == {
            "user": granted["user", 1] - end.draw_user, "token": granted["token", 1] - end.draw_token,
        }  # fmt: skip
        assert end.draw_user == end.charge > 0


def test_killed(tmp_path: Path) -> None:
    """SIGKILL in the middle: what had ended has its end in the file, what was open has its intent, nothing more."""
    slow = Slow()
    with Rig(tmp_path, slow) as rig:
        slow.go_on.set()
        assert rig.ask(post(chat(stream=True)))[0].status == 200
        slow.begun.clear()
        slow.go_on.clear()
        with rig.connect() as client:
            client.sendall(post(chat(stream=True)))
            assert slow.begun.wait(10)
            rig.kill()
        slow.go_on.set()
        kinds = [type(record) for record in rig.written()]
        assert kinds == [Intent, End, Intent]


def test_control_is_silent(tmp_path: Path) -> None:
    """Unlimited payers are served; a limited one that needs a lease is told 503 after ten seconds, never 402."""
    with Rig(tmp_path, plain) as rig:
        rig.control.bank.mode = "silent"
        assert rig.ask(post(chat()))[0].status == 200
        rig.control.tell(link.Put("user", rows_of([User(1, limited=True)])))
        time.sleep(0.1)
        started = time.monotonic()
        [heard] = rig.ask(post(chat()))
        assert (heard.status, heard.field("retry-after")) == (503, "1")
        assert 9 < time.monotonic() - started < 13


def test_control_restarts_under_load(tmp_path: Path) -> None:
    """The link breaks again and again while requests run: none fails, and the Snapshot is whole each time."""
    stop = threading.Event()
    statuses: list[int] = []

    with Rig(tmp_path, plain) as rig:

        def ask() -> None:
            with rig.connect() as client:
                while not stop.is_set():
                    client.sendall(post(chat()))
                    statuses.extend(a.status for a in hear(client))

        askers = [threading.Thread(target=ask) for _ in range(3)]
        for asker in askers:
            asker.start()
        for _ in range(10):
            time.sleep(0.1)
            rig.control.cut()
        stop.set()
        for asker in askers:
            asker.join()
        assert len(rig.control.journals) > 5
        assert len(set(rig.control.journals)) == 1
        assert len(statuses) > 50
        assert set(statuses) == {200}
        assert len(rig.wait_receipts(len(statuses))) == len(statuses)


def test_frozen_and_thawed(tmp_path: Path) -> None:
    """SIGSTOP for a while: the request that waited is answered, deadlines that passed meanwhile do not kill it."""
    with Rig(tmp_path, plain) as rig, rig.connect() as client:
        rig.process.send_signal(signal.SIGSTOP)
        client.sendall(post(chat()))
        time.sleep(2)
        rig.process.send_signal(signal.SIGCONT)
        [heard] = hear(client)
        assert heard.status == 200


def test_a_changed_token_on_an_open_connection(tmp_path: Path) -> None:
    """Disabled in control, refused on the next request of the same connection, and served again when enabled."""
    with Rig(tmp_path, plain) as rig, rig.connect() as client:

        def status() -> int:
            client.sendall(post(chat()))
            return hear(client)[0].status

        assert [status(), status(), status()] == [200] * 3
        rig.control.tell(link.Put("token", rows_of([Token(1, HASH, 1, enabled=False)])))
        until(lambda: status() == 401, "the change is live", 1)
        rig.control.tell(link.Put("token", rows_of([Token(1, HASH, 1)])))
        until(lambda: status() == 200, "the change is live", 1)


def test_the_wall_without_a_control_process(tmp_path: Path) -> None:
    """No HTTP there: 503 for management, while LLM traffic goes on; HEAD has no body."""
    with Rig(tmp_path, plain) as rig, rig.connect() as client:
        assert rig.ask(get("/health"))[0].status == 503
        client.sendall(get("/health", method="HEAD") + post(chat()))
        data = b""
        client.settimeout(5)
        while b"chatcmpl" not in data:
            data += client.recv(65536)
        head, _, rest = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503")
        assert rest.startswith(b"HTTP/1.1 200")


def test_a_port_scanner(tmp_path: Path) -> None:
    """Connections that say nothing sensible, by the hundred, and a client among them."""
    with Rig(tmp_path, plain, head_timeout_ms="1000") as rig:
        noise = [
            b"",
            b"\0" * 100,
            b"\x16\x03\x01",
            b"GET",
            b"SSH-2.0-x\r\n",
            b"\r\n\r\n",
            b"A" * 70_000,
            b"GET / HTTP/1.1\r\n",
        ]
        socks: list[socket.socket] = []
        for n in range(200):
            sock = rig.connect()
            with contextlib.suppress(OSError):
                sock.sendall(noise[n % len(noise)])
            socks.append(sock)
            if n % 20 == 0:
                assert rig.ask(post(chat()))[0].status == 200
        until(lambda: rig.control.stats.get("connections") == 0, "all are closed")
        for sock in socks:
            sock.close()
