"""count_tokens: what would be asked."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.messages.request import read_request, write_request

_COUNTED: Final = frozenset({
    "model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "output_format",
    "cache_control", "context_management", "compaction", "mcp_servers", "speed", "billing_policy", "user_profile_id",
    "workspace_id",
})  # fmt: skip
"""What Anthropic's count_tokens takes; it refuses everything else."""


def read_count_request(body: bytes, *, model: str = "") -> canon.Request:
    """The request whose tokens are to be counted; Refusal if it is malformed."""
    return read_request(body, model=model)


def write_count_request(request: canon.Request, losses: canon.Losses) -> bytes:
    """The body; Refusal if it cannot be written.  What counts for nothing is left out without a word."""
    body: dict[str, Any] = msgspec.json.decode(write_request(request, losses))
    return msgspec.json.encode({name: value for name, value in body.items() if name in _COUNTED})
