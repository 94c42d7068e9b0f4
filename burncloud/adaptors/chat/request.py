"""What a client asks, in the form of Chat Completions.

What came from Chat is written back as it was.  For requests of other dialects the writer minds what the model's
family accepts (families.py); what has to go is named.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import joined, put, request_bytes, request_of
from burncloud.adaptors.chat.blocks import Writing
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.chat.thinking import own_thinking, read_thinking, write_thinking
from burncloud.adaptors.chat.tools import (
    read_choice,
    read_function,
    read_tool,
    write_choice,
    write_function,
    write_tools,
)
from burncloud.adaptors.chat.turns import read_turns, write_turns
from burncloud.adaptors.chat.usual import read_usual_request, write_usual_request
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.unsaid import name_unsaid

# Reading


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    """The request; `model` and `stream` where the URL gives them (Azure).  Refusal if it is malformed."""
    return read_usual_request(body, model, stream, DIALECT) or request_of(_read, body, model, stream)


_WORDS: Final = {
    "max_tokens": ("max_completion_tokens", "max_tokens"),
    "seed": ("seed", "random_seed"),
    "user": ("safety_identifier", "user"),
}
"""What has several words: the first that is there counts, another one beside it stays in `extra`."""


def _read(fields: Fields, model: str, stream: bool) -> canon.Request:
    model = fields.text("model") or model
    if not model:
        raise malformed("model", "given")
    request = canon.Request(model, [], stream=fields.flag("stream") or stream, dialect=DIALECT)
    options = fields.inner("stream_options")
    if options is not None:
        request.include_usage = options.flag("include_usage") or False
        if options.rest():
            request.extra["stream_options"] = options.rest()
    read_turns(fields, request)
    _read_tools(fields, request)
    _read_format(fields, request)
    read_thinking(fields, request)
    _read_numbers(fields, request)
    request.stop = _read_stop(fields, request)
    request.logit_bias = _read_bias(fields)
    request.modalities = fields.texts("modalities")
    request.audio = fields.map("audio")
    request.verbosity = fields.text("verbosity")
    request.service_tier = fields.text("service_tier")
    request.user = fields.text(_word(fields, request, "user"))
    request.metadata = fields.map("metadata") or {}
    request.store = fields.flag("store")
    request.cache_key = fields.text("prompt_cache_key")
    request.extra = {**fields.rest(), **request.extra}
    return request


def _word(fields: Fields, request: canon.Request, name: str) -> str:
    """The word that the client has for a member."""
    words = _WORDS[name]
    found = next((word for word in words if word in fields), name)
    if found != name:
        request.said[name] = found
    return found


def _read_numbers(fields: Fields, request: canon.Request) -> None:
    request.max_tokens = fields.whole(_word(fields, request, "max_tokens"))
    request.seed = fields.whole(_word(fields, request, "seed"))
    request.temperature = fields.number("temperature")
    request.top_p = fields.number("top_p")
    request.top_k = fields.whole("top_k")
    request.min_p = fields.number("min_p")
    request.frequency_penalty = fields.number("frequency_penalty")
    request.presence_penalty = fields.number("presence_penalty")
    request.n = fields.whole("n")
    request.logprobs = fields.flag("logprobs") or False
    request.top_logprobs = fields.whole("top_logprobs")


def _read_tools(fields: Fields, request: canon.Request) -> None:
    tools = fields.items("tools")
    request.tools = [read_tool(Fields(value, f"tools[{at}]"), value) for at, value in enumerate(tools)]
    functions = fields.objects("functions")
    if tools:
        request.said.pop("tools", None)
    elif functions:
        request.said["tools"] = "functions"
    request.tools += [read_function(function) for function in functions]
    choice = fields.take("tool_choice")
    if choice is not None:
        request.tool_choice = read_choice(choice)
    choice = fields.take("function_call")
    if choice is not None and request.tool_choice is None:
        request.said["tool_choice"] = "function_call"
        request.tool_choice = read_choice(choice, "function_call")
    request.parallel_tools = fields.flag("parallel_tool_calls")


_FORMATS: Final[dict[str, Any]] = {"text": "text", "json_object": "json", "json_schema": "schema"}


def _read_format(fields: Fields, request: canon.Request) -> None:
    form = fields.inner("response_format")
    if form is None:
        return
    kind = form.needed("type")
    if kind not in _FORMATS:  # grammars and regular expressions of some servers
        request.extra["response_format"] = {"type": kind, **form.rest()}
        return
    request.output = canon.OutputFormat(_FORMATS[kind])
    inner = form.inner("json_schema")
    if kind == "json_schema":
        if inner is None:
            raise malformed(form.at("json_schema"), "given")
        request.output.name = inner.text("name")
        request.output.description = inner.text("description")
        request.output.schema = inner.map("schema")
        request.output.strict = inner.flag("strict")
        if inner.rest():
            form.rest()["json_schema"] = inner.rest()
    if form.rest():
        request.extra["response_format"] = form.rest()


def _read_stop(fields: Fields, request: canon.Request) -> list[str]:
    if type(fields.rest().get("stop")) is str:
        request.said["stop"] = "text"
        return [fields.text("stop")]
    return fields.texts("stop")


def _read_bias(fields: Fields) -> dict[str, float] | None:
    bias = fields.map("logit_bias")
    if bias is not None and any(type(value) not in (int, float) for value in bias.values()):
        raise malformed("logit_bias", "an object of numbers")
    return bias


# Writing


def write_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written."""
    return request_bytes(_own_body if request.dialect == DIALECT else _foreign_body, request, losses)


