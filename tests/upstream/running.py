"""The test upstream beside a test: in a thread of its own, on real sockets, plain and TLS."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import trustme

from tests.upstream.cases import Book, Case
from tests.upstream.requests import Seen
from tests.upstream.server import Server


class Upstream:
    """A context manager: `with Upstream(case, …) as upstream`.

    `url` and `tls_url` are origins (http://127.0.0.1:PORT); `ca_file` is the authority of the TLS one.
    Cases may be added at any time.  Leaving it raises AssertionError if a request was malformed.
    """

    def __init__(self, *cases: Case, log: Path | None = None, tls: bool = False) -> None:
        self.book = Book()
        self.book.add(*cases)
        self._server = Server(self.book, log)
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="test upstream", daemon=True)
        self.port = self.tls_port = 0
        self._folder = tempfile.TemporaryDirectory(prefix="upstream-")
        self.ca_file = Path(self._folder.name) / "ca.pem"

    def __enter__(self) -> Upstream:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._server.listen(), self._loop).result(10)
        if self._tls:
            context = self._context()
            self.tls_port = asyncio.run_coroutine_threadsafe(self._server.listen(0, context), self._loop).result(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._folder.cleanup()
        if error is None:
            assert not self.errors, f"malformed requests reached the upstream: {self.errors[:3]}"

    def _context(self) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        return context

    @property
    def url(self) -> str:
        """Origin of the plain side."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def tls_url(self) -> str:
        """Origin of the TLS side; its certificate is for localhost."""
        return f"https://localhost:{self.tls_port}"

    @property
    def requests(self) -> list[Seen]:
        """Every request so far, in order of arrival."""
        return self._server.requests

    @property
    def errors(self) -> list[str]:
        """What was malformed."""
        return self._server.errors

    @property
    def connections(self) -> int:
        """How many connections were ever made."""
        return self._server.connections

    @property
    def open_connections(self) -> int:
        """How many are open."""
        return self._server.open_connections

    def add(self, *cases: Case) -> None:
        """Register cases by their names."""
        self.book.add(*cases)

    def of(self, client_id: str) -> list[Seen]:
        """The requests that carried this client id."""
        return [seen for seen in self.requests if seen.id == client_id]

    def wait(self, wanted: Callable[[Upstream], bool], what: str = "it", timeout_s: float = 5) -> None:
        """Return as soon as `wanted` holds; AssertionError after the time-out."""
        deadline = time.monotonic() + timeout_s
        while not wanted(self):
            assert time.monotonic() < deadline, f"{what} did not come to pass at the upstream in {timeout_s} s"
            time.sleep(0.005)
