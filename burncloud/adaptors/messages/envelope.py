"""Signatures of other vendors' thinking, carried through a Messages client and back.

A Gemini, Bedrock or OpenAI model wants its opaque part of the thinking back in the next turn.  A client that speaks
Messages sends thinking blocks back exactly as it got them, so the part travels in their `signature` (or in `data`
of a redacted block, where nothing is shown), and the reader of the next request gives it back to its dialect.  To
Anthropic such a block means nothing: the writer of requests drops it as it drops every foreign signature.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from burncloud.adaptors.canon import Reasoning
from burncloud.adaptors.reading import BAD_JSON

_MARK: Final = "burncloud."


class Envelope(msgspec.Struct, array_like=True):
    """What is carried."""

    origin: str
    id: str = ""
    signature: str = ""
    encrypted: str = ""
    call: str = ""
    """The id of the tool call that the signature belongs to; "" = the thinking itself."""
    is_summary: bool = False
    """The shown text is a summary (Responses), not the thinking."""
    text: str = ""
    """The thinking itself, for clients that may change what they show of it (Responses); "" = what is shown."""


_decode: Final = msgspec.json.Decoder(Envelope).decode


def sealed(envelope: Envelope) -> str:
    """As a signature."""
    return _MARK + base64.urlsafe_b64encode(msgspec.json.encode(envelope)).decode("ascii")


def opened(signature: str) -> Envelope | None:
    """What a signature carries; None if it is an ordinary one."""
    if not signature.startswith(_MARK):
        return None
    try:
        return _decode(base64.urlsafe_b64decode(signature[len(_MARK) :]))
    except BAD_JSON:
        return None


def sealed_reasoning(block: Reasoning, *, is_summary: bool) -> str:
    """The signature to show for foreign thinking; "" if it has nothing to carry (an id alone leads nowhere)."""
    if not (block.signature or block.encrypted):
        return ""
    return sealed(Envelope(block.origin, block.id, block.signature, block.encrypted, "", is_summary))


def sealed_call(signature: str, call_id: str, origin: str = "gemini") -> str:
    """The data of a redacted block that stands for a call's signature."""
    return sealed(Envelope(origin, "", signature, "", call_id))


def reasoning_of(envelope: Envelope, text: str) -> Reasoning:
    """The thinking as its dialect gave it."""
    text = envelope.text or text
    summary = [text] if envelope.is_summary and text else []
    return Reasoning(
        "" if summary else text, summary, envelope.signature, envelope.encrypted, envelope.id, envelope.origin
    )
