"""What a request means, taken from the canonical form, so that two ways of asking can be compared aspect by aspect."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any, Final

from burncloud.adaptors import canon
from tests.wire.meaning import arguments_of

KNOBS: Final = (
    "max_tokens", "temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "seed", "stop",
    "n", "logprobs", "top_logprobs", "logit_bias", "modalities", "audio", "verbosity", "service_tier", "user",
    "metadata", "store", "cache_key", "safety", "parallel_tools",
)  # fmt: skip
"""Members of the canonical request that are compared as they are."""


def squeezed(text: str) -> str:
    """Text without white space: blocks are joined in more than one way."""
    return re.sub(r"\s+", "", text)


def blocks_of(request: canon.Request) -> Iterator[tuple[str, canon.Block]]:
    """Every block of every message with its role, those inside tool results, too."""
    for block in request.system:
        yield "system", block
    for turn in request.turns:
        for block in turn.blocks:
            yield turn.role, block
            if isinstance(block, canon.ToolResult):
                for inner in block.blocks:
                    yield "tool", inner


def _told(block: canon.Block) -> str:
    """Text of a block; a document in plain text is one, where it is written into the message, too."""
    if isinstance(block, canon.Text | canon.Refusal):
        return squeezed(re.sub(r"</?document[^>]*>", "", block.text))
    if isinstance(block, canon.Document) and is_plain(block.source):
        return squeezed(block.source.text or base64.b64decode(block.source.data).decode("utf-8", "replace"))
    return ""


def is_plain(source: canon.Source) -> bool:
    """Whether a document is plain text."""
    return bool(source.text or (source.data and source.media_type.startswith("text/")))


def _texts(request: canon.Request, roles: bool) -> list[tuple[str, str]]:
    """(role, text), runs of one role as one; system and developer are the same.  Without roles: one text."""
    found: list[tuple[str, str]] = []
    for role, block in blocks_of(request):
        text = _told(block)
        if not text or role == "tool":
            continue
        role = "" if not roles else "system" if role == "developer" else role
        before = found.pop()[1] if found and found[-1][0] == role else ""
        found.append((role, before + text))
    return found


def _results(request: canon.Request) -> list[tuple[str, bool, str]]:
    """(name of the tool that answers, whether it failed, text)."""
    names: dict[str, str] = {}
    found: list[tuple[str, bool, str]] = []
    for _, block in blocks_of(request):
        if isinstance(block, canon.ToolCall):
            names[block.id] = block.name
        elif isinstance(block, canon.ToolResult):
            text = "".join(inner.text for inner in block.blocks if isinstance(inner, canon.Text))
            found.append((names.get(block.call_id, "?"), block.is_error, squeezed(_unwrapped(text))))
    return found


def _unwrapped(text: str) -> str:
    """A result that stands in an object, as some models insist on: {"output": "…"}."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if value == {}:
        return ""
    inner = value.get("output") if isinstance(value, dict) and len(value) == 1 else None
    return inner if isinstance(inner, str) else text


def _media(request: canon.Request) -> list[str]:
    """Kind and what stands in it, of every picture, document and sound."""
    found = []
    for _, block in blocks_of(request):
        if isinstance(block, canon.Image | canon.Document | canon.Audio) and not is_plain(block.source):
            source = block.source
            what = source.data or source.url or source.file_id
            found.append(f"{type(block).__name__} {what[:60]} {len(what)}")
    return sorted(found)


def offered(request: canon.Request) -> list[canon.Tool]:
    """The functions that the model may call: where some of them are allowed, the others might as well not be there."""
    tools = [tool for tool in request.tools if isinstance(tool, canon.Tool)]
    choice = request.tool_choice
    if choice is not None and choice.kind == "allowed":
        tools = [tool for tool in tools if tool.name in choice.names]
    return tools


def _parameters(request: canon.Request) -> list[list[str]]:
    """Names of the parameters of every tool, however its schema is written."""
    return [sorted((tool.parameters or {}).get("properties") or {}) for tool in offered(request)]


def _choice(request: canon.Request) -> Any:
    """auto is what is meant without a word, and without tools there is no choice."""
    choice = request.tool_choice
    if choice is None or not request.tools:
        return None
    kind = choice.mode if choice.kind == "allowed" else choice.kind
    return None if kind == "auto" else (kind, choice.name)


