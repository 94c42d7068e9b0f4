"""Logging: one JSON object a line for machines, a short line for people."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from burncloud import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _root_logger_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def test_a_machine_gets_one_json_object_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("info", "worker 0")
    log = logs.logger("burncloud.test")
    log.debug("unheard")
    log.info("took %d ms\nand a line", 7, extra={"channel": "c1"})
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        log.exception("failed")
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first.pop("time").endswith("+00:00")
    assert first == {
        "level": "info",
        "role": "worker 0",
        "logger": "burncloud.test",
        "message": "took 7 ms\nand a line",
        "channel": "c1",
    }
    assert "RuntimeError: boom" in second["exception"]


def test_a_person_gets_a_short_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("warning", "control")
    log = logs.logger("burncloud.test")
    log.info("unheard")
    log.warning("slow", extra={"took_ms": 7})
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        log.exception("failed")
    line = stream.getvalue().splitlines()[0]
    assert line[8:] == " warning control: slow took_ms=7"
    assert "RuntimeError: boom" in stream.getvalue()


def test_others_say_nothing_but_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database's driver says each statement, with its values."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.configure("debug", "control")
    for name in ("aiosqlite", "sqlalchemy.engine.Engine", "alembic.runtime"):
        logs.logger(name).debug("SELECT")
        logs.logger(name).info("SELECT")
        logs.logger(name).warning("heed")
    logs.logger("burncloud.test").debug("heard")
    logs.configure("info", "control")
    assert [line.split(": ")[1] for line in stream.getvalue().splitlines()] == ["heed", "heed", "heed", "heard"]
