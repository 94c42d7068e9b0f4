"""Parts of a message: Bedrock's content blocks and the canonical ones.

A block is an object with one member that is named by its kind.  A cachePoint marks everything before it, so it
becomes the cache mark of the block before.  What has no equal elsewhere (video, tools that the vendor ran) is kept
whole as Raw.  Claude's signatures and redacted thinking are Anthropic's own, so their origin is `messages`: they
are good there as well (Anthropic docs, "Extended thinking": signatures are compatible across platforms).
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.converse import media
from burncloud.adaptors.converse.citations import read_citation
from burncloud.adaptors.fields import Fields, malformed

DIALECT: Final = "converse"
CLAUDE: Final = "messages"
ORIGINS: Final = (DIALECT, CLAUDE)
"""Whose signatures may be sent to Bedrock."""


def read_content(content: Any, where: str) -> list[canon.Block]:
    """`content` of a message or of a tool's result, or `system`."""
    if content is None:
        return []
    if type(content) is not list:
        raise malformed(where, "a list")
    found: list[canon.Block] = []
    for at, value in enumerate(content):
        block = read_block(value, f"{where}[{at}]")
        before = found[-1] if found else None
        if type(block) is canon.Raw and marks(block, before):
            continue
        if type(block) is canon.Text and type(before) is canon.Text and _joins(block, before):
            continue
        found.append(block)
    return found


def read_block(value: Any, where: str) -> canon.Block:
    """One block; Refusal if it is malformed.  What has no equal elsewhere becomes Raw."""
    fields = Fields(value, where)
    given = [name for name, member in value.items() if member is not None]
    reader = _READERS.get(given[0]) if len(given) == 1 else None
    block = reader(fields) if reader is not None else None
    return canon.Raw(DIALECT, value) if block is None else block


def marks(block: canon.Raw, before: canon.Block | canon.Tool | canon.ServerTool | None) -> bool:
    """Whether it is a cachePoint that became the mark of what stands before it."""
    point = block.value.get("cachePoint")
    if type(point) is not dict or point.get("type") != "default" or not point.keys() <= {"type", "ttl"}:
        return False
    if not isinstance(before, _MARKED) or before.cache is not None:
        return False
    ttl = point.get("ttl")
    before.cache = {"type": "ephemeral"} if ttl is None else {"type": "ephemeral", "ttl": ttl}
    return True


_MARKED: Final = (canon.Text, canon.Image, canon.Document, canon.ToolCall, canon.ToolResult, canon.Tool)


def _joins(block: canon.Text, before: canon.Text) -> bool:
    """Whether it is citations alone, which belong to the text before (Nova tells them apart from it)."""
    if block.said is None or not block.said.get("apart") or before.citations or before.said or before.cache:
        return False
    before.citations, before.said = block.citations, block.said
    return True


def _read_text(fields: Fields) -> canon.Block:
    return canon.Text(fields.text("text"))


def _read_json(fields: Fields) -> canon.Block:
    value = fields.take("json")
    return canon.Text(encoded(value).decode(), said={"json": value})


def _read_guard(fields: Fields) -> canon.Block | None:
    guard = fields.take("guardContent")
    inner = guard.get("text") if type(guard) is dict else None
    text = inner.get("text") if type(inner) is dict else None
    return canon.Text(text, extra={"guardContent": guard}) if type(text) is str else None


def _read_cited(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "citationsContent")
    parts, given = inner.items("content"), inner.items("citations")
    texts = [part["text"] for part in parts if type(part) is dict and type(part.get("text")) is str]
    if inner.rest() or len(texts) < len(parts):
        return None
    if any(type(citation) is not dict for citation in given):
        raise malformed(inner.at("citations"), "a list of objects")
    said = {"apart": True} if not parts else {"parts": texts} if len(texts) > 1 or not given else None
    return canon.Text("".join(texts), [read_citation(citation) for citation in given], said=said)


def _inner(fields: Fields, name: str) -> Fields:
    inner = fields.inner(name)
    if inner is None:
        raise malformed(fields.at(name), "an object")
    return inner


def _read_image(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "image")
    source = media.read_source(inner, inner.text("format"), "image")
    return None if source is None else canon.Image(source, extra=inner.rest())


def _read_document(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "document")
    source = media.read_source(inner, inner.text("format"), "application")
    return None if source is None else canon.Document(source, inner.text("name"), extra=inner.rest())


def _read_audio(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "audio")
    source = media.read_source(inner, inner.text("format"), "audio")
    return None if source is None else canon.Audio(source, extra=inner.rest())


def _read_search_result(fields: Fields) -> canon.Block:
    inner = _inner(fields, "searchResult")
    whole = dict(inner.rest())
    title, where = inner.text("title"), inner.text("source")
    parts = [part.get("text") for part in inner.items("content") if type(part) is dict]
    text = "\n\n".join(part for part in parts if type(part) is str)
    return canon.Document(
        canon.Source("text/plain", text=f"{where}\n\n{text}" if where else text), title, extra={"searchResult": whole}
    )


def _read_tool_use(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "toolUse")
    if inner.text("type", "tool_use") != "tool_use":
        return None  # the vendor ran it itself
    arguments = inner.take("input")
    if type(arguments) is not str:
        arguments = encoded({} if arguments is None else arguments).decode()
    return canon.ToolCall(inner.needed("toolUseId"), inner.needed("name"), arguments, extra=inner.rest())


def _read_tool_result(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "toolResult")
    if inner.text("type", "tool_result") != "tool_result":
        return None
    blocks = read_content(inner.take("content"), inner.at("content"))
    status = inner.text("status", "success")
    if status not in ("success", "error"):
        raise malformed(inner.at("status"), "success or error")
    return canon.ToolResult(inner.needed("toolUseId"), blocks, status == "error", extra=inner.rest())


def _read_reasoning(fields: Fields) -> canon.Block | None:
    inner = _inner(fields, "reasoningContent")
    if "redactedContent" in inner:
        return redacted(inner.text("redactedContent"))
    text = inner.inner("reasoningText")
    if text is None or inner.rest():
        return None
    signature = text.text("signature")
    return canon.Reasoning(
        text.text("text"), signature=signature, origin=origin_of(signature), extra=text.rest()
    )  # fmt: skip


def origin_of(signature: str) -> str:
    """Whose a signature is: Claude's begin with the first byte of a protobuf message's second member."""
    return CLAUDE if signature.startswith("E") else DIALECT


def redacted(data: str) -> canon.Reasoning:
    """Redacted thinking: Claude's own data once more in Base64, or whatever another model has there."""
    try:
        inner = base64.b64decode(data, validate=True).decode("ascii")
    except ValueError:
        inner = ""
    if inner.startswith("E") and inner.isprintable():
        return canon.Reasoning(encrypted=inner, origin=CLAUDE)
    return canon.Reasoning(encrypted=data, origin=DIALECT)


_READERS: Final[dict[str, Callable[[Fields], canon.Block | None]]] = {
    "text": _read_text,
    "json": _read_json,
    "guardContent": _read_guard,
    "citationsContent": _read_cited,
    "image": _read_image,
    "document": _read_document,
    "audio": _read_audio,
    "searchResult": _read_search_result,
    "toolUse": _read_tool_use,
    "toolResult": _read_tool_result,
    "reasoningContent": _read_reasoning,
}
