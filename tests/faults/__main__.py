"""`python -m tests.faults`: the fault bench; prints the scorecard, exits 1 where a row is red."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from tests.faults.bench import cases, play
from tests.faults.scorecard import as_text
from tests.faults.table import ROWS
from tests.faults.voices import VOICES


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description="Official SDKs, the whole product, and upstreams that fail."
    )
    parser.add_argument("--only", action="append", default=[], metavar="NAME", choices=[row.name for row in ROWS])
    parser.add_argument("--dialect", action="append", default=[], choices=list(VOICES), help="of the caller")
    parser.add_argument("--quick", action="store_true", help="without what takes a minute")
    parser.add_argument("--crossed", action="store_true", help="only primaries and spares of different dialects")
    parser.add_argument("--straight", action="store_true", help="only those of the caller's own dialect")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the product")
    parser.add_argument("--brief", action="store_true", help="green rows in one line")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    crossed = True if options.crossed else False if options.straight else None
    chosen = cases(options.only, options.dialect, options.quick, crossed)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        card = asyncio.run(play(Path(folder), chosen, dict(pair.split("=", 1) for pair in options.set)))
    print(json.dumps(card, indent=1) if options.json else as_text(card, sys.stdout.isatty(), not options.brief))
    return 0 if not card["red"] and card["ledger"] == "adds up" else 1


if __name__ == "__main__":
    sys.exit(main())
