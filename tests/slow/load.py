"""The clients of the kill loop: plain HTTP/1.1, a unique id each request, and a note of what each one saw."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from dataclasses import dataclass
from typing import Final

from tests.slow.kinds import KINDS

ANSWER_S_MAX: Final = 15.0
COMPLETE: Final = "complete"
CUT: Final = "cut"
LEFT: Final = "left"
BROKEN: Final = "broken"
REFUSED: Final = "refused"
"""No connection: it never got to the product."""


@dataclass
class Sent:
    """One request as its client knows it."""

    id: str
    kind: str
    account: str
    started: float
    """Monotonic seconds."""
    ended: float = 0.0
    outcome: str = ""
    """complete · cut (a stream that ended with an error) · left · broken · refused, or a status other than 200."""


class Broken(Exception):
    """The connection ended before the answer did."""


class Client:
    """One client and its connection, kept alive as long as the product keeps it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def close(self) -> None:
        """Reset the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def ask(self, sent: Sent, key: str, leave_s: float = 0) -> None:
        """Send the request and note its outcome; with `leave_s`, go away after so long."""
        try:
            async with asyncio.timeout(leave_s or ANSWER_S_MAX):
                sent.outcome = await self._ask(sent, key)
        except TimeoutError:
            self.close()
            sent.outcome = LEFT if leave_s else BROKEN
        except (OSError, Broken, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            self.close()
            sent.outcome = sent.outcome or BROKEN
        finally:
            sent.ended = time.monotonic()

    async def _ask(self, sent: Sent, key: str) -> str:
        if self._writer is None or self._writer.is_closing():
            sent.outcome = REFUSED
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)
            sent.outcome = ""
        assert self._reader is not None
        body = json.dumps({
            "model": sent.kind,
            "stream": KINDS[sent.kind].stream,
            "max_tokens": 300,
            "messages": [{"role": "user", "content": "hello"}],
        }).encode()  # fmt: skip
        self._writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nX-Client-Request-Id: %b\r\nX-Test-Id: %b\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (key.encode(), sent.id.encode(), sent.id.encode(), len(body), body)
        )
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        status = head.split(b" ", 2)[1].decode()
        content = await self._content(head)
        if b"connection: close" in head:
            self.close()
        if status != "200":
            return status
        if KINDS[sent.kind].stream:
            return COMPLETE if content.endswith(b"data: [DONE]\n\n") else CUT
        return COMPLETE

    async def _content(self, head: bytes) -> bytes:
        assert self._reader is not None
        if b"transfer-encoding: chunked" not in head:
            length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
            return await self._reader.readexactly(length)
        parts = []
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            parts.append((await self._reader.readexactly(size + 2))[:-2])
        await self._reader.readexactly(2)
        return b"".join(parts)


class Load:
    """Many clients, switched on and off together."""

    def __init__(self, port: int, keys: dict[str, str], rng: random.Random) -> None:
        """`keys`: account → key; kinds are spread over the accounts whose name does not begin with "poor"."""
        self.port = port
        self.keys = keys
        self.sent: list[Sent] = []
        self.prefix = ""
        self._count = 0
        self._rng = rng
        self._open = asyncio.Event()
        self._idle: set[asyncio.Task[None]] = set()
        self._busy = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    def start(self, rich: int, poor: int) -> None:
        """Have so many clients ask all kinds on rich accounts, and so many fixed ones on poor accounts."""
        makers = [self._rich] * rich + [self._poor] * poor
        self._idle = {asyncio.create_task(make()) for make in makers}

    def begin(self, prefix: str) -> None:
        """Let them ask; ids begin with `prefix` from now on."""
        self.prefix = prefix
        self.sent = []
        self._open.set()

    async def pause(self) -> None:
        """Let what is under way end, and nothing begin."""
        self._open.clear()
        while self._busy:
            self._quiet.clear()
            await self._quiet.wait()

    async def stop(self) -> None:
        """End all clients."""
        for task in self._idle:
            task.cancel()
        await asyncio.gather(*self._idle, return_exceptions=True)

    async def ask(self, client: Client, kind: str, account: str, leave_s: float = 0) -> Sent:
        """One request with an id of its own."""
        self._count += 1
        sent = Sent(f"{self.prefix}{self._count}", kind, account, time.monotonic())
        self.sent.append(sent)
        self._busy += 1
        try:
            await client.ask(sent, self.keys[account], leave_s)
        finally:
            self._busy -= 1
            if not self._busy:
                self._quiet.set()
        return sent

    async def _rich(self) -> None:
        client = Client(self.port)
        kinds = [name for name, kind in KINDS.items() for _ in range(kind.share)]
        accounts = [name for name in self.keys if not name.startswith("poor")]
        with contextlib.closing(client):
            while True:
                await self._open.wait()
                kind = self._rng.choice(kinds)
                leave_s = self._rng.uniform(0.001, 0.3) if KINDS[kind].leave else 0
                sent = await self.ask(client, kind, self._rng.choice(accounts), leave_s)
                await asyncio.sleep(self._rng.uniform(0, 0.04) if sent.outcome == COMPLETE else 0.05)

    async def _poor(self) -> None:
        client = Client(self.port)
        accounts = [name for name in self.keys if name.startswith("poor")]
        with contextlib.closing(client):
            while accounts:
                await self._open.wait()
                sent = await self.ask(client, "fixed", self._rng.choice(accounts))
                await asyncio.sleep(self._rng.uniform(0, 0.1) if sent.outcome == COMPLETE else 0.2)
