"""countTokens: what would be asked, in the form of AI Studio and that of Vertex AI."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.fields import body_fields
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.gemini.request import read_request, write_request

WHOLE: Final = "generateContentRequest"
_ON_TOP: Final = ("contents", "systemInstruction", "tools", "generationConfig")
"""What Vertex AI's countTokens takes."""


def read_count_request(body: bytes, *, model: str = "") -> canon.Request:
    """The request whose tokens are to be counted; Refusal if it is malformed."""
    fields = Names(body_fields(body).rest())
    whole = fields.map(WHOLE)
    return read_request(body if whole is None else msgspec.json.encode(whole), model=model)


def write_count_request(request: canon.Request, losses: canon.Losses, *, vertex: bool = False) -> bytes:
    """The body; Refusal if it cannot be written.  AI Studio counts system prompt and tools only in a whole request."""
    body: dict[str, Any] = msgspec.json.decode(write_request(request, losses))
    if vertex:
        return msgspec.json.encode({name: body[name] for name in _ON_TOP if name in body})
    return msgspec.json.encode({WHOLE: {"model": f"models/{request.model}", **body}})
