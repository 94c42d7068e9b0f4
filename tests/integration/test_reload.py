"""A reload of the running product under load: not one request fails, and every cent is booked."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.product import CommandFailed, Product

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptor passing")
MODEL = "gpt-4"
PIECES = 12
PIECE_S = 0.1
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


class Upstream:
    """Answers plain requests at once and streams slowly; runs on a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(5)

    def _run(self, ready: threading.Event) -> None:
        async def serve() -> None:
            self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
            self.port = self._server.sockets[0].getsockname()[1]
            ready.set()

        with contextlib.closing(self._loop):
            self._loop.run_until_complete(serve())
            self._loop.run_forever()
            self._server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0.05))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                if b'"stream": true' in await reader.readexactly(size):
                    await self._stream(writer)
                else:
                    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
                    body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": USAGE})
                    writer.write(_head("application/json", len(body)) + body.encode())
        writer.close()

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(_head("text/event-stream"))
        for n in range(PIECES):
            last = n == PIECES - 1
            choice = {"index": 0, "delta": {"content": f"{n} "}, "finish_reason": "stop" if last else None}
            _chunk(writer, {"id": "x", "object": "chat.completion.chunk", "choices": [choice]})
            await asyncio.sleep(PIECE_S)
        _chunk(writer, {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
        data = b"data: [DONE]\n\n"
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))

    def stop(self) -> None:
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)


def _head(kind: str, length: int = -1) -> bytes:
    framing = f"content-length: {length}" if length >= 0 else "transfer-encoding: chunked"
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{framing}\r\n\r\n".encode()


def _chunk(writer: asyncio.StreamWriter, event: dict[str, object]) -> None:
    data = b"data: " + json.dumps(event).encode() + b"\n\n"
    writer.write(b"%x\r\n%b\r\n" % (len(data), data))


class Load:
    """Clients of three kinds, until told to stop; what they saw."""

    def __init__(self, port: int, keys: list[str]) -> None:
        self._port = port
        self._keys = keys
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def start(self, kept: int, fresh: int, streams: int) -> None:
        """So many clients of each kind."""
        for kind, count in ((self._kept, kept), (self._fresh, fresh), (self._streams, streams)):
            for n in range(count):
                thread = threading.Thread(target=self._run, args=(kind, self._keys[n % len(self._keys)]), daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """No further requests; wait for those under way."""
        self._over.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, kind: Callable[[str], None], key: str) -> None:
        try:
            kind(key)
        except Exception as error:
            self.wrong.append(f"{kind.__name__}: {error!r}")

    def _kept(self, key: str) -> None:
        """One connection for all, as long as the server keeps it."""
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._over.is_set():
            self._ask(client, key, "kept")
            time.sleep(0.02)
        client.close()

    def _fresh(self, key: str) -> None:
        while not self._over.is_set():
            client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            self._ask(client, key, "fresh", {"connection": "close"})
            client.close()
            time.sleep(0.02)

    def _ask(self, client: http.client.HTTPConnection, key: str, kind: str, more: dict[str, str] | None = None) -> None:
        head = {"authorization": f"Bearer {key}", "content-type": "application/json", **(more or {})}
        client.request("POST", "/v1/chat/completions", json.dumps({"model": MODEL, "messages": []}), head)
        answer = client.getresponse()
        body = answer.read()
        self.seen[kind] += 1
        if answer.status != 200 or b'"hi"' not in body:
            self.wrong.append(f"{kind}: {answer.status} {body[:200]!r}")

    def _streams(self, key: str) -> None:
        client = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        while not self._over.is_set():
            head = {"authorization": f"Bearer {key}", "content-type": "application/json"}
            body = json.dumps({"model": MODEL, "messages": [], "stream": True})
            client.request("POST", "/v1/chat/completions", body, head)
            answer = client.getresponse()
            text = answer.read()
            self.seen["streams"] += 1
            if answer.status != 200 or text.count(b'"content"') != PIECES or not text.endswith(b"[DONE]\n\n"):
                self.wrong.append(f"streams: {answer.status} {text[-300:]!r}")
        client.close()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    yield made
    made.stop()


