"""The hand-written answers of tests/cases/adaptors: what each dialect says in its ordinary and its odd ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burncloud.adaptors.meter import Meter, read_plain
from burncloud.adaptors.reading import Reading
from burncloud.domain.usage import Usage

CASES = Path(__file__).parents[2] / "cases" / "adaptors"
FILES = sorted(file.stem for file in CASES.glob("*.json"))


def load(name: str) -> list[Any]:
    """The cases of one file as pytest parameters."""
    cases: list[dict[str, Any]] = json.loads((CASES / f"{name}.json").read_text(encoding="utf-8"))
    return [pytest.param(case, id=case["name"]) for case in cases]


def read(case: dict[str, Any], size: int = 0) -> Reading:
    """The meter's reading of a case, cut into pieces of `size` bytes (0 = whole)."""
    meter = Meter(case["dialect"], case["endpoint"], case["sse"])
    content = case["content"].encode()
    for start in range(0, len(content), size or len(content)):
        meter.feed(content[start : start + (size or len(content))])
    return meter.finish()


def check(case: dict[str, Any]) -> None:
    """The case's numbers, in three cuts."""
    for size in (0, 7, 1):
        reading = read(case, size)
        want = None if case["usage"] is None else Usage(**case["usage"])
        assert reading.usage == want, f"in pieces of {size}"
        assert (reading.finish, reading.complete, reading.error) == (case["finish"], case["complete"], case["error"])
        if not case["sse"]:
            assert read_plain(case["dialect"], case["endpoint"], case["content"].encode()) == reading
        assert (reading.output_estimate_tokens == 0) or reading.usage is None or not reading.complete
