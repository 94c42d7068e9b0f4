"""The REST application on its local socket: uvicorn, without its signal handlers and its trust in headers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Iterator

import uvicorn

from burncloud.server.app import make_app
from burncloud.server.house import House

KEEP_ALIVE_S = 300
"""Longer than any worker keeps an idle connection: the worker closes first, so no request meets a closing one."""
BACKLOG = 128
STOP_S = 1


class _Server(uvicorn.Server):
    """The process has an owner for its signals already."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class LocalServer:
    """Serves a house on a Unix socket that only this user can open, or on a loopback port where there are none."""

    def __init__(self, house: House) -> None:
        config = uvicorn.Config(
            make_app(house),
            loop="none",
            http="httptools",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOP_S,
        )
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    async def start(self, path: str, port: int = 0) -> None:
        """Serve on the socket at `path`, or on loopback `port` if that is not 0; returns once connections are taken.

        Raises OSError where that is impossible.
        """
        listener = _bind_port(port) if port else _bind_path(path)
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name="http")
        while not self._server.started:
            if self._task.done():
                await self._task
            await asyncio.sleep(0.002)

    async def stop(self) -> None:
        """Finish what is being answered, close the rest."""
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.wait([self._task], timeout=2 * STOP_S)


def _bind_path(path: str) -> socket.socket:
    if sys.platform == "win32":
        raise OSError("there are no Unix sockets here: a port must be given")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)  # a control process before us left it
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _bind_port(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
