"""One worker process on real sockets, with a small control process and a scripted upstream in threads.

For what the in-process dialogue (tests/dialogue.py) cannot show: kernels, TLS, slow readers, signals, memory.

    with Rig(tmp_path, script) as rig, rig.connect() as client:
        client.sendall(post(chat()))

`script(conn)` is called in a thread of its own for each connection to the upstream.  At the end the worker is
stopped and its journal must add up: one End for each Intent, no hold left.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from burncloud import config
from burncloud.domain import journal as records
from burncloud.domain import link
from burncloud.domain.journal import End, Intent, JournalRecord
from burncloud.domain.snapshot import Channel, Token, User
from burncloud.router.world import records as rows_of
from burncloud.wire.link import LinkServer, Peer
from tests.dialogue import KEY, PRICE, Bank
from tests.speech import Answer, Request, read_answers, read_requests

ROOT = Path(__file__).resolve().parent.parent
WAIT_S = 20.0
HASH = hashlib.sha256(KEY.encode()).digest()


def until(true: Callable[[], bool], what: str, seconds: float = WAIT_S, every_s: float = 0.005) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(every_s)


class Conn:
    """The upstream's end of one connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._data = bytearray()

    def read(self) -> Request:
        """The next request, whole.  EOFError if the worker closes first."""
        size = self.read_head()
        [request] = read_requests(bytes(self._data[:size]))
        size += int(request.field("content-length") or "0")
        while len(self._data) < size:
            self._more()
        [request] = read_requests(bytes(self._data[:size]))
        del self._data[:size]
        return request

    def read_head(self) -> int:
        """Wait for a head; its length."""
        while (end := self._data.find(b"\r\n\r\n")) < 0:
            self._more()
        return end + 4

    def _more(self) -> None:
        got = self.sock.recv(1 << 20)
        if not got:
            raise EOFError
        self._data += got

    def send(self, data: bytes) -> None:
        """Say this."""
        self.sock.sendall(data)

    def gone(self, seconds: float = WAIT_S) -> bool:
        """Whether the worker closes within this time."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def reset(self) -> None:
        """RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """FIN."""
        self.sock.close()


