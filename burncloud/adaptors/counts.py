"""Counting tokens: what would be asked, in the forms of those who count, and the count.

The request is one of conversations, read and written by its dialect; a form says what of it is sent and how the
answer calls the count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import count_in
from burncloud.adaptors.converse import request as converse
from burncloud.adaptors.gemini import tokens as gemini
from burncloud.adaptors.messages import tokens as messages
from burncloud.adaptors.responses import request as responses


class Form(msgspec.Struct, frozen=True):
    """One form."""

    name: str
    read_request: Callable[..., canon.Request]
    write_request: Callable[[canon.Request, canon.Losses], bytes]
    member: str
    """How the answer calls the count."""
    around: tuple[tuple[str, Any], ...] = ()
    """What else stands in the answer."""

    def read_count(self, body: bytes) -> int:
        """The count; Unreadable if the body tells none."""
        return count_in(body, self.member)

    def write_count(self, count: int, losses: canon.Losses) -> bytes:
        """The answer."""
        return msgspec.json.encode({**dict(self.around), self.member: count})


def _read_messages(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    return messages.read_count_request(body, model=model)


def _read_gemini(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    return gemini.read_count_request(body, model=model)


def _read_nobody(body: bytes, *, model: str = "", stream: bool = False) -> canon.Request:
    raise AssertionError("no client speaks this")


def _write_vertex(request: canon.Request, losses: canon.Losses) -> bytes:
    return gemini.write_count_request(request, losses, vertex=True)


def _only(body: bytes, members: frozenset[str]) -> dict[str, Any]:
    value: dict[str, Any] = msgspec.json.decode(body)
    return {name: value[name] for name in value if name in members}


_OF_RESPONSES: Final = frozenset({
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text", "truncation",
    "conversation", "previous_response_id",
})  # fmt: skip
"""What OpenAI's input_tokens takes."""


def _write_responses(request: canon.Request, losses: canon.Losses) -> bytes:
    return msgspec.json.encode(_only(responses.write_request(request, losses), _OF_RESPONSES))


_OF_CONVERSE: Final = frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"})
"""What Bedrock's CountTokens takes (ConverseTokensRequest)."""


def _write_converse(request: canon.Request, losses: canon.Losses) -> bytes:
    body = _only(converse.write_request(request, losses), _OF_CONVERSE)
    return msgspec.json.encode({"input": {"converse": body}})


_REGION: Final = re.compile(r"^(?:global|[a-z]{2}(?:-gov)?|apac)\.(?=[a-z0-9]+\.)")


def foundation_model(model: str) -> str:
    """The model behind an inference profile: CountTokens takes nothing else."""
    return _REGION.sub("", model)


MESSAGES: Final = Form("count_tokens", _read_messages, messages.write_count_request, "input_tokens")
GEMINI: Final = Form("countTokens", _read_gemini, gemini.write_count_request, "totalTokens")
VERTEX: Final = Form("vertex-count", _read_nobody, _write_vertex, "totalTokens")
RESPONSES: Final = Form(
    "input_tokens", responses.read_request, _write_responses, "input_tokens", (("object", "response.input_tokens"),)
)
BEDROCK: Final = Form("bedrock-count", _read_nobody, _write_converse, "inputTokens")
