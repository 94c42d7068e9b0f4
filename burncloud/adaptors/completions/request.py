"""What is asked, in the form of legacy Completions."""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import joined, request_bytes, request_of
from burncloud.adaptors.completions.prompt import DIALECT, STOP, prompt_of
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.unsaid import name_unsaid

DEFAULT_MAX_TOKENS: Final = 1024
"""The API's own default, 16, ends in the middle of a sentence; models of this API have room for about 4,000."""
STOPS_MAX: Final = 4

# Reading


def read_request(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    """The request; Refusal if it is malformed, or asks for several prompts at once."""
    return request_of(_read, body, model, stream)


def _read(fields: Fields, model: str, stream: bool) -> canon.Request:
    model = fields.text("model") or model
    if not model:
        raise malformed("model", "given")
    prompt = fields.take("prompt")
    said: dict[str, str] = {}
    if type(prompt) is list and len(prompt) == 1:
        said["prompt"] = "list"
        prompt = prompt[0]
    if type(prompt) is not str:
        raise malformed("prompt", "one text")
    request = canon.Request(model, [canon.Turn("user", [canon.Text(prompt)])], dialect=DIALECT, said=said)
    request.stream = fields.flag("stream") or stream
    options = fields.inner("stream_options")
    extra: dict[str, Any] = {}
    if options is not None:
        request.include_usage = options.flag("include_usage") or False
        if options.rest():
            extra["stream_options"] = options.rest()
    request.max_tokens = fields.whole("max_tokens")
    request.n = fields.whole("n")
    request.seed = fields.whole("seed")
    request.user = fields.text("user")
    for name in _NUMBERS:
        setattr(request, name, fields.number(name))
    request.top_logprobs = fields.whole("logprobs")
    request.logprobs = request.top_logprobs is not None
    bias = fields.map("logit_bias")
    if bias is not None and any(type(value) not in (int, float) for value in bias.values()):
        raise malformed("logit_bias", "an object of numbers")
    request.logit_bias = bias
    if type(fields.rest().get("stop")) is str:
        said["stop"] = "text"
        request.stop = [fields.text("stop")]
    else:
        request.stop = fields.texts("stop")
    request.extra = {**fields.rest(), **extra}
    return request


_NUMBERS: Final = ("temperature", "top_p", "frequency_penalty", "presence_penalty")

# Writing


def write_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written."""
    return request_bytes(_body, request, losses)


def _body(request: canon.Request, losses: canon.Losses) -> dict[str, Any]:
    own = request.dialect == DIALECT
    prompt: Any
    prompt, is_transcript = prompt_of(request, losses)
    stop: Any = request.stop
    limit = request.max_tokens
    if own:
        prompt = [prompt] if request.said.get("prompt") == "list" else prompt
        stop = stop[0] if request.said.get("stop") == "text" else stop
    else:
        limit = DEFAULT_MAX_TOKENS if limit is None else limit
        if len(stop) > STOPS_MAX:
            losses.add("stop")
        stop = [*stop, STOP][:STOPS_MAX] if is_transcript else stop[:STOPS_MAX]
        name_unsaid(request, _UNSAID, losses)
        _name_the_unsaid(request, losses)
    body: dict[str, Any] = {"model": request.model, "prompt": prompt}
    if request.stream:
        body["stream"] = True
        if request.include_usage:
            body["stream_options"] = {"include_usage": True}
    members = {
        "max_tokens": limit,
        "stop": stop or None,
        "logprobs": (request.top_logprobs or 0) if request.logprobs else None,
        "user": request.user or None,
        **{name: getattr(request, name) for name in (*_NUMBERS, "n", "seed", "logit_bias")},
    }
    body.update((name, value) for name, value in members.items() if value is not None)
    if own:
        whole: dict[str, Any] = joined(body, request.extra)
        return whole
    return body


_UNSAID: Final = (
    "tools", "tool_choice", "top_k", "min_p", "audio", "verbosity", "service_tier", "metadata", "store", "cache_key",
    "safety", "modalities",
)  # fmt: skip


def _name_the_unsaid(request: canon.Request, losses: canon.Losses) -> None:
    """What is asked in more words than one."""
    if request.output is not None and request.output.kind != "text":
        losses.add("json_schema" if request.output.kind == "schema" else "json_mode")
    thinking = request.thinking
    if thinking is not None and thinking.enabled is not False and thinking.effort != "none":
        losses.add("thinking")
    for turn in request.turns:
        losses.extra(turn.extra)
        if turn.name:
            losses.add("name")
