"""Time as a test of wire/ says."""

from __future__ import annotations

import pytest

from burncloud import clock


class Clock:
    """Milliseconds as the test says."""

    def __init__(self) -> None:
        self.now_ms = 5_000_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of everything."""
    told = Clock()
    monkeypatch.setattr(clock, "monotonic_ms", told)
    return told
