"""Where the microseconds of a worker or the control process go: `perf` for the native side, a sampler for Python's.

    python bench/run.py profile [--row plain_small] [--role worker] [--seconds 8] [--lines 40]

The sampler is started in the process by a `sitecustomize` on its path: a CPU timer whose signal handler notes
the line that runs.  Time in C (the loop, the parser, the kernel) counts for the Python line that
called it; time of the loop itself for the first line of the callback that comes next.  So a function's `def` line
stands for the read and the wake-up before it.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.gateways import PLAIN_MODEL, TLS_MODEL, configure
from bench.measure import cores, cpu_by_role
from bench.peers import Missing, Upstream, run_load
from bench.rows import ROWS
from tests.product import ROOT, Product

SAMPLER = """
import atexit, json, os, signal, sys
if any("burncloud.app." + os.environ["BENCH_ROLE"] in word for word in sys.orig_argv):
    counts, on = {}, []
    def note(number, frame):
        if frame is None or not on:
            return
        stack, code = [], frame
        while code is not None and len(stack) < 12:
            stack.append((code.f_code.co_filename, code.f_code.co_qualname, code.f_lineno))
            code = code.f_back
        key = tuple(stack)
        counts[key] = counts.get(key, 0) + 1
    def write(*ignored):
        with open(os.environ["BENCH_SAMPLES"] + f".{os.getpid()}", "w") as file:
            json.dump([[list(map(list, key)), count] for key, count in counts.items()], file)
    signal.signal(signal.SIGPROF, note)
    signal.signal(signal.SIGRTMIN + 5, lambda *ignored: on.append(True))
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    atexit.register(write)
"""


class Profiled:
    """The product as a gateway of which one process is sampled."""

    name = "burncloud"

    def __init__(self, folder: Path, upstream: Upstream, core: int, role: str) -> None:
        site = folder / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(SAMPLER)
        self.samples = folder / "samples"
        self.role = role
        self.product = Product(
            folder / "product", core=core, UPSTREAM_CA_FILE=str(upstream.ca_file), PYTHONPATH=f"{site}:{ROOT}",
            BENCH_SAMPLES=str(self.samples), BENCH_ROLE=role,
        )  # fmt: skip
        self.product.start()
        self.token = configure(self.product, upstream)

    def roles(self) -> dict[str, list[int]]:
        """The sampled process."""
        return {self.role: self.product.pids(self.role)}

    def port(self, tls: bool, stream: bool) -> int:
        """One port for all."""
        return self.product.port

    def model(self, tls: bool) -> str:
        """As in the bench."""
        return TLS_MODEL if tls else PLAIN_MODEL

    def serves(self, tls: bool) -> bool:
        """Both."""
        return True

    def log(self) -> str:
        """Its standard output and error."""
        return self.product.log()

    def stop(self) -> None:
        """Drain; the sampled process writes what it has."""
        self.product.stop()


def native(pid: int, seconds: float, folder: Path, lines: int) -> str:
    """Shares of CPU by library and symbol, from perf; "" without perf."""
    perf = shutil.which("perf")
    if perf is None:
        return "(no perf on this machine: the native side is not shown)"
    data = folder / "perf.data"
    record = [perf, "record", "-q", "-e", "cpu-clock", "-F", "2999", "-p", str(pid), "-o", str(data)]
    subprocess.run([*record, "--", "sleep", str(seconds)], capture_output=True, check=False)
    report = [perf, "report", "-q", "-i", str(data), "--stdio", "--percent-limit", "0.4"]
    texts = []
    for keys in ("dso", "dso,symbol"):
        done = subprocess.run([*report, "--sort", keys], capture_output=True, text=True, check=False)
        texts.append("\n".join(line for line in done.stdout.splitlines() if line.strip())[: 110 * lines])
    return "\n\n".join(texts)


def python_side(samples: Path, lines: int, per_unit_us: float) -> str:
    """Functions and lines by self time, in µs of a unit."""
    functions: collections.Counter[str] = collections.Counter()
    spots: collections.Counter[str] = collections.Counter()
    within: collections.Counter[str] = collections.Counter()
    total = 0
    for path in samples.parent.glob(samples.name + ".*"):
        for stack, count in json.loads(path.read_text()):
            file, name, line = stack[0]
            short = file.replace(str(ROOT) + "/", "").rpartition("site-packages/")[2]
            functions[f"{short} {name}"] += count
            spots[f"{short}:{line} {name}"] += count
            within.update(
                dict.fromkeys((f"{where.replace(str(ROOT) + '/', '')} {what}" for where, what, _ in stack), count)
            )
            total += count
    text = [f"{total} samples"]
    for title, counter in (
        ("functions (own time and C called from them)", functions),
        ("lines", spots),
        ("functions with all that they call", within),
    ):
        text.append(f"\n{title}")
        text += [f"{count / total:6.1%} {count / total * per_unit_us:6.2f} µs  {what}"
                 for what, count in counter.most_common(lines)]  # fmt: skip
    return "\n".join(text)


def main(words: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="bench/run.py profile", description="Where a worker's microseconds go.")
    parser.add_argument("--row", default="plain_small", choices=[row.name for row in ROWS])
    parser.add_argument("--role", default="worker", choices=["worker", "control"])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--lines", type=int, default=40)
    options = parser.parse_args(words)
    row = next(row for row in ROWS if row.name == options.row)
    gateway_core, peer_core = cores()
    with tempfile.TemporaryDirectory(prefix="burncloud-bench-") as name:
        folder = Path(name)
        try:
            upstream = Upstream(folder, peer_core)
        except Missing as missing:
            print(missing)
            return 2
        gateway = Profiled(folder, upstream, gateway_core, options.role)
        try:
            roles = gateway.roles()

            def run() -> float:
                """CPU µs a unit over the measured time."""
                port, run_ms = gateway.port(row.tls, row.stream), int(options.seconds * 1000)
                figures, before, after = run_load(
                    port, row.request(gateway), row.connections, 500, run_ms, peer_core, lambda: cpu_by_role(roles)
                )
                units = figures["events" if row.stream else "requests"]
                return (after[options.role] - before[options.role]) / 1000 / units

            for pid in roles[options.role]:
                os.kill(pid, signal.SIGRTMIN + 5)  # from here on samples count
            per_unit = run()
            print(f"{row.title}: {per_unit:.1f} µs (with the sampler on)\n")
            from threading import Thread

            load = Thread(target=run)
            load.start()
            print(native(roles[options.role][0], options.seconds, folder, options.lines))
            load.join()
        finally:
            gateway.stop()
            upstream.stop()
        print(python_side(gateway.samples, options.lines, per_unit))
    return 0
