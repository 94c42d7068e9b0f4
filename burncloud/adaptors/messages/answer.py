"""Plain answers in Anthropic's form, and what streams share with them: usage, stop reasons, failures.

Anthropic's `input_tokens` excludes what was read from and written to the cache; `output_tokens` includes thinking.
What its usage says beside counts (server tools, geography, iterations) is kept under `usage.<name>` in `extra`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.anthropic_messages import MessagesUsage, usage_of
from burncloud.adaptors.bodies import answer_bytes, answer_of
from burncloud.adaptors.failures import failure_of
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.messages.blocks import DIALECT, Writing, read_content, write_blocks
from burncloud.adaptors.messages.usual import write_usual_answer
from burncloud.adaptors.reading import stated
from burncloud.domain.usage import Usage
from burncloud.errors import ANTHROPIC_TYPES

STOPS: Final[dict[str, canon.StopReason]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "sequence",
    "tool_use": "tool",
    "pause_turn": "pause",
    "compaction": "pause",
    "refusal": "refusal",
}
_STOPS_BACK: Final[dict[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool": "tool_use",
    "filter": "refusal",
    "refusal": "refusal",
    "sequence": "stop_sequence",
    "pause": "pause_turn",
}
_TIERS: Final = {"standard": "default"}
_TIERS_BACK: Final = {"default": "standard", "standard": "standard", "priority": "priority", "batch": "batch"}

# Reading


def read_answer(body: bytes) -> canon.Answer:
    """A message; Unreadable if the body is none."""
    return answer_of(_read, body)


def _read(value: Any) -> canon.Answer:
    if type(value) is not dict or type(value.get("content")) is not list:
        raise canon.Unreadable("the upstream's answer is no message")
    fields = Fields(value)
    answer = canon.Answer(fields.text("id"), fields.text("model"), [], dialect=DIALECT)
    fields.take("type"), fields.take("role")
    blocks = read_content(fields.take("content"), "content")
    stop = read_stop(fields.take("stop_reason"), fields.take("stop_sequence"))
    details = fields.take("stop_details")
    answer.choices.append(canon.Choice(blocks, stop, extra={} if details is None else {"stop_details": details}))
    usage = fields.map("usage") or {}
    answer.usage = read_usage(usage)
    answer.service_tier = read_tier(usage)
    answer.extra = {name: value for name, value in fields.rest().items() if value is not None} | usage_rest(usage)
    return answer


def read_stop(reason: Any, sequence: Any) -> canon.Stop | None:
    """stop_reason and stop_sequence."""
    if type(reason) is not str:
        return None
    return canon.Stop(STOPS.get(reason, "other"), reason, sequence if type(sequence) is str else "")


def read_usage(usage: dict[str, Any], earlier: Usage | None = None) -> Usage | None:
    """The counts; what is not said stays as in `earlier`, which is left alone."""
    return usage_of(stated(MessagesUsage, usage), None if earlier is None else msgspec.structs.replace(earlier))


def read_tier(usage: dict[str, Any]) -> str:
    """The service tier, which Anthropic tells inside the usage."""
    tier = usage.get("service_tier")
    return _TIERS.get(tier, tier) if type(tier) is str else ""


_COUNTED: Final = frozenset({
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation",
    "output_tokens_details", "service_tier",
})  # fmt: skip


def usage_rest(usage: dict[str, Any]) -> canon.Extra:
    """What the usage says beside the counts, as far as it says anything."""
    rest = {f"usage.{name}": value for name, value in usage.items() if name not in _COUNTED and value}
    tools = usage.get("server_tool_use")
    if type(tools) is dict and not any(tools.values()):
        del rest["usage.server_tool_use"]
    return rest


def read_failure(status: int, body: bytes) -> canon.Failure:
    """An error answer."""
    return failure_of(status, body)


# Writing


def write_answer(answer: canon.Answer, losses: canon.Losses) -> bytes:
    """A message; Unreadable if it cannot be written."""
    return answer_bytes(_body, answer, losses)


def _body(answer: canon.Answer, losses: canon.Losses) -> dict[str, Any]:
    own = answer.dialect == DIALECT
    usual = None if own else write_usual_answer(answer, losses)
    if usual is not None:
        return usual
    to = Writing(losses, own=own, answer=True)
    choice = answer.choices[0] if answer.choices else canon.Choice([])
    if len(answer.choices) > 1:
        losses.add("n")
    if choice.logprobs is not None:
        losses.add("logprobs")
    content = write_blocks(choice.blocks, to)
    stop = choice.stop or canon.Stop("stop")
    body = {
        **message(answer.id, answer.model, content),
        **write_stop(stop, any(block.get("type") == "tool_use" for block in content), losses, own=own),
        "usage": write_usage(answer.usage, answer.extra if own else {}, losses),
    }
    if own:
        body.update(choice.extra)
        body.update((name, value) for name, value in answer.extra.items() if not name.startswith("usage."))
    else:
        losses.extra(choice.extra)
        losses.extra(answer.extra)
    write_tier(body["usage"], answer.service_tier, losses)
    return body


def message(message_id: str, model: str, content: list[dict[str, Any]]) -> dict[str, Any]:
    """A message without its end."""
    return {
        "id": message_id or "msg_0",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": None,
        "stop_sequence": None,
    }


def write_stop(stop: canon.Stop, called: bool, losses: canon.Losses, *, own: bool) -> dict[str, Any]:
    """stop_reason and stop_sequence; `called`: a tool was asked for."""
    if own and stop.raw:
        reason = stop.raw
    elif stop.reason == "stop" and called:
        reason = "tool_use"  # some vendors say no more than that it ended
    else:
        reason = _STOPS_BACK.get(stop.reason, "end_turn")
        if stop.reason not in _STOPS_BACK:
            losses.add("stop_reason")
    return {"stop_reason": reason, "stop_sequence": stop.sequence or None}


def write_usage(usage: Usage | None, extra: canon.Extra, losses: canon.Losses) -> dict[str, Any]:
    """Counts in Anthropic's convention.  Kinds it does not know are counted as what they are part of."""
    if usage is None:
        usage = Usage()
    if usage.audio_input or usage.image_input or usage.audio_output or usage.image_output:
        losses.add("usage_kinds")
    written = usage.cache_write + usage.cache_write_1h
    value: dict[str, Any] = {
        "input_tokens": usage.input + usage.audio_input + usage.image_input,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": usage.output + usage.reasoning + usage.audio_output + usage.image_output,
    }
    if usage.reasoning:
        value["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    for name, rest in extra.items():
        if name.startswith("usage."):
            value[name[6:]] = rest
    _without_compaction(value)
    return value


_COMPACTED: Final = (
    "input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
)  # fmt: skip


def _without_compaction(value: dict[str, Any]) -> None:
    """Iterations of compaction stand beside the sums, not in them (anthropic_messages.py)."""
    iterations = value.get("iterations")
    for part in iterations if type(iterations) is list else ():
        if type(part) is dict and part.get("type") == "compaction":
            for name in _COMPACTED:
                count = part.get(name)
                value[name] = max(0, value[name] - (count if type(count) is int else 0))


def write_tier(usage: dict[str, Any], tier: str, losses: canon.Losses) -> None:
    """The service tier, into the usage."""
    if tier in _TIERS_BACK:
        usage["service_tier"] = _TIERS_BACK[tier]
    elif tier:
        losses.add("service_tier")


FAILURE_STATUSES: Final[dict[str, int]] = {
    **{kind: status for status, kind in ANTHROPIC_TYPES.items()},
    "overloaded_error": 529,
    "timeout_error": 504,
}
"""`error.type` to the status it comes with (Anthropic API reference, "Errors")."""
_FAILURE_KINDS: Final[dict[int, str]] = {
    **ANTHROPIC_TYPES,
    408: "timeout_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def write_failure(failure: canon.Failure) -> bytes:
    """An error answer, and the data of an error event.  The status decides: other vendors' types mean other things."""
    kind = _FAILURE_KINDS.get(failure.status)
    if kind is None:
        other = "api_error" if failure.status >= 500 else "invalid_request_error"
        kind = failure.kind if failure.kind in FAILURE_STATUSES else other
    return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": failure.message}})