def prepared(product: Product, upstream: Upstream) -> list[str]:
    """A channel, a price, and a token with and one without a quota (whose leases control must grant)."""
    product.add_channel("openai", f"http://127.0.0.1:{upstream.port}/v1", [MODEL])
    product.set_price(MODEL, "30", "60")
    return [product.add_token(), product.add_token("--quota", "5000.00", user=product.add_user("--quota", "9000.00"))]


def test_no_request_fails_in_a_reload(tmp_path: Path, upstream: Upstream) -> None:
    """Two reloads under load of kept and fresh connections and of streams; all processes are others afterwards."""
    with Product(tmp_path, WORKERS="2") as product:
        load = Load(product.port, prepared(product, upstream))
        before = {role: set(product.pids(role)) for role in ("control", "worker")}
        load.start(kept=6, fresh=2, streams=6)
        time.sleep(1)
        for _ in range(2):
            assert product.cli("reload") == {"reloaded": True}
            # REST is there again, or waits until it is
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", product.port, timeout=10)) as client:
                client.request("GET", "/health")
                assert client.getresponse().status == 200
            time.sleep(1)
        load.stop()
        assert not load.wrong, (len(load.wrong), load.wrong[:5], load.seen)
        assert load.seen["kept"] > 200
        assert load.seen["fresh"] > 20
        assert load.seen["streams"] >= 12
        total = sum(load.seen.values())
        deadline = time.monotonic() + 20
        while len(product.pids("worker")) > 2:  # the old ones have nothing left to do
            assert time.monotonic() < deadline
            time.sleep(0.1)
        for role, pids in before.items():
            assert not pids & set(product.pids(role)), role
        rows = product.wait_rows(lambda rows: len(rows) >= total, timeout_s=15, count=total + 10)
        assert len(rows) == total
        assert {row["state"] for row in rows} == {"done"}
        product.cli("ledger", "verify")  # fails where a sum is not what it should be


def test_a_worker_that_dies_is_replaced_within_a_second(tmp_path: Path, upstream: Upstream) -> None:
    with Product(tmp_path) as product:
        [key, _] = prepared(product, upstream)
        took = []
        for _ in range(3):
            [worker] = product.pids("worker")
            os.kill(worker, signal.SIGKILL)
            killed = time.monotonic()
            client = http.client.HTTPConnection("127.0.0.1", product.port, timeout=10)
            load = Load(product.port, [key])
            load._ask(client, key, "first")  # waits at the open door
            took.append(time.monotonic() - killed)
            assert not load.wrong
            client.close()
        assert min(took) < 1, took


def test_what_cannot_work_is_refused_and_said(tmp_path: Path, upstream: Upstream) -> None:
    with Product(tmp_path) as product:
        [key, _] = prepared(product, upstream)
        [worker] = product.pids("worker")
        (tmp_path / ".env").write_text("UPSTREAM_CA_FILE=/nowhere/ca.pem\n")
        with pytest.raises(CommandFailed, match=r"UPSTREAM_CA_FILE: the file /nowhere/ca\.pem"):
            product.cli("reload")
        assert product.pids("worker") == [worker]
        (tmp_path / ".env").write_text("DEFAULT_RESERVE_OUTPUT=17\n")
        product.cli("reload")
        assert worker not in product.pids("worker") or len(product.pids("worker")) == 2
        client = http.client.HTTPConnection("127.0.0.1", product.port, timeout=10)
        load = Load(product.port, [key])
        load._ask(client, key, "after")
        client.close()
        assert not load.wrong
    with pytest.raises(CommandFailed, match="No server runs with this data directory"):
        product.cli("reload")
