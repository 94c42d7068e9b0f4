"""Token counts where nobody counted.

Text is counted by its bytes: about four ASCII bytes to a token, and about three bytes to a token for
the rest (one Chinese, Japanese or Korean character is three bytes and 0.6-1.3 tokens; a Cyrillic
letter two bytes and 0.4-0.6).  JSON around the text counts as text, which makes up for the tokens
that chat templates and tool definitions add.  Base64 is not text: a run of it counts as one image or
one clip of audio (FLAT_TOKENS, and more by its length), whatever tokens its bytes would make.

Large bodies are not read but sampled at up to 64 places, so the price stays flat.  The figures were
fitted to the requests of the recordings in ../shared/wire; tests/wire/test_estimate.py prints how well.
"""

from __future__ import annotations

from typing import Final

FLAT_TOKENS: Final = 1_600
"""One image: the most that Anthropic counts, near what OpenAI counts for a large one at high detail."""
MEDIA_BYTES_PER_TOKEN: Final = 640
"""Base64 bytes of audio at 16 kB/s and 32 tokens/s, the dearest common case; images need fewer."""
REQUEST_TOKENS: Final = 16
"""What a chat template adds at least."""
_WINDOW: Final = 256
_WINDOWS_MAX: Final = 64
_SMALL_BYTES: Final = 2048


def prompt_tokens(body: bytes) -> int:
    """For the reserve: rarely below the truth."""
    text, other, media = _weigh(body)
    return REQUEST_TOKENS + (text * 3 + 7) // 8 + (other + 1) // 2 + media


def prompt_tokens_billed(body: bytes) -> int:
    """For a bill without usage from the upstream: the likeliest figure."""
    text, other, media = _weigh(body)
    return (text + 4) // 5 + (other + 2) // 3 + media


def output_tokens(text_bytes: int) -> int:
    """Tokens of delivered text of this many UTF-8 bytes."""
    return (text_bytes + 3) // 4


def _weigh(body: bytes) -> tuple[int, int, int]:
    """(ASCII bytes of text, other bytes of text, tokens of media)."""
    size = len(body)
    if size <= _SMALL_BYTES:
        if body.isascii():
            return size, 0, 0
        other = len(body) - len(body.decode("ascii", "ignore"))
        return size - other, other, 0
    stride = max(size // _WINDOWS_MAX, 1024)
    ascii_bytes = other_bytes = media_windows = runs = windows = 0
    in_media = False
    for at in range(stride // 2, size, stride):
        window = body[at : at + _WINDOW]
        windows += 1
        if not window.isascii():
            in_media = False
            other = len(window) - len(window.decode("ascii", "ignore"))
            other_bytes += other
            ascii_bytes += len(window) - other
        elif b" " in window or b'"' in window or b"," in window or b"\\" in window or len(window) < 64:
            in_media = False
            ascii_bytes += len(window)
        else:
            media_windows += 1
            runs += not in_media
            in_media = True
    media_bytes = size * media_windows // windows
    seen = ascii_bytes + other_bytes
    text_bytes = size - media_bytes
    other = text_bytes * other_bytes // seen if seen else 0
    media = max(runs * FLAT_TOKENS, media_bytes // MEDIA_BYTES_PER_TOKEN) if runs else 0
    return text_bytes - other, other, media
