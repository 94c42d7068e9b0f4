"""What control remembers of the parts of channels, and when it is worth an event."""

from __future__ import annotations

import pytest

from burncloud import clock
from burncloud.domain.link import Part
from burncloud.service.states import States

OFF = Part(1, 7, "", "off", "refused", 401, 60_000, 60_000)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Milliseconds, to be turned."""
    at = [1_000]
    monkeypatch.setattr(clock, "monotonic_ms", lambda: at[0])
    return at


def test_a_worker_that_comes_later_gets_what_is_left(now: list[int]) -> None:
    states = States()
    states.learn([Part(1, 0, "m", "cooling", "broken", 500, 5_000, 2_000), OFF])
    now[0] += 3_000
    assert [(part.state, part.left_ms) for part in states.parts()] == [("cooling", 2_000), ("off", 57_000)]
    now[0] += 100_000
    assert [(part.state, part.left_ms) for part in states.parts()] == [("off", 0)], "off stays off until it is good"
    states.learn([Part(1, 7, "", "ready")])
    assert states.parts() == []
    assert states.all[1, 7, ""].part.reason == "refused", "what was wrong last stays to be seen"


def test_only_a_key_that_goes_off_or_comes_back_is_an_event(now: list[int]) -> None:
    states = States()
    seen: list[tuple[str, str]] = []
    states.on_turn = lambda part, before: seen.append((part.state, before))
    probing = Part(1, 7, "", "probing", "refused", 401, 30_000, 60_000)
    for part in (OFF, OFF, probing, OFF, probing, Part(1, 7, "", "ready"), Part(1, 7, "", "ready")):
        states.learn([part])
    states.learn([Part(1, 0, "m", "cooling", "broken", 500, 1, 1), Part(1, 0, "m", "ready")])
    assert seen == [("off", "ready"), ("ready", "probing")]


def test_what_a_channel_has_no_more_is_forgotten(now: list[int]) -> None:
    states = States()
    states.learn([OFF, Part(1, 8, "", "off"), Part(1, 0, "m", "cooling"), Part(2, 9, "", "off")])
    states.forget(1, [8], ["n"])
    assert sorted(states.all) == [(1, 8, ""), (2, 9, "")]
