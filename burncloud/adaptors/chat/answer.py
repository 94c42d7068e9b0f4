"""Plain answers in Chat's form, and what streams share with them: usage, finish reasons, failures.

`prompt_tokens` includes what was read from and written to caches, audio and images; `completion_tokens` includes
reasoning.  What the usage says beside counts (cost, times) is kept under `usage.<name>` in `extra`, what a message
says beside what is known under `message.<name>` in the choice's.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud import clock
from burncloud.adaptors import canon
from burncloud.adaptors.bodies import answer_bytes, answer_of, no_answer
from burncloud.adaptors.chat.blocks import Writing
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.chat.turns import read_said, write_said
from burncloud.adaptors.chat.usual import read_usual, write_usual_answer
from burncloud.adaptors.failures import failure_of
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.openai_chat import ChatUsage, usage_of
from burncloud.adaptors.reading import stated
from burncloud.domain.usage import Usage

STOPS: Final[dict[str, canon.StopReason]] = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "sequence",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "repetition_truncation": "length",
    "tool_calls": "tool",
    "tool_call": "tool",
    "tool_use": "tool",
    "function_call": "tool",
    "content_filter": "filter",
    "sensitive": "filter",
    "error": "error",
    "insufficient_system_resource": "error",
    "network_error": "error",
}
"""OpenAI's words, and those of Together, Mistral, Zhipu, DeepSeek, Xiaomi and gateways."""
_STOPS_BACK: Final[dict[str, str]] = {
    "stop": "stop",
    "sequence": "stop",
    "length": "length",
    "tool": "tool_calls",
    "filter": "content_filter",
    "refusal": "content_filter",
}

# Reading


def read_answer(body: bytes) -> canon.Answer:
    """A chat completion; Unreadable if the body is none."""
    usual = read_usual(body, DIALECT)
    if usual is not None:
        return usual
    return answer_of(_read, body)


def _read(value: Any) -> canon.Answer:
    if type(value) is not dict or type(value.get("choices")) is not list:
        raise no_answer(value, "the upstream's answer is no chat completion")
    fields = Fields(value)
    answer = canon.Answer(fields.text("id"), fields.text("model"), [], dialect=DIALECT)
    created = fields.take("created")
    answer.created = int(created) if type(created) in (int, float) and 0 < created < 1 << 40 else 0
    answer.service_tier = fields.text("service_tier")
    fields.take("object")
    usage = fields.map("usage")
    groq = fields.map("x_groq")
    if usage is None and groq and type(groq.get("usage")) is dict:
        usage = groq.pop("usage")
    answer.usage = read_usage(usage)
    answer.choices = [_read_choice(choice, answer.id, at) for at, choice in enumerate(fields.objects("choices"))]
    answer.extra = {name: value for name, value in fields.rest().items() if value is not None} | usage_rest(usage)
    if groq:
        answer.extra["x_groq"] = groq
    return answer


def _read_choice(fields: Fields, answer_id: str, at: int) -> canon.Choice:
    fields.take("index")
    message = fields.inner("message")
    if message is None:
        message = fields.inner("delta") or Fields({})
    else:
        fields.take("delta")  # Perplexity's empty one
    message.take("role")
    blocks = read_said(message, made_id(answer_id, at))
    logprobs = fields.map("logprobs")
    if logprobs is not None and not any(logprobs.values()):
        logprobs = None
    reason = fields.text("finish_reason")
    sequence = fields.rest().get("stop_reason") or fields.rest().get("matched_stop")
    called = any(type(block) is canon.ToolCall for block in blocks)
    refused = any(type(block) is canon.Refusal for block in blocks)
    stop = read_stop(reason, sequence, called=called, refused=refused)
    extra = {name: value for name, value in fields.rest().items() if value is not None}
    extra |= {f"message.{name}": value for name, value in message.rest().items() if value not in (None, "", [])}
    if any(type(block) is canon.ToolCall and block.id.startswith("call_") for block in blocks) and reason == _LEGACY:
        extra[_LEGACY] = True
    return canon.Choice(blocks, stop, logprobs, extra)


_LEGACY: Final = "function_call"


_NO_LETTER: Final = re.compile(r"[\W_]+")


def made_id(answer_id: str, choice: int) -> str:
    """What goes into the ids of calls that have none: the same for the same answer."""
    letters = _NO_LETTER.sub("", answer_id)
    return f"{letters[-20:]}_{choice}" if letters else str(choice)


def read_stop(reason: str, sequence: Any = None, *, called: bool = False, refused: bool = False) -> canon.Stop:
    """finish_reason, with what vLLM and SGLang say of the sequence that was met."""
    if type(sequence) is str and sequence and reason == "stop":
        return canon.Stop("sequence", reason, sequence)
    if refused and reason in ("stop", ""):
        return canon.Stop("refusal", reason)
    if not reason or (called and reason == "stop"):
        return canon.Stop("tool" if called else "stop", reason)
    return canon.Stop(STOPS.get(reason, "other"), reason)


def read_usage(usage: dict[str, Any] | None) -> Usage | None:
    """The counts; None if there are none."""
    if usage is None:
        return None
    return usage_of(stated(ChatUsage, usage))


_COUNTED: Final = frozenset(ChatUsage.__struct_fields__)


