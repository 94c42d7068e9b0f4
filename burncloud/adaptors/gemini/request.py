"""What a client asks, in Gemini's form.

What came from Gemini is written back as it was.  For requests of other dialects the writer minds what the model's
family accepts (families.py); what has to go is named.  Members of generationConfig and toolConfig that have no equal
elsewhere stand in `extra` under their path ("generationConfig.speechConfig").
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import put, request_bytes, request_of
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.gemini.blocks import Writing, write_parts
from burncloud.adaptors.gemini.names import DIALECT, Names
from burncloud.adaptors.gemini.schemas import json_schema, open_schema, own_schema, read_schema
from burncloud.adaptors.gemini.thinking import own_thinking, read_thinking, write_thinking
from burncloud.adaptors.gemini.tools import own_config, read_config, read_tools, write_config, write_tools
from burncloud.adaptors.gemini.turns import own_contents, read_contents, write_contents
from burncloud.adaptors.unsaid import name_unsaid

STOPS_MAX: Final = 5
"""More stop sequences are refused."""
CANDIDATES_MAX: Final = 8
LOGPROBS_MAX: Final = 20
_SEED_MAX: Final = (1 << 31) - 1

# Reading


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    """The request; `model` and `stream` as the URL gives them.  Refusal if it is malformed."""
    return request_of(_read, body, model, stream)


def _read(given: Fields, model: str, stream: bool) -> canon.Request:
    fields = Names(given.rest())
    named = fields.text("model")
    model = (model or named).removeprefix("models/")
    if not model:
        raise malformed("model", "given")
    request = canon.Request(model, [], stream=stream, include_usage=stream, dialect=DIALECT)
    read_contents(fields, request)
    read_tools(fields, request)
    config = fields.inner("toolConfig")
    if config is not None:
        read_config(config, request)
    config = fields.inner("generationConfig")
    if config is not None:
        _read_config(config, request)
    request.safety = [safety.rest() for safety in fields.listed("safetySettings")]
    tier = fields.text("serviceTier").lower()
    request.service_tier = _TIERS.get(tier, tier)
    request.extra.update({name: value for name, value in fields.rest().items() if value is not None})
    return request


_TIERS: Final = {"standard": "default", "unspecified": "", "service_tier_unspecified": ""}


def _read_config(fields: Names, request: canon.Request) -> None:
    """generationConfig."""
    request.max_tokens = fields.whole("maxOutputTokens")
    request.temperature = fields.number("temperature")
    request.top_p = fields.number("topP")
    top_k = fields.number("topK")
    request.top_k = None if top_k is None else int(top_k)
    request.frequency_penalty = fields.number("frequencyPenalty")
    request.presence_penalty = fields.number("presencePenalty")
    request.seed = fields.whole("seed")
    request.stop = fields.texts("stopSequences")
    request.n = fields.whole("candidateCount")
    request.logprobs = fields.flag("responseLogprobs") or False
    request.top_logprobs = fields.whole("logprobs")
    request.modalities = [modality.lower() for modality in fields.texts("responseModalities")]
    _read_output(fields, request)
    thinking = fields.inner("thinkingConfig")
    if thinking is not None:
        request.thinking = read_thinking(thinking)
        _keep(thinking, "generationConfig.thinkingConfig", request)
    _keep(fields, "generationConfig", request)


def _keep(fields: Names, path: str, request: canon.Request) -> None:
    """What nobody took, under its path."""
    for name, value in fields.rest().items():
        if value is not None:
            request.extra[f"{path}.{name}"] = value


_PLAIN: Final = "responseJsonSchema"
_OPEN: Final = "responseSchema"


def _read_output(fields: Names, request: canon.Request) -> None:
    kind = fields.text("responseMimeType")
    if kind == "text/plain":
        request.output = canon.OutputFormat("text")
    elif kind == "application/json":
        request.output = canon.OutputFormat("json")
        for name in (_PLAIN, _OPEN):
            if type(fields.rest().get(name)) is dict and request.output.schema is None:
                schema = fields.map(name)
                request.output = canon.OutputFormat("schema", schema=schema if name == _PLAIN else read_schema(schema))
                request.said["output"] = name
    elif kind:  # text/x.enum
        request.extra["generationConfig.responseMimeType"] = kind


# Writing


def write_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written.  Model and stream are the URL's matter."""
    return request_bytes(_own_body if request.dialect == DIALECT else _foreign_body, request, losses)


