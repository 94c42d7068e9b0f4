"""Server-sent events: every line end, every oddity of the standard."""

from __future__ import annotations

import pytest

from burncloud.adaptors import events


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_payloads(end: str) -> None:
    lines = ["data: one", "", ": comment", "", "event: x", "id: 1", "data:two", ""]
    lines += ["data: a", "data", "data:  b", "", "", "data: last", "", ""]
    text = end.join(lines)
    block = events.unify(text.encode())
    assert events.payloads(block) == [b"one", b"two", b"a\n\n b", b"last"]
    assert events.last_payloads(block, 2) == [b"a\n\n b", b"last"]
    assert events.last_payloads(block, 50) == events.payloads(block)
    assert events.last_payloads(b"", 3) == []


def test_event_end() -> None:
    assert events.event_end(b"data: x\n\ndata: y") == 9
    assert events.event_end(b"data: x\n\ndata: y\n\n", 9) == 18
    assert events.event_end(b"data: x\r\n\r\nz") == 11
    assert events.event_end(b"data: x\n\r\nz") == 10
    assert events.event_end(b"data: x\r\rz") == 9
    assert events.event_end(b"data: x\r\r") == -1, "an LF may follow"
    assert events.event_end(b"data: x\r\n") == -1
    assert events.event_end(b"data: x\n") == -1
