"""Signatures of other vendors' thinking, carried through a Gemini client and back (docs/decisions/0050).

The place is `thoughtSignature` of a thought.  It is bytes to Google's SDKs, which decode it from base64 and encode
it again, in either alphabet: so the envelope is base64 from the first to the last letter.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from burncloud.adaptors.canon import Reasoning
from burncloud.adaptors.messages.envelope import Envelope, reasoning_of
from burncloud.adaptors.reading import BAD_JSON

_HEAD: Final = b"burncloud:"
MARK: Final = "YnVybmNsb3Vk"
"""How every envelope begins: a body that holds it must not pass to Gemini as bytes."""

_decode: Final = msgspec.json.Decoder(Envelope).decode


def sealed(block: Reasoning) -> str:
    """The thoughtSignature to show for foreign thinking; "" if it has nothing to carry (an id alone leads nowhere)."""
    if not (block.signature or block.encrypted):
        return ""
    is_summary = bool(block.summary and not block.text)
    envelope = Envelope(block.origin, block.id, block.signature, block.encrypted, "", is_summary)
    return base64.b64encode(_HEAD + msgspec.json.encode(envelope)).decode("ascii")


def opened(signature: str, text: str) -> Reasoning | None:
    """The thinking that a thoughtSignature carries; None if it is Gemini's own."""
    if not signature.startswith(MARK):
        return None
    plain = signature.replace("-", "+").replace("_", "/")
    try:
        data = base64.b64decode(plain + "=" * (-len(plain) % 4))
        return reasoning_of(_decode(data.removeprefix(_HEAD)), text)
    except BAD_JSON:
        return None
