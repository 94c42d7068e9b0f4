"""The response object around the output: what it repeats of the request, how it ended, what was used.

`input_tokens` includes what was read from and written to caches, audio and images; `output_tokens` includes
reasoning.  What the usage says beside counts (cost, sources) is kept under `usage.<name>` in `extra`.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud import clock
from burncloud.adaptors import canon
from burncloud.adaptors.openai_responses import ResponsesUsage, usage_of
from burncloud.adaptors.reading import stated
from burncloud.adaptors.responses.parts import Writing
from burncloud.adaptors.responses.request import TIERS, own_members
from burncloud.adaptors.responses.turns import write_turns
from burncloud.domain.usage import Usage

ECHOED: Final = frozenset({
    "background", "completed_at", "conversation", "frequency_penalty", "instructions", "max_output_tokens",
    "max_tool_calls", "metadata", "output_text", "parallel_tool_calls", "presence_penalty", "previous_response_id",
    "prompt", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "reasoning", "safety_identifier",
    "store", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
})  # fmt: skip
"""Members that repeat the request, or follow from the rest: nobody else's loss."""
OWN: Final = frozenset({
    "id", "object", "created_at", "status", "model", "output", "usage", "error", "incomplete_details", "service_tier",
})  # fmt: skip

# Reading


def read_rest(response: dict[str, Any]) -> tuple[canon.Extra, canon.Extra]:
    """(what else it says, what it repeats of the request)."""
    extra = {name: value for name, value in response.items() if name not in OWN and name not in ECHOED}
    said = {name: value for name, value in response.items() if name in ECHOED}
    return {name: value for name, value in extra.items() if value is not None} | usage_rest(response), said


def read_created(response: dict[str, Any]) -> int:
    """Unix seconds; 0 = not said."""
    created: Any = response.get("created_at")
    return int(created) if type(created) in (int, float) and 0 < created < 1 << 40 else 0


def read_stop(response: dict[str, Any], *, called: bool, refused: bool) -> canon.Stop:
    """status and incomplete_details; `called`: a tool was asked for, `refused`: the model declined."""
    status = response.get("status")
    status = status if type(status) is str else ""
    details = response.get("incomplete_details")
    reason = details.get("reason") if type(details) is dict else None
    if status == "incomplete":
        raw = f"incomplete:{reason}" if type(reason) is str else status
        return canon.Stop(_REASONS.get(str(reason), "other"), raw)
    if status in ("completed", ""):
        return canon.Stop("tool" if called else "refusal" if refused else "stop", status)
    return canon.Stop("error" if status in ("failed", "cancelled") else "other", status)


_REASONS: Final[dict[str, canon.StopReason]] = {"max_output_tokens": "length", "content_filter": "filter"}
_REASONS_BACK: Final[dict[str, str]] = {
    "length": "max_output_tokens", "filter": "content_filter", "refusal": "content_filter",
}  # fmt: skip


def read_usage(response: dict[str, Any]) -> Usage | None:
    """The counts; None if there are none."""
    usage = response.get("usage")
    if type(usage) is not dict:
        return None
    return usage_of(stated(ResponsesUsage, usage))


_COUNTED: Final = frozenset(ResponsesUsage.__struct_fields__)


def usage_rest(response: dict[str, Any]) -> canon.Extra:
    """What the usage says beside the counts, as far as it says anything."""
    usage = response.get("usage")
    if type(usage) is not dict:
        return {}
    return {f"usage.{name}": value for name, value in usage.items() if name not in _COUNTED and value}


# Writing

