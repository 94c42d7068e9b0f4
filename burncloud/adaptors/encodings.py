"""Content encodings that the meter can look into, on the side of the bytes that pass unchanged.

gzip and deflate come with Python; br and zstd only where a library for them is installed.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any, Final

PLAIN_BYTES_MAX: Final = 64 << 20
"""More plain bytes than this from one answer are not looked into: a bomb, or beyond any meter's need."""
AT_ONCE_BYTES_MAX: Final = 1 << 20
"""Nor is one read that gives more than this: JSON shrinks to a tenth, what shrinks far more would hold the loop."""
_STEP_BYTES: Final = 1 << 18


class Inflater:
    """feed() encoded pieces, get plain ones.  `broken` once the data is not what it says or too much.

    `at_once`: so many plain bytes may one feed() give.
    """

    def __init__(self, encoding: str, at_once: int = PLAIN_BYTES_MAX) -> None:
        self.broken = False
        self._at_once = at_once
        self._plain_bytes = 0
        self._name = encoding
        self._zlib = zlib.decompressobj(wbits=15 if encoding == "deflate" else 47) if encoding in _ZLIB else None
        self._other: Any = None if self._zlib is not None else _optional(encoding)
        self._started = False
        if self._zlib is None and self._other is None:
            self.broken = True

    def feed(self, data: bytes) -> bytes:
        """The plain bytes that these give; b"" once broken."""
        if self.broken or not data:
            return b""
        try:
            plain = self._inflate(data) if self._zlib is not None else bytes(self._other(data))
        except Exception:  # each library has errors of its own
            self.broken = True
            return b""
        self._plain_bytes += len(plain)
        if self._plain_bytes > PLAIN_BYTES_MAX or len(plain) > self._at_once:
            self.broken = True
            return b""
        return plain

    def _inflate(self, data: bytes) -> bytes:
        assert self._zlib is not None
        if not self._started:
            self._started = True
            if self._name == "deflate" and (data[0] & 0x0F != 8 or data[0] >> 4 > 7):
                self._zlib = zlib.decompressobj(wbits=-15)  # some send deflate without the zlib header
        parts: list[bytes] = []
        total = 0
        while data and not self._zlib.eof:
            part = self._zlib.decompress(data, _STEP_BYTES)
            data = self._zlib.unconsumed_tail
            parts.append(part)
            total += len(part)
            if self._plain_bytes + total > PLAIN_BYTES_MAX or total > self._at_once or not (part or data):
                break
        return b"".join(parts)


_ZLIB: Final = ("gzip", "x-gzip", "deflate")


def _optional(encoding: str) -> Any:
    """A function from encoded to plain bytes, from a library that may not be there; None if it is not."""
    try:
        if encoding == "br":
            brotli = importlib.import_module("brotli")
            decoder = brotli.Decompressor()
            return decoder.process
        if encoding == "zstd":
            try:
                return importlib.import_module("compression.zstd").ZstdDecompressor().decompress
            except ImportError:
                return importlib.import_module("zstandard").ZstdDecompressor().decompressobj().decompress
    except ImportError:
        pass
    return None
