"""Which named losses account for which difference between a request and what an upstream reads of it.

A difference without one of its names would be a silent loss.  Words that mean the same to every upstream (an
instruction given as another kind of turn) are not differences in the first place, see asked.py.
"""

from __future__ import annotations

import re
from typing import Any, Final

_MEDIA: Final = (
    "image", "image_url", "document", "document_url", "audio", "file_id", "tool_result_media", "tool_results",
)  # fmt: skip
EXPLAINS: Final[dict[str, tuple[str, ...]]] = {
    "texts": (
        "roles", "mid_conversation_system", "first_turn", "tool_results", "tool_calls", "citations", "json_schema",
        "json_mode", "system", "document", "thinking", "tool_result_media",
    ),
    "calls": ("tool_calls", "tool_arguments", "custom_tools", "tool_results", "tool_name"),
    "results": ("tool_results", "tool_error", "tool_name", "searchResult", *_MEDIA),
    "media": _MEDIA,
    "thoughts": ("thinking",),
    "signatures": ("thinking_signature", "thinking", "tool_calls"),
    "caches": ("cache_control", "cache_control.ttl", "tools", "image", "document"),
    "citations": ("citations",),
    "details": ("image_detail", "image", "image_url"),
    "names": ("name", "roles"),
    "tools": ("tools", "custom_tools", "tool_name"),
    "parameters": ("tools", "custom_tools", "tool_name"),
    "strict": ("strict", "tools", "custom_tools"),
    "server_tools": ("server_tools", "tools"),
    "tool_choice": ("tool_choice", "tools", "server_tools"),
    "parallel_tools": ("parallel_tools", "tools", "tool_choice"),
    "output": ("json_mode", "json_schema"),
    "thinking": ("thinking", "thinking_budget", "reasoning_effort", "thinking_effort"),
    "top_logprobs": ("top_logprobs", "logprobs"),
    "top_k": ("top_k", "additionalModelRequestFields"),
}  # fmt: skip
"""Aspect → names that account for it; an aspect that is not here has its own name."""


THINKS_ANYWAY: Final = re.compile(r"gemini-(2\.5|3)|gpt-oss|deepseek|(^|/)o\d|gpt-5($|-)|some-model")
"""Models that think without being asked to, or of which nobody can know."""


def unexplained(differences: dict[str, tuple[Any, Any]], losses: set[str], model: str) -> dict[str, tuple[Any, Any]]:
    """The differences that no loss accounts for."""
    found: dict[str, tuple[Any, Any]] = {}
    for name, pair in differences.items():
        names = set(EXPLAINS.get(name, (name,)))
        if name == "raw":  # parts that only their own vendor has, named by their types
            names = {*pair[0], "gemini"}
        if name == "thinking" and pair == (True, None) and THINKS_ANYWAY.search(model):
            continue
        if not names & losses:
            found[name] = pair
    return found
