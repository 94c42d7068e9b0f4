"""The soak: hundreds of streams and plain requests for minutes, upstreams that fail one time in twenty.

    python -m tests.slow.soak --minutes 10

prints, every half minute and at the end, what the clients saw and what the processes hold.  It ends with status 1 if a
client saw a failure (another attempt would always have saved it), if a worker's memory or descriptors grew after the
warm-up, or if the ledger does not verify.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from tests.product import Product
from tests.slow.flaky import TEXT, counts_of, upstreams

CHANNELS: Final = 4
PERCENT: Final = 5.0
STREAMED: Final = 0.7
GROWTH_BYTES_MAX: Final = 5 << 20
GROWTH_DESCRIPTORS_MAX: Final = 20
WARM_SHARE: Final = 0.3
"""Of the time, before memory is compared, at most WARM_S."""
WARM_S: Final = 150.0
MEASURE_S: Final = 2.0
REPORT_S: Final = 30.0
ANSWER_S_MAX: Final = 60.0


@dataclass
class Measured:
    """The workers at one moment."""

    at_s: float
    worker_bytes: list[int]
    control_bytes: int
    descriptors: list[int]


@dataclass
class Soaked:
    """What came of it."""

    seconds: float
    clients: int
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    upstream: collections.Counter[str] = field(default_factory=collections.Counter)
    attempts: collections.Counter[str] = field(default_factory=collections.Counter)
    rows: int = 0
    ledger_ok: bool = False

    @property
    def settled(self) -> list[Measured]:
        """After the warm-up, under load."""
        begin = min(WARM_S, self.seconds * WARM_SHARE)
        return [one for one in self.measured if begin <= one.at_s <= self.seconds]

    def growth(self) -> list[int]:
        """Of each worker's memory, bytes: the mean of the last sixth against the first one after the warm-up."""
        settled = self.settled
        part = max(1, len(settled) // 6)
        return [
            sum(one.worker_bytes[number] for one in settled[-part:]) // part
            - sum(one.worker_bytes[number] for one in settled[:part]) // part
            for number in range(len(settled[0].worker_bytes))
        ]

    def descriptors_grown(self) -> int:
        """The same of descriptors, the worker that grew most."""
        settled = self.settled
        part = max(1, len(settled) // 6)
        return max(
            max(one.descriptors[number] for one in settled[-part:])
            - max(one.descriptors[number] for one in settled[:part])
            for number in range(len(settled[0].descriptors))
        )

    def faults(self) -> list[str]:
        """Why it is not good; empty = it is."""
        found = [f"client: {text}" for text in self.failures[:10]]
        found += [f"a worker grew by {grown >> 10} KiB" for grown in self.growth() if abs(grown) > GROWTH_BYTES_MAX]
        if self.descriptors_grown() > GROWTH_DESCRIPTORS_MAX:
            found.append(f"a worker holds {self.descriptors_grown()} descriptors more")
        if not self.ledger_ok:
            found.append("ledger verify says no")
        if self.rows != sum(self.outcomes.values()):
            found.append(f"{self.rows} rows for {sum(self.outcomes.values())} requests")
        return found


class Client:
    """Asks again and again on its own connection, and reads every word."""

    def __init__(self, port: int, key: str, soaked: Soaked, streams: bool) -> None:
        self._port = port
        self._soaked = soaked
        self._streams = streams
        body = json.dumps(
            {"model": "m", "stream": streams, "max_tokens": 100, "messages": [{"role": "user", "content": "say it"}]}
        ).encode()
        self._request = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
        )

    async def run(self, until: float) -> None:
        """Until then."""
        while time.monotonic() < until:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                while time.monotonic() < until:
                    begun = time.monotonic()
                    try:
                        async with asyncio.timeout(ANSWER_S_MAX):
                            outcome = await self._ask(reader, writer)
                    except (OSError, EOFError, TimeoutError, ValueError) as error:
                        outcome = f"{type(error).__name__} {error}"
                    kind = "stream" if self._streams else "plain"
                    self._soaked.outcomes[f"{kind} {outcome[:60]}"] += 1
                    if outcome != "ok":
                        at = time.monotonic() - begun
                        self._soaked.failures.append(f"{kind} after {at:.2f} s: {outcome[:300]}")
                        break
            finally:
                writer.transport.abort()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = int(head.split(" ", 2)[1])
        fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
        if "content-length" in fields:
            body = await reader.readexactly(int(fields["content-length"]))
        else:
            body = b""
            while size := int(await reader.readline(), 16):
                body += (await reader.readexactly(size + 2))[:-2]
            await reader.readline()
        if status != 200:
            return f"{status} {body[:200].decode()}"
        said = streamed(body) if self._streams else json.loads(body)["choices"][0]["message"]["content"]
        return "ok" if said == TEXT else f"other words: {said[-150:]!r}"


def streamed(body: bytes) -> str:
    """The words of a stream that ended as it should; else what is wrong with it."""
    events = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    if not events or events[-1] != "[DONE]":
        return f"no end: {body[-200:]!r}"
    said, finish = "", []
    for event in events[:-1]:
        told = json.loads(event)
        if "error" in told:
            return f"error event: {event}"
        for choice in told["choices"]:
            said += choice["delta"].get("content") or ""
            finish += [choice["finish_reason"]] if choice["finish_reason"] else []
    return said if finish == ["stop"] else f"finished {finish}"


def measure(product: Product, pids: list[int], control: int, at_s: float) -> Measured:
    """Resident memory and descriptors; a worker that was replaced counts with nothing."""
    held, descriptors = [], []
    for pid in pids:
        process = psutil.Process(pid)
        held.append(process.memory_info().rss)
        descriptors.append(process.num_fds())
    return Measured(at_s, held, psutil.Process(control).memory_info().rss, descriptors)


async def watch(product: Product, soaked: Soaked, until: float, out: Any) -> None:
    """Measure and tell."""
    begun, told = time.monotonic(), 0.0
    workers, control = product.pids("worker"), product.pids("control")[0]
    while (now := time.monotonic()) < until:
        soaked.measured.append(one := measure(product, workers, control, now - begun))
        if now - begun - told >= REPORT_S or len(soaked.measured) == 1:
            told = now - begun
            held = " ".join(f"{count / 2**20:6.1f}" for count in one.worker_bytes)
            print(
                f"{one.at_s:6.0f} s  {sum(soaked.outcomes.values()):7d} answers, {len(soaked.failures)} failures   "
                f"workers {held} MB  control {one.control_bytes / 2**20:6.1f} MB  descriptors {one.descriptors}",
                file=out,
                flush=True,
            )
        await asyncio.sleep(MEASURE_S)


def soak(folder: Path, seconds: float, clients: int, out: Any = sys.stdout) -> Soaked:
    """Do it."""
    soaked = Soaked(seconds, clients)
    with (
        upstreams(CHANNELS, "--percent", str(PERCENT)) as ports,
        Product(folder, WORKERS="2", ATTEMPTS_MAX="6", LOG_LEVEL="error") as product,
    ):
        for port in ports:
            product.add_channel("openai", f"http://127.0.0.1:{port}/v1", ["m"])
        product.set_price("m", "1", "2")
        key = product.add_token("--quota", "100000")
        begun = time.monotonic()
        until = begun + seconds

        async def run() -> None:
            everybody = [
                Client(product.port, key, soaked, number < clients * STREAMED).run(until) for number in range(clients)
            ]
            await asyncio.gather(watch(product, soaked, until, out), *everybody)

        asyncio.run(run())
        for port in ports:
            soaked.upstream.update(counts_of(port))
        total = sum(soaked.outcomes.values())
        deadline = time.monotonic() + 20
        verified = product.cli("ledger", "verify")
        while (booked := verified["receipts"]) < total and time.monotonic() < deadline:
            verified = product.cli("ledger", "verify")
        soaked.rows, soaked.ledger_ok = booked, verified["ok"] and not verified["quarantined"]
    tell(soaked, out)
    return soaked


def tell(soaked: Soaked, out: Any) -> None:
    """The last lines."""
    settled = soaked.settled
    lines = [
        f"\n{soaked.clients} clients for {soaked.seconds:.0f} s at {CHANNELS} channels that fail {PERCENT:g} % each",
        f"what clients saw: {dict(soaked.outcomes)}",
        f"what upstreams did: {dict(soaked.upstream)}",
        f"failures that a retry could have saved: {len(soaked.failures)}",
    ]
    for number, grown in enumerate(soaked.growth()):
        held = [one.worker_bytes[number] for one in settled]
        lines.append(
            f"worker {number}: {min(held) / 2**20:.1f} to {max(held) / 2**20:.1f} MB after the warm-up, "
            f"{grown / 2**20:+.1f} MB from its begin to the end"
        )
    counts = [count for one in settled for count in one.descriptors]
    lines += [
        f"descriptors of a worker: {min(counts)} to {max(counts)}, {soaked.descriptors_grown():+d}",
        f"ledger verify: {'ok' if soaked.ledger_ok else 'WRONG'}, {soaked.rows} rows",
        f"verdict: {soaked.faults() or 'good'}",
    ]
    print("\n".join(lines), file=out, flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description="Hundreds of streams for minutes, over upstreams that fail.")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", type=int, default=300)
    told = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return 1 if soak(Path(folder) / "p", told.minutes * 60, told.clients).faults() else 0


if __name__ == "__main__":
    sys.exit(main())