def _output(request: canon.Request) -> Any:
    output = request.output
    if output is None or output.kind == "text":
        return None
    return output.kind, sorted((output.schema or {}).get("properties") or {})


def _thinking(request: canon.Request) -> Any:
    """Whether thinking is asked for or forbidden; how much of it has many words."""
    thinking = request.thinking
    vendors = request.extra.get("additionalModelRequestFields") or {}  # Converse: each family has its own words
    for name in ("reasoningConfig", "reasoning_config", "reasoning_effort"):
        if name in vendors:
            return "disabled" not in str(vendors[name])
    if thinking is None or (thinking.enabled is None and not thinking.effort and thinking.budget_tokens is None):
        return None
    return thinking.enabled is not False and thinking.effort != "none" and thinking.budget_tokens != 0


def aspects(request: canon.Request, roles: bool = True) -> dict[str, Any]:
    """Everything that a request says, by names; `roles`: who says what matters."""
    blocks = [block for _, block in blocks_of(request)]
    found: dict[str, Any] = {
        "texts": _texts(request, roles),
        "calls": [
            (block.name, block.arguments if block.custom else arguments_of(block.arguments))
            for block in blocks
            if isinstance(block, canon.ToolCall)
        ],
        "results": _results(request),
        "media": _media(request),
        "thoughts": [
            squeezed(text)
            for block in blocks
            if isinstance(block, canon.Reasoning) and (text := block.text or "".join(block.summary))
        ],
        "signatures": sorted(
            part
            for block in blocks
            if isinstance(block, canon.Reasoning | canon.ToolCall)
            for part in (block.signature, block.encrypted if isinstance(block, canon.Reasoning) else "")
            if part
        ),
        "caches": sum(bool(getattr(block, "cache", None)) for block in [*blocks, *request.tools]),
        "citations": sum(len(block.citations) for block in blocks if isinstance(block, canon.Text)),
        "details": [
            block.detail for block in blocks if isinstance(block, canon.Image) and block.detail not in ("", "auto")
        ],
        "raw": sorted(str(block.value.get("type")) for block in blocks if isinstance(block, canon.Raw)),
        "names": [turn.name for turn in request.turns if turn.name],
        "tools": [(tool.name, squeezed(tool.description)) for tool in offered(request)],
        "parameters": _parameters(request),
        "strict": [tool.strict for tool in offered(request) if tool.strict],
        "server_tools": sum(isinstance(tool, canon.ServerTool) for tool in request.tools),
        "tool_choice": _choice(request),
        "output": _output(request),
        "thinking": _thinking(request),
    }
    found |= {name: getattr(request, name) for name in KNOBS}
    nova = request.extra.get("additionalModelRequestFields") or {}
    found["top_k"] = request.top_k or (nova.get("inferenceConfig") or {}).get("topK")
    return {name: json.loads(json.dumps(value)) for name, value in found.items()}


def changed(before: canon.Request, after: canon.Request, roles: bool = True) -> dict[str, tuple[Any, Any]]:
    """The aspects that `before` has and `after` says otherwise or not at all."""
    one, other = aspects(before, roles), aspects(after, roles)
    if not roles:  # a transcript ends where the next one would speak: more to stop at
        other["stop"] = [stop for stop in other["stop"] if stop in one["stop"]]
    if one["tool_choice"] == ["none", ""] and not after.tools:  # as good as having no tools
        other |= {name: one[name] for name in ("tools", "parameters", "strict", "tool_choice")}
    if len(before.user) > USER_CHARS_MAX and after.user:  # a hash of it
        other["user"] = before.user
    return {name: (one[name], other[name]) for name in one if one[name] != other[name] and says(name, one[name])}


def says(name: str, value: Any) -> bool:
    """Whether an aspect says anything."""
    return value not in (None, [], "", {}, False, 0) and value not in NEUTRAL.get(name, ())


USER_CHARS_MAX: Final = 64
"""OpenAI's limit."""
NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "temperature": (1,), "top_p": (1,), "n": (1,), "verbosity": ("medium",), "modalities": (["text"],),
    "parallel_tools": (True,), "service_tier": ("auto", "default"),
}  # fmt: skip
"""What changes nothing when it is left out."""
