"""What the families of models behind Chat endpoints accept, as far as a translated request must mind it.

Facts from the vendors' API references and from the errors that people met.  Everything is told by the model's name,
as any vendor writes it ("deepseek-ai/DeepSeek-V3.1", "openai/gpt-5"); a name that says nothing gets what most copies
of OpenAI's API take.
"""

from __future__ import annotations

import functools
import re
from typing import Final, Literal

import msgspec

History = Literal["", "reasoning_content", "reasoning", "details", "part"]
"""Where earlier thinking goes: nowhere, a member of the message, OpenRouter's reasoning_details, Mistral's part."""
Knob = Literal["", "effort", "thinking", "enable", "reasoning"]
"""reasoning_effort · thinking: {type} (DeepSeek, GLM, Kimi, Doubao, Claude) · enable_thinking (Qwen) · reasoning: {…}
(OpenRouter); "" = there is nothing to turn."""


class Family(msgspec.Struct, frozen=True):
    """What may be sent to a model."""

    openai: bool = False
    """OpenAI's own: store, metadata, prompt_cache_key, custom tools, allowed_tools, developer messages, files."""
    completion_limit: bool = False
    """The limit is called max_completion_tokens."""
    sampling: bool = True
    """temperature, top_p, penalties and logprobs are accepted."""
    stops_max: int = 0
    """More stop sequences are refused; 0 = any number, −1 = none at all."""
    knob: Knob = "effort"
    efforts: tuple[str, ...] = ("low", "medium", "high")
    """Words of reasoning_effort, least first."""
    budget: bool = False
    """thinking has a budget_tokens, too."""
    history: History = ""
    cache: bool = False
    """cache_control on parts is heeded."""
    top_k: bool = False
    verbosity: bool = False
    mistral: bool = False
    """Ids of nine letters, random_seed, document_url, and no user right after a tool."""
    signatures: bool = False
    """Gemini's thought signatures in extra_content of calls."""
    files: bool = False
    """PDFs as `file` parts."""


DIALECT: Final = "chat"

OTHER: Final = Family()
_OPENAI: Final = Family(openai=True, stops_max=4, knob="", files=True)
_O: Final = Family(openai=True, completion_limit=True, sampling=False, stops_max=-1, files=True)
_ROUTED: Final = Family(knob="reasoning", history="details", cache=True, top_k=True, files=True)

_FIVE_EFFORTS: Final = ("minimal", "low", "medium", "high")
_FIVE: Final = msgspec.structs.replace(_O, verbosity=True, efforts=_FIVE_EFFORTS)
_FIVE_ONE: Final = msgspec.structs.replace(_FIVE, efforts=("none", "low", "medium", "high"))
_FIVE_TWO: Final = msgspec.structs.replace(_FIVE, efforts=("none", "low", "medium", "high", "xhigh"))

_TABLE: Final[tuple[tuple[str, Family], ...]] = (
    (r"gpt-oss", Family(history="reasoning")),
    (r"gpt-5(-chat|\.\d+-chat)", Family(openai=True, completion_limit=True, stops_max=4, knob="", files=True)),
    (r"gpt-5\.1|gpt-5-1", _FIVE_ONE),
    (r"gpt-5[.-][2-9]", _FIVE_TWO),
    (r"gpt-5|codex-mini", _FIVE),
    (r"(^|[/.])o[134](-|$)", _O),
    (r"(^|[/.])(chat)?gpt-", _OPENAI),
    (r"/.*(claude)|(claude).*/", _ROUTED),
    (r"^(anthropic|google|x-ai)/", _ROUTED),
    (r"claude", Family(knob="thinking", budget=True)),
    (r"gemini", Family(efforts=_FIVE_EFFORTS, signatures=True)),
    (r"grok-3-mini", Family(efforts=("low", "high"), history="reasoning_content")),
    (r"grok", Family(knob="", history="reasoning_content")),
    (r"deepseek", Family(knob="thinking", history="reasoning_content")),
    (r"qwen|qwq", Family(knob="enable", history="reasoning_content", top_k=True)),
    (r"glm-|kimi|moonshot|doubao|seed-|mimo", Family(knob="thinking", history="reasoning_content")),
    (r"minimax", Family(knob="", history="reasoning_content")),
    (
        r"mistral|magistral|ministral|codestral|devstral|pixtral|voxtral",
        Family(knob="", history="part", mistral=True),
    ),
)  # fmt: skip
_ROWS: Final = tuple((re.compile(pattern), family) for pattern, family in _TABLE)


@functools.lru_cache(1024)
def family_of(model: str) -> Family:
    """The family of a model by its name at any vendor."""
    name = model.lower()
    return next((family for pattern, family in _ROWS if pattern.search(name)), OTHER)
