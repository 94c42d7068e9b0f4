"""Gemini generateContent and streamGenerateContent (AI Studio and Vertex AI), and the embeddings beside them.

Usage stands in `usageMetadata` of the plain answer and of the chunks; the last that has counts is the
sum.  `promptTokenCount` includes cached input, `candidatesTokenCount` excludes thoughts;
`toolUsePromptTokenCount` is input beside the prompt (search results, executed code, fetched pages).
The details by modality give audio and image; Vertex sometimes writes modalities as numbers.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.reading import Count, Reader, Tally, text_size, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usageMetadata",)

_AUDIO: Final[tuple[str | int, ...]] = ("AUDIO", 4)
_IMAGE: Final[tuple[str | int, ...]] = ("IMAGE", 2)


class Modality(msgspec.Struct, gc=False):
    """Tokens of one modality."""

    modality: str | int | None = None
    tokenCount: Count = None


class UsageMetadata(msgspec.Struct, gc=False):
    """The usage object."""

    promptTokenCount: Count = None
    candidatesTokenCount: Count = None
    thoughtsTokenCount: Count = None
    cachedContentTokenCount: Count = None
    toolUsePromptTokenCount: Count = None
    totalTokenCount: Count = None
    promptTokensDetails: list[Modality] | None = None
    promptTokenDetails: list[Modality] | None = None
    cacheTokensDetails: list[Modality] | None = None
    candidatesTokensDetails: list[Modality] | None = None
    toolUsePromptTokensDetails: list[Modality] | None = None
    responseTokenCount: Count = None
    """The Live API's name for candidatesTokenCount."""
    responseTokensDetails: list[Modality] | None = None


def _share(details: list[Modality] | None, kinds: tuple[str | int, ...]) -> int:
    if details is None:
        return 0
    return sum(whole(part.tokenCount) for part in details if part.modality in kinds)


def usage_of(stated: UsageMetadata) -> Usage | None:
    """Disjoint kinds; None if the object states no count (Vertex sends `trafficType` alone before the end)."""
    if stated.promptTokenCount is None and stated.totalTokenCount is None and stated.candidatesTokenCount is None:
        return None
    prompt = whole(stated.promptTokenCount) + whole(stated.toolUsePromptTokenCount)
    cached = min(whole(stated.cachedContentTokenCount), prompt)
    rest = prompt - cached
    details = stated.promptTokensDetails or stated.promptTokenDetails
    tools, hits = stated.toolUsePromptTokensDetails, stated.cacheTokensDetails
    audio_in = min(max(0, _share(details, _AUDIO) + _share(tools, _AUDIO) - _share(hits, _AUDIO)), rest)
    rest -= audio_in
    image_in = min(max(0, _share(details, _IMAGE) + _share(tools, _IMAGE) - _share(hits, _IMAGE)), rest)
    answer = whole(stated.candidatesTokenCount or stated.responseTokenCount)
    details = stated.candidatesTokensDetails or stated.responseTokensDetails
    audio_out = min(_share(details, _AUDIO), answer)
    image_out = min(_share(details, _IMAGE), answer - audio_out)
    return Usage(
        rest - image_in, answer - audio_out - image_out, cached, 0, 0, whole(stated.thoughtsTokenCount),
        audio_in, audio_out, image_in, image_out,
    )  # fmt: skip


class Call(msgspec.Struct, gc=False):
    """A function call; its arguments are counted as they stand."""

    name: str | None = None
    args: msgspec.Raw = msgspec.Raw()


class Part(msgspec.Struct, gc=False):
    """A part of the content."""

    text: str | None = None
    functionCall: Call | None = None
    inlineData: Any = None
    executableCode: Any = None


class Content(msgspec.Struct, gc=False):
    """The content of a candidate."""

    parts: list[Part] | None = None


class Candidate(msgspec.Struct, gc=False):
    """One candidate."""

    content: Content | None = None
    finishReason: str | int | None = None


class Feedback(msgspec.Struct, gc=False):
    """promptFeedback."""

    blockReason: str | int | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk of a stream."""

    candidates: list[Candidate] | None = None
    usageMetadata: UsageMetadata | None = None
    promptFeedback: Feedback | None = None
    error: Any = None


class FinishOnly(msgspec.Struct, gc=False):
    """A candidate without its content."""

    finishReason: str | int | None = None


class Body(msgspec.Struct, gc=False):
    """A plain answer."""

    candidates: list[FinishOnly] | None = None
    usageMetadata: UsageMetadata | None = None
    promptFeedback: Feedback | None = None
    error: Any = None


def absorb_chunk(chunk: Chunk, tally: Tally) -> None:
    """Add one chunk of a stream."""
    for candidate in chunk.candidates or ():
        content = candidate.content
        for part in (content.parts or ()) if content is not None else ():
            tally.content = True
            tally.text_bytes += text_size(part.text)
            call = part.functionCall
            if call is not None:
                tally.text_bytes += text_size(call.name) + len(call.args)
        if candidate.finishReason:
            tally.finish = str(candidate.finishReason)
            tally.terminal = tally.content = True
    _absorb_rest(chunk, tally)


def _absorb_rest(chunk: Chunk | Body, tally: Tally) -> None:
    if chunk.error:
        tally.error = True
    if chunk.promptFeedback is not None and chunk.promptFeedback.blockReason:
        tally.finish = str(chunk.promptFeedback.blockReason)
        tally.terminal = tally.content = True
    if chunk.usageMetadata is not None:
        usage = usage_of(chunk.usageMetadata)
        if usage is not None:
            tally.usage = usage


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer."""
    for candidate in body.candidates or ():
        if candidate.finishReason:
            tally.finish = str(candidate.finishReason)
    _absorb_rest(body, tally)
    tally.terminal = tally.content = True


class Statistics(msgspec.Struct, gc=False):
    """Of one text that was embedded."""

    token_count: Count = None


class Embedded(msgspec.Struct, gc=False):
    """One vector, which is not looked at."""

    statistics: Statistics | None = None


class Prediction(msgspec.Struct, gc=False):
    """What Vertex AI says of one text."""

    embeddings: Embedded | None = None


class Predicted(msgspec.Struct, gc=False):
    """The answer of Vertex AI's :predict."""

    predictions: list[Prediction] | None = None
    error: Any = None


def absorb_predicted(body: Predicted, tally: Tally) -> None:
    """Add the tokens of all texts."""
    tally.terminal = tally.content = True
    tally.error = tally.error or bool(body.error)
    said = [one.embeddings.statistics for one in body.predictions or () if one.embeddings is not None]
    stated = [whole(one.token_count) for one in said if one is not None and one.token_count is not None]
    if stated:
        tally.usage = Usage(sum(stated))


PREDICT: Final = Reader(Predicted, absorb_predicted, Predicted, absorb_predicted, frozenset({"error"}))
READER: Final = Reader(
    Chunk, absorb_chunk, Body, absorb_body,
    frozenset({"usageMetadata", "promptFeedback", "error"}), usage_key="usageMetadata",
)  # fmt: skip
