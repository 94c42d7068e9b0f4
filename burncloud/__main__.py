"""`burncloud` and `python -m burncloud`: serve, or hand over to the command line.

The bare command and `router` start the supervisor without importing the command line's libraries.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> int:
    """The console script; the exit status."""
    os.umask(0o077)  # the database and all else we write, in every child, too: its owner's alone
    if sys.argv[1:] in ([], ["router"]):
        signal.signal(signal.SIGINT, lambda number, _: os._exit(128 + number))  # nothing is begun yet
        from burncloud.app import supervisor

        return supervisor.main()
    from burncloud.cli.main import main as command_line

    return command_line()


if __name__ == "__main__":
    sys.exit(main())
