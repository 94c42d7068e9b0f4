"""A short soak (`python -m tests.slow.soak` is the long one), and that its verdict can be a bad one."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.slow import soak
from tests.slow.flaky import TEXT, chunk, event
from tests.slow.soak import Measured, Soaked, streamed

pytestmark = pytest.mark.timeout(300)
SECONDS = 40.0
CLIENTS = 100


def test_no_client_sees_a_failure(tmp_path: Path) -> None:
    out = io.StringIO()
    soaked = soak.soak(tmp_path / "p", SECONDS, CLIENTS, out)
    assert soaked.faults() == [], out.getvalue()
    assert sum(soaked.upstream[what] for what in ("reset", "429", "500", "cut")) > 20
    assert soaked.upstream["cut"]
    assert soaked.outcomes["stream ok"] > CLIENTS


def sound() -> Soaked:
    soaked = Soaked(100.0, 2, rows=3, ledger_ok=True)
    soaked.outcomes["stream ok"] = 3
    soaked.measured = [Measured(at, [40 << 20, 41 << 20], 1, [30, 31]) for at in map(float, range(0, 100, 2))]
    return soaked


def test_each_fault_is_told() -> None:
    assert sound().faults() == []
    failed, lost, grown, leaking, wrong = sound(), sound(), sound(), sound(), sound()
    failed.failures.append("stream: 503")
    lost.rows = 2
    for number, one in enumerate(grown.measured):
        one.worker_bytes[1] += number << 18
    for number, one in enumerate(leaking.measured):
        one.descriptors[0] += number
    wrong.ledger_ok = False
    for soaked, word in (
        (failed, "503"), (lost, "2 rows"), (grown, "grew by"), (leaking, "descriptors"), (wrong, "ledger"),
    ):  # fmt: skip
        assert word in soaked.faults()[0]


@pytest.mark.parametrize(
    ("tail", "word"),
    [
        (b"", "no end"),
        (b"data: [DONE]\n\n", "finished []"),
        (b'data: {"error": {"message": "cut"}}\n\ndata: [DONE]\n\n', "error event"),
    ],
)
def test_a_stream_that_ends_badly_is_seen(tail: bytes, word: str) -> None:
    whole = event({"content": TEXT}) + event({}, "stop") + b"data: [DONE]\n\n"
    assert streamed(whole) == TEXT
    assert word in streamed(event({"content": TEXT}) + tail)
    assert chunk(b"abc") == b"3\r\nabc\r\n"
