"""The requests and answers that most are, the short way (plainly.py)."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.messages.families import family_of
from burncloud.adaptors.plainly import Number, Said, messages, only_text, turns
from burncloud.adaptors.reading import BAD_JSON


class _Asked(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    messages: Annotated[list[Said], msgspec.Meta(min_length=1)]
    model: str = ""
    max_tokens: int | None = None
    temperature: Number = None
    top_p: Number = None
    stream: bool | None = None
    system: str | None = None


_decode: Final = msgspec.json.Decoder(_Asked).decode


def read_usual(body: bytes, model: str, stream: bool, dialect: str) -> canon.Request | None:
    """The request; None if it is not of the usual kind."""
    try:
        asked = _decode(body)
    except BAD_JSON:
        return None
    said = turns(asked.messages)
    model = asked.model or model
    if said is None or not model:
        return None
    stream = asked.stream or stream
    return canon.Request(
        model,
        said,
        [] if asked.system is None else [canon.Text(asked.system)],
        stream,
        stream,
        max_tokens=asked.max_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        dialect=dialect,
    )


def write_usual(request: canon.Request, default_max_tokens: int) -> dict[str, Any] | None:
    """The body; None if it is not of the usual kind, or the model takes less."""
    said = messages(request)
    if said is None:
        return None
    temperature, top_p, limit = request.temperature, request.top_p, request.max_tokens
    if temperature is not None or top_p is not None:
        family = family_of(request.model)
        both = temperature is not None and top_p is not None
        if not family.sampling or (both and not family.both_sampling) or (temperature is not None and temperature > 1):
            return None
    body: dict[str, Any] = {"model": request.model, "max_tokens": default_max_tokens if limit is None else limit}
    if said[0]:
        body["system"] = said[0]
    body["messages"] = said[1]
    if request.stream:
        body["stream"] = True
    if temperature is not None:
        body["temperature"] = temperature
    if top_p is not None:
        body["top_p"] = top_p
    return body


_ENDS: Final = {"stop": "end_turn", "length": "max_tokens"}
_TIERS: Final = {"": "", "default": "standard"}


def write_usual_answer(answer: canon.Answer, losses: canon.Losses) -> dict[str, Any] | None:
    """A message of one text, from another dialect; None if there is more to it."""
    text, usage = only_text(answer), answer.usage
    if not text or usage is None:
        return None
    if usage.audio_input or usage.image_input or usage.audio_output or usage.image_output or usage.reasoning:
        return None
    stop, tier = answer.choices[0].stop, _TIERS.get(answer.service_tier)
    reason = "" if stop is None else _ENDS.get(stop.reason, "")
    if not reason or tier is None:
        return None
    if answer.extra:
        losses.extra(answer.extra)
    counts: dict[str, Any] = {
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write + usage.cache_write_1h,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output,
    }
    if tier:
        counts["service_tier"] = tier
    return {
        "id": answer.id or "msg_0",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [{"type": "text", "text": text}],
        "stop_reason": reason,
        "stop_sequence": None,
        "usage": counts,
    }
