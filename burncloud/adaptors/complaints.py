"""What a vendor complains of when it refuses a request: of its length, of its content, or of something else.

Statuses do not say: 400 is all of it.  So the kind is told by the code that the error has, or by its sentence, in one
table for all vendors.  What stands here is nobody's fault among the channels; it says whether another model may do
what this one does not (a longer context, another filter).
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud.adaptors.canon import Failure
from burncloud.adaptors.events import event_data, unify
from burncloud.adaptors.reading import BAD_JSON

TOO_LONG: Final = "too_long"
FILTERED: Final = "filtered"
STATUSES: Final = frozenset((400, 413, 422))
"""Such an answer is looked at."""
LOOK_BYTES_MAX: Final = 32 << 10

CODES: Final[dict[str, str]] = {
    "context_length_exceeded": TOO_LONG,  # OpenAI, Azure, Groq, OpenRouter, xAI
    "context_window_exceeded": TOO_LONG,
    "model_context_window_exceeded": TOO_LONG,
    "string_above_max_length": TOO_LONG,  # OpenAI: one text alone is more than the model takes
    "prompt_too_long": TOO_LONG,
    "content_filter": FILTERED,  # Azure
    "content_policy_violation": FILTERED,  # OpenAI, LiteLLM
    "responsibleaipolicyviolation": FILTERED,  # Azure's inner code
    "moderation_blocked": FILTERED,  # OpenAI's images
    "data_inspection_failed": FILTERED,  # Alibaba
    "datainspectionfailed": FILTERED,
    "invalid_prompt": FILTERED,  # OpenAI Responses: flagged by its policy
}
"""Code or type of the error, in lower case → kind."""

STOPS: Final = frozenset((
    "content_filter", "incomplete:content_filter",  # OpenAI, Azure and all who speak like them; Responses
    "refusal",  # Anthropic: its classifiers stopped the answer
    "content_filtered", "guardrail_intervened",  # Bedrock
    "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",  # Gemini, also of a prompt (blockReason)
    "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION",
))  # fmt: skip
"""Finish reasons (meter.Reading.finish) of an answer that the vendor's filter stopped."""

_SENTENCES: Final = (
    (TOO_LONG, re.compile(
        r"maximum context length|maximum context window|context[ _]length[ _]exceeded|exceeds? the context"
        r"|exceeds? the (?:model'?s? )?(?:maximum|available) (?:context|number of (?:input )?tokens)"
        r"|prompt is too long|input is too long|input length and `?max_tokens`? exceed"
        r"|input token count .{0,40}exceeds|too many (?:input )?tokens|request (?:too large|exceeds).{0,60}tokens"
        r"|larger than the (?:maximum )?context|range of input length|reduce the length of the (?:messages|prompt)",
        re.IGNORECASE,
    )),
    (FILTERED, re.compile(
        r"content (?:management|filtering?) policy|content[ _]policy|usage polic(?:y|ies)"
        r"|blocked by (?:the )?content filter|flagged as potentially violating|inappropriate content",
        re.IGNORECASE,
    )),
)  # fmt: skip
"""Of vendors without a code for it: Anthropic ("prompt is too long: … > … maximum"), Gemini ("The input token count (…)
exceeds the maximum number of tokens allowed"), Bedrock, Mistral, vLLM, llama.cpp ("… exceeds the available context
size"), Alibaba ("Range of input length should be …")."""

_MODERATED: Final = re.compile(rb"requires moderation|\bflagged_input\b")
"""OpenRouter's 403 for a prompt; any other 403 speaks of the key."""


class _Response(msgspec.Struct):
    error: Any = None


class _Said(msgspec.Struct):
    error: Any = None
    response: _Response = msgspec.field(default_factory=_Response)


_read: Final = msgspec.json.Decoder(_Said).decode


def kind_of(status: int, body: bytes) -> str:
    """too_long · filtered · "" for anything else, of an error answer as the upstream gave it."""
    if status == 403:
        return FILTERED if _MODERATED.search(body[:LOOK_BYTES_MAX]) else ""
    return complaint_in(body) if status in STATUSES else ""


def complaint_of(failed: bytes | Failure | None) -> str:
    """The same of what stopped a stream: the event as it came, or what was read of it."""
    if isinstance(failed, Failure):
        return _kind([failed.kind, failed.message])
    return complaint_in(event_data(unify(failed).strip())) if failed else ""


def complaint_in(body: bytes) -> str:
    """The same of an error that came with 200, as JSON."""
    try:
        said = _read(body)
        error = said.error or said.response.error
    except BAD_JSON:
        error = None
    if isinstance(error, dict):
        return _kind(_words(error, 0))  # beside it Responses repeats the whole request
    if len(body) > LOOK_BYTES_MAX:
        return ""
    try:
        return _kind(_words(msgspec.json.decode(body), 0))
    except BAD_JSON:
        return _kind([body.decode("utf-8", "replace")])


def _kind(words: list[str]) -> str:
    for word in words:
        kind = CODES.get(word.lower())
        if kind is not None:
            return kind
    for kind, sentence in _SENTENCES:
        if any(sentence.search(word) for word in words):
            return kind
    return ""


def _words(value: object, depth: int) -> list[str]:
    """All strings that an error holds."""
    if isinstance(value, str):
        return [value]
    if depth > 5 or not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value[:20]
    return [word for item in inner for word in _words(item, depth + 1)]
