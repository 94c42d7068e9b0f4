"""One order of states for all."""

from __future__ import annotations

from burncloud.domain.parts import COOLING, OFF, PROBING, READY, STATES


def test_the_worst_comes_last() -> None:
    assert sorted((OFF, READY, COOLING, PROBING), key=STATES.index) == [READY, PROBING, COOLING, OFF]
