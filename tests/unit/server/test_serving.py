"""The REST application on its local socket."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from pathlib import Path

import pytest

from burncloud.server.serving import LocalServer
from tests.unit.server.fake_house import FakeHouse

REQUEST = b"GET /health HTTP/1.1\r\nhost: burncloud\r\nx-forwarded-for: 6.6.6.6\r\n\r\n"


async def first_line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(REQUEST)
    return await asyncio.wait_for(reader.readline(), 5)


async def test_on_a_socket_of_its_own(tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    with socket.socket(socket.AF_UNIX) as before_us:
        before_us.bind(path)
    handler = signal.getsignal(signal.SIGTERM)
    server = LocalServer(FakeHouse())
    await server.start(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert signal.getsignal(signal.SIGTERM) is handler
    reader, writer = await asyncio.open_unix_connection(path)
    assert await first_line(reader, writer) == b"HTTP/1.1 200 OK\r\n"
    await server.stop()
    rest = await reader.read()  # an idle connection is closed at the stop
    assert b"server:" not in rest
    writer.close()
    with pytest.raises(OSError):
        await asyncio.open_unix_connection(path)


async def test_on_loopback(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = LocalServer(FakeHouse())
    await server.start("", port)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await first_line(reader, writer) == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await server.stop()


async def test_no_place_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        await LocalServer(FakeHouse()).start(str(tmp_path / "nowhere" / "http.sock"))
