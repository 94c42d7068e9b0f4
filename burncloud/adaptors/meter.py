"""The meter beside the passing response bytes (skeleton)."""

from __future__ import annotations

from typing import Literal

import msgspec

from burncloud.domain.usage import Usage


class Reading(msgspec.Struct, gc=False):
    """What the meter saw."""

    usage: Usage | None
    """As the upstream stated it (the last statement of a stream); None = it stated none."""
    complete: bool
    """The answer came to its own end (a stream: its terminal event was seen)."""
    finish: str
    """The raw finish/stop reason or status; "" = none."""
    error: bool
    """An error object or event inside the answer."""
    output_estimate_tokens: int
    """Estimated from the delivered text; 0 where usage came and the answer is complete."""


class Meter:
    """feed() every piece of the de-chunked answer, then finish() once.

    `endpoint`: chat.completions, completions, responses, embeddings, images, audio, moderations, rerank,
    messages, count_tokens, generateContent, streamGenerateContent, countTokens, embedContent; unknown ones are
    read generically.  `sse`: the answer's content type is text/event-stream.
    """

    def __init__(self, dialect: str, endpoint: str, sse: bool, encoding: str = "") -> None:
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Keep a reference; now and then digest what was kept."""
        raise NotImplementedError

    def finish(self) -> Reading:
        """Decode what is left and tell."""
        raise NotImplementedError


def billable(reading: Reading, prompt_estimate: int) -> tuple[Usage, bool]:
    """(usage to charge, estimated?): the upstream's numbers, completed by estimates where they are missing or cut."""
    raise NotImplementedError


def first_content(head: bytes, dialect: str, endpoint: str) -> Literal["wait", "content", "error"]:
    """The commit-point test on the first bytes of an SSE answer (all of it so far)."""
    raise NotImplementedError


class UsageStripper:
    """Removes the usage chunk that we asked for from an OpenAI stream whose client did not."""

    def strip(self, data: bytes) -> bytes:
        """The bytes to pass on now."""
        raise NotImplementedError

    def finish(self) -> bytes:
        """At the end of the stream: what is still held back."""
        raise NotImplementedError