_BLANK: Final[dict[str, Any]] = {
    "background": False,
    "completed_at": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "store": False,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""What OpenAI repeats where nothing was asked; the gateway stores nothing."""


def echo(request: canon.Request | None) -> dict[str, Any]:
    """What a response repeats of the client's request."""
    if request is None:
        return dict(_BLANK)
    losses = canon.Losses()
    members = own_members(request, losses)
    members.pop("service_tier", None)  # which one it was, the answer says
    lead = canon.Request(request.model, [], request.system, dialect=request.dialect, leading=request.leading)
    instructions, _ = write_turns(lead, Writing(losses, own=True))
    found = {**_BLANK, **members}
    if instructions:
        found["instructions"] = instructions
    for name in ("reasoning", "text"):
        found[name] = {**_BLANK[name], **found[name]}
    if "tool_choice" in request.extra:
        found["tool_choice"] = request.extra["tool_choice"]
    return found


def shell(
    response_id: str, model: str, created: int, repeated: dict[str, Any], tier: str, losses: canon.Losses, *, own: bool
) -> dict[str, Any]:
    """A response that has just begun."""
    if tier and not own and tier not in TIERS:
        losses.add("service_tier")
        tier = ""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created or clock.now_s(),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        **repeated,
        "service_tier": tier or "default",
        "usage": None,
    }


def made_id(answer_id: str) -> str:
    """What goes into ids of items: the same for the same answer."""
    return "".join(letter for letter in answer_id.removeprefix("resp_") if letter.isalnum())[-48:] or "0"


def write_stop(stop: canon.Stop, losses: canon.Losses, *, refused: bool, own: bool) -> dict[str, Any]:
    """status, incomplete_details and error; `refused`: the refusal is told in the message."""
    if own and stop.raw.startswith("incomplete"):
        reason = stop.raw.partition(":")[2]
        return {"status": "incomplete", "incomplete_details": {"reason": reason} if reason else None}
    if own and stop.raw:
        return {"status": stop.raw}
    if stop.reason == "error":
        error = {"code": "server_error", "message": "The upstream broke its answer off"}
        return {"status": "failed", "error": error}
    if stop.reason == "refusal" and refused:
        return {"status": "completed"}
    if stop.reason in _REASONS_BACK:
        return {"status": "incomplete", "incomplete_details": {"reason": _REASONS_BACK[stop.reason]}}
    if stop.reason not in ("stop", "tool", "sequence"):
        losses.add("stop_reason")
    elif stop.sequence:
        losses.add("stop_sequence")
    return {"status": "completed"}


def write_usage(usage: Usage, extra: canon.Extra) -> dict[str, Any]:
    """Counts in OpenAI's convention: the details are parts of the two sums."""
    written = usage.cache_write + usage.cache_write_1h
    sent = usage.input + usage.cache_read + written + usage.audio_input + usage.image_input
    got = usage.output + usage.reasoning + usage.audio_output + usage.image_output
    inner = {"cached_tokens": usage.cache_read, "cache_write_tokens": written}
    outer = {"reasoning_tokens": usage.reasoning}
    for details, name, count in (
        (inner, "audio_tokens", usage.audio_input), (inner, "image_tokens", usage.image_input),
        (outer, "audio_tokens", usage.audio_output), (outer, "image_tokens", usage.image_output),
    ):  # fmt: skip
        if count:
            details[name] = count
    value: dict[str, Any] = {
        "input_tokens": sent,
        "input_tokens_details": inner,
        "output_tokens": got,
        "output_tokens_details": outer,
        "total_tokens": sent + got,
    }
    if usage.cache_write_1h:
        value["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.cache_write,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        }
    for name, rest in extra.items():
        if name.startswith("usage."):
            value[name[6:]] = rest
    return value


_CODES: Final[dict[int, str]] = {400: "invalid_prompt", 413: "invalid_prompt", 422: "invalid_prompt"}
_KINDS: Final = frozenset({
    "server_error", "rate_limit_exceeded", "invalid_prompt", "context_length_exceeded", "insufficient_quota",
})  # fmt: skip


def write_error(failure: canon.Failure) -> dict[str, Any]:
    """The members of an error event; the code is one that clients of streams know."""
    code = failure.kind if failure.kind in _KINDS else _CODES.get(failure.status, "server_error")
    if failure.status == 429 and code == "server_error":
        code = "rate_limit_exceeded"
    return {"code": code, "message": failure.message, "param": None}
