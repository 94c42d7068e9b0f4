"""The main bench: BurnCloud with everything on, nginx and a direct connection, interleaved in one run.

    python bench/run.py                              all rows, five rounds, about four minutes
    python bench/run.py --quick --only plain_small,stream
    python bench/run.py --gateways nginx,prototype --prototype DIR

Prints a table and writes results.json, results.md and results.svg into bench/results/TIME/.
Each figure is the best of its rounds: on a shared machine noise only ever adds.  How to read it,
and which settings nginx has: docs/bench.md.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench.chart import chart
from bench.gateways import BurnCloud, Direct, Gateway, Nginx, Prototype
from bench.measure import cores, cpu_by_role, cpu_ns, pin, rss_mb
from bench.peers import Missing, Upstream, run_load
from bench.rows import ROWS, Row
from bench.table import Cell, Result, table
from bench.wheel import native_python

ROOT = Path(__file__).resolve().parent.parent
BEHIND = ("control", "supervisor")
"""Roles whose work follows the answers; they are read once they have caught up."""
GATEWAYS = (
    "direct, nginx, burncloud, burncloud2 (two workers), burncloud_full (100,000 tokens, 10,000 channels), "
    "burncloud_crowd (1,000 channels for each model), burncloud_crowd_off (the same without affinity), "
    "compiled, compiled_crowd (native modules, see --compiled), prototype (see --prototype)"
)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="bench/run.py", description="CPU, latency and memory beside nginx and a direct connection."
    )
    parser.add_argument("--only", default="", help=f"rows, comma between: {', '.join(row.name for row in ROWS)}")
    parser.add_argument("--gateways", default="direct,nginx,burncloud", help=GATEWAYS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="0.3 s a measurement in place of 1 s")
    parser.add_argument("--prototype", type=Path, help="folder of a bare prototype with a run.py")
    parser.add_argument("--compiled", default="", help="python with the compiled wheel installed; else one is built")
    parser.add_argument(
        "--books-apart", action="store_true", help="the control process on the peers' core, off the gateway's"
    )
    parser.add_argument("--out", type=Path, help="folder for the results")
    options = parser.parse_args(words)
    names = options.only.split(",") if options.only else [row.name for row in ROWS]
    unknown = set(names) - {row.name for row in ROWS}
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}")
    options.rows = [row for row in ROWS if row.name in names]
    return options


def start_gateways(
    names: str, folder: Path, upstream: Upstream, core: int, options: argparse.Namespace
) -> Iterator[Gateway]:
    """Start the gateways named, one after the other (so that those before a failure are known and stopped)."""

    @functools.cache
    def native() -> str:
        return options.compiled or native_python(folder)

    makers: dict[str, Callable[[], Gateway]] = {
        "direct": lambda: Direct(upstream),
        "nginx": lambda: Nginx(folder, upstream, core),
        "burncloud": lambda: BurnCloud(folder, upstream, core),
        "burncloud2": lambda: BurnCloud(folder, upstream, core, name="burncloud2", workers=2),
        "burncloud_full": lambda: BurnCloud(
            folder, upstream, core, name="burncloud_full", tokens=100_000, channels=10_000
        ),
        "burncloud_crowd": lambda: BurnCloud(folder, upstream, core, name="burncloud_crowd", per_model=1_000),
        "burncloud_crowd_off": lambda: BurnCloud(
            folder, upstream, core, name="burncloud_crowd_off", per_model=1_000, AFFINITY="off"
        ),
        "compiled": lambda: BurnCloud(folder, upstream, core, name="compiled", python=native()),
        "compiled_crowd": lambda: BurnCloud(
            folder, upstream, core, name="compiled_crowd", python=native(), per_model=1_000
        ),
        "prototype": lambda: Prototype(folder, upstream, core, options.prototype),
    }
    for name in names.split(","):
        yield makers[name]()


def caught_up(pids: list[int], idle_share: float = 0.05, timeout_s: float = 3) -> None:
    """Return when these processes use less than `idle_share` of a core: the books are written."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        before = sum(map(cpu_ns, pids))
        time.sleep(0.06)
        if sum(map(cpu_ns, pids)) - before < 60_000_000 * idle_share:
            return


