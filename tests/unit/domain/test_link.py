"""Messages of the link survive their own framing, each told by its tag."""

from __future__ import annotations

import msgspec
import pytest

from burncloud.domain import link
from burncloud.domain.snapshot import RECORD_TYPES


@pytest.mark.parametrize(
    "message",
    [
        link.Welcome("l", "n"),
        link.Ready(1),
        link.Grant(1, "denied", denied="user"),
        link.Ack(9),
        link.Drop("user", [1]),
        link.Learned([link.Part(1, 0, "gpt-4", "cooling", "broken", 500, 1000, 2000)]),
    ],
    ids=lambda message: type(message).__name__,
)
def test_to_a_worker(message: link.ToWorker) -> None:
    """What control says."""
    data = link.frame(message)
    assert int.from_bytes(data[:4], "little") == len(data) - 4
    assert link.decode_to_worker.decode(data[4:]) == message


@pytest.mark.parametrize(
    "message",
    [link.Hello(1, 0), link.Opened("j"), link.Ask(1, 2, 3, 4, 0, 0, 0), link.Bell(5), link.Stats({"live": 1})],
    ids=lambda message: type(message).__name__,
)
def test_to_control(message: link.ToControl) -> None:
    """What a worker says; it is no message to a worker."""
    data = link.frame(message)
    assert link.decode_to_control.decode(data[4:]) == message
    with pytest.raises(msgspec.ValidationError):
        link.decode_to_worker.decode(data[4:])


def test_every_record_kind_has_a_decoder() -> None:
    """What can be published can be read."""
    assert set(link.decode_record) == set(RECORD_TYPES)
