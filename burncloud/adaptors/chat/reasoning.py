"""Shown thinking, and what a vendor wants back of it, in the members that Chat's copies invented.

    reasoning_content   DeepSeek, Qwen, GLM, Kimi, xAI, vLLM, …: text
    reasoning           OpenRouter, Groq, Ollama, …: text
    reasoning_details   OpenRouter and those that follow it: pieces of text, summaries, signatures, encrypted parts

A detail's `format` tells whose signature it is: Claude's go back to any door of Claude.  An answer of another dialect
is written with reasoning_content for the text and reasoning_details for the rest: clients that send back the message
that they got, as OpenAI's SDK does, keep the thinking alive over turns.
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.chat.families import DIALECT
from burncloud.adaptors.fields import Fields

TEXT_MEMBERS: Final = ("reasoning_content", "reasoning")
FORMATS: Final[dict[str, str]] = {
    "messages": "anthropic-claude-v1",
    "gemini": "google-gemini-v1",
    "responses": "openai-responses-v1",
    "converse": "amazon-converse-v1",
}
"""Dialect to OpenRouter's name of it; the last is our own."""
_ORIGINS: Final = {name: dialect for dialect, name in FORMATS.items()}

# Reading


def read_reasoning(fields: Fields) -> list[canon.Reasoning]:
    """The thinking of a message; the members themselves stand in the first block's `said`, to be written back."""
    members: dict[str, Any] = {}
    text = ""
    for name in TEXT_MEMBERS:
        value = fields.rest().get(name)
        if type(value) is str:
            fields.take(name)
            text = text or value
            if value:
                members[name] = value
    details = fields.rest().get("reasoning_details")
    found: list[canon.Reasoning] = []
    if type(details) is list and details:
        members["reasoning_details"] = fields.take("reasoning_details")
        found = read_details(details)
        if text and not any(block.signature or block.encrypted or block.id for block in found):
            found = []
        elif text and not any(block.text or block.summary for block in found):
            found.insert(0, canon.Reasoning(text, origin=DIALECT))
    if text and not found:
        found = [canon.Reasoning(text, origin=DIALECT)]
    for at, block in enumerate(found):
        block.said = {} if at else members
    return found


def read_details(details: list[Any]) -> list[canon.Reasoning]:
    """reasoning_details as blocks: pieces of one text together, a signature with what it signs."""
    found: list[canon.Reasoning] = []
    for detail in details:
        if type(detail) is not dict:
            continue
        last = found[-1] if found else None
        origin = origin_of(detail, DIALECT if last is None else last.origin)
        kind, text, signature, encrypted, key = detail_parts(detail, origin)
        if last is None or not _continues(last, origin, kind, key):
            last = canon.Reasoning(id=key, origin=origin)
            found.append(last)
        if kind == "reasoning.summary":
            last.summary = [*last.summary, text] if text else last.summary
        else:
            last.text += text
        last.signature = signature or last.signature
        last.encrypted = encrypted or last.encrypted
        last.id = last.id or key
    return [block for block in found if block.text or block.summary or block.signature or block.encrypted]


def detail_parts(detail: dict[str, Any], origin: str) -> tuple[str, str, str, str, str]:
    """(type, text, signature, encrypted, id) of one detail."""
    kind = _text(detail, "type")
    data = _text(detail, "data")
    signature = _text(detail, "signature")
    if origin == "gemini" and data:  # what is called encrypted there is Gemini's thoughtSignature
        signature, data = data, ""
    key = _text(detail, "id") if origin != "messages" else ""
    return kind, _text(detail, "text") or _text(detail, "summary"), signature, data, key


def origin_of(detail: dict[str, Any], before: str) -> str:
    """The dialect that a detail's signature belongs to; a piece that does not say so is like the one before it."""
    return _ORIGINS.get(_text(detail, "format"), DIALECT) if "format" in detail else before


def _continues(last: canon.Reasoning, origin: str, kind: str, key: str) -> bool:
    """Whether a detail belongs to the block before it."""
    if last.origin != origin or last.signature or last.encrypted or (key and last.id and key != last.id):
        return False
    if origin == "messages":
        return kind == "reasoning.text"  # redacted thinking is a block of its own
    return True


def _text(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    return found if type(found) is str else ""


# Writing


def shown(block: canon.Reasoning) -> str:
    """The text of the thinking, or the summaries that stand for it."""
    return block.text or "\n\n".join(block.summary)


def write_details(block: canon.Reasoning, at: int) -> list[dict[str, Any]]:
    """The details of one block, of index `at` and on."""
    found: list[dict[str, Any]] = [{"type": "reasoning.summary", "summary": text} for text in block.summary]
    signature, encrypted = block.signature, block.encrypted
    if block.origin == "gemini" and signature:
        signature, encrypted = "", signature
    if block.text or signature:
        found.append({"type": "reasoning.text", "text": block.text} | ({"signature": signature} if signature else {}))
    if encrypted:
        found.append({"type": "reasoning.encrypted", "data": encrypted})
    for number, detail in enumerate(found, at):
        if block.id:
            detail["id"] = block.id
        detail["format"] = FORMATS.get(block.origin, "unknown")
        detail["index"] = number
    return found


def text_detail(origin: str) -> tuple[str, str]:
    """(type, member) of a detail with text."""
    return ("reasoning.summary", "summary") if origin == "responses" else ("reasoning.text", "text")


def needs_details(block: canon.Reasoning) -> bool:
    """Whether the text alone would lose what its vendor wants back."""
    return bool(block.signature or block.encrypted or block.id)


def write_members(blocks: list[canon.Reasoning], member: str = "reasoning_content") -> dict[str, Any]:
    """The members of a message: text under `member`, and details where a block has more than text."""
    value: dict[str, Any] = {}
    text = "\n\n".join(text for text in map(shown, blocks) if text)
    if text:
        value[member] = text
    if any(map(needs_details, blocks)):
        details: list[dict[str, Any]] = []
        for block in blocks:
            details += write_details(block, len(details))
        value["reasoning_details"] = details
    return value


def own_members(blocks: list[canon.Reasoning]) -> dict[str, Any] | None:
    """The members as they were read; None where these blocks are not of Chat."""
    value: dict[str, Any] = {}
    for block in blocks:
        if block.said is None:
            return None
        value.update(block.said)
    return value if blocks else None
