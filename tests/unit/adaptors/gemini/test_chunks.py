"""What is looked at in a chunk."""

from __future__ import annotations

import pytest

from burncloud.adaptors.canon import Unreadable
from burncloud.adaptors.gemini.chunks import candidate_at, decode, part_at

CHUNK = b'{"candidates":[{"content":{"parts":[{"text":"a"},{"functionCall":{"name":"f"}}]},"safetyRatings":[1]}]}'


def test_a_chunk() -> None:
    chunk = decode(CHUNK)
    assert chunk.candidates is not None
    assert chunk.candidates[0].says_more()
    assert part_at(CHUNK, 0, 1) == {"functionCall": {"name": "f"}}
    assert candidate_at(CHUNK, 0)["safetyRatings"] == [1]


def test_what_is_not_there() -> None:
    assert candidate_at(b"{}", 0) == part_at(CHUNK, 0, 9) == part_at(CHUNK, 3, 0) == {}
    with pytest.raises(Unreadable):
        candidate_at(b"[]", 0)
