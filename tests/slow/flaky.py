"""An OpenAI-like upstream that fails at random, as a process of its own: `python -m tests.slow.flaky --percent 5`.

Of the requests that it gets so many percent are answered by a reset, a 500, a 429 or a stream that is cut; the others
by the same words, always, one event each.  A request that ends with the beginning of the answer (prefill) gets the
rest.  The first line that it prints is its port; it ends when its input ends.  GET /counts tells what it did,
GET /percent/100 changes how much of it fails.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvloop

WORDS: Final = 20
TEXT: Final = " ".join(f"w{number}" for number in range(WORDS))
PACE_S: Final = 0.05
"""From one event of a stream to the next."""
PROMPT_TOKENS: Final = 12
FAULTS: Final = ("reset", "500", "429", "cut")
_HEAD: Final = "HTTP/1.1 %s\r\ncontent-type: %s\r\n%s\r\n"


class Flaky(asyncio.Protocol):
    """One connection of the gateway."""

    def __init__(self, told: argparse.Namespace, chance: random.Random, counts: collections.Counter[str]) -> None:
        """`told`: percent, faults, plain_ms."""
        self._told = told
        self._chance = chance
        self._counts = counts
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The gateway connected."""
        self._transport = transport  # type: ignore[assignment]  # one that writes

    def connection_lost(self, error: Exception | None) -> None:
        """It went."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Requests, one after the other."""
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].decode("latin-1")
            fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:])
            length = int(fields.get("content-length", "0"))
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            if head.startswith("GET /"):
                if head.startswith("GET /percent/"):
                    self._told.percent = float(head.split(" ")[1].rpartition("/")[2])
                self._plain("200 OK", dict(self._counts))
            else:
                self._serve(json.loads(body))

    def _serve(self, asked: dict[str, Any]) -> None:
        self._counts["requests"] += 1
        last = asked["messages"][-1]
        begun = last["content"] if last["role"] == "assistant" else ""
        fault = self._chance.choice(self._told.faults) if self._chance.random() * 100 < self._told.percent else ""
        if fault == "cut" and not asked.get("stream"):
            fault = "reset"
        if fault:
            self._counts[fault] += 1
        if fault == "reset":
            self._reset()
        elif fault == "500":
            self._plain("500 Internal Server Error", {"error": {"message": "oops", "type": "server_error"}})
        elif fault == "429":
            told = {"error": {"message": "slow down", "type": "rate_limit_error", "code": "rate_limit_exceeded"}}
            self._plain("429 Too Many Requests", told, "retry-after: 1\r\n")
        elif asked.get("stream"):
            self._stream(asked, TEXT[len(begun) :], cut_at=self._chance.randrange(1, WORDS) if fault else WORDS + 9)
        elif self._told.plain_ms:
            self._loop.call_later(self._told.plain_ms / 1000, self._plain, "200 OK", answer(TEXT[len(begun) :]))
        else:
            self._plain("200 OK", answer(TEXT[len(begun) :]))

    def _reset(self) -> None:
        if self._transport is not None:
            plain: socket.socket = self._transport.get_extra_info("socket")
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()

    def _plain(self, status: str, told: object, more: str = "") -> None:
        if self._transport is not None:
            body = json.dumps(told).encode()
            head = _HEAD % (status, "application/json", f"{more}content-length: {len(body)}\r\n")
            self._transport.write(head.encode() + body)

    def _stream(self, asked: dict[str, Any], text: str, cut_at: int) -> None:
        assert self._transport is not None
        self._transport.write((_HEAD % ("200 OK", "text/event-stream", "transfer-encoding: chunked\r\n")).encode())
        words = [word if not number else " " + word for number, word in enumerate(text.split(" "))] if text else []
        usage = asked.get("stream_options", {}).get("include_usage", False)
        self._say(words, 0, cut_at, usage)

    def _say(self, words: list[str], at: int, cut_at: int, usage: bool) -> None:
        transport = self._transport
        if transport is None:
            return
        if at == cut_at:
            self._reset()
            return
        if at < len(words):
            transport.write(chunk(event({"content": words[at]})))
            self._loop.call_later(PACE_S, self._say, words, at + 1, cut_at, usage)
            return
        tail = event({}, "stop")
        if usage:
            tail += b"data: %b\n\n" % json.dumps({**_EVENT, "choices": [], "usage": counted()}).encode()
        transport.write(chunk(tail + b"data: [DONE]\n\n") + b"0\r\n\r\n")


_EVENT: Final = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def event(delta: dict[str, str], finish: str | None = None) -> bytes:
    """One event of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: %b\n\n" % json.dumps({**_EVENT, "choices": [choice]}).encode()


def counted() -> dict[str, int]:
    """The usage of every answer."""
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": WORDS, "total_tokens": PROMPT_TOKENS + WORDS}


def answer(text: str) -> dict[str, Any]:
    """A plain answer."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": counted()}


def chunk(data: bytes) -> bytes:
    """As it goes over HTTP."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextlib.contextmanager
def upstreams(count: int, *options: str) -> Iterator[list[int]]:
    """So many of them, by port."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.slow.flaky", "--seed", str(number), *options],
            cwd=Path(__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for number in range(count)
    ]  # fmt: skip
    try:
        yield [int(process.stdout.readline()) for process in processes if process.stdout is not None]
    finally:
        for process in processes:
            process.communicate()


def counts_of(port: int, path: str = "counts") -> dict[str, int]:
    """What the upstream there did so far; by `path` it can be told something."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as told:
        found: dict[str, int] = json.load(told)
    return found


async def main() -> None:
    """Serve until the input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--percent", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", nargs="*", default=FAULTS, choices=FAULTS)
    parser.add_argument("--plain-ms", type=float, default=500.0, help="until a plain answer comes")
    told = parser.parse_args()
    loop = asyncio.get_running_loop()
    chance, counts = random.Random(told.seed), collections.Counter[str]()
    server = await loop.create_server(lambda: Flaky(told, chance, counts), "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    over = asyncio.Event()

    def look() -> None:
        if not os.read(sys.stdin.fileno(), 1):
            over.set()

    loop.add_reader(sys.stdin.fileno(), look)
    await over.wait()
    server.close()


if __name__ == "__main__":
    uvloop.run(main())