def _own_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was read from Gemini, as it was."""
    to = Writing(losses, own=True, model=request.model)
    body: dict[str, Any] = {"contents": own_contents(request, to)}
    if request.system:
        body["systemInstruction"] = {"parts": write_parts(request.system, to)}
    put(body, tools=write_tools(request, to.family, losses))
    own_config(request, body)
    config: dict[str, Any] = {}
    put(config, **_numbers(request), stopSequences=request.stop, seed=request.seed, candidateCount=request.n)
    put(config, responseLogprobs=request.logprobs or None, logprobs=request.top_logprobs)
    put(config, responseModalities=[modality.upper() for modality in request.modalities])
    output = request.output
    if output is not None:
        config["responseMimeType"] = "text/plain" if output.kind == "text" else "application/json"
        name = request.said.get("output", _PLAIN)
        if output.schema is not None:
            config[name] = output.schema if name == _PLAIN else own_schema(output.schema)
    if request.thinking is not None:
        put(config, thinkingConfig=own_thinking(request.thinking))
    tier = "standard" if request.service_tier == "default" else request.service_tier
    put(body, generationConfig=config, safetySettings=request.safety, serviceTier=tier)
    for path, value in request.extra.items():
        _set(body, path.split("."), value)
    return body


def _set(body: dict[str, Any], path: list[str], value: Any) -> None:
    """A member at its path."""
    for name in path[:-1]:
        inner = body.setdefault(name, {})
        if type(inner) is not dict:
            return
        body = inner
    body[path[-1]] = value


def _numbers(request: canon.Request) -> dict[str, Any]:
    return {
        "maxOutputTokens": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "frequencyPenalty": request.frequency_penalty,
        "presencePenalty": request.presence_penalty,
    }


def _foreign_body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """What was asked in another dialect, as this model takes it."""
    to = Writing(losses, own=False, model=request.model)
    name_unsaid(request, _UNSAID, losses)
    if request.service_tier not in _TIERS_KNOWN:
        losses.add("service_tier")
    system = write_parts(request.system, to)
    contents = write_contents(request, to)
    if not contents:  # Gemini wants somebody to speak to
        losses.add("first_turn")
        contents, system = [{"role": "user", "parts": system or [{"text": "."}]}], []
    body: dict[str, Any] = {"contents": contents}
    put(body, systemInstruction={"parts": system} if system else None)
    tools = write_tools(request, to.family, losses)
    put(body, tools=tools, toolConfig=write_config(request, tools, losses))
    config: dict[str, Any] = {}
    put(config, **_numbers(request), stopSequences=_stops(request.stop, losses))
    put(config, seed=_seed(request.seed, losses), candidateCount=_candidates(request.n, losses))
    put(config, **_logprobs(request, losses), **_modalities(request, losses))
    put(config, **_output(request.output, to))
    put(config, thinkingConfig=write_thinking(request.thinking, to.family, losses))
    put(body, generationConfig=config)
    if request.service_tier in _TIERS_TAKEN:
        body["serviceTier"] = request.service_tier
    return body


_TIERS_TAKEN: Final = ("flex", "priority")
_TIERS_KNOWN: Final = ("", "auto", "default", "standard", "standard_only", *_TIERS_TAKEN)
_UNSAID: Final = ("min_p", "logit_bias", "cache_key", "store", "metadata", "user", "safety", "verbosity", "summary")


def _stops(stops: list[str], losses: canon.Losses) -> list[str]:
    kept = [stop for stop in stops if stop][:STOPS_MAX]
    if len(kept) < len(stops):
        losses.add("stop")
    return kept


def _seed(seed: int | None, losses: canon.Losses) -> int | None:
    """32 bits are what Gemini has."""
    if seed is None or -_SEED_MAX <= seed <= _SEED_MAX:
        return seed
    losses.add("seed")
    return None


def _candidates(n: int | None, losses: canon.Losses) -> int | None:
    if n is None or n < 2:
        return None
    if n > CANDIDATES_MAX:
        losses.add("n")
    return min(n, CANDIDATES_MAX)


def _logprobs(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    if not request.logprobs:
        return {}
    found: dict[str, Any] = {"responseLogprobs": True}
    top = request.top_logprobs
    if top:
        if top > LOGPROBS_MAX:
            losses.add("top_logprobs")
        found["logprobs"] = min(top, LOGPROBS_MAX)
    return found


def _modalities(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    """Sound comes alone, and its voices have other names; pictures come with text."""
    asked = request.modalities
    if request.audio:
        losses.add("audio")
    if "audio" in asked:
        if len(asked) > 1:
            losses.add("modalities")
        return {"responseModalities": ["AUDIO"]}
    return {"responseModalities": ["TEXT", "IMAGE"]} if "image" in asked else {}


def _output(output: canon.OutputFormat | None, to: Writing) -> dict[str, Any]:
    """responseMimeType and the schema."""
    if output is None or output.kind == "text":
        return {}
    found: dict[str, Any] = {"responseMimeType": "application/json"}
    schema = output.schema
    if schema and output.description:
        schema = {"description": output.description, **schema}
    if schema:
        if to.family.json_schema:
            found[_PLAIN] = json_schema(schema, to.losses)
        else:
            found[_OPEN] = open_schema(schema, to.losses)
    return found
