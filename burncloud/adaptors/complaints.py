"""What a vendor complains of when it refuses a request: of its length, of its content, or of something else.

Statuses do not say: 400 is all of it.  So the kind is told by the code that the error has, or by its sentence, in one
table for all vendors.  Of length and content nobody among the channels is to blame; it says whether another model may
do what this one does not (a longer context, another filter).  Some vendors complain so of the channel's own key, or of
a model that they do not have: what another channel may do.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud.adaptors.canon import Failure
from burncloud.adaptors.events import event_data, unify
from burncloud.adaptors.reading import BAD_JSON
from burncloud.domain.parts import FORBIDDEN, REFUSED

TOO_LONG: Final = "too_long"
FILTERED: Final = "filtered"
ABSENT: Final = "absent"
"""The model, at this account."""
STATUSES: Final = frozenset((400, 413, 422))
"""Such an answer is looked at."""
LOOK_BYTES_MAX: Final = 32 << 10

CODES: Final[dict[str, str]] = {
    "context_length_exceeded": TOO_LONG,  # OpenAI, Azure, Groq, OpenRouter, xAI
    "context_window_exceeded": TOO_LONG,
    "model_context_window_exceeded": TOO_LONG,
    "string_above_max_length": TOO_LONG,  # OpenAI: one text alone is more than the model takes
    "prompt_too_long": TOO_LONG,
    "tokens_limit_reached": TOO_LONG,  # GitHub Models
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
"""Finish reasons (reading.Reading.finish) of an answer that the vendor's filter stopped."""

_SENTENCES: Final = (
    (TOO_LONG, re.compile(
        r"maximum context length|maximum context window|context[ _]length[ _]exceeded|exceeds? the context"
        r"|exceeds? the (?:model'?s? )?(?:maximum|available) (?:context|number of (?:input )?tokens)"
        r"|prompt is too long|input is too long|input length and `?max_tokens`? exceed"
        r"|input token count .{0,40}(?:exceeds|but model only supports)|too many (?:input )?tokens"
        r"|request (?:body )?(?:too large|exceeds).{0,160}tokens|input tokens exceeds? maximum length"
        r"|larger than the (?:maximum )?context|range of input length|reduce the length of the (?:messages|prompt)"
        r"|maximum prompt length is|exceeded model token limit|context window exceeds limit|prompt exceeds max length"
        r"|(?:longer|greater) than the (?:model'?s )?(?:maximum )?(?:model|context) length"
        r"|`inputs` tokens \+ `max_new_tokens` must be",
        re.IGNORECASE,
    )),
    (FILTERED, re.compile(
        r"content (?:management|filtering?) policy|content[ _]policy|usage polic(?:y|ies)"
        r"|blocked by (?:the )?content filter|flagged as potentially violating|inappropriate content"
        r"|content exists risk|considered high risk|content violates usage guidelines",
        re.IGNORECASE,
    )),
)  # fmt: skip
"""Of vendors without a code for it: Anthropic ("prompt is too long: … > … maximum"), Gemini ("The input token count (…)
exceeds the maximum number of tokens allowed"), Bedrock, Mistral, vLLM, llama.cpp ("… exceeds the available context
size"), Alibaba ("Range of input length should be …"), xAI, Moonshot, MiniMax, Together, TGI, SGLang, LM Studio;
DeepSeek of content."""

_OF_THE_CHANNEL: Final = (
    (REFUSED, re.compile(
        r"API_KEY_INVALID$|API key (?:not valid|expired|not found)"  # Gemini
        r"|Incorrect API key provided"  # xAI
        r"|Your credit balance is too low"  # Anthropic
        r"|Arrearage$|Access denied, please make sure your account is in good standing"  # Alibaba
        r"|billing_hard_limit_reached$|Billing hard limit has been reached",  # OpenAI
        re.IGNORECASE,
    )),
    (FORBIDDEN, re.compile(
        r"User location is not supported"  # Gemini
        r"|Access to Anthropic models is not allowed from unsupported",  # Bedrock
        re.IGNORECASE,
    )),
    (ABSENT, re.compile(
        r"(?:model_not_found|model_decommissioned|invalid_model|DeploymentNotFound)$|model: "  # the last: Anthropic
        r"|The model .{1,200} (?:does not exist|was not found|has been de(?:commission|precat)ed)"  # OpenAI, vLLM, Groq
        r"|model .{1,200} not found"  # Ollama
        r"|models/.{1,200} is not (?:found|supported)"  # Gemini
        r"|.{1,200} is not a valid model ID|No (?:endpoints found|allowed providers are available) for"  # OpenRouter
        r"|Model not exist|Invalid model"  # DeepSeek, Mistral
        r"|The provided model identifier is invalid|Could not resolve the foundation model"
        r"|The request failed due to an error while processing the model",  # Bedrock's 424
        re.IGNORECASE,
    )),
)  # fmt: skip
"""How the vendor's own words begin: what a client wrote may be quoted further on, and must not take a key away."""
_OWN_STATUSES: Final = frozenset((400, 404, 422, 424))

_PLACES: Final = ("code", "type", "message")
"""Where they stand in an error."""

_MODERATED: Final = re.compile(rb"requires moderation|\bflagged_input\b|Content violates usage guidelines")
"""OpenRouter's 403 for a prompt, and xAI's; any other 403 speaks of the key."""


class _Response(msgspec.Struct):
    error: Any = None


class _Said(msgspec.Struct):
    error: Any = None
    response: _Response = msgspec.field(default_factory=_Response)


_read: Final = msgspec.json.Decoder(_Said).decode


def kind_of(status: int, body: bytes) -> str:
    """too_long · filtered · refused · forbidden · absent · "" for anything else, of an error answer as it came."""
    if status == 403:
        return FILTERED if _MODERATED.search(body[:LOOK_BYTES_MAX]) else FORBIDDEN
    own = _own(body) if status in _OWN_STATUSES else ""
    return own or (complaint_in(body) if status in STATUSES else "")


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


def _own(body: bytes) -> str:
    """Of the channel's own matters, as an error says them in its own places."""
    if len(body) > LOOK_BYTES_MAX:
        return ""
    try:
        said = msgspec.json.decode(body)
    except BAD_JSON:
        return ""
    said = said[0] if isinstance(said, list) and said else said
    error = said.get("error", said) if isinstance(said, dict) else None
    inner = error if isinstance(error, dict) else {"message": error}
    details = inner.get("details")
    reasons = [one.get("reason") for one in details[:20] if isinstance(one, dict)] if isinstance(details, list) else []
    words = [word for word in (*map(inner.get, _PLACES), *reasons) if isinstance(word, str)]
    return next((kind for kind, words_of in _OF_THE_CHANNEL if any(map(words_of.match, words))), "")


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
