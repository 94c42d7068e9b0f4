"""Members put into and taken out of bodies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.overrides import NOTHING, Overrides, overrides
from burncloud.adaptors.peek import SlicedPeek, splice


@pytest.mark.parametrize(
    ("said", "body", "want"),
    [
        ({"set": {"a": 1}}, '{"model": "m", "a": 2}', '{"model": "m", "a": 1}'),
        ({"set": {"a": [1]}}, '{"model":"m"}', '{"model":"m","a":[1]}'),
        ({"default": {"a": 1}}, '{"a": null, "model": "m"}', '{"a": null, "model": "m"}'),
        ({"default": {"a": 1}}, '{"model":"m" }', '{"model":"m","a":1 }'),
        ({"remove": ["a"]}, '{"a": {"x": "}"}, "model": "m"}', '{"model": "m"}'),
        ({"remove": ["a"]}, '{"model": "m", "a": 1, "b": 2}', '{"model": "m", "b": 2}'),
        ({"remove": ["a"]}, '{"model": "m"}', '{"model": "m"}'),
        ({"remove": ["a"], "set": {"b": "é"}}, '{"a": 1}', '{"b":"é"}'),
        ({}, '{"model": "m"}', '{"model": "m"}'),
    ],
)
def test_a_body_keeps_its_other_bytes(said: dict[str, Any], body: str, want: str) -> None:
    assert overrides(said).onto(body.encode()).decode() == want


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"put": {}}, "give an object"),
        ({"set": []}, "are objects"),
        ({"remove": "a"}, "list of names"),
        ({"set": {"model": "x"}}, "model cannot be overridden"),
        ({"remove": ["stream"]}, "stream cannot"),
        ({"set": {"a": 1}, "default": {"a": 2}}, "twice"),
        ({"set": {"a": "x" * 9000}}, "8 KiB"),
    ],
)
def test_what_cannot_be_overridden(said: Any, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        overrides(said)


def test_nothing_is_false() -> None:
    assert not NOTHING
    assert Overrides(remove=("a",))


names = st.sampled_from(["a", "b", "c", "d", "model", "n", "stream", "é"])
values = st.recursive(st.none() | st.integers(0, 9) | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2))


@given(
    st.dictionaries(names, values, min_size=1), st.dictionaries(names, st.none() | values), st.sampled_from([None, 1])
)
def test_a_body_in_slices_is_cut_as_one_in_memory(
    body: dict[str, Any], edits: dict[str, Any], indent: int | None
) -> None:
    """splice (a body in memory) and SlicedPeek.cuts (one on its way from the spool) do the same, and it is right."""
    raw = json.dumps(body, indent=indent, ensure_ascii=False).encode()
    given = {key: None if value is None else json.dumps(value).encode() for key, value in edits.items()}
    spliced = splice(raw, given)
    kept = {key: value for key, value in body.items() if edits.get(key, 0) is not None}
    assert json.loads(spliced) == kept | {key: value for key, value in edits.items() if value is not None}
    peek = SlicedPeek("gemini")
    for at in range(0, len(raw), 3):
        peek.feed(raw[at : at + 3])
    peek.finish()
    parts, pos = [], 0
    for start, end, new in peek.cuts(given):
        parts += [raw[pos:start], new]
        pos = end
    assert b"".join([*parts, raw[pos:]]) == spliced
    assert peek.keys() == list(body)
