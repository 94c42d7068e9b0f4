"""What a client asks, in the form of Responses.

What leads out of the request (a stored response, a conversation, a template, a compacted history) makes it `bound`:
nobody but OpenAI has that part of it.  For requests of other dialects the writer minds what the model's family
accepts (chat/families.py knows OpenAI's); nothing is stored, and encrypted reasoning is asked for, so that thinking
goes on in the next turn.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import joined, put, request_bytes, request_of
from burncloud.adaptors.chat.thinking import write_thinking
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.responses.parts import DIALECT, Writing
from burncloud.adaptors.responses.tools import read_choice, read_tools, write_choice, write_tools
from burncloud.adaptors.responses.turns import read_turns, write_turns
from burncloud.adaptors.unsaid import name_unsaid

ENCRYPTED: Final = "reasoning.encrypted_content"
LOGPROBS: Final = "message.output_text.logprobs"
TOKENS_MIN: Final = 16
"""OpenAI refuses a smaller max_output_tokens."""
TIERS: Final = frozenset({"auto", "default", "flex", "scale", "priority", "fast", "ultrafast"})
"""OpenAI's words for service_tier."""
USER_CHARS_MAX: Final = 64
"""OpenAI refuses longer ids of users and longer cache keys."""

# Reading


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    """The request; `model` and `stream` where the URL gives them (Azure).  Refusal if it is malformed."""
    return request_of(_read, body, model, stream)


_BOUND: Final[dict[str, str]] = {
    "previous_response_id": "goes on from a response that its vendor has stored (previous_response_id)",
    "conversation": "belongs to a conversation that its vendor has stored (conversation)",
    "prompt": "uses a prompt template that its vendor has stored (prompt)",
}
_WORDS: Final = ("safety_identifier", "user")
_IDLE: Final[dict[str, Any]] = {"truncation": "disabled", "background": False}
"""What says nothing: it is the default."""


def _read(fields: Fields, model: str, stream: bool) -> canon.Request:
    model = fields.text("model") or model
    if not model:
        raise malformed("model", "given")
    stream = fields.flag("stream") or stream
    request = canon.Request(model, [], stream=stream, include_usage=stream, dialect=DIALECT)
    for name, why in _BOUND.items():
        if name in fields:
            request.bound = request.bound or why
    if "input" not in fields and not request.bound:
        raise malformed("input", "given")
    read_turns(fields, request)
    request.tools = read_tools(fields.items("tools"))
    _read_choice(fields, request)
    request.parallel_tools = fields.flag("parallel_tool_calls")
    _read_text(fields, request)
    _read_reasoning(fields, request)
    request.max_tokens = fields.whole("max_output_tokens")
    request.temperature = fields.number("temperature")
    request.top_p = fields.number("top_p")
    request.top_logprobs = fields.whole("top_logprobs")
    _read_include(fields, request)
    request.service_tier = fields.text("service_tier")
    word = next((word for word in _WORDS if word in fields), "user")
    if word != "user":
        request.said["user"] = word
    request.user = fields.text(word)
    request.metadata = fields.map("metadata") or {}
    request.store = fields.flag("store")
    request.cache_key = fields.text("prompt_cache_key")
    _read_options(fields, request)
    rest = {name: value for name, value in fields.rest().items() if value is not None and value != _IDLE.get(name)}
    request.extra = {**rest, **request.extra}
    if request.bound:
        request.bound = (
            f"This request {request.bound}; the model it asks for is at another vendor, who does not have that"
        )
    return request


def _read_choice(fields: Fields, request: canon.Request) -> None:
    given = fields.take("tool_choice")
    if given is None:
        return
    request.tool_choice = read_choice(given)
    if request.tool_choice is None:
        request.extra["tool_choice"] = given


_FORMATS: Final[dict[str, Any]] = {"text": "text", "json_object": "json", "json_schema": "schema"}


