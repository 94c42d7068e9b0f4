"""How much a model is to think, in the words that vendors have for it.

reasoning_effort                        OpenAI and most copies: none · minimal · low · medium · high · xhigh
reasoning: {effort, max_tokens, …}      OpenRouter
thinking: {type, budget_tokens}         DeepSeek, GLM, Kimi, Doubao, Claude's door
enable_thinking, thinking_budget        Qwen
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.chat.families import Family
from burncloud.adaptors.fields import Fields

BUDGETS: Final[dict[str, int]] = {
    "none": 0, "minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000,
}  # fmt: skip
"""Thinking tokens that stand for an effort, and the other way."""

# Reading


def read_thinking(fields: Fields, request: canon.Request) -> None:
    """Whatever members a client says it with; their names stand in `said`, what is unknown in them in `extra`."""
    thinking = canon.Thinking()
    said = [name for name, reader in _READERS.items() if name in fields and reader(fields, thinking, request)]
    if said:
        request.thinking = thinking
        request.said["thinking"] = " ".join(said)


def _read_effort(fields: Fields, thinking: canon.Thinking, request: canon.Request) -> bool:
    thinking.effort = fields.text("reasoning_effort")
    return True


def _read_reasoning(fields: Fields, thinking: canon.Thinking, request: canon.Request) -> bool:
    inner = fields.inner("reasoning")
    if inner is None:
        return False
    thinking.effort = inner.text("effort") or thinking.effort
    thinking.budget_tokens = inner.whole("max_tokens")
    thinking.enabled = inner.flag("enabled")
    thinking.summary = inner.text("summary")
    if inner.rest():
        request.extra["reasoning"] = inner.rest()
    return True


def _read_thinking(fields: Fields, thinking: canon.Thinking, request: canon.Request) -> bool:
    inner = fields.inner("thinking")
    if inner is None:
        return False
    kind = inner.text("type")
    thinking.enabled = kind != "disabled" if kind else None
    thinking.adaptive = kind in ("adaptive", "auto")
    thinking.budget_tokens = inner.whole("budget_tokens")
    if kind not in ("enabled", "disabled", "adaptive", ""):
        inner.rest()["type"] = kind
    if inner.rest():
        request.extra["thinking"] = inner.rest()
    return True


def _read_enable(fields: Fields, thinking: canon.Thinking, request: canon.Request) -> bool:
    thinking.enabled = fields.flag("enable_thinking")
    return True


def _read_budget(fields: Fields, thinking: canon.Thinking, request: canon.Request) -> bool:
    thinking.budget_tokens = fields.whole("thinking_budget")
    return True


_READERS: Final = {
    "reasoning_effort": _read_effort,
    "reasoning": _read_reasoning,
    "thinking": _read_thinking,
    "enable_thinking": _read_enable,
    "thinking_budget": _read_budget,
}

# Writing


def own_thinking(request: canon.Request) -> dict[str, Any]:
    """The members as they were."""
    thinking = request.thinking
    if thinking is None:
        return {}
    wholes: dict[str, Any] = {
        "reasoning_effort": thinking.effort,
        "reasoning": _members(
            effort=thinking.effort,
            max_tokens=thinking.budget_tokens,
            enabled=thinking.enabled,
            summary=thinking.summary,
        ),
        "thinking": _members(type=_kind(thinking), budget_tokens=thinking.budget_tokens),
        "enable_thinking": thinking.enabled,
        "thinking_budget": thinking.budget_tokens,
    }
    said = request.said.get("thinking", "reasoning_effort").split()
    return {name: value for name in said if (value := wholes.get(name)) not in (None, "")}


def _members(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "")}


def _kind(thinking: canon.Thinking) -> str:
    if thinking.enabled is None:
        return ""
    return "adaptive" if thinking.adaptive else "enabled" if thinking.enabled else "disabled"


def write_thinking(asked: canon.Thinking | None, family: Family, losses: canon.Losses) -> dict[str, Any]:
    """The members that this family knows for what was asked in another dialect."""
    if asked is None or asked == canon.Thinking():
        return {}
    disabled = asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0
    effort, budget = asked.effort, asked.budget_tokens
    if budget is not None and budget < 0:  # Gemini's word for "as you like"
        budget = None
    match family.knob:
        case "":
            if not disabled:
                losses.add("thinking")
            return {}
        case "effort":
            if asked.enabled and not effort and budget is None and "none" in family.efforts:
                effort = "medium"  # what these do not do without a word
            elif asked.enabled and not effort and budget is None and not family.openai:
                losses.add("thinking")  # whether it thinks without a word is not known
            return _effort(effort, budget, disabled, family, losses)
        case "enable":
            if disabled:
                return {"enable_thinking": False}
            wanted = budget or BUDGETS.get(effort)
            return {"enable_thinking": True, **({"thinking_budget": wanted} if wanted else {})}
        case "reasoning":
            if disabled:
                return {"reasoning": {"enabled": False}}
            if budget:
                return {"reasoning": {"max_tokens": budget}}
            return {"reasoning": {"effort": effort} if effort else {"enabled": True}}
        case "thinking":
            if disabled:
                return {"thinking": {"type": "disabled"}}
            if family.budget:
                wanted = budget or BUDGETS.get(effort, BUDGETS["medium"])
                return {"thinking": {"type": "enabled", "budget_tokens": wanted}}
            if effort or budget:
                losses.add("thinking_budget" if budget else "reasoning_effort")
            return {"thinking": {"type": "enabled"}}


def _effort(effort: str, budget: int | None, disabled: bool, family: Family, losses: canon.Losses) -> dict[str, Any]:
    """reasoning_effort in the family's words: the nearest below what was asked."""
    accepted = family.efforts
    if disabled:
        if "none" in accepted:
            return {"reasoning_effort": "none"}
        losses.add("thinking")
        return {"reasoning_effort": accepted[0]} if family.openai or accepted[0] == "minimal" else {}
    if not effort and budget is not None:
        losses.add("thinking_budget")
        effort = next((word for word, tokens in BUDGETS.items() if tokens >= budget), "max")
    if not effort:
        return {}
    if effort not in BUDGETS or effort in accepted:
        return {"reasoning_effort": effort}
    order = list(BUDGETS)
    below = [word for word in accepted if order.index(word) <= order.index(effort) and word != "none"]
    losses.add("reasoning_effort")
    return {"reasoning_effort": below[-1] if below else next(word for word in accepted if word != "none")}
