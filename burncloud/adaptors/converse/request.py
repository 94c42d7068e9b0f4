"""What is asked of Converse.

The model and whether it streams stand in the path.  What came from Converse is written back as it was; what another
dialect asked is brought into the order, the alphabets and the limits that Bedrock accepts and, by the model's family
(families.py), into the knobs that are behind it; what has to go is named.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded, joined, put, request_bytes, request_of
from burncloud.adaptors.converse.answer import write_tier
from burncloud.adaptors.converse.blocks import DIALECT, read_content
from burncloud.adaptors.converse.content import Writing, write_blocks
from burncloud.adaptors.converse.families import Family
from burncloud.adaptors.converse.knobs import ADDITIONAL, own_additional, read_additional, thinking_of, top_k_of
from burncloud.adaptors.converse.tools import foreign_tools, own_tools, read_tools
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.messages import families as claude
from burncloud.adaptors.messages.request import output_format, sampling, thinking_config, visible_stops
from burncloud.adaptors.messages.turns import FIRST, mid_call, ordered
from burncloud.adaptors.reading import BAD_JSON
from burncloud.adaptors.unsaid import name_unsaid

Body = dict[str, Any]

# Reading


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    """The request; `model` and `stream` as the path gives them.  Refusal if it is malformed."""
    return request_of(_read, body, model, stream)


def _read(fields: Fields, model: str, stream: bool) -> canon.Request:
    model = fields.text("modelId") or model
    if not model:
        raise malformed("model", "given")
    request = canon.Request(model, [], [], stream, stream, dialect=DIALECT)
    request.system = read_content(fields.take("system"), "system")
    for message in fields.objects("messages"):
        role: Any = message.needed("role")
        if role not in ("user", "assistant", "system"):
            raise malformed(message.at("role"), "user, assistant or system")
        if "content" not in message:
            raise malformed(message.at("content"), "given")
        blocks = read_content(message.take("content"), message.at("content"))
        request.turns.append(canon.Turn(role, blocks, extra=message.rest()))
    request.metadata = fields.map("requestMetadata") or {}
    nested: canon.Extra = {}
    for name, reader in _NESTED.items():
        inner = fields.inner(name)
        if inner is not None:
            reader(inner, request)
            if inner.rest():
                nested[name] = inner.rest()
    request.extra = {**fields.rest(), **nested}
    return request


def _read_inference(fields: Fields, request: canon.Request) -> None:
    request.max_tokens = fields.whole("maxTokens")
    request.temperature = fields.number("temperature")
    request.top_p = fields.number("topP")
    request.stop = fields.texts("stopSequences")


def _read_output(fields: Fields, request: canon.Request) -> None:
    effort = fields.text("effort")
    if effort:
        request.thinking = request.thinking or canon.Thinking()
        request.thinking.effort = effort
        request.said = {**request.said, "effort": "outputConfig"}
    form = fields.inner("textFormat")
    if form is None:
        return
    structure = form.inner("structure")
    schema = None if structure is None else structure.inner("jsonSchema")
    if form.needed("type") != "json_schema" or schema is None:
        raise malformed(form.where, "a json_schema with its structure.jsonSchema")
    try:
        value = msgspec.json.decode(schema.needed("schema"))
    except BAD_JSON:
        value = None
    if type(value) is not dict:
        raise malformed(schema.at("schema"), "a string that holds a JSON object")
    request.output = canon.OutputFormat("schema", schema.text("name"), schema.text("description"), value)


def _read_tier(fields: Fields, request: canon.Request) -> None:
    request.service_tier = fields.text("type")


_NESTED: Final = {
    "inferenceConfig": _read_inference,
    ADDITIONAL: read_additional,
    "outputConfig": _read_output,
    "toolConfig": read_tools,
    "serviceTier": _read_tier,
}
"""Objects of known and unknown members; unknown ones stay in `extra`."""

# Writing


def write_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written."""
    return request_bytes(_own_body if request.dialect == DIALECT else _foreign_body, request, losses)


def _own_body(request: canon.Request, losses: canon.Losses) -> Body:
    """What was read from Converse, as it was."""
    to = Writing(losses, own=True, model=request.model)
    body: Body = {
        "messages": [
            {"role": turn.role, "content": write_blocks(turn.blocks, to), **turn.extra} for turn in request.turns
        ]
    }
    output: Body = {}
    if request.said.get("effort") == "outputConfig" and request.thinking is not None:
        output["effort"] = request.thinking.effort
    if request.output is not None and request.output.schema is not None:
        output["textFormat"] = _text_format(request.output, request.output.schema)
    put(
        body,
        system=write_blocks(request.system, to),
        inferenceConfig=_inference(request.max_tokens, request.temperature, request.top_p, request.stop),
        toolConfig=own_tools(request, to.point),
        outputConfig=output,
        requestMetadata=request.metadata,
        serviceTier=write_tier(request.service_tier, losses, own=True),
        **{ADDITIONAL: own_additional(request)},
    )
    whole: Body = joined(body, request.extra)
    return whole


def _inference(max_tokens: int | None, temperature: float | None, top_p: float | None, stop: list[str]) -> Body:
    found: Body = {"maxTokens": max_tokens, "temperature": temperature, "topP": top_p}
    found = {name: value for name, value in found.items() if value is not None}
    return {**found, "stopSequences": stop} if stop else found


def _text_format(output: canon.OutputFormat, schema: dict[str, Any]) -> Body:
    inner: Body = {"schema": encoded(schema).decode()}
    put(inner, name=output.name, description=output.description)
    return {"type": "json_schema", "structure": {"jsonSchema": inner}}


