"""Logging of every process: one line an event on stderr, short on a terminal, JSON elsewhere.

This is plain stdlib logging: workers log what is rare, never a request (a request's record is its
receipt).  Named values go in `extra=`; they become fields of the JSON line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_PLAIN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def _extras(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _PLAIN_FIELDS}


class JsonFormatter(logging.Formatter):
    """One JSON object a line; `role` says which process speaks."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "role": self.role,
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, ensure_ascii=False, default=str)


class ConsoleFormatter(logging.Formatter):
    """For people: time, level, role, message, then the named values."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        line = f"{moment} {record.levelname.lower():<7} {self.role}: {record.getMessage()}"
        line += "".join(f" {name}={value}" for name, value in _extras(record).items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


CHATTY: Final = ("aiosqlite", "alembic", "sqlalchemy", "uvicorn")
"""Others' loggers, of which only warnings are of use: they say each statement, with what it holds."""


def configure(level: str, role: str) -> None:
    """Send all logging of this process to stderr from `level` (a value of config.LOG_LEVELS) up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(ConsoleFormatter(role) if sys.stderr.isatty() else JsonFormatter(role))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))


def logger(name: str) -> logging.Logger:
    """The logger of a module: `log = logs.logger(__name__)`."""
    return logging.getLogger(name)
