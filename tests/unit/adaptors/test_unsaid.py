"""Members that a dialect has no word for."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.unsaid import name_unsaid

MEMBERS = ("seed", "n", "modalities", "verbosity", "store", "metadata", "frequency_penalty")


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({}, []),
        ({"n": 1, "modalities": ["text"], "verbosity": "medium", "store": False, "frequency_penalty": 0}, []),
        ({"seed": 0}, ["seed"]),
        ({"n": 2, "modalities": ["text", "audio"]}, ["modalities", "n"]),
        ({"verbosity": "low", "metadata": {"a": "b"}}, ["metadata", "verbosity"]),
        ({"extra": {"own": 1, "null": None}}, ["own"]),
        ({"user": "somebody"}, []),
    ],
)
def test_what_asks_for_something_is_named(said: dict[str, Any], named: list[str]) -> None:
    losses = canon.Losses()
    name_unsaid(canon.Request("m", [], **said), MEMBERS, losses)
    assert losses.names() == named