def _foreign_body(request: canon.Request, losses: canon.Losses) -> Body:
    """What was asked in another dialect, as this model takes it."""
    to = Writing(losses, own=False, model=request.model)
    family = to.family
    name_unsaid(request, _UNSAID, losses)
    request = _seated(request, family, losses)
    turns = ordered(request.turns, family.claude or claude.OTHER, losses)
    if not turns:  # Bedrock wants somebody to speak to
        losses.add("first_turn")
        turns, request = [canon.Turn("user", request.system)], msgspec.structs.replace(request, system=[])
    to.where = "tools"
    tools = foreign_tools(request, turns, family, to.point, losses)
    forced = any(kind in tools.get("toolChoice", {}) for kind in ("any", "tool"))
    shape = family.claude or claude.Family(structured=family.structured)
    form, instruction = output_format(request.output, shape, losses)
    to.where = "system"
    system = write_blocks([*request.system, canon.Text(instruction)] if instruction else request.system, to)
    if instruction and not family.system:
        system = []
        turns[0].blocks = [canon.Text(instruction), *turns[0].blocks]
    to.where = "messages"
    body: Body = {"messages": _messages(turns, to)}
    limit, additional, effort = _thinking(request, turns, family, forced, losses)
    sampled = _sampled(request, family, additional.get("thinking"), losses)
    output: Body = {"effort": effort} if effort else {}
    if form is not None and request.output is not None:
        output["textFormat"] = _text_format(_named(request.output), form["schema"])
    additional = {**additional, **top_k_of(sampled.get("top_k"), family, losses)}
    put(
        body,
        system=_begun_with_text(system, losses),
        inferenceConfig=_inference(
            limit, sampled.get("temperature"), sampled.get("top_p"), visible_stops(request.stop, losses)
        ),
        toolConfig=tools,
        outputConfig=output,
        requestMetadata=_metadata(request.metadata, losses),
        serviceTier=write_tier(request.service_tier, losses),
        **{ADDITIONAL: additional},
    )
    return body


def _seated(request: canon.Request, family: Family, losses: canon.Losses) -> canon.Request:
    """The system prompt as the first thing that the user says, for models that have none."""
    if family.system or not request.system:
        return request
    losses.add("system")
    turns = [canon.Turn("user", list(request.system)), *request.turns]
    return msgspec.structs.replace(request, turns=turns, system=[])


def _messages(turns: list[canon.Turn], to: Writing) -> list[Body]:
    """The messages, alternating, each with something to say."""
    found: list[Body] = []
    for turn in turns:
        to.role = turn.role
        content = write_blocks(turn.blocks, to)
        if not content:
            continue
        kinds = {next(iter(part)) for part in content}
        if "document" in kinds and "text" not in kinds:
            to.losses.add("document_text")  # Bedrock wants a text beside each document
            content.append({"text": FIRST})
        if found and found[-1]["role"] == turn.role:
            found[-1]["content"] += content
        else:
            found.append({"role": turn.role, "content": content})
    if not found or found[0]["role"] != "user":
        to.losses.add("first_turn")
        found.insert(0, {"role": "user", "content": [{"text": FIRST}]})
    return found


def _begun_with_text(system: list[Body], losses: canon.Losses) -> list[Body]:
    """The system prompt, which holds nothing but texts and cache points, and no point before all texts."""
    kept = [part for part in system if "text" in part or "cachePoint" in part]
    if len(kept) < len(system):
        losses.add("system")
    while kept and "text" not in kept[0]:
        kept.pop(0)
    return kept


_UNSAID: Final = (
    "frequency_penalty", "presence_penalty", "min_p", "logprobs", "logit_bias", "cache_key", "safety", "store", "user",
    "audio",
    "seed", "n", "modalities", "verbosity", "summary",
)  # fmt: skip


Thought = tuple[int | None, Body, str]


def _thinking(
    request: canon.Request, turns: list[canon.Turn], family: Family, forced: bool, losses: canon.Losses
) -> Thought:
    """(maxTokens, additional fields, outputConfig.effort)."""
    if family.claude is None:
        return request.max_tokens, thinking_of(request.thinking, family, losses), ""
    config, effort, limit = thinking_config(request, family.claude, forced or mid_call(turns), losses)
    budget = config is not None and config["type"] == "enabled"
    additional = {} if config is None else {"thinking": config}
    return (limit if request.max_tokens is not None or budget else None), additional, effort


def _sampled(request: canon.Request, family: Family, thinking: Body | None, losses: canon.Losses) -> Body:
    """temperature, top_p and top_k as far as Bedrock and the model take them."""
    shape = family.claude or claude.Family()
    found = sampling(request, shape, thinking, losses)
    for name in ("temperature", "top_p"):
        value = found.get(name)
        if value is not None and not 0 <= value <= 1:
            losses.add(name)
            found[name] = min(1, max(0, value))
    return found


_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9_-]+")


def _named(output: canon.OutputFormat) -> canon.OutputFormat:
    """With a name that Bedrock takes."""
    return msgspec.structs.replace(output, name=_NOT_IN_NAME.sub("_", output.name)[:64])


_METADATA: Final = re.compile(r"[a-zA-Z0-9\s:_@$#=/+,.-]{0,256}")


def _metadata(metadata: dict[str, Any], losses: canon.Losses) -> dict[str, str]:
    """What request logs may hold: at most 16 pairs of short words."""
    fit = {
        name: value
        for name, value in metadata.items()
        if name and type(value) is str and _METADATA.fullmatch(name) and _METADATA.fullmatch(value)
    }
    if len(fit) < len(metadata) or len(fit) > 16:
        losses.add("metadata")
    return dict(list(fit.items())[:16])