def measure(row: Row, gateway: Gateway, upstream: Upstream, quick: bool) -> Cell:
    """One measurement of one row on one gateway."""
    gateway_core, peer_core = cores()
    load_core = gateway_core if row.together else peer_core
    upstream.move(load_core)
    roles = gateway.roles()
    warm_ms, run_ms = (150, 300) if quick else (300, 1000)
    figures, before, after = run_load(
        gateway.port(row.tls, row.stream), row.request(gateway), row.connections, warm_ms, run_ms, load_core,
        lambda: cpu_by_role(roles),
    )  # fmt: skip
    behind = {role: roles[role] for role in BEHIND if role in roles}
    if behind:
        caught_up([pid for pids in behind.values() for pid in pids])
        after |= cpu_by_role(behind)
    if figures["errors"] or not figures["events" if row.stream else "requests"]:
        raise RuntimeError(f"{row.name} through {gateway.name}: {figures}\n{gateway.log()[-2000:]}")
    return Cell.of(figures, {role: after[role] - before[role] for role in roles}, row.stream)


def round_of(result: Result, row: Row, gateway: Gateway, upstream: Upstream, quick: bool) -> None:
    """Measure once; what fails is kept as a failure, and the rest of the run goes on."""
    try:
        result.add(row, gateway.name, measure(row, gateway, upstream, quick))
    except (RuntimeError, OSError) as error:
        result.failures.append(str(error))
        print(error, file=sys.stderr)


def run(options: argparse.Namespace) -> Result:
    """All rounds of all rows."""
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)  # children inherit it: other work on the machine disturbs less
    gateway_core, peer_core = cores()
    result = Result(rows=options.rows, about=about(options))
    with tempfile.TemporaryDirectory(prefix="burncloud-bench-") as name:
        folder = Path(name)
        upstream = Upstream(folder, peer_core)
        gateways: list[Gateway] = []
        try:
            gateways.extend(start_gateways(options.gateways, folder, upstream, gateway_core, options))
            if options.books_apart:
                for gateway in gateways:
                    for pid in gateway.roles().get("control", []):
                        pin(pid, peer_core)
            for number in range(options.rounds):
                for row in options.rows:
                    for gateway in gateways:
                        if gateway.serves(row.tls):
                            round_of(result, row, gateway, upstream, options.quick)
                print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
            for gateway in gateways:
                result.rss[gateway.name] = {
                    role: sum(map(rss_mb, pids)) for role, pids in gateway.roles().items() if pids
                }
        finally:
            for gateway in gateways:
                gateway.stop()
            upstream.stop()
    return result


def about(options: argparse.Namespace) -> dict[str, str]:
    """Where and how it was measured."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "?")  # fmt: skip
    return {
        "time": time.strftime("%Y-%m-%d %H:%M:%S"),
        "machine": f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "rounds": f"{options.rounds} of {'0.3' if options.quick else '1'} s, interleaved; the best of each",
    }


def main(words: Sequence[str] | None = None) -> int:
    """Run the bench; 1 if a bound is missed, 2 if a tool is missing."""
    options = arguments(words)
    try:
        result = run(options)
    except Missing as missing:
        print(missing, file=sys.stderr)
        return 2
    text = table(result)
    print(text)
    out = options.out or ROOT / "bench" / "results" / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.md").write_text(text + "\n")
    (out / "results.svg").write_text(chart(result))
    (out / "results.json").write_text(json.dumps(result.plain(), indent=1) + "\n")
    print(f"\nwritten to {os.path.relpath(out)}")
    return 0 if result.passed() else 1