def _frame(request: canon.Request, to: Writing) -> dict[str, Any]:
    """What both kinds of request have."""
    body: dict[str, Any] = {"model": request.model, "messages": write_turns(request, to)}
    if request.stream:
        body["stream"] = True
        if request.include_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def _own_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was read from Chat, as it was."""
    to = Writing(losses, own=True, model=request.model)
    body = _frame(request, to)
    said = request.said
    if said.get("tools") == "functions" and not any(isinstance(tool, canon.ServerTool) for tool in request.tools):
        _legacy_tools(request, body)
    else:
        tools = write_tools(request, to)
        put(body, tools=tools, **{said.get("tool_choice", "tool_choice"): write_choice(request, tools, to)})
    put(body, parallel_tool_calls=request.parallel_tools, response_format=_write_format(request.output, to))
    body.update(own_thinking(request))
    put(body, **{said.get("max_tokens", "max_tokens"): request.max_tokens, said.get("seed", "seed"): request.seed})
    put(body, **{name: getattr(request, name) for name in (*_SAMPLING, *_PLAIN)})
    put(body, logprobs=request.logprobs or None, metadata=request.metadata or None)
    put(body, prompt_cache_key=request.cache_key or None, store=request.store)
    put(body, **{said.get("user", "user"): request.user or None})
    if request.stop:
        body["stop"] = request.stop[0] if said.get("stop") == "text" else request.stop
    whole: dict[str, Any] = joined(body, request.extra)
    return whole


_SAMPLING: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty", "top_logprobs", "logit_bias")
_PLAIN: Final = ("top_k", "min_p", "n", "modalities", "audio", "verbosity", "service_tier")


def _legacy_tools(request: canon.Request, body: dict[str, Any]) -> None:
    """functions and function_call."""
    tools = [tool for tool in request.tools if isinstance(tool, canon.Tool)]
    if tools:
        body["functions"] = [{**write_function(tool), **tool.extra} for tool in tools]
    choice = request.tool_choice
    if choice is not None:
        body["function_call"] = {"name": choice.name} if choice.kind == "tool" else choice.kind


def _write_format(output: canon.OutputFormat | None, to: Writing) -> dict[str, Any] | None:
    if output is None or (output.kind == "text" and not to.own):
        return None
    if output.kind != "schema" or (output.schema is None and not to.own):
        return {"type": "text" if output.kind == "text" else "json_object"}
    inner: dict[str, Any] = {}
    put(inner, name=output.name or (None if to.own else "answer"), description=output.description)
    if output.schema is not None:
        inner["schema"] = output.schema
    put(inner, strict=output.strict)
    return {"type": "json_schema", "json_schema": inner}


def _foreign_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was asked in another dialect, as this model takes it."""
    usual = write_usual_request(request)
    if usual is not None:
        return usual
    to = Writing(losses, own=False, model=request.model)
    family = to.family
    body = _frame(request, to)
    tools = write_tools(request, to)
    put(body, tools=tools, tool_choice=write_choice(request, tools, to))
    if tools:
        put(body, parallel_tool_calls=request.parallel_tools)
    put(body, response_format=_write_format(request.output, to))
    body.update(write_thinking(request.thinking, family, losses))
    put(body, **{"max_completion_tokens" if family.completion_limit else "max_tokens": request.max_tokens})
    put(body, **{"random_seed" if family.mistral else "seed": request.seed})
    body.update(_sampling(request, to))
    put(body, stop=_stops(request.stop, to), n=request.n, modalities=request.modalities, audio=request.audio)
    body.update(_openai_only(request, to))
    name_unsaid(request, ("safety", "summary"), losses)
    return body


