"""The bench's one command.

    python bench/run.py [figures] …    CPU and latency beside nginx (bench/figures.py); the default
    python bench/run.py streams …      memory of thousands of open streams
    python bench/run.py memory …       start, idle memory, 100,000 tokens
    python bench/run.py stalls …       how long one large body holds up a worker's loop
    python bench/run.py pairs …        what translating a plain exchange costs, by pair of dialects
    python bench/run.py profile …      where a worker's microseconds go

`--help` after each names its options.
"""

from __future__ import annotations

import importlib
import signal
import sys
from pathlib import Path

COMMANDS = ("figures", "streams", "memory", "stalls", "pairs", "profile")


def main(words: list[str]) -> int:
    """Hand over to the command named first, if one is."""
    # In place of bench/ itself, whose profile.py would hide the standard library's.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    # A bench that is told to stop takes down what it started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    name, rest = (words[0], words[1:]) if words and words[0] in COMMANDS else ("figures", words)
    status: int = importlib.import_module(f"bench.{name}").main(rest)
    return status


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
