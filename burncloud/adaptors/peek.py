"""What routing must know of a JSON request body, read without building it (skeleton)."""

from __future__ import annotations

import msgspec


class Peek(msgspec.Struct, gc=False):
    """The watched values of a request body."""

    model: str
    """"" only where the dialect has the model in the URL (gemini)."""
    stream: bool = False
    output_tokens: int = 0
    """The most the request allows to be generated, all choices together; 0 = not stated."""
    include_usage: bool = False
    """stream_options.include_usage is true."""
    choices: int = 1
    """max(n, best_of, candidateCount); already multiplied into output_tokens."""


def peek_json(body: bytes, dialect: str) -> Peek:
    """Read the watched values; Refusal(INVALID_REQUEST) for anything two readers could take differently."""
    raise NotImplementedError


def peek_url(path: str) -> tuple[str, str]:
    """(model, method) of a Gemini path; method is "" where the path has none."""
    raise NotImplementedError


class SlicedPeek:
    """`peek_json` for large bodies, in slices (≤ 256 KiB each) so that the loop never stalls."""

    def __init__(self, dialect: str) -> None:
        raise NotImplementedError

    def feed(self, piece: bytes) -> None:
        """The next slice of the body."""
        raise NotImplementedError

    def finish(self) -> Peek:
        """The verdict; Refusal as peek_json."""
        raise NotImplementedError


def splice(body: bytes, edits: dict[str, bytes | None]) -> bytes:
    """Replace, insert or (None) remove top-level members' raw JSON values; all other bytes stay."""
    raise NotImplementedError


def force_usage(body: bytes, peek: Peek) -> bytes:
    """The body with stream_options.include_usage true, other stream_options kept byte for byte."""
    raise NotImplementedError
