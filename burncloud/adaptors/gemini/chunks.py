"""What is looked at in every chunk of a stream, and the whole of it where there is more to read."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.streaming import whole_event


class Part(msgspec.Struct, gc=False):
    """Text or a thought; other parts are read whole."""

    text: str | None = None
    thought: bool | None = None
    thoughtSignature: str | None = None


class Content(msgspec.Struct, gc=False):
    """The parts of a candidate."""

    parts: list[Part] | None = None


_NOTHING: Final = msgspec.Raw()


class Candidate(msgspec.Struct, gc=False):
    """One candidate; what it says beside its parts is only looked for."""

    content: Content | None = None
    finishReason: str | int | None = None
    index: int | None = None
    groundingMetadata: msgspec.Raw = _NOTHING
    citationMetadata: msgspec.Raw = _NOTHING
    logprobsResult: msgspec.Raw = _NOTHING
    safetyRatings: msgspec.Raw = _NOTHING
    urlContextMetadata: msgspec.Raw = _NOTHING

    def says_more(self) -> bool:
        """Whether there is more to it than parts."""
        return bool(
            self.finishReason
            or len(self.groundingMetadata)
            or len(self.citationMetadata)
            or len(self.logprobsResult)
            or len(self.safetyRatings)
            or len(self.urlContextMetadata)
        )


class Chunk(msgspec.Struct, gc=False):
    """One chunk."""

    candidates: list[Candidate] | None = None
    usageMetadata: dict[str, Any] | None = None
    promptFeedback: dict[str, Any] | None = None
    modelVersion: str | None = None
    responseId: str | None = None
    createTime: str | None = None
    error: Any = None


decode: Final = msgspec.json.Decoder(Chunk).decode


def candidate_at(payload: bytes, at: int) -> dict[str, Any]:
    """All of one candidate."""
    value = whole_event(payload).get("candidates")
    found = [candidate for candidate in value if type(candidate) is dict] if type(value) is list else []
    return found[at] if at < len(found) else {}


def part_at(payload: bytes, at: int, number: int) -> Any:
    """All of one part."""
    content = candidate_at(payload, at).get("content")
    parts = content.get("parts") if type(content) is dict else None
    found = [part for part in parts if type(part) is dict] if type(parts) is list else []
    return found[number] if number < len(found) else {}
