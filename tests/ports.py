"""A port for a server that starts later: none of those that the system itself hands out meanwhile.

Asking the system for one (port 0) and closing it again gives a port that any connection or upstream of the
same run may be given in between; on a busy machine that happens.
"""

from __future__ import annotations

import random
import socket

BELOW_EPHEMERAL = range(10_000, 32_768)
"""Linux hands out 32768 and above (ip_local_port_range), macOS and Windows 49152 and above."""

_given: set[int] = set()


def free_port() -> int:
    """A loopback port where nothing listens, and that this process was not given before."""
    dice = random.SystemRandom()
    while True:
        port = dice.choice(BELOW_EPHEMERAL)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
