"""Plain answers of Converse, and what streams share with them: usage, stop reasons, failures.

`inputTokens` excludes what was read from and written to the cache; `outputTokens` includes thinking.  An answer names
neither itself nor its model: the id of the request stands in a header (x-amzn-requestid).  The kind of an error does,
too (x-amzn-errortype); its body has a sentence alone.  Who sees headers (translation.py) puts both in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bedrock_converse import ConverseUsage, usage_of
from burncloud.adaptors.bodies import answer_bytes, answer_of
from burncloud.adaptors.converse.blocks import DIALECT, read_content
from burncloud.adaptors.converse.content import Writing, write_blocks
from burncloud.adaptors.failures import failure_of
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.reading import stated
from burncloud.domain.usage import Usage

STOPS: Final[dict[str, canon.StopReason]] = {
    "end_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "stop_sequence": "sequence",
    "tool_use": "tool",
    "guardrail_intervened": "filter",
    "content_filtered": "filter",
    "refusal": "refusal",
    "pause_turn": "pause",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
_STOPS_BACK: Final[dict[str, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool": "tool_use",
    "filter": "content_filtered",
    "refusal": "content_filtered",
    "sequence": "stop_sequence",
    "error": "malformed_model_output",
}

# Reading


def read_answer(body: bytes, names: Mapping[str, str] | None = None) -> canon.Answer:
    """An answer; Unreadable if the body is none.  `names`: those of renamed tools (tools.renamed)."""
    answer = answer_of(_read, body)
    for block in answer.choices[0].blocks if names else ():
        if isinstance(block, canon.ToolCall) and names:
            block.name = names.get(block.name, block.name)
    return answer


def _read(value: Any) -> canon.Answer:
    fields = Fields(value)
    answer = canon.Answer("", "", [], dialect=DIALECT)
    output = fields.inner("output")
    message = None if output is None else output.inner("message")
    if message is None:
        raise canon.Unreadable("the upstream's answer has no output.message")
    message.take("role")
    blocks = read_content(message.take("content"), message.at("content"))
    answer.choices.append(canon.Choice(blocks, read_stop(fields.take("stopReason")), extra=message.rest()))
    usage = fields.map("usage") or {}
    answer.usage = read_usage(usage)
    answer.service_tier = read_tier(fields.take("serviceTier"))
    answer.extra = {name: value for name, value in fields.rest().items() if value is not None} | usage_rest(usage)
    answer.extra.pop("metrics", None)
    return answer


def read_stop(reason: Any) -> canon.Stop | None:
    """stopReason."""
    return canon.Stop(STOPS.get(reason, "other"), reason) if type(reason) is str else None


def read_usage(usage: dict[str, Any]) -> Usage | None:
    """The counts."""
    return usage_of(stated(ConverseUsage, usage))


def read_tier(tier: Any) -> str:
    """serviceTier."""
    kind = tier.get("type") if type(tier) is dict else None
    return kind if type(kind) is str else ""


_COUNTED: Final = frozenset({
    "inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "cacheDetails",
    "cacheReadInputTokenCount", "cacheWriteInputTokenCount",
})  # fmt: skip


def usage_rest(usage: dict[str, Any]) -> canon.Extra:
    """What the usage says beside the counts, as far as it says anything."""
    return {f"usage.{name}": value for name, value in usage.items() if name not in _COUNTED and value}


def read_failure(status: int, body: bytes) -> canon.Failure:
    """An error answer."""
    failure = failure_of(status, body)
    return canon.Failure(status, failure.message, failure.kind.rpartition("#")[2])


# Writing


def write_answer(answer: canon.Answer, losses: canon.Losses) -> bytes:
    """An answer of Converse; Unreadable if it cannot be written."""
    return answer_bytes(_body, answer, losses)


def _body(answer: canon.Answer, losses: canon.Losses) -> dict[str, Any]:
    own = answer.dialect == DIALECT
    to = Writing(losses, own=own, answer=True)
    choice = answer.choices[0] if answer.choices else canon.Choice([])
    if len(answer.choices) > 1:
        losses.add("n")
    if choice.logprobs is not None:
        losses.add("logprobs")
    content = write_blocks(choice.blocks, to)
    message: dict[str, Any] = {"role": "assistant", "content": content}
    called = any("toolUse" in part for part in content)
    body: dict[str, Any] = {
        "output": {"message": message},
        "stopReason": write_stop(choice.stop or canon.Stop("stop"), called, losses, own=own),
        "usage": write_usage(answer.usage, answer.extra if own else {}, losses),
        "metrics": {"latencyMs": 0},
    }
    tier = write_tier(answer.service_tier, losses, own=own)
    if tier is not None:
        body["serviceTier"] = tier
    if own:
        message.update(choice.extra)
        body.update((name, value) for name, value in answer.extra.items() if not name.startswith("usage."))
    else:
        losses.extra(choice.extra)
        losses.extra(answer.extra)
    return body


def write_stop(stop: canon.Stop, called: bool, losses: canon.Losses, *, own: bool) -> str:
    """stopReason; `called`: a tool was asked for."""
    if own and stop.raw:
        return stop.raw
    if stop.reason == "stop" and called:
        return "tool_use"
    if stop.reason not in _STOPS_BACK or stop.reason == "refusal":
        losses.add("stop_reason")
    return _STOPS_BACK.get(stop.reason, "end_turn")


def write_usage(usage: Usage | None, extra: canon.Extra, losses: canon.Losses) -> dict[str, Any]:
    """Counts in Bedrock's convention.  Kinds it does not know are counted as what they are part of."""
    usage = usage or Usage()
    if usage.audio_input or usage.image_input or usage.audio_output or usage.image_output or usage.reasoning:
        losses.add("usage_kinds")
    written = usage.cache_write + usage.cache_write_1h
    value: dict[str, Any] = {
        "inputTokens": usage.input + usage.audio_input + usage.image_input,
        "outputTokens": usage.output + usage.reasoning + usage.audio_output + usage.image_output,
        "totalTokens": usage.total(),
    }
    if usage.cache_read or written:
        value["cacheReadInputTokens"] = usage.cache_read
        value["cacheWriteInputTokens"] = written
    lifetimes = (("1h", usage.cache_write_1h), ("5m", usage.cache_write))
    if usage.cache_write_1h:
        value["cacheDetails"] = [{"ttl": ttl, "inputTokens": count} for ttl, count in lifetimes if count]
    for name, rest in extra.items():
        if name.startswith("usage."):
            value[name[6:]] = rest
    return value


_TIERS: Final = ("priority", "default", "flex", "reserved")


def write_tier(tier: str, losses: canon.Losses, *, own: bool = False) -> dict[str, Any] | None:
    """serviceTier, of a request or an answer."""
    if tier in _TIERS or (own and tier):
        return {"type": tier}
    if tier not in ("", "auto"):
        losses.add("service_tier")
    return None


def write_failure(failure: canon.Failure) -> bytes:
    """The body of an error answer."""
    return msgspec.json.encode({"message": failure.message})
