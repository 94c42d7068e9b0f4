"""What is taken out of packed bytes, and what is not."""

from __future__ import annotations

import os
import pickle
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.pickled import packed, unpacked
from burncloud.domain.usage import Usage


@pytest.mark.parametrize(
    "value",
    [
        [1, "a", b"b", None, {"x": {1}}, bytearray(b"c")],
        canon.Request("m", [canon.Turn("user", [canon.Text("hi", extra={"a": [0.5]})])], max_tokens=5),
        Usage(1, 2),
    ],
)
def test_there_and_back(value: Any) -> None:
    assert unpacked(packed(value)) == value


class Evil:
    """Runs something where it is unpacked."""

    def __init__(self, what: Any, *given: Any) -> None:
        self._way = what, given

    def __reduce__(self) -> Any:
        return self._way


@pytest.mark.parametrize(
    "value",
    [
        Evil(os.system, "true"), Evil(eval, "1"), Evil(getattr, "", "join"), Evil(packed, 1),
        Evil(__import__, "os"),
    ],
)  # fmt: skip
def test_nothing_else(value: Evil) -> None:
    """Neither others' functions nor our own."""
    with pytest.raises(pickle.UnpicklingError):
        unpacked(packed(value))
