"""How long a worker's loop stands still for one large body, whatever it is and whichever way it goes.

    python bench/run.py stalls [--sizes 0.09,1,8,63] [--only NAME,…] [--rounds 3]

A 1 ms ticker inside the worker (`sitecustomize` on its path) notes the longest time between two of its ticks, in CPU
time of the loop's thread and by the wall clock, while one request after the other goes through alone.  The bound is
about CPU time: on a shared machine the wall clock also counts what others take.  The least of the rounds counts.
"""

from __future__ import annotations

import argparse
import mmap
import os
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.bodies import CASES, Case
from tests.product import ROOT, Product

BOUND_MS = 5.0
TICKER = """
import sys
if any("burncloud.app.worker" in word for word in sys.orig_argv):
    import asyncio, mmap, os, signal, struct, time
    with open(os.environ["BENCH_TICKS"], "r+b") as file:
        seen = mmap.mmap(file.fileno(), 24)
    last = [0, 0]
    def tick():
        cpu, wall = time.thread_time_ns(), time.monotonic_ns()
        reset, longest_cpu, longest_wall = struct.unpack("<3q", seen)
        if reset:
            longest_cpu = longest_wall = 0
        elif last[0]:
            longest_cpu = max(longest_cpu, cpu - last[0])
            longest_wall = max(longest_wall, wall - last[1] - 1_000_000)
        seen[:] = struct.pack("<3q", 0, longest_cpu, longest_wall)
        last[:] = time.thread_time_ns(), time.monotonic_ns()
        asyncio.get_running_loop().call_later(0.001, tick)
    signal.signal(signal.SIGRTMIN + 5, lambda *ignored: asyncio.get_running_loop().call_soon(tick))
"""


class Peer:
    """An upstream that reads any request to its end and answers with what it was told to."""

    def __init__(self) -> None:
        self.answer: list[bytes] = []
        self.taken = 0
        """Bytes of the last request."""
        self._door = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._door.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            leg, _ = self._door.accept()
            threading.Thread(target=self._serve, args=(leg,), daemon=True).start()

    def _serve(self, leg: socket.socket) -> None:
        with leg:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    data = leg.recv(1 << 16)
                    if not data:
                        return
                    head += data
                head, _, rest = head.partition(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
                left = length - len(rest)
                while left > 0:
                    left -= len(leg.recv(min(left, 1 << 18)))
                self.taken = length
                for part in self.answer:
                    leg.sendall(part)


class Ticks:
    """The worker's ticker, seen from here."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(24))
        with path.open("r+b") as file:
            self._seen = mmap.mmap(file.fileno(), 24)

    def reset(self) -> None:
        """Forget what was; returns when the ticker has seen it."""
        self._seen[:8] = struct.pack("<q", 1)
        while struct.unpack("<q", self._seen[:8])[0]:
            time.sleep(0.001)

    def longest_ms(self) -> tuple[float, float]:
        """(CPU, wall) since the last reset."""
        time.sleep(0.004)
        _, cpu, wall = struct.unpack("<3q", self._seen)
        return cpu / 1e6, wall / 1e6


def ask(port: int, head: bytes, body: bytes) -> tuple[int, int]:
    """(status, bytes) of the answer to one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port)) as leg:
        leg.settimeout(120)
        leg.sendall(head)
        leg.sendall(body)
        first, size = b"", 0
        while True:
            data = leg.recv(1 << 18)
            if not data:
                return int(first[9:12] or 0), size
            first = first or data[:12]
            size += len(data)


