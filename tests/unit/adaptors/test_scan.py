"""The incremental walk over a JSON object's top level."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors.scan import KEY_BYTES_MAX, VALUE_BYTES_MAX, Malformed, TopScanner, string_end, value_end

TEXT = json.dumps(
    {
        "a": 'x"y\\z\\\\',
        "list": [[1, [2, {"b": "]}"}]], "tail\\"],
        "number": -1.5e3,
        "deep": {"k": {"k": {"k": {"k": {"k": {"k": [True, None]}}}}}},
        "e": {},
        "é😀": False,
    },
    ensure_ascii=False,
    indent=1,
).encode()


def scan(text: bytes, watched: set[str], size: int, every: bool = False) -> TopScanner:
    scanner = TopScanner(watched, every)
    for start in range(0, len(text), size):
        scanner.feed(text[start : start + size])
    scanner.finish()
    return scanner


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
def test_values_and_places_in_any_split(size: int) -> None:
    want = json.loads(TEXT)
    scanner = scan(TEXT, set(want), size, every=True)
    assert {key: json.loads(value) for key, value in scanner.values.items()} == want
    assert set(scanner.seen.values()) == {1}
    for member in scanner.members:
        assert json.loads(TEXT[member.value_start : member.value_end]) == want[member.key]
        assert TEXT[member.key_start : member.key_start + 1] == b'"'
    assert scanner.end == scanner.members[-1].value_end
    assert [member.key for member in scanner.members] == list(want)


def test_a_large_nested_value_is_jumped_over() -> None:
    text = json.dumps({"x": [{"t": "w" * 5000, "n": list(range(500))}] * 40, "y": 1}).encode()
    for size in (64, 4096, 65536):
        assert scan(text, {"y"}, size).values == {"y": b"1"}


@pytest.mark.parametrize(
    "text",
    [
        *(
            b"",
            b"  ",
            b"[]",
            b"{",
            b'{"a"',
            b'{"a":',
            b'{"a":1',
            b'{"a":1,',
            b'{"a":1,}',
            b'{"a" 1}',
            b'{"a":}',
            b"{1:2}",
        ),
        *(b'{"a":1}}', b'{"a":1} x', b'{"a":"x', b'{"a":[1', b'{"a":"x\\', b"{,}", b'{"a":1 "b":2}', b'{"\\x":1}'),
        b'{"\xff":1}',
    ],
)
@pytest.mark.parametrize("size", [1, 100])
def test_what_is_no_object_is_malformed(text: bytes, size: int) -> None:
    with pytest.raises(Malformed):
        scan(text, {"a"}, size)


def test_keys_and_values_are_bounded() -> None:
    long_key = b'{"' + b"k" * (KEY_BYTES_MAX + 500) + b'":1,"a":2}'
    for size in (1, 64, 10_000):
        assert scan(long_key, {"a"}, size).values == {"a": b"2"}
    with pytest.raises(Malformed, match="too long"):
        scan(b'{"a":"' + b"x" * VALUE_BYTES_MAX + b'"}', {"a"}, 65536)


def test_lookalikes_are_noted() -> None:
    assert scan(b'{"a":1,"B":2,"c":{"A":1}}', {"a", "b"}, 100).lookalike == "B"
    assert scan(b'{"a":1,"c":{"B":1}}', {"a", "b"}, 100).lookalike == ""


def test_ends() -> None:
    assert string_end(b'ab\\"c"d', 0) == 6
    assert string_end(b'\\\\"', 0) == 3
    assert string_end(b'\\"', 0) == -1
    assert value_end(b'x{"a":[1,"}"]}y', 1) == 14
    assert value_end(b'{"a":[1,"}"]', 0) == -1
    assert value_end(b'{"a":"', 0) == -1
    nested = b"[" * 3000 + b"]" * 3000
    assert value_end(nested + b"]", 0) == len(nested)
