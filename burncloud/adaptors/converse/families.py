"""What the families of models on Bedrock accept, as far as a translated request must mind it.

Facts from AWS's documentation ("Supported models and model features", "Prompt caching", "Structured outputs", the
pages of the models' parameters) and from the errors that people met.  All is told by the model id; the ARN of an
application inference profile says nothing, so it gets what any model takes.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from burncloud.adaptors.messages import families as claude

Knob = Literal["", "claude", "nova", "reasoning_effort", "reasoning_config"]
"""How thinking is asked for: not at all, Anthropic's `thinking`, Nova's `reasoningConfig`, a word under that name."""


class Family(msgspec.Struct, frozen=True):
    """What may be sent to a model."""

    claude: claude.Family | None = None
    """What Claude of that version accepts; None = it is no Claude."""
    knob: Knob = ""
    structured: bool = False
    """outputConfig.textFormat."""
    choices: tuple[str, ...] = ()
    """Kinds of toolChoice beside auto: required, tool."""
    system: bool = True
    status: bool = False
    """`status` of a tool's result."""
    json_results: bool = False
    """A tool's result has to be JSON."""
    caches: tuple[str, ...] = ()
    """Where cachePoint may stand: system, messages, tools."""
    cache_ttl: bool = False
    """cachePoint has a ttl."""
    top_k: tuple[str, ...] = ()
    """Where top_k goes in additionalModelRequestFields; () = nowhere."""
    audio: bool = False


OTHER: Final = Family()
_EVERYWHERE: Final = ("system", "messages", "tools")
_FORCED: Final = ("required", "tool")
_NOVA: Final = Family(
    choices=_FORCED, status=True, caches=("system", "messages"), top_k=("inferenceConfig", "topK")
)  # fmt: skip
_MISTRAL: Final = Family(structured=True, choices=("required",), json_results=True, top_k=("top_k",))
_TABLE: Final[tuple[tuple[str, Family], ...]] = (
    (r"amazon\.nova-2", msgspec.structs.replace(_NOVA, knob="nova")),
    (r"amazon\.nova", _NOVA),
    (r"amazon\.titan|mistral-7b-instruct|mixtral-8x7b|cohere\.command-(?:text|light)|ai21\.j2", Family(system=False)),
    (r"voxtral", msgspec.structs.replace(_MISTRAL, audio=True)),
    (r"mistral\.", _MISTRAL),
    (r"gpt-oss", Family(knob="reasoning_effort", structured=True)),
    (r"qwen\.", Family(knob="reasoning_config", structured=True)),
    (r"deepseek\.r1", OTHER),
    (r"deepseek\.", Family(knob="reasoning_config", structured=True)),
    (r"moonshot|kimi|minimax|zai\.|google\.gemma|nvidia\.", Family(structured=True)),
    (r"cohere\.command-r", Family(top_k=("k",))),
)
_ROWS: Final = tuple((re.compile(pattern), family) for pattern, family in _TABLE)
_CACHING: Final = re.compile(r"claude-3-5-haiku|claude-3-5-sonnet-20241022")


def family_of(model: str) -> Family:
    """The family of a model id or ARN."""
    name = model.lower()
    if "claude" in name:
        return _claude(name)
    return next((family for pattern, family in _ROWS if pattern.search(name)), OTHER)


def _claude(name: str) -> Family:
    # turns of the role system are new in Converse and not every model takes them
    family = msgspec.structs.replace(claude.family_of(name), system_turns=False)
    thinks = family.budget or family.adaptive
    cached = thinks or _CACHING.search(name) is not None
    return Family(
        claude=family,
        knob="claude",
        structured=family.structured and thinks,
        choices=_FORCED,
        status=True,
        caches=_EVERYWHERE if cached else (),
        cache_ttl=cached and family.structured,
        top_k=("top_k",),
    )
