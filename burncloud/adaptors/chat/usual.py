"""The requests and answers that most are, the short way (plainly.py).

The answer that most requests get: one text, no tools, counts of tokens.  A body with any member that is not named
here, or of another type, is none of these: answer.py reads it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from burncloud import clock
from burncloud.adaptors import canon, plainly
from burncloud.adaptors.chat.families import family_of
from burncloud.adaptors.openai_chat import ChatUsage, Details, usage_of
from burncloud.adaptors.plainly import Number, Said, turns
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


class _Options(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    include_usage: bool | None = None


class _Asked(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    messages: Annotated[list[Said], msgspec.Meta(min_length=1)]
    model: str = ""
    max_tokens: int | msgspec.UnsetType = msgspec.UNSET
    max_completion_tokens: int | msgspec.UnsetType = msgspec.UNSET
    temperature: Number = None
    top_p: Number = None
    stream: bool | None = None
    stream_options: _Options | None = None


_decode_asked: Final = msgspec.json.Decoder(_Asked).decode


def read_usual_request(body: bytes, model: str, stream: bool, dialect: str) -> canon.Request | None:
    """The request; None if it is not of the usual kind."""
    try:
        asked = _decode_asked(body)
    except BAD_JSON:
        return None
    messages = asked.messages
    system: list[canon.Block] = []
    if messages[0].role == "system" and messages[0].content:
        system = [canon.Text(messages[0].content)]
        messages = messages[1:]
    said = turns(messages)
    model = asked.model or model
    limits = [one for one in (asked.max_tokens, asked.max_completion_tokens) if one is not msgspec.UNSET]
    if said is None or not model or len(limits) > 1:
        return None
    options = asked.stream_options
    return canon.Request(
        model,
        said,
        system,
        asked.stream or stream,
        options is not None and options.include_usage is True,
        max_tokens=limits[0] if limits else None,
        temperature=asked.temperature,
        top_p=asked.top_p,
        dialect=dialect,
        said={} if asked.max_completion_tokens is msgspec.UNSET else {"max_tokens": "max_completion_tokens"},
    )


def write_usual_request(request: canon.Request) -> dict[str, Any] | None:
    """The body; None if it is not of the usual kind, or the model takes less."""
    said = plainly.messages(request)
    if said is None:
        return None
    family = family_of(request.model)
    if not family.sampling:
        return None
    system, messages = said
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": "system", "content": system}, *messages] if system else messages,
    }
    if request.stream:
        body["stream"] = True
        if request.include_usage:
            body["stream_options"] = {"include_usage": True}
    if request.max_tokens is not None:
        body["max_completion_tokens" if family.completion_limit else "max_tokens"] = request.max_tokens
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    return body


_ENDS: Final = ("stop", "length")
_TIERS: Final = ("auto", "default", "flex", "scale", "priority")


def write_usual_answer(answer: canon.Answer, losses: canon.Losses) -> dict[str, Any] | None:
    """A completion of one text, from another dialect; None if there is more to it."""
    text, usage, tier = plainly.only_text(answer), answer.usage, answer.service_tier
    if not text or usage is None or usage.cache_write or usage.cache_write_1h:
        return None
    stop = answer.choices[0].stop
    if stop is None or stop.reason not in _ENDS or usage.image_input or usage.image_output:
        return None
    if answer.extra:
        losses.extra(answer.extra)
    prompt = usage.input + usage.cache_read + usage.audio_input
    completion = usage.output + usage.reasoning + usage.audio_output
    body: dict[str, Any] = {
        "id": answer.id or "chatcmpl-0",
        "object": "chat.completion",
        "created": answer.created or clock.now_s(),
        "model": answer.model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": stop.reason,
            }
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input},
            "completion_tokens_details": {
                "reasoning_tokens": usage.reasoning,
                "audio_tokens": usage.audio_output,
            },
        },
    }
    if tier in _TIERS:
        body["service_tier"] = tier
    elif tier:
        losses.add("service_tier")
    return body
