"""What a client asks, in Anthropic's form.

`max_tokens` may be missing when it is read (count_tokens has none).  What came from Messages is written back as it
was.  For requests of other dialects the writer also minds what the model's family accepts (families.py): sampling
beside thinking, budgets or effort, strict schemas; what has to go is named.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded, joined, put, request_bytes, request_of
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.messages.blocks import DIALECT, Writing, read_content, write_content
from burncloud.adaptors.messages.families import Family
from burncloud.adaptors.messages.tools import read_choice, read_tool, strict_schema, write_choice, write_tools
from burncloud.adaptors.messages.turns import mid_call, ordered
from burncloud.adaptors.messages.usual import read_usual, write_usual
from burncloud.adaptors.unsaid import name_unsaid
from burncloud.errors import THREAD_UNSUPPORTED

DEFAULT_MAX_TOKENS: Final = 4096
"""Anthropic insists on a limit; this one every model takes."""
BUDGET_MIN: Final = 1024
BUDGETS: Final[dict[str, int]] = {
    "minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_576, "max": 32_000,
}  # fmt: skip
"""Thinking tokens that stand for an effort where only a budget is taken."""

_TIERS: Final = {"standard_only": "default"}
"""Anthropic's word to the canonical one, which is OpenAI's."""

# Reading


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    """The request; `model` and `stream` where the URL gives them.  Refusal if it is malformed."""
    return read_usual(body, model, stream, DIALECT) or request_of(_read, body, model, stream)


def _read(fields: Fields, model: str, stream: bool) -> canon.Request:
    model = fields.text("model") or model
    if not model:
        raise malformed("model", "given")
    stream = fields.flag("stream") or stream
    tier = fields.text("service_tier")
    request = canon.Request(
        model,
        [],
        [],
        stream,
        stream,  # Messages always tells the usage
        max_tokens=fields.whole("max_tokens"),
        temperature=fields.number("temperature"),
        top_p=fields.number("top_p"),
        top_k=fields.whole("top_k"),
        stop=fields.texts("stop_sequences"),
        service_tier=_TIERS.get(tier, tier),
        dialect=DIALECT,
    )
    request.system = read_content(fields.take("system"), "system")
    _read_turns(fields, request)
    tools = fields.items("tools")
    request.tools = [read_tool(Fields(value, f"tools[{at}]"), value) for at, value in enumerate(tools)]
    nested: canon.Extra = {}
    for name, reader in _NESTED.items():
        inner = fields.inner(name)
        if inner is not None:
            reader(inner, request)
            if inner.rest():
                nested[name] = inner.rest()
    if "output_format" in nested:
        nested["output_config"] = joined({"format": nested.pop("output_format")}, nested.get("output_config"))
    request.extra = {**fields.rest(), **nested}
    if request.extra.get("thread") is not None:
        request.bound = THREAD_UNSUPPORTED.message
    return request


_ROLES: Final = ("user", "assistant", "system")


def _read_turns(fields: Fields, request: canon.Request) -> None:
    """`messages`; system texts at their head belong to the system prompt."""
    if "messages" not in fields:
        raise malformed("messages", "given")
    for message in fields.objects("messages"):
        role: Any = message.needed("role")
        if role not in _ROLES:
            raise malformed(message.at("role"), "user, assistant or system")
        if "content" not in message and role != "system":
            raise malformed(message.at("content"), "given")
        blocks = read_content(message.take("content"), message.at("content"))
        leading = role == "system" and not request.turns and not message.rest()
        if leading and all(type(block) is canon.Text for block in blocks):
            request.system += blocks
        else:
            request.turns.append(canon.Turn(role, blocks, extra=message.rest()))
    if not request.turns:
        raise malformed("messages", "a list of at least one message")


def _read_metadata(fields: Fields, request: canon.Request) -> None:
    request.user = fields.text("user_id")
    request.metadata = fields.rest().copy()
    fields.rest().clear()


def _read_tool_choice(fields: Fields, request: canon.Request) -> None:
    request.tool_choice, request.parallel_tools = read_choice(fields)


def _read_thinking(fields: Fields, request: canon.Request) -> None:
    kind = fields.needed("type")
    display = fields.text("display")
    thinking = canon.Thinking(
        kind != "disabled",
        kind == "adaptive",
        "",
        fields.whole("budget_tokens") if kind == "enabled" else None,
        "auto" if kind != "disabled" and display != "omitted" else "",
        display,
    )
    if kind not in ("enabled", "disabled", "adaptive"):
        fields.rest()["type"] = kind
    request.thinking = thinking


def _read_output_config(fields: Fields, request: canon.Request) -> None:
    effort = fields.text("effort")
    if effort:
        request.thinking = request.thinking or canon.Thinking()
        request.thinking.effort = effort
    form = fields.inner("format")
    if form is not None:
        _read_output_format(form, request)
        if form.rest():
            fields.rest()["format"] = form.rest()


def _read_output_format(fields: Fields, request: canon.Request) -> None:
    if fields.needed("type") != "json_schema":
        raise malformed(fields.at("type"), "json_schema")
    schema = fields.map("schema")
    if schema is None:
        raise malformed(fields.at("schema"), "given")
    request.output = canon.OutputFormat("schema", schema=schema)


_NESTED: Final = {
    "metadata": _read_metadata,
    "tool_choice": _read_tool_choice,
    "thinking": _read_thinking,
    "output_config": _read_output_config,
    "output_format": _read_output_format,  # the older name of output_config.format
}
"""Objects of known and unknown members, thinking before the effort that joins it; unknown ones stay in `extra`."""

# Writing


def write_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written."""
    return request_bytes(_own_body if request.dialect == DIALECT else _foreign_body, request, losses)


