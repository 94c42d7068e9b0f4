"""What the test upstream saw: every request to the byte, in memory and, line by line, in a file that survives it."""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ID_HEADERS: Final = ("x-test-id", "x-client-request-id", "x-request-id")
"""Where the client's unique id may stand, best first."""


@dataclass
class Seen:
    """One request as it arrived."""

    n: int
    """Counts from 1."""
    connection: int
    nth: int
    """Which request of its connection, from 1."""
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    """As spelled and in the order received."""
    head: bytes
    """From the request line to the empty line."""
    body: bytes = b""
    """De-chunked."""
    complete: bool = False
    """The body came to its end."""
    case: str = ""
    end: str = ""
    """"" still at it · answered · fault · gone (the other side left first)."""
    body_bytes_sent: int = 0
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float = 0

    def header(self, name: str) -> str | None:
        """The value of a header that came once; None if it did not come.  AssertionError if it came twice."""
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) <= 1, f"{name} came {len(found)} times"
        return found[0] if found else None

    @property
    def id(self) -> str:
        """The client's unique id, or ""."""
        found = {name.lower(): value for name, value in self.headers}
        return next((found[name] for name in ID_HEADERS if name in found), "")


class RequestLog:
    """The file: one JSON line an event, in one write, so that a kill at any time leaves whole lines.

    Events: "head" (a request's head is here), "request" (its body, too), then one of
    "answered", "fault", "gone".
    """

    def __init__(self, path: Path | None) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        self._file = os.open(path, flags, 0o644) if path else -1

    def note(self, event: str, seen: Seen) -> None:
        """Append one line."""
        if self._file < 0:
            return
        line = {
            "event": event,
            "n": seen.n,
            "id": seen.id,
            "connection": seen.connection,
            "nth": seen.nth,
            "method": seen.method,
            "target": seen.target,
            "case": seen.case,
            "body_bytes": len(seen.body),
            "body_sha256": hashlib.sha256(seen.body).hexdigest(),
            "body_bytes_sent": seen.body_bytes_sent,
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")


def read_log(path: Path) -> list[dict[str, object]]:
    """The lines of a log file."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