def usage_rest(usage: dict[str, Any] | None) -> canon.Extra:
    """What the usage says beside the counts, as far as it says anything."""
    if not usage:
        return {}
    rest = {f"usage.{name}": value for name, value in usage.items() if name not in _COUNTED and value}
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        inner = usage.get(name)
        inner = inner if type(inner) is dict else {}
        more = {key: value for key, value in inner.items() if key not in _DETAILS and value}
        if more:
            rest[f"usage.{name}"] = more
    return rest


_DETAILS: Final = frozenset({
    "cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "text_tokens", "reasoning_tokens",
})  # fmt: skip


def read_failure(status: int, body: bytes) -> canon.Failure:
    """An error answer."""
    return failure_of(status, body)


# Writing


def write_answer(answer: canon.Answer, losses: canon.Losses, *, legacy_functions: bool = False) -> bytes:
    """A chat completion; Unreadable if it cannot be written.  `legacy_functions`: the client asked with `functions`."""
    return answer_bytes(_body, answer, losses, legacy_functions)


def _body(answer: canon.Answer, losses: canon.Losses, legacy_functions: bool) -> dict[str, Any]:
    own = answer.dialect == DIALECT
    usual = None if own else write_usual_answer(answer, losses)
    if usual is not None:
        return usual
    to = Writing(losses, own=own, answer=True)
    body: dict[str, Any] = {
        "id": answer.id or "chatcmpl-0",
        "object": "chat.completion",
        "created": answer.created or clock.now_s(),
        "model": answer.model,
        "choices": [],
    }
    for at, choice in enumerate(answer.choices or [canon.Choice([])]):
        body["choices"].append(_write_choice(at, choice, to, legacy_functions))
    if answer.usage is not None:
        body["usage"] = write_usage(answer.usage, answer.extra if own else {})
    body.update(write_tier(answer.service_tier, losses, own=own))
    if own:
        body.update((name, value) for name, value in answer.extra.items() if not name.startswith("usage."))
    else:
        losses.extra(answer.extra)
    return body


def _write_choice(at: int, choice: canon.Choice, to: Writing, legacy: bool) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, **write_said(choice.blocks, to)}
    extra = choice.extra
    if to.own:
        message.update((name[8:], value) for name, value in extra.items() if name.startswith("message."))
    else:
        to.losses.extra(extra)
    stop = choice.stop or canon.Stop("stop")
    refused = any(type(block) is canon.Refusal for block in choice.blocks)
    reason = write_stop(stop, "tool_calls" in message, refused, to.losses, own=to.own)
    if "tool_calls" in message and (legacy or (to.own and _LEGACY in extra)):
        reason = _LEGACY if reason == "tool_calls" else reason
        message[_LEGACY] = message.pop("tool_calls")[0].get("function")
    value = {"index": at, "message": message, "logprobs": choice.logprobs, "finish_reason": reason}
    if to.own:
        value.update((name, more) for name, more in extra.items() if not name.startswith(("message.", _LEGACY)))
    return value


def write_stop(stop: canon.Stop, called: bool, refused: bool, losses: canon.Losses, *, own: bool) -> str:
    """finish_reason; `called`: a tool was asked for, `refused`: the refusal is told in the message."""
    if own and stop.raw:
        return stop.raw
    if stop.reason == "stop" and called:
        return "tool_calls"  # some vendors say no more than that it ended
    if stop.reason == "refusal" and refused:
        return "stop"
    if stop.reason not in _STOPS_BACK:
        losses.add("stop_reason")
    elif stop.sequence and not own:
        losses.add("stop_sequence")
    return _STOPS_BACK.get(stop.reason, "stop")


_TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority"})


def write_tier(tier: str, losses: canon.Losses, *, own: bool) -> dict[str, Any]:
    """service_tier, where it is one of OpenAI's."""
    if tier and (own or tier in _TIERS):
        return {"service_tier": tier}
    if tier:
        losses.add("service_tier")
    return {}


def write_usage(usage: Usage, extra: canon.Extra) -> dict[str, Any]:
    """Counts in OpenAI's convention: the details are parts of the two sums."""
    written = usage.cache_write + usage.cache_write_1h
    prompt = usage.input + usage.cache_read + written + usage.audio_input + usage.image_input
    completion = usage.output + usage.reasoning + usage.audio_output + usage.image_output
    inner = {"cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input}
    outer = {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_output}
    if written:
        inner["cache_write_tokens"] = written
    if usage.image_input:
        inner["image_tokens"] = usage.image_input
    if usage.image_output:
        outer["image_tokens"] = usage.image_output
    value: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": inner,
        "completion_tokens_details": outer,
    }
    if usage.cache_write_1h:
        value["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    for name, rest in extra.items():
        if name.startswith("usage."):
            known = value.get(name[6:])
            value[name[6:]] = {**known, **rest} if type(known) is dict and type(rest) is dict else rest
    return value


FAILURE_TYPES: Final[dict[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
"""Status to `error.type`."""
_KINDS: Final = frozenset({*FAILURE_TYPES.values(), "server_error", "api_error", "tokens", "requests"})


def write_failure(failure: canon.Failure) -> bytes:
    """An error answer, and the data of an error event.  The upstream's own kind stands in `code`, or is the type."""
    other = "server_error" if failure.status >= 500 else "invalid_request_error"
    known = failure.kind in _KINDS
    kind = failure.kind if known else FAILURE_TYPES.get(failure.status, other)
    code = None if known else failure.kind or None
    return msgspec.json.encode({"error": {"message": failure.message, "type": kind, "param": None, "code": code}})