def _sampling(request: canon.Request, to: Writing) -> dict[str, Any]:
    """Sampling as far as the model takes it; what changes nothing goes without a word."""
    found: dict[str, Any] = {}
    for name in _SAMPLING:
        value = getattr(request, name)
        if value is None:
            continue
        if to.family.sampling:
            found[name] = value
        elif value != _NEUTRAL.get(name):
            to.losses.add(name)
    if request.logprobs and to.family.sampling:
        found["logprobs"] = True
    elif request.logprobs:
        to.losses.add("logprobs")
    for name in ("top_k", "min_p"):
        value = getattr(request, name)
        if value is not None and to.family.top_k:
            found[name] = value
        elif value is not None:
            to.losses.add(name)
    return found


_NEUTRAL: Final = {"temperature": 1, "top_p": 1, "frequency_penalty": 0, "presence_penalty": 0, "logit_bias": {}}


def _stops(stops: list[str], to: Writing) -> list[str]:
    """As many as the model takes."""
    limit = to.family.stops_max
    if limit < 0 or (limit and len(stops) > limit):
        if stops:
            to.losses.add("stop")
        return stops[: max(limit, 0)]
    return stops


def _openai_only(request: canon.Request, to: Writing) -> dict[str, Any]:
    """What OpenAI itself knows, and others refuse or ignore."""
    found: dict[str, Any] = {}
    said = request.store or request.metadata or request.cache_key or request.service_tier
    if not (said or request.verbosity or request.user):
        return found
    asked = {
        "store": request.store or None,
        "metadata": _texts(request.metadata, to) if to.family.openai else request.metadata,
        "prompt_cache_key": request.cache_key,
        "service_tier": request.service_tier if request.service_tier not in ("auto", "default") else "",
    }
    for name, value in asked.items():
        if value and to.family.openai:
            found[name] = value
        elif value:
            to.losses.add(_NAMES.get(name, name))
    if "metadata" in found and not request.store:
        del found["metadata"]  # OpenAI takes it only with what it is asked to store
        to.losses.add("metadata")
    if request.verbosity and to.family.verbosity:
        found["verbosity"] = request.verbosity
    elif request.verbosity not in ("", "medium"):
        to.losses.add("verbosity")
    if request.user and not to.family.mistral:
        found["user"] = request.user
    elif request.user:
        to.losses.add("user")
    return found


_NAMES: Final = {"prompt_cache_key": "cache_key"}


def _texts(metadata: dict[str, Any], to: Writing) -> dict[str, str]:
    """OpenAI's metadata: at most 16 texts."""
    texts = {name: value for name, value in metadata.items() if type(value) is str}
    kept = dict(list(texts.items())[:16])
    if len(kept) < len(metadata):
        to.losses.add("metadata")
    return kept
