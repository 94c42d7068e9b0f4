"""What only one dialect knows of a block."""

from __future__ import annotations

from burncloud.adaptors.canon import Losses
from burncloud.adaptors.writing import Writing


def test_own_fields_go_back_to_where_they_were() -> None:
    losses = Losses()
    to = Writing(losses, own=True)
    assert to.fill({"a": {"b": 1}, "c": 2}, {"a": {"d": 3}, "e": 4}) == {"a": {"b": 1, "d": 3}, "c": 2, "e": 4}
    assert not losses


def test_those_of_others_are_lost() -> None:
    losses = Losses()
    assert Writing(losses, own=False, answer=True).fill({"a": 1}, {"b": 2}) == {"a": 1}
    assert losses.names() == ["b"]
