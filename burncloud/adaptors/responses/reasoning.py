"""Reasoning items: OpenAI's own, and those in which other vendors' signatures travel through a client of Responses.

A client sends reasoning items back as it got them, or only their summary and encrypted_content; so everything that
another vendor wants back of its thinking stands in encrypted_content, in an envelope (decision 0050), with the text
where a signature covers it.  Foreign thinking is shown as a summary: that is what clients of Responses show, and what
most vendors' shown thinking is.  Content (reasoning_text) is for thinking that came as such.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.chat.reasoning import origin_of
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.messages.envelope import Envelope, opened, reasoning_of, sealed, sealed_call
from burncloud.adaptors.responses.parts import DIALECT, Writing

BETWEEN: Final = "\n\n"
"""Between several summaries where they are one text."""

# Reading


def read_reasoning(fields: Fields) -> canon.Reasoning:
    """A reasoning item; of a call's signature the `extra` names the call."""
    whole = dict(fields.rest())
    summary = _texts(fields.take("summary"))
    text = BETWEEN.join(_texts(fields.take("content")))
    encrypted, key = fields.text("encrypted_content"), fields.text("id")
    envelope = opened(encrypted)
    if envelope is not None:
        block = reasoning_of(envelope, text or BETWEEN.join(summary))
        if envelope.call:
            block.extra = {"call": envelope.call}
    else:
        origin = origin_of(whole, DIALECT)  # OpenRouter tells it in `format`
        signature = fields.text("signature")
        if origin == "gemini":
            signature, encrypted = encrypted, ""
        block = canon.Reasoning(text, summary, signature, encrypted, key, origin)
    block.said = whole
    return block


def _texts(parts: Any) -> list[str]:
    """The texts of summary or content; some send a string."""
    if type(parts) is str:
        return [parts]
    texts = [part.get("text") if type(part) is dict else part for part in parts] if type(parts) is list else []
    return [text for text in texts if type(text) is str]


def with_signatures(turns: list[canon.Turn]) -> None:
    """Calls get the signatures that were carried beside them; what carried them is taken out."""
    carried: dict[str, str] = {}
    for turn in turns:
        for block in turn.blocks:
            if type(block) is canon.Reasoning and "call" in block.extra:
                carried[block.extra["call"]] = block.signature
    if not carried:
        return
    for turn in turns:
        turn.blocks = [
            block for block in turn.blocks if type(block) is not canon.Reasoning or "call" not in block.extra
        ]
        for block in turn.blocks:
            if type(block) is canon.ToolCall:
                block.signature = carried.get(block.id, block.signature)


# Writing


def write_reasoning(block: canon.Reasoning, to: Writing) -> dict[str, Any] | None:
    """The item for a request; None (and a loss) where the model has no use for it."""
    if to.own and block.said is not None:
        return block.said
    if block.origin == DIALECT and block.encrypted:
        return item(block.id, block.summary, block.text, block.encrypted)
    if block.signature or block.encrypted:
        to.losses.add("thinking_signature")
    text = block.text or BETWEEN.join(block.summary)
    if not text:
        return None
    if to.family.openai or not to.family.history:
        to.losses.add("thinking")
        return None
    return item(block.id if block.origin == DIALECT else "", [], text, "")


def item(key: str, summary: list[str], text: str, encrypted: str) -> dict[str, Any]:
    """A reasoning item.  No id is made up: OpenAI compares it with what is encrypted."""
    value: dict[str, Any] = {"type": "reasoning"}
    if key:
        value["id"] = key
    value["summary"] = [{"type": "summary_text", "text": part} for part in summary]
    if text:
        value["content"] = [{"type": "reasoning_text", "text": text}]
    if encrypted:
        value["encrypted_content"] = encrypted
    return value


def carried(block: canon.Reasoning) -> str:
    """encrypted_content for a client: OpenAI's own, or an envelope; "" if there is nothing to carry."""
    if block.origin in (DIALECT, ""):
        return block.encrypted
    if not (block.signature or block.encrypted):
        return ""
    text = block.text if block.signature else ""
    is_summary = bool(block.summary and not block.text)
    return sealed(Envelope(block.origin, block.id, block.signature, block.encrypted, "", is_summary, text))


def carried_call(block: canon.ToolCall) -> str:
    """encrypted_content of an item that stands beside a call for its signature."""
    return sealed_call(block.signature, block.id)