def _read_text(fields: Fields, request: canon.Request) -> None:
    """`text`: the format of the output, and how much of it."""
    text = fields.inner("text")
    if text is None:
        return
    request.verbosity = text.text("verbosity")
    form = text.inner("format")
    if form is not None:
        kind = form.text("type", "text")
        if kind in _FORMATS:
            request.output = canon.OutputFormat(_FORMATS[kind])
        else:  # grammars of some servers
            form.rest()["type"] = kind
        if kind == "json_schema":
            request.output = canon.OutputFormat(
                "schema", form.text("name"), form.text("description"), form.map("schema"), form.flag("strict")
            )
        rest = {name: value for name, value in form.rest().items() if value is not None}
        if rest:
            text.rest()["format"] = rest
    if text.rest():
        request.extra["text"] = text.rest()


def _read_reasoning(fields: Fields, request: canon.Request) -> None:
    inner = fields.inner("reasoning")
    if inner is None:
        return
    thinking = canon.Thinking(effort=inner.text("effort"), summary=inner.text("summary"))
    older = inner.text("generate_summary")
    if older and not thinking.summary:
        thinking.summary = older
    if thinking != canon.Thinking():
        request.thinking = thinking
    rest = {name: value for name, value in inner.rest().items() if value not in (None, "auto")}
    if rest:
        request.extra["reasoning"] = rest


def _read_include(fields: Fields, request: canon.Request) -> None:
    """`include`: what is known of it needs no loss, the rest asks for more of tools that servers run."""
    include = fields.texts("include")
    request.logprobs = LOGPROBS in include or bool(request.top_logprobs)
    known = [name for name in include if name in (ENCRYPTED, LOGPROBS)]
    if known:
        request.said["include"] = " ".join(known)
    others = [name for name in include if name not in known]
    if others:
        request.extra["include"] = others


def _read_options(fields: Fields, request: canon.Request) -> None:
    """stream_options: padding against eavesdroppers, which is nobody's loss."""
    options = fields.inner("stream_options")
    if options is None:
        return
    padding = options.flag("include_obfuscation")
    if padding is not None:
        request.said["obfuscation"] = "yes" if padding else ""
    options.take("include_usage")
    if options.rest():
        request.extra["stream_options"] = options.rest()


# Writing


def write_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written."""
    return request_bytes(_own_body if request.dialect == DIALECT else _foreign_body, request, losses)


def _own_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was read from Responses, as it was."""
    to = Writing(losses, own=True, model=request.model)
    instructions, items = write_turns(request, to)
    body: dict[str, Any] = {"model": request.model}
    put(body, instructions=instructions)
    body["input"] = items
    body.update(own_members(request, losses))
    said = request.said
    if request.stream:
        body["stream"] = True
    if "obfuscation" in said:
        body["stream_options"] = {"include_obfuscation": bool(said["obfuscation"])}
    include = said.get("include", "").split() + request.extra.get("include", [])
    put(body, include=include, store=request.store)
    whole: dict[str, Any] = joined(body, {name: value for name, value in request.extra.items() if name != "include"})
    return whole


