"""Start and memory: to the first answer, idle, and with 100,000 tokens and 10,000 channels.

    python bench/run.py memory [--tokens 100000] [--channels 10000]

Bounds are ARCHITECTURE.md's and issue 2's.  Resident memory counts shared pages in every process that
maps them; the proportional figure (PSS) beside it counts them once.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.fill import fill
from bench.gateways import PLAIN_MODEL, configure
from bench.measure import cores, pss_mb, rss_mb
from bench.peers import Missing, Upstream
from tests.product import Product

SETTLE_S = 1.5
"""Idle time before memory is read."""


def first_answer_s(product: Product, key: str) -> float:
    """Start it; seconds until the first chat request is answered with 200."""
    began = time.perf_counter()
    product.start(wait=False)
    body = json.dumps({"model": PLAIN_MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    while time.perf_counter() - began < 60:
        connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=10)
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/v1/chat/completions", body, headers)
            if connection.getresponse().status == 200:
                return time.perf_counter() - began
        connection.close()
        time.sleep(0.005)
    raise AssertionError(f"no answer in a minute:\n{product.log()[-2000:]}")


def memory(product: Product) -> dict[str, tuple[float, float]]:
    """Role → (resident, proportional) MB."""
    time.sleep(SETTLE_S)
    pids = {role: product.pids(role) for role in ("supervisor", "control", "worker")}
    return {role: (sum(map(rss_mb, found)), sum(map(pss_mb, found))) for role, found in pids.items()}


def show(name: str, value: float, unit: str, bound: float, note: str = "") -> bool:
    """Print one figure with its verdict; whether it keeps its bound."""
    verdict = "ok" if value <= bound else "MISSED"
    print(f"| {name:<58} | {value:8.2f} {unit:<3} | ≤ {bound:6.1f} | {verdict:<6} | {note}")
    return value <= bound


def measure(folder: Path, tokens: int, channels: int) -> bool:
    """All figures; whether all bounds are kept."""
    upstream = Upstream(folder, cores()[1])
    product = Product(folder / "product", UPSTREAM_CA_FILE=str(upstream.ca_file))
    kept = []
    try:
        product.start()
        key = configure(product, upstream)
        idle = memory(product)
        product.stop()
        starts = [_restart(product, key) for _ in range(5)]
        small = memory(product)
        product.stop()
        print(f"| {'figure':<58} | {'':12} | {'bound':<8} |        |")
        kept.append(show("worker idle, empty, resident", idle["worker"][0], "MB", 40, f"PSS {idle['worker'][1]:.1f}"))
        whole = sum(resident for resident, _ in idle.values())
        parts = ", ".join(f"{role} {resident:.0f}" for role, (resident, _) in idle.items())
        shared = sum(part for _, part in idle.values())
        kept.append(show("whole product idle, resident", whole, "MB", 160, f"{parts}; PSS {shared:.1f}"))
        kept.append(show("start to the first answered request", min(starts), "s", 1.5))
        fill(product.folder, tokens, 0)
        _restart(product, key)
        more = memory(product)["worker"][0] - small["worker"][0]
        kept.append(show(f"{tokens:,} tokens: worker grows by", more, "MB", 50 * tokens / 100_000))
        product.stop()
        fill(product.folder, 0, channels)
        name = f"{tokens:,} tokens, {channels:,} channels"
        loaded_start = min(_restart(product, key) for _ in range(4))
        kept.append(show(f"{name}: start to the first answer", loaded_start, "s", 3))
        more = memory(product)["worker"][0] - small["worker"][0]
        print(f"with {name} the worker has grown by {more:.1f} MB")
    finally:
        product.kill()
        upstream.stop()
    return all(kept)


def _restart(product: Product, key: str) -> float:
    product.stop()
    return first_answer_s(product, key)


def main(words: Sequence[str] | None = None) -> int:
    """The command; 1 if a bound is missed, 2 if a tool is missing."""
    parser = argparse.ArgumentParser(prog="bench/run.py memory", description="Start time and memory.")
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--channels", type=int, default=10_000)
    options = parser.parse_args(words)
    with tempfile.TemporaryDirectory(prefix="burncloud-bench-") as name:
        try:
            return 0 if measure(Path(name), options.tokens, options.channels) else 1
        except Missing as missing:
            print(missing)
            return 2
