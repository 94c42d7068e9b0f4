"""The answer that most requests get: one text, no tools, counts of tokens; read in a third of the time.

A body with any member that is not named here, or of another type, is none of these: answer.py reads it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.openai_chat import ChatUsage, Details, usage_of
from burncloud.adaptors.reading import BAD_JSON

Nothing = Annotated[list[Any], msgspec.Meta(max_length=0)] | None
Zero = Literal[0] | None


class _Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: Annotated[str, msgspec.Meta(min_length=1)]
    role: str = ""
    refusal: None = None
    annotations: Nothing = None
    tool_calls: Nothing = None
    reasoning_content: None = None
    reasoning: None = None
    function_call: None = None
    audio: None = None


class _Choice(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    message: _Message
    finish_reason: Literal["stop", "length"]
    index: int = 0
    logprobs: None = None


class _Details(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    audio_tokens: int = 0
    image_tokens: int = 0
    text_tokens: int = 0
    reasoning_tokens: int = 0
    accepted_prediction_tokens: Zero = 0
    rejected_prediction_tokens: Zero = 0


class _Usage(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Usual(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    choices: list[_Choice]
    usage: _Usage
    id: str = ""
    object: str = ""
    created: Annotated[int, msgspec.Meta(ge=0, lt=1 << 40)] = 0
    model: str = ""
    service_tier: str | None = None
    system_fingerprint: str | None = None


_decode: Final = msgspec.json.Decoder(_Usual).decode


def read_usual(body: bytes, dialect: str) -> canon.Answer | None:
    """The answer; None if it is not of the usual kind."""
    try:
        seen = _decode(body)
    except BAD_JSON:
        return None
    usage = seen.usage
    stated = ChatUsage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)
    stated.prompt_tokens_details = _counted(usage.prompt_tokens_details)
    stated.completion_tokens_details = _counted(usage.completion_tokens_details)
    choices = [
        canon.Choice([canon.Text(choice.message.content)], canon.Stop(choice.finish_reason, choice.finish_reason))
        for choice in seen.choices
    ]
    extra: canon.Extra = {} if seen.system_fingerprint is None else {"system_fingerprint": seen.system_fingerprint}
    tier = seen.service_tier or ""
    return canon.Answer(seen.id, seen.model, choices, usage_of(stated), seen.created, tier, dialect, extra)


def _counted(said: _Details | None) -> Details | None:
    if said is None:
        return None
    return Details(
        said.cached_tokens,
        said.cache_write_tokens,
        said.audio_tokens,
        said.image_tokens,
        said.text_tokens,
        said.reasoning_tokens,
    )
