"""How much a model is to think: thinkingBudget (Gemini 2.5), thinkingLevel (Gemini 3), includeThoughts.

A budget of -1 is Gemini's word for "as you like", 0 for "not at all".
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.families import Family
from burncloud.adaptors.gemini.names import Names

BUDGETS: Final[dict[str, int]] = {
    "minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000,
}  # fmt: skip
"""Thinking tokens that stand for an effort, and the other way."""


def read_thinking(fields: Names) -> canon.Thinking:
    """thinkingConfig."""
    thinking = canon.Thinking()
    thinking.budget_tokens = fields.whole("thinkingBudget")
    level = fields.text("thinkingLevel")
    thinking.effort = "" if level.endswith("UNSPECIFIED") else level.lower()
    if thinking.budget_tokens is not None:
        thinking.enabled = thinking.budget_tokens != 0
        thinking.adaptive = thinking.budget_tokens < 0
    elif thinking.effort:
        thinking.enabled = True
    if fields.flag("includeThoughts"):
        thinking.summary = "auto"
    return thinking


def own_thinking(thinking: canon.Thinking) -> dict[str, Any]:
    """What was read from Gemini, as it was."""
    value: dict[str, Any] = {}
    if thinking.summary:
        value["includeThoughts"] = True
    if thinking.budget_tokens is not None:
        value["thinkingBudget"] = thinking.budget_tokens
    if thinking.effort:
        value["thinkingLevel"] = thinking.effort.upper()
    return value


def write_thinking(asked: canon.Thinking | None, family: Family, losses: canon.Losses) -> dict[str, Any]:
    """thinkingConfig, as this family takes it, for what was asked in another dialect."""
    if asked is None or asked == canon.Thinking():
        return {}
    disabled = asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0
    if family.knob == "":
        if not disabled:
            losses.add("thinking")
        return {}
    if disabled:
        if family.can_disable:
            return {"thinkingBudget": 0}
        losses.add("thinking")
        return {"thinkingBudget": family.budgets[0]} if family.knob == "budget" else _level(family.levels[0])
    value = _budget(asked, family, losses) if family.knob == "budget" else _levelled(asked, family, losses)
    if asked.summary and asked.display != "omitted":
        value["includeThoughts"] = True
    return value


def _level(word: str) -> dict[str, Any]:
    return {"thinkingLevel": word.upper()}


def _budget(asked: canon.Thinking, family: Family, losses: canon.Losses) -> dict[str, Any]:
    least, most = family.budgets
    budget = asked.budget_tokens
    if budget is not None and budget > 0:
        kept = min(max(budget, least), most)
        if kept != budget:
            losses.add("thinking_budget")
        return {"thinkingBudget": kept}
    if asked.effort in BUDGETS:
        return {"thinkingBudget": min(max(BUDGETS[asked.effort], least), most)}
    return {"thinkingBudget": -1}


def _levelled(asked: canon.Thinking, family: Family, losses: canon.Losses) -> dict[str, Any]:
    """The nearest level below what was asked; the model's own where only thinking as such was asked for."""
    effort, budget = asked.effort, asked.budget_tokens
    if effort not in BUDGETS:
        if budget is None or budget < 0:
            return {}
        losses.add("thinking_budget")
        effort = next((word for word, tokens in BUDGETS.items() if tokens >= budget), "max")
    elif effort not in family.levels:
        losses.add("reasoning_effort")
    order = list(BUDGETS)
    below = [word for word in family.levels if order.index(word) <= order.index(effort)]
    return _level(below[-1] if below else family.levels[0])
