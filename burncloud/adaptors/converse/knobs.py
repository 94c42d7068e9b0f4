"""What only one family has, in additionalModelRequestFields: thinking and top_k.

Claude: `thinking` as Anthropic has it, the effort in outputConfig.  Nova 2: `reasoningConfig`.  Others: a word.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.converse.families import Family
from burncloud.adaptors.fields import Fields

ADDITIONAL: Final = "additionalModelRequestFields"
_WORDS: Final = ("reasoning_effort", "reasoning_config")

# Reading


def read_additional(fields: Fields, request: canon.Request) -> None:
    """What is known of additionalModelRequestFields."""
    top_k = fields.rest().get("top_k")
    if type(top_k) is int:
        request.top_k = fields.whole("top_k")
    thinking = fields.rest().get("thinking")
    if type(thinking) is dict:
        _read_thinking(thinking, fields, request)
    for word in _WORDS:
        effort = fields.rest().get(word)
        if type(effort) is str and (request.thinking is None or not request.thinking.effort):
            fields.take(word)
            request.thinking = request.thinking or canon.Thinking()
            request.thinking.effort = effort
            request.said = {**request.said, "effort": word}


def _read_thinking(given: dict[str, Any], fields: Fields, request: canon.Request) -> None:
    kind, budget, display = given.get("type"), given.get("budget_tokens"), given.get("display", "")
    known = given.keys() <= {"type", "budget_tokens", "display"} and type(display) is str
    if kind not in ("enabled", "disabled", "adaptive") or not known or type(budget) not in (int, type(None)):
        return  # stays in `extra`
    fields.take("thinking")
    thinking = request.thinking or canon.Thinking()
    thinking.enabled, thinking.adaptive, thinking.budget_tokens = kind != "disabled", kind == "adaptive", budget
    thinking.display = display
    thinking.summary = "auto" if kind != "disabled" and display != "omitted" else ""
    request.thinking = thinking


# Writing


def own_additional(request: canon.Request) -> dict[str, Any]:
    """What was read from Converse, as it was."""
    found: dict[str, Any] = {}
    thinking = request.thinking
    if thinking is not None and thinking.enabled is not None:
        kind = "disabled" if not thinking.enabled else "adaptive" if thinking.adaptive else "enabled"
        found["thinking"] = {"type": kind}
        if thinking.budget_tokens is not None:
            found["thinking"]["budget_tokens"] = thinking.budget_tokens
        if thinking.display:
            found["thinking"]["display"] = thinking.display
    word = request.said.get("effort", "")
    if thinking is not None and word in _WORDS:
        found[word] = thinking.effort
    if request.top_k is not None:
        found["top_k"] = request.top_k
    return found


_EFFORTS: Final = ("low", "medium", "high")
_NEAREST: Final = {"minimal": "low", "xhigh": "high", "max": "high"}
_BUDGETS: Final = ((4096, "low"), (16_384, "medium"))
"""(budget up to which, the effort that stands for it); above: high."""


def thinking_of(asked: canon.Thinking | None, family: Family, losses: canon.Losses) -> dict[str, Any]:
    """How a model that is no Claude is asked to think."""
    if asked is None or asked == canon.Thinking():
        return {}
    off = asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0
    if family.knob not in ("nova", *_WORDS):
        if not off:
            losses.add("thinking")
        return {}
    if off:
        if family.knob == "reasoning_effort":
            losses.add("thinking")  # it cannot be turned off
        return {}
    budget = asked.budget_tokens if asked.budget_tokens and asked.budget_tokens > 0 else None
    effort = _NEAREST.get(asked.effort, asked.effort)
    if effort not in _EFFORTS:
        effort = "medium" if budget is None else next((word for limit, word in _BUDGETS if budget <= limit), "high")
    if budget is not None:
        losses.add("thinking_budget")
    if asked.effort in _NEAREST:
        losses.add("thinking_effort")
    if family.knob == "nova":
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    return {family.knob: effort}


def top_k_of(top_k: int | None, family: Family, losses: canon.Losses) -> dict[str, Any]:
    """top_k where the family has it."""
    if top_k is None:
        return {}
    if not family.top_k:
        losses.add("top_k")
        return {}
    found: Any = top_k
    for name in reversed(family.top_k):
        found = {name: found}
    whole: dict[str, Any] = found
    return whole