class Upstream:
    """A server in threads; what goes wrong in a script is kept and raised at the end."""

    def __init__(self, script: Callable[[Conn], None], context: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.port: int = self._socket.getsockname()[1]
        self.connections = 0
        self.failures: list[BaseException] = []
        self._closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            sock.settimeout(WAIT_S * 2)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                sock = self._context.wrap_socket(sock, server_side=True)
            self._script(Conn(sock))
        except (OSError, EOFError):
            pass
        except BaseException as error:
            self.failures.append(error)
        finally:
            with contextlib.suppress(OSError):
                sock.close()

    def close(self) -> None:
        """No more connections."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Control(threading.Thread):
    """The control process as a worker sees it: a Snapshot, and a bank that answers questions."""

    def __init__(self, path: str, puts: list[link.Put]) -> None:
        super().__init__(name="control", daemon=True)
        self._path = path
        self._puts = puts
        self.bank = Bank()
        self.returned: dict[tuple[str, int], int] = {}
        self.ledger = "l" * 32
        self.peers: list[Peer[link.ToControl]] = []
        self.stats: dict[str, int] = {}
        self.seq = 0
        self.journals: list[str] = []
        self._started = threading.Event()
        self.loop: asyncio.AbstractEventLoop

    def run(self) -> None:
        """The thread."""
        asyncio.run(self._run())

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._end = asyncio.Event()
        server = LinkServer(self._path, self.peers.append, self._heard, self._left)
        await server.start()
        self._started.set()
        await self._end.wait()
        for peer in list(self.peers):
            peer.close()
        server.close()
        await asyncio.sleep(0.01)

    def _left(self, peer: Peer[link.ToControl]) -> None:
        self.peers.remove(peer)

    def _heard(self, peer: Peer[link.ToControl], message: link.ToControl) -> None:
        if isinstance(message, link.Hello):
            peer.send(link.Welcome(self.ledger, "node"))
        elif isinstance(message, link.Opened):
            self.journals.append(message.journal)
            for put in self._puts:
                peer.send(put)
            peer.send(link.Ready(1))
        elif isinstance(message, link.Ask):
            if self.bank.mode != "silent":
                peer.send(self.bank.answer(message, lambda kind, account: self.returned.get((kind, account), 0)))
        elif isinstance(message, link.Bell):
            self.seq = message.seq
        elif isinstance(message, link.Stats):
            self.stats = message.counters

    def begin(self) -> None:
        """Start and wait until it listens."""
        self.start()
        assert self._started.wait(WAIT_S)

    def tell(self, message: link.ToWorker) -> None:
        """Say something to the worker."""
        for peer in self.peers:
            self.loop.call_soon_threadsafe(peer.send, message)

    def cut(self) -> None:
        """Break the link; the worker comes back."""
        for peer in self.peers:
            self.loop.call_soon_threadsafe(peer.close)

    def end(self) -> None:
        """Stop."""
        self.loop.call_soon_threadsafe(self._end.set)
        self.join(WAIT_S)


class Rig:
    """A worker with its control and one upstream."""

    def __init__(
        self,
        folder: Path,
        script: Callable[[Conn], None],
        *,
        tls: ssl.SSLContext | None = None,
        options: dict[str, object] | None = None,
        user: User = User(1),  # noqa: B008 - never changed
        token: Token = Token(1, HASH, 1),  # noqa: B008
        files_max: int = 0,
        **settings: str,
    ) -> None:
        """`tls`: the upstream's context; `options`: of the channel; `files_max`: descriptors that the worker may have;
        `settings` as in the environment."""
        self.folder = folder
        self.upstream = Upstream(script, tls)
        base = f"{'https' if tls else 'http'}://localhost:{self.upstream.port}"
        channel = Channel(
            1, "ch_1", "openai-compatible", base, ((1, "sk-up"),), {"gpt-4": "gpt-4"}, options=options or {}
        )
        (folder / "run").mkdir(parents=True)
        puts = [
            link.Put(kind, rows_of([row]))
            for kind, row in (("user", user), ("token", token), ("channel", channel), ("price", PRICE))
        ]
        self.control = Control(str(folder / "run" / "link.sock"), puts)
        self._files_max = files_max
        self.killed = False
        """The test killed it: its journal was not closed."""
        self._settings = {name.upper(): value for name, value in settings.items()}
        self._door = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self._door.getsockname()[1]
        self.process: subprocess.Popen[bytes]

    def __enter__(self) -> Rig:
        self.control.begin()
        boot = config.Boot("worker", listen_fds=(self._door.fileno(),), run_dir=str(self.folder / "run"))
        environment = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
        environment |= {"PYTHONPATH": str(ROOT), "DATA_DIR": str(self.folder / "data"), "LOG_LEVEL": "warning"}
        limit = ["prlimit", f"--nofile={self._files_max}"] if self._files_max else []
        self._log = (self.folder / "worker.log").open("wb")
        self.process = subprocess.Popen(
            [*limit, sys.executable, "-m", "burncloud.app.worker"],
            env=environment | self._settings | {config.BOOT_VARIABLE: json.dumps(asdict(boot))},
            pass_fds=[self._door.fileno()],
            cwd=self.folder,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        self.wait_ready()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if kind is None and not self.killed:
                self.stop()
                self.check()
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self._log.close()
            self.control.end()
            self.upstream.close()
            self._door.close()
            if error is not None:
                error.add_note("the worker's log ends with:\n" + self.log()[-3000:])

    def wait_ready(self) -> None:
        """Return when the worker accepts."""
        until(lambda: self.process.poll() is not None or bool(self.control.journals), "the worker is there")
        assert self.process.poll() is None, self.log()

    def log(self) -> str:
        """What the worker wrote."""
        return (self.folder / "worker.log").read_text()

    def connect(self, receive_buffer: int = 0) -> socket.socket:
        """A client; `receive_buffer`: a small one makes a slow reader."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(WAIT_S)
        try:
            sock.connect(("127.0.0.1", self.port))
        except OSError:
            sock.close()
            raise
        return sock

    def ask(self, message: bytes, count: int = 1) -> list[Answer]:
        """Answers on a connection of their own."""
        with self.connect() as client:
            client.sendall(message)
            return hear(client, count)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the worker; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def kill(self) -> None:
        """SIGKILL."""
        self.killed = True
        self.process.kill()
        self.process.wait()

    def memory_bytes(self) -> int:
        """The worker's resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) << 10
        raise AssertionError("no VmRSS")

    def descriptors(self) -> int:
        """How many the worker has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def written(self) -> list[JournalRecord]:
        """The records of its journal with a number, in order."""
        [folder] = [path.parent for path in (self.folder / "data" / "journal").glob("*/lock")]
        found: list[JournalRecord] = []
        for path in sorted(folder.glob("*.seg")):
            found += records.scan(path.read_bytes()).records[1:]
        return found

    def receipts(self) -> list[End]:
        """The Ends."""
        return [record for record in self.written() if isinstance(record, End)]

    def wait_receipts(self, count: int) -> list[End]:
        """The Ends, as soon as there are so many."""
        until(lambda: len(self.receipts()) >= count, f"{count} receipts", every_s=0.05)
        return self.receipts()

    def check(self) -> None:
        """What must hold after a clean stop."""
        assert not self.upstream.failures, self.upstream.failures
        written = self.written()
        intents = {number for number, record in enumerate(written, 1) if isinstance(record, Intent)}
        ends = [record.x for record in written if isinstance(record, End)]
        assert len(ends) == len(set(ends)), "a second end"
        assert set(ends) == intents, f"without an end: {intents - set(ends)}"
        assert isinstance(written[-1], records.Close), "no clean end of the journal"
        assert "Traceback" not in self.log(), self.log()


def quiet(client: socket.socket) -> bool:
    """Whether nothing comes for a moment."""
    poll = select.poll()
    poll.register(client, select.POLLIN)
    return not poll.poll(50)


def hear(client: socket.socket, count: int = 1) -> list[Answer]:
    """So many answers, or fewer if the connection ends first."""
    data = bytearray()
    while True:
        # a long answer is not read again with every piece of it, but when the wire is quiet
        if len(data) < 65536 or quiet(client):
            answers = read_answers(bytes(data), False, [])
            if len(answers) >= count:
                return answers
        try:
            got = client.recv(1 << 20)
        except ConnectionResetError:
            got = b""
        if not got:
            return read_answers(bytes(data), True, [])
        data += got
