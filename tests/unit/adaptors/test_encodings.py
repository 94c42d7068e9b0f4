"""Looking into compressed answers on the side."""

from __future__ import annotations

import gzip
import zlib

import pytest

from burncloud.adaptors import encodings
from burncloud.adaptors.encodings import Inflater

PLAIN = b'data: {"choices":[]}\n\n' * 2000


def raw_deflate(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("gzip", gzip.compress(PLAIN)),
        ("x-gzip", gzip.compress(PLAIN)),
        ("deflate", zlib.compress(PLAIN)),
        ("deflate", raw_deflate(PLAIN)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_inflates_in_any_split(encoding: str, data: bytes, size: int) -> None:
    inflater = Inflater(encoding)
    got = b"".join(inflater.feed(data[start : start + size]) for start in range(0, len(data), size))
    assert got == PLAIN
    assert not inflater.broken


def test_nonsense_breaks_it_quietly() -> None:
    inflater = Inflater("gzip")
    assert inflater.feed(b"not gzip") == b""
    assert inflater.broken
    assert inflater.feed(gzip.compress(PLAIN)) == b""


def test_a_bomb_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "PLAIN_BYTES_MAX", 1 << 20)
    inflater = Inflater("gzip")
    assert inflater.feed(gzip.compress(bytes(8 << 20))) == b""
    assert inflater.broken


def test_an_unknown_encoding_is_broken_from_the_start() -> None:
    assert Inflater("rot13").broken
    for name in ("br", "zstd"):  # readable only where a library is there
        assert Inflater(name).feed(b"\0\0nonsense") == b""


def test_one_read_may_give_so_much() -> None:
    """What shrinks as no JSON does would hold the loop."""
    inflater = Inflater("gzip", 10_000)
    data = gzip.compress(bytes(9_000), 0) + gzip.compress(bytes(20_000))
    assert len(inflater.feed(data[:9_000])) > 8_000
    assert not inflater.broken
    bomb = Inflater("gzip", 10_000)
    assert bomb.feed(gzip.compress(bytes(600_000))) == b""
    assert bomb.broken