def own_members(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What a request of Responses says beside its input, and an answer repeats."""
    to = Writing(losses, own=True, model=request.model)
    body: dict[str, Any] = {}
    tools = write_tools(request.tools, to)
    put(body, tools=tools, tool_choice=write_choice(request.tool_choice, tools, to))
    put(body, parallel_tool_calls=request.parallel_tools, text=_write_text(request, to))
    thinking = request.thinking
    if thinking is not None:
        reasoning: dict[str, Any] = {}
        put(reasoning, effort=thinking.effort, summary=thinking.summary)
        put(body, reasoning=reasoning)
    put(body, max_output_tokens=request.max_tokens, temperature=request.temperature, top_p=request.top_p)
    put(body, top_logprobs=request.top_logprobs, service_tier=request.service_tier, metadata=request.metadata)
    put(body, prompt_cache_key=request.cache_key, **{request.said.get("user", "user"): request.user})
    return body


def _write_text(request: canon.Request, to: Writing) -> dict[str, Any]:
    text: dict[str, Any] = {}
    output = request.output
    if output is not None and (output.kind != "text" or to.own):
        put(text, format=_write_format(output, to))
    if request.verbosity and (to.own or to.family.verbosity):
        text["verbosity"] = request.verbosity
    elif request.verbosity not in ("", "medium"):
        to.losses.add("verbosity")
    return text


def _write_format(output: canon.OutputFormat, to: Writing) -> dict[str, Any]:
    if output.kind != "schema" or (output.schema is None and not to.own):
        return {"type": "text" if output.kind == "text" else "json_object"}
    form: dict[str, Any] = {"type": "json_schema", "name": output.name or "answer"}
    put(form, description=output.description, schema=output.schema)
    if output.strict is not None:
        form["strict"] = output.strict
    elif not to.own:
        form["strict"] = False  # without a word, Responses would take it for strict
    return form


def _foreign_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was asked in another dialect, as this model takes it."""
    to = Writing(losses, own=False, model=request.model)
    name_unsaid(request, _UNSAID, losses)
    instructions, items = write_turns(request, to)
    body: dict[str, Any] = {"model": request.model}
    put(body, instructions=instructions)
    body["input"] = items
    if request.stream:
        body["stream"] = True
    tools = write_tools(request.tools, to)
    put(body, tools=tools, tool_choice=write_choice(request.tool_choice, tools, to))
    if tools:
        put(body, parallel_tool_calls=request.parallel_tools)
    put(body, text=_write_text(request, to))
    include = _thinking(request, body, to)
    put(body, max_output_tokens=_limit(request.max_tokens, to))
    include += _sampling(request, body, to)
    body["store"] = bool(request.store) and to.family.openai
    put(body, include=include)
    _openai_only(request, body, to)
    return body


def _thinking(request: canon.Request, body: dict[str, Any], to: Writing) -> list[str]:
    """`reasoning`, and what to include for the next turn."""
    family, asked = to.family, request.thinking
    reasoning: dict[str, Any] = {}
    if asked is not None and family.knob == "effort":
        effort = write_thinking(asked, family, to.losses)
        put(reasoning, effort=effort.get("reasoning_effort"))
        if asked.summary and reasoning.get("effort") != "none":
            reasoning["summary"] = asked.summary
    elif asked is not None and asked != canon.Thinking():
        disabled = asked.enabled is False or asked.effort == "none" or asked.budget_tokens == 0
        if not disabled:
            to.losses.add("thinking")
    put(body, reasoning=reasoning)
    thinks = (family.openai and not family.sampling) or "grok" in request.model.lower()
    return [ENCRYPTED] if thinks else []


def _limit(limit: int | None, to: Writing) -> int | None:
    if limit is None or limit >= TOKENS_MIN or not to.family.openai:
        return limit
    to.losses.add("max_tokens")
    return TOKENS_MIN


_NEUTRAL: Final = 1


def _sampling(request: canon.Request, body: dict[str, Any], to: Writing) -> list[str]:
    """Sampling as far as the model takes it, and what to include for it."""
    for name in ("temperature", "top_p"):
        value = getattr(request, name)
        if value is not None and to.family.sampling:
            body[name] = value
        elif value is not None and value != _NEUTRAL:
            to.losses.add(name)
    if not request.logprobs:
        return []
    if not to.family.sampling:
        to.losses.add("logprobs")
        return []
    put(body, top_logprobs=request.top_logprobs)
    return [LOGPROBS]


_UNSAID: Final = (
    "frequency_penalty", "presence_penalty", "logit_bias", "min_p", "top_k", "audio", "safety", "stop",
    "seed", "n", "modalities",
)  # fmt: skip


def _openai_only(request: canon.Request, body: dict[str, Any], to: Writing) -> None:
    """What OpenAI itself knows, and others refuse or ignore."""
    openai = to.family.openai
    texts = {name: value for name, value in request.metadata.items() if type(value) is str}
    kept = dict(list(texts.items())[:16])
    if len(kept) < len(request.metadata) or (kept and not openai):
        to.losses.add("metadata")
    if request.store and not openai:
        to.losses.add("store")
    if request.cache_key and not openai:
        to.losses.add("cache_key")
    tier = request.service_tier if request.service_tier not in ("auto", "default") else ""
    if tier and (not openai or tier not in TIERS):
        to.losses.add("service_tier")
        tier = ""
    if openai:
        put(body, metadata=kept, prompt_cache_key=_short(request.cache_key), service_tier=tier)
    put(body, user=_short(request.user))


def _short(key: str) -> str:
    """An id as OpenAI takes it: the same for the same, different for different ones."""
    if len(key) <= USER_CHARS_MAX:
        return key
    return hashlib.blake2b(key.encode("utf-8", "replace"), digest_size=32).hexdigest()