def _own_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was read from Messages, as it was."""
    to = Writing(losses, own=True, model=request.model)
    thinking = request.thinking
    body = _frame(request, request.max_tokens, request.turns, request.system, to)
    tools = write_tools(request, to.family, losses)
    config: dict[str, Any] = {}
    if thinking is not None and thinking.effort:
        config["effort"] = thinking.effort
    if request.output is not None and request.output.kind == "schema":
        config["format"] = {"type": "json_schema", "schema": request.output.schema}
    put(
        body,
        tools=tools,
        tool_choice=write_choice(request, tools, losses),
        thinking=_own_thinking(thinking) if thinking is not None and thinking.enabled is not None else None,
        output_config=config,
        metadata={**request.metadata, **({"user_id": request.user} if request.user else {})},
    )
    for name in ("temperature", "top_p", "top_k"):
        if getattr(request, name) is not None:
            body[name] = getattr(request, name)
    whole: dict[str, Any] = joined(body, request.extra)
    return whole


def _own_thinking(thinking: canon.Thinking) -> dict[str, Any]:
    if not thinking.enabled:
        return {"type": "disabled"}
    value: dict[str, Any] = {"type": "adaptive" if thinking.adaptive else "enabled"}
    if thinking.budget_tokens is not None:
        value["budget_tokens"] = thinking.budget_tokens
    if thinking.display:
        value["display"] = thinking.display
    return value


def _frame(
    request: canon.Request, max_tokens: int | None, turns: list[canon.Turn], system: list[canon.Block], to: Writing
) -> dict[str, Any]:
    """What both kinds of request have."""
    body: dict[str, Any] = {"model": request.model}
    if max_tokens is not None:
        body["max_tokens"] = max_tokens
    to.role = "system"
    put(body, system=write_content(system, to))
    messages: list[dict[str, Any]] = []
    for turn in turns:
        to.role = turn.role
        content = write_content(turn.blocks, to)
        if to.own:
            messages.append({"role": turn.role, "content": content, **turn.extra})
        elif content:
            messages.append({"role": turn.role, "content": content})
    body["messages"] = messages
    put(body, stop_sequences=request.stop, stream=request.stream or None)
    if request.service_tier:
        tier = {"default": "standard_only", "standard_only": "standard_only", "auto": "auto"}.get(request.service_tier)
        if tier is not None or to.own:
            body["service_tier"] = tier or request.service_tier
        else:
            to.losses.add("service_tier")
    return body


def _foreign_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was asked in another dialect, as this model takes it."""
    usual = write_usual(request, DEFAULT_MAX_TOKENS)
    if usual is not None:
        return usual
    to = Writing(losses, own=False, model=request.model)
    family = to.family
    name_unsaid(request, _UNSAID, losses)
    turns = ordered(request.turns, family, losses)
    if not turns and request.system:  # Anthropic wants somebody to speak to
        losses.add("first_turn")
        turns, request = [canon.Turn("user", request.system)], msgspec.structs.replace(request, system=[])
    tools = write_tools(request, family, losses)
    choice = write_choice(request, tools, losses)
    forced = choice is not None and choice["type"] in ("any", "tool")
    thinking, effort, max_tokens = thinking_config(request, family, forced or mid_call(turns), losses)
    form, instruction = output_format(request.output, family, losses)
    system = [*request.system, canon.Text(instruction)] if instruction else request.system
    request = msgspec.structs.replace(request, stop=visible_stops(request.stop, losses))
    body = _frame(request, max_tokens, turns, system, to)
    put(body, tools=tools, tool_choice=choice, thinking=thinking)
    put(body, output_config={name: value for name, value in (("effort", effort), ("format", form)) if value})
    if request.user:
        body["metadata"] = {"user_id": request.user}
    body.update(sampling(request, family, thinking, losses))
    return body