class Stand:
    """A product with a ticking worker and a channel of each kind, all to the same upstream."""

    def __init__(self, folder: Path) -> None:
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(TICKER)
        self.ticks = Ticks(folder / "ticks")
        self.peer = Peer()
        self.product = Product(
            folder / "product", UNPRICED="free", PYTHONPATH=f"{folder / 'site'}:{ROOT}",
            BENCH_TICKS=str(folder / "ticks"),
        )  # fmt: skip
        self.product.start()
        url = f"http://127.0.0.1:{self.peer.port}"
        for model, vendor, path, options in (
            ("on-chat", "openai-compatible", "/v1", ()),
            ("on-chat-renamed=other", "openai-compatible", "/v1", ("--option", 'params={"set":{"seed":1}}')),
            ("on-responses", "openai", "/v1", ("--option", 'speaks=["responses"]')),
            ("on-messages", "anthropic", "", ()),
            ("on-gemini", "gemini", "", ()),
            ("on-converse", "bedrock", "", ("--option", "region=eu-west-1", "--option", 'speaks=["converse"]')),
            ("on-invoke=anthropic.claude-x", "bedrock", "", ("--option", "region=eu-west-1")),
        ):
            key = "AKIDEXAMPLE:wJalrXUtnFEMI" if vendor == "bedrock" else "sk-upstream"
            self.product.add_channel(vendor, url + path, [model], *options, key=key)
        self.token = self.product.add_token()
        os.kill(self.product.pids("worker")[0], signal.SIGRTMIN + 5)

    def measure(self, case: Case, size: int) -> tuple[float, float]:
        """The longest stalls while one request of this kind goes through."""
        body, self.peer.answer = case.request(size), case.answer(size)
        head = (
            f"POST {case.path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            f"content-type: {case.content_type}\r\nauthorization: Bearer {self.token}\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode()
        self.ticks.reset()
        status, came = ask(self.product.port, head, body)
        found = self.ticks.longest_ms()
        if status != case.status or (case.down and came < size * case.least):
            raise RuntimeError(
                f"{case.name}, {size} bytes: status {status}, {came} bytes\n{self.product.log()[-1500:]}"
            )
        return found


def run(options: argparse.Namespace, folder: Path) -> bool:
    """All cases at all sizes; whether all keep the bound."""
    stand = Stand(folder)
    sizes = [float(part) for part in options.sizes.split(",")]
    kept = True
    try:
        for name in ("chat", "messages"):  # whatever is made at the first request
            case = next(case for case in CASES if case.name.startswith(f"up {name}") and "text" in case.name)
            stand.measure(case, 1000)
            stand.measure(case, 200_000)
        print("| longest stall of the loop, ms of CPU (wall)     | "
              + " | ".join(f"{mib:>9g} MiB" for mib in sizes) + " |")  # fmt: skip
        print("|" + "-" * 49 + "|" + "|".join(["-" * 15] * len(sizes)) + "|")
        for case in CASES:
            if options.only and not any(part in case.name for part in options.only.split(",")):
                continue
            cells = []
            for mib in sizes:
                size = int(mib * (1 << 20))
                if size > case.most:
                    cells.append(" " * 13)
                    continue
                try:
                    rounds = [stand.measure(case, size) for _ in range(options.rounds)]
                except (RuntimeError, OSError) as error:
                    print(f"FAILED: {error}")
                    kept = False
                    cells.append("FAILED".rjust(13))
                    continue
                cpu, wall = min(cpu for cpu, _ in rounds), min(wall for _, wall in rounds)
                kept = kept and cpu <= BOUND_MS
                cells.append(f"{cpu:5.1f}{'!' if cpu > BOUND_MS else ' '}({wall:5.1f})")
            print(f"| {case.name:<47} | " + " | ".join(cells) + " |", flush=True)
    finally:
        stand.product.stop()
    print(f"bound: {BOUND_MS:g} ms of CPU; the least of {options.rounds} rounds; ! = missed")
    return kept


def main(words: Sequence[str] | None = None) -> int:
    """The command; 1 if a bound is missed."""
    parser = argparse.ArgumentParser(prog="bench/run.py stalls", description="Stalls of the loop by large bodies.")
    parser.add_argument("--sizes", default="0.09,1,8,63", help="MiB")
    parser.add_argument("--only", default="", help="parts of names, comma between")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="burncloud-bench-") as name:
        return 0 if run(options, Path(name)) else 1
