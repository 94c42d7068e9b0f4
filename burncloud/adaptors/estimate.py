"""Token counts where nobody counted.

**Text** is counted by its bytes.  JSON around the text counts as text, which makes up for the tokens that
chat templates add: for the reserve 3 tokens to 8 ASCII bytes, for a bill 1 to 5.  Other bytes (one
Chinese, Japanese or Korean character is three, and 0.6-1.3 tokens; a Cyrillic letter two, and 0.4-0.6)
are 1 token to 2 for the reserve, 1 to 3 for a bill.  **Base64** is not text: a run of it is one image or one
clip of audio (FLAT_TOKENS, more if it is long), whatever its bytes would make.  The **reserve** adds what the
body does not show: a template, the tool prompt that vendors add, images that are only linked, and pages
that a search tool will read.

Bodies above 2 KiB are not read but sampled at 32 places, so the price stays flat.  The figures were
fitted to the requests recorded in ../shared/wire; tests/wire/test_estimate.py holds how well: the reserve
is at or above the truth for 9 in 10, a bill is within a factor of two for most.
"""

from __future__ import annotations

import re
from typing import Final

FLAT_TOKENS: Final = 1_600
"""One image: the most that Anthropic counts, near what OpenAI counts for a large one at high detail."""
MEDIA_BYTES_PER_TOKEN: Final = 640
"""Base64 bytes of audio at 16 kB/s and 32 tokens/s, the dearest common case; images need fewer."""
REQUEST_TOKENS: Final = 96
"""What a chat template and a vendor's own preamble add."""
TOOLS_TOKENS: Final = 512
"""The prompt that a vendor adds where tools are given (Anthropic documents 313-804)."""
SEARCH_TOKENS: Final = 16_384
"""Pages that a server-side search or fetch puts into the prompt."""

_WINDOW: Final = 256
_WINDOWS_MAX: Final = 32
_STRIDE_MIN: Final = 1024
_SMALL_BYTES: Final = 2048
_NOT_MEDIA: Final = re.compile(rb'[ ",\\]')
_READ_BYTES: Final = 16_384
"""Up to here a body is searched for what will be added to it; above, that is small beside it."""


def prompt_tokens(body: bytes) -> int:
    """For the reserve: rarely below the truth."""
    return _reserve(*_weigh(body)) + (_unseen(body) if len(body) <= _READ_BYTES else TOOLS_TOKENS)


def prompt_tokens_billed(body: bytes) -> int:
    """For a bill without usage from the upstream: the likeliest figure."""
    return _likely(*_weigh(body))


def prompt_both(body: bytes) -> tuple[int, int]:
    """(`prompt_tokens`, `prompt_tokens_billed`) of a body, weighed once."""
    size = len(body)
    unseen = _unseen(body) if size <= _READ_BYTES else TOOLS_TOKENS
    if size <= _SMALL_BYTES and body.isascii():  # the usual request: the same, without the sums over nothing
        return REQUEST_TOKENS + (size * 3 + 7) // 8 + unseen, (size + 4) // 5
    text, other, media = _weigh(body)
    return _reserve(text, other, media) + unseen, _likely(text, other, media)


def output_tokens(text_bytes: int) -> int:
    """Tokens of delivered text of this many UTF-8 bytes."""
    return (text_bytes + 3) // 4


def form_tokens(text_bytes: int, files: int, file_bytes: int) -> int:
    """For the reserve of a multipart form: its plain fields and its files (images or audio, not encoded)."""
    if not files:
        return REQUEST_TOKENS + (text_bytes + 1) // 2
    media = max(files * FLAT_TOKENS, file_bytes * 4 // (3 * MEDIA_BYTES_PER_TOKEN))
    return REQUEST_TOKENS + (text_bytes + 1) // 2 + media


def _reserve(text: int, other: int, media: int) -> int:
    return REQUEST_TOKENS + (text * 3 + 7) // 8 + (other + 1) // 2 + media


def _likely(text: int, other: int, media: int) -> int:
    return (text + 4) // 5 + (other + 2) // 3 + media


def _unseen(body: bytes) -> int:
    """Tokens of what the upstream will add."""
    tokens = 0
    # find, since `in` first tries the bytes as a number: three times the price
    if body.find(b'"tools"') >= 0 or body.find(b'"web_search') >= 0:
        tokens = TOOLS_TOKENS
        if b"earch" in body or b"fetch" in body:
            tokens += SEARCH_TOKENS
    if body.find(b'"http') < 0:
        return tokens
    links = body.count(b'":"http') + body.count(b'": "http')  # image_url, file_uri, {"type":"url","url":…
    return tokens + FLAT_TOKENS * min(links, 8)


def _weigh(body: bytes) -> tuple[int, int, int]:
    """(ASCII bytes of text, other bytes of text, tokens of media)."""
    size = len(body)
    if size <= _SMALL_BYTES:
        if body.isascii():
            return size, 0, 0
        plain = len(body.decode("ascii", "ignore"))
        return plain, size - plain, 0
    weigher = Weigher()
    weigher.feed(body)
    return weigher.weight()


class Weigher:
    """The same for a body that comes in slices: feed() each, then ask."""

    __slots__ = ("_ascii", "_bytes", "_in_media", "_media_bytes", "_other", "_runs")

    def __init__(self) -> None:
        self._bytes = 0
        self._ascii = 0
        self._other = 0
        self._media_bytes = 0
        self._runs = 0
        self._in_media = False

    def feed(self, piece: bytes) -> None:
        """Sample one slice."""
        size = len(piece)
        self._bytes += size
        stride = max(size // _WINDOWS_MAX, _STRIDE_MIN)
        # the usual body is all plain text: so far, one look a window is enough
        whole = done = size - size % stride
        for at in range(stride - _WINDOW >> 1, whole, stride):
            window = piece[at : at + _WINDOW]
            if window.find(b" ") < 0 or not window.isascii():
                done = at - (stride - _WINDOW >> 1)
                break
        if done:
            self._ascii += done
            self._in_media = False
        for at in range(done, size, stride):
            share = min(stride, size - at)
            start = at + (share - _WINDOW >> 1) if share > _WINDOW else at
            window = piece[start : start + _WINDOW]
            if not window.isascii():
                self._in_media = False
                plain = share * len(window.decode("ascii", "ignore")) // len(window)
                self._ascii += plain
                self._other += share - plain
            elif len(window) < 64 or _NOT_MEDIA.search(window) is not None:
                self._in_media = False
                self._ascii += share
            else:
                self._media_bytes += share
                self._runs += not self._in_media
                self._in_media = True

    def weight(self) -> tuple[int, int, int]:
        """(ASCII bytes of text, other bytes of text, tokens of media)."""
        media = max(self._runs * FLAT_TOKENS, self._media_bytes // MEDIA_BYTES_PER_TOKEN) if self._runs else 0
        return self._ascii, self._other, media

    def prompt_tokens(self) -> int:
        """As the function of that name."""
        return _reserve(*self.weight()) + TOOLS_TOKENS

    def prompt_tokens_billed(self) -> int:
        """As the function of that name."""
        return _likely(*self.weight())