_UNSAID: Final = (
    "frequency_penalty", "presence_penalty", "min_p", "logprobs", "logit_bias", "audio", "cache_key", "safety", "store",
    "metadata",
    "seed", "n", "modalities", "verbosity", "summary",
)  # fmt: skip


def visible_stops(stops: list[str], losses: canon.Losses) -> list[str]:
    """Those that Claude takes: white space alone is refused."""
    kept = [stop for stop in stops if stop.strip()]
    if len(kept) < len(stops):
        losses.add("stop")
    return kept


Config = dict[str, Any] | None


def thinking_config(
    request: canon.Request, family: Family, hindered: bool, losses: canon.Losses
) -> tuple[Config, str, int]:
    """(thinking, output_config.effort, max_tokens); `hindered`: a budget would be refused with these turns or tools."""
    asked, limit = request.thinking, request.max_tokens
    default = DEFAULT_MAX_TOKENS if limit is None else limit
    if asked is None or asked == canon.Thinking():
        return None, "", default
    if asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0:
        if not family.can_disable:
            losses.add("thinking")
        return ({"type": "disabled"} if family.can_disable and family.adaptive else None), "", default
    budget = asked.budget_tokens if asked.budget_tokens and asked.budget_tokens > 0 else None
    if family.adaptive and (hindered or budget is None or not family.budget):
        if budget is not None:
            losses.add("thinking_budget")
        effort = _effort(asked.effort, budget, family.efforts)
        room = budget or BUDGETS.get(asked.effort, BUDGETS["medium"])
        display = asked.display or ("summarized" if asked.summary else "")
        thinking = {"type": "adaptive", "display": display} if display else {"type": "adaptive"}
        return thinking, effort, default + room if limit is None else limit
    if hindered or not family.budget:
        losses.add("thinking")
        return None, "", default
    wanted = max(BUDGET_MIN, budget or BUDGETS.get(asked.effort, BUDGETS["medium"]))
    if limit is None:
        return _budget(wanted), "", DEFAULT_MAX_TOKENS + wanted
    if limit <= BUDGET_MIN:
        losses.add("thinking")
        return None, "", limit
    if limit <= wanted:
        if budget is not None:
            losses.add("thinking_budget")
        wanted = max(BUDGET_MIN, limit // 2)
    return _budget(wanted), "", limit


def _budget(tokens: int) -> dict[str, Any]:
    return {"type": "enabled", "budget_tokens": tokens}


def _effort(asked: str, budget: int | None, accepted: tuple[str, ...]) -> str:
    """The accepted word nearest below what was asked; "" = Claude's own choice."""
    order = list(BUDGETS)
    if asked not in BUDGETS:
        if budget is None:
            return ""
        asked = next((word for word, tokens in BUDGETS.items() if tokens >= budget), "max")
    below = [word for word in accepted if order.index(word) <= order.index(asked)]
    return below[-1] if below else accepted[0]


def output_format(output: canon.OutputFormat | None, family: Family, losses: canon.Losses) -> tuple[Config, str]:
    """(output_config.format, an instruction that stands for what cannot be compiled)."""
    if output is None or output.kind == "text":
        return None, ""
    if output.kind == "json" or output.schema is None:
        losses.add("json_mode")
        return None, "Answer with one JSON object and nothing else."
    if family.structured:
        schema = strict_schema(output.schema, losses)
        if output.description and "description" not in schema:
            schema["description"] = output.description
        return {"type": "json_schema", "schema": schema}, ""
    losses.add("json_schema")
    text = encoded(output.schema).decode()
    return None, f"Answer with one JSON value and nothing else. It must fit this JSON Schema:\n{text}"


def sampling(request: canon.Request, family: Family, thinking: Config, losses: canon.Losses) -> dict[str, Any]:
    """temperature, top_p and top_k as far as the model takes them; those that change nothing go without a word."""
    found: dict[str, Any] = {}
    free = family.sampling and (thinking is None or thinking["type"] == "disabled")
    temperature, top_p, top_k = request.temperature, request.top_p, request.top_k
    if temperature is not None and temperature > 1 and free:
        losses.add("temperature")
        temperature = 1
    if temperature is not None:
        if free:
            found["temperature"] = temperature
        elif temperature != 1:
            losses.add("temperature")
    if top_p is not None:
        if free and (family.both_sampling or temperature is None):
            found["top_p"] = top_p
        elif top_p != 1:
            losses.add("top_p")
    if top_k is not None:
        if free:
            found["top_k"] = top_k
        else:
            losses.add("top_k")
    return found
