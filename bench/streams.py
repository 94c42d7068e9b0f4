"""Memory of a worker with thousands of open, healthy streams, before a plain and a TLS upstream.

    python bench/run.py streams [--counts 1000,9000] [--seconds 25] [--gateways nginx,burncloud]

Every stream gets one event of 1,000 bytes a second and is read at once; it is held long enough for what
a worker keeps of each (the meter's 16 KiB of tail) to fill up.  The bounds (200 MB plain, 600 MB TLS at
9,000 streams) are ARCHITECTURE.md's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import start_gateways
from bench.gateways import Gateway
from bench.measure import cores, cpu_by_role, rss_mb
from bench.peers import Load, Missing, Upstream
from bench.rows import Row

ENDLESS = 10_000_000
TICK_US = 1_000_000
EVENT_BYTES = 1000
BOUNDS_MB = {(9000, False): 200.0, (9000, True): 600.0}
OPENING_S = 90


def hold(gateway: Gateway, count: int, tls: bool, seconds: float) -> tuple[float, float, float]:
    """Open the streams and hold them; (resident MB of the worker, MB a stream costs, CPU share of a core)."""
    row = Row("open", "", "cpu_event", 0, stream=True, tls=tls, events=ENDLESS)
    workers = gateway.roles()["worker"]
    before = sum(map(rss_mb, workers))
    load = Load(gateway.port(tls, True), row.request(gateway), count, OPENING_S * 1000, 0, cores()[1])
    try:
        load.wait("ready")
        if gateway.roles()["worker"] != workers:
            raise RuntimeError(f"the worker of {gateway.name} died with {count} streams:\n{gateway.log()[-2000:]}")
        used, began = cpu_by_role({"worker": workers})["worker"], time.monotonic()
        time.sleep(seconds)
        share = (cpu_by_role({"worker": workers})["worker"] - used) / 1e9 / (time.monotonic() - began)
        held = sum(map(rss_mb, workers))
    finally:
        load.stop()
    return held, (held - before) / count, share


def measure(folder: Path, options: argparse.Namespace) -> bool:
    """All figures; whether all bounds are kept."""
    gateway_core, peer_core = cores()
    upstream = Upstream(folder, peer_core, TICK_US, 200, EVENT_BYTES)
    kept = True
    print("| gateway    | upstream | streams | resident MB | KB a stream | CPU of a core | bound   |")
    try:
        for name in options.gateways.split(","):
            for tls in (False, True):
                # a gateway of its own for each kind: what one leaves behind in the heap is not the other's
                [gateway] = start_gateways(name, folder / f"tls-{tls}", upstream, gateway_core, options)
                try:
                    kept = show(gateway, tls, options) and kept
                finally:
                    gateway.stop()
    finally:
        upstream.stop()
    return kept


def show(gateway: Gateway, tls: bool, options: argparse.Namespace) -> bool:
    """Measure and print the figures of one kind; whether their bounds are kept."""
    kept = True
    for count in [int(part) for part in options.counts.split(",")]:
        held, each, share = hold(gateway, count, tls, options.seconds)
        bound = BOUNDS_MB.get((count, tls), 0) if gateway.name == "burncloud" else 0
        kept = kept and (not bound or held <= bound)
        verdict = f"≤ {bound:.0f} {'ok' if held <= bound else 'MISSED'}" if bound else ""
        kind = "TLS" if tls else "plain"
        print(f"| {gateway.name:<10} | {kind:<8} | {count:7,} | {held:11.1f} | {each * 1024:11.1f} "
              f"| {share:12.0%}  | {verdict:<7} |", flush=True)  # fmt: skip
        time.sleep(2)  # the streams that were cut are wound up
    return kept


def main(words: Sequence[str] | None = None) -> int:
    """The command; 1 if a bound is missed, 2 if a tool is missing."""
    parser = argparse.ArgumentParser(prog="bench/run.py streams", description="Memory of open streams.")
    parser.add_argument("--counts", default="1000,9000")
    parser.add_argument("--seconds", type=float, default=25)
    parser.add_argument("--gateways", default="nginx,burncloud")
    options = parser.parse_args(words)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    needed = 2 * max(int(part) for part in options.counts.split(",")) + 1000
    if limit < needed:
        print(f"open files are limited to {limit}, but {needed} are needed (ulimit -Hn)")
        return 2
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    with tempfile.TemporaryDirectory(prefix="burncloud-bench-") as name:
        try:
            return 0 if measure(Path(name), options) else 1
        except Missing as missing:
            print(missing)
            return 2
