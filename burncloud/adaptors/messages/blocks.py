"""Parts of a message: Anthropic's content blocks and the canonical ones.

Server tools and their results, container uploads and whatever comes next have no equal elsewhere: they are kept
whole as Raw.  A document made of blocks and a search result do have one, a text to be read; their whole form stands
in `extra` beside it, so that it is written back as it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final
from zlib import crc32

import msgspec

from burncloud.adaptors import canon, writing
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.documents import TEXT_TYPES, decoded, media_type_of
from burncloud.adaptors.fields import Fields, malformed
from burncloud.adaptors.messages.envelope import opened, reasoning_of, sealed_call, sealed_reasoning
from burncloud.adaptors.messages.families import Family, family_of
from burncloud.adaptors.reading import BAD_JSON

DIALECT: Final = "messages"

# Reading


def read_content(content: Any, where: str) -> list[canon.Block]:
    """`content` of a message, a system prompt or a tool result: a string or a list of blocks."""
    if content is None:
        return []
    if type(content) is str:
        return [canon.Text(content)]
    if type(content) is not list:
        raise malformed(where, "a string or a list")
    blocks = [read_block(value, f"{where}[{at}]") for at, value in enumerate(content)]
    return _with_signatures(blocks) if any(type(block) is canon.ToolCall for block in blocks) else blocks


def read_block(value: Any, where: str) -> canon.Block:
    """One block; Refusal if it is malformed.  What has no equal elsewhere becomes Raw."""
    fields = Fields(value, where)
    reader = _READERS.get(fields.needed("type"))
    block = reader(fields) if reader is not None else None
    return canon.Raw(DIALECT, value) if block is None else block


def _with_signatures(blocks: list[canon.Block]) -> list[canon.Block]:
    """Calls get the signatures that were carried beside them."""
    carried: dict[str, str] = {}
    rest: list[canon.Block] = []
    for block in blocks:
        if type(block) is canon.Reasoning and "call" in block.extra:
            carried[block.extra["call"]] = block.signature
        else:
            rest.append(block)
    for block in rest if carried else ():
        if type(block) is canon.ToolCall:
            block.signature = carried.get(block.id, "")
    return rest


def _read_text(fields: Fields) -> canon.Block:
    text, citations = fields.text("text"), fields.items("citations")
    if any(type(citation) is not dict for citation in citations):
        raise malformed(fields.at("citations"), "a list of objects")
    return canon.Text(text, citations, fields.map("cache_control"), fields.rest())


def _read_source(fields: Fields) -> canon.Source | None:
    """Where the bytes are; None for a kind of source that has no equal elsewhere."""
    source = fields.inner("source")
    if source is None:
        raise malformed(fields.at("source"), "given")
    kind = source.needed("type")
    if kind == "base64":
        found = canon.Source(source.text("media_type"), source.needed("data"))
    elif kind == "url":
        found = canon.Source(url=source.needed("url"))
    elif kind == "file":
        found = canon.Source(file_id=source.needed("file_id"))
    elif kind == "text":
        found = canon.Source(source.text("media_type"), text=source.text("data"))
    else:
        return None
    if source.rest():
        fields.rest()["source"] = source.rest()
    return found


def _read_image(fields: Fields) -> canon.Block | None:
    source = _read_source(fields)
    return None if source is None else canon.Image(source, "", fields.map("cache_control"), fields.rest())


def _read_document(fields: Fields) -> canon.Block | None:
    source = fields.rest().get("source")
    if type(source) is dict and source.get("type") == "content":
        fields.take("source")
        found = canon.Source("text/plain", text=_texts_of(source.get("content")))
        fields.rest()["content"] = source.get("content")
    else:
        known = _read_source(fields)
        if known is None:
            return None
        found = known
    return canon.Document(found, fields.text("title"), fields.map("cache_control"), fields.rest())


def _read_search_result(fields: Fields) -> canon.Block:
    whole = dict(fields.rest())
    title, where = fields.text("title"), fields.text("source")
    text = _texts_of(fields.take("content"))
    cache = fields.map("cache_control")
    source = canon.Source("text/plain", text=f"{where}\n\n{text}" if where else text)
    whole.pop("cache_control", None)
    return canon.Document(source, title, cache, {"search_result": whole})


def _texts_of(content: Any) -> str:
    """The texts of a list of blocks, or the string that stands for one."""
    if type(content) is str:
        return content
    texts = [part.get("text") for part in content if type(part) is dict] if type(content) is list else []
    return "\n\n".join(text for text in texts if type(text) is str)


def _read_tool_use(fields: Fields) -> canon.Block:
    arguments = fields.take("input")
    if type(arguments) is not str:
        arguments = encoded({} if arguments is None else arguments).decode()
    call_id, name = fields.needed("id"), fields.needed("name")
    return canon.ToolCall(call_id, name, arguments, cache=fields.map("cache_control"), extra=fields.rest())


def _read_tool_result(fields: Fields) -> canon.Block:
    call_id = fields.needed("tool_use_id")
    blocks = read_content(fields.take("content"), fields.at("content"))
    is_error = fields.flag("is_error") or False
    return canon.ToolResult(call_id, blocks, is_error, cache=fields.map("cache_control"), extra=fields.rest())


def _read_thinking(fields: Fields) -> canon.Block:
    return reasoning(fields.text("thinking"), fields.text("signature"), "", fields.rest())


def _read_redacted(fields: Fields) -> canon.Block:
    return reasoning("", "", fields.text("data"), fields.rest())


def reasoning(text: str, signature: str, data: str, extra: canon.Extra) -> canon.Reasoning:
    """Thinking of Anthropic, or of whoever else it was carried for."""
    envelope = opened(signature or data)
    if envelope is None:
        return canon.Reasoning(text, [], signature, data, origin=DIALECT, extra=extra)
    block = reasoning_of(envelope, text)
    if envelope.call:
        block.extra = {"call": envelope.call}
    return block


_READERS: Final[dict[str, Callable[[Fields], canon.Block | None]]] = {
    "text": _read_text,
    "image": _read_image,
    "document": _read_document,
    "search_result": _read_search_result,
    "tool_use": _read_tool_use,
    "tool_result": _read_tool_result,
    "thinking": _read_thinking,
    "redacted_thinking": _read_redacted,
}

# Writing


class Writing(writing.Writing):
    """What the writer of blocks has to know: is it Messages' own, an answer or a request, and for which model."""

    __slots__ = ("family", "role")

    def __init__(self, losses: canon.Losses, *, own: bool, answer: bool = False, model: str = "") -> None:
        super().__init__(losses, own=own, answer=answer)
        self.family: Family = family_of(model)
        self.role = "assistant" if answer else "user"

    def rest(self, value: dict[str, Any], cache: canon.Cache | None, extra: canon.Extra) -> dict[str, Any]:
        """The block with its cache mark and with the fields that only this dialect knows."""
        if cache:
            value["cache_control"] = cache
        return self.fill(value, extra)


Written = Iterable[dict[str, Any]]


def write_content(blocks: list[canon.Block], to: Writing) -> str | list[dict[str, Any]]:
    """`content`: a string where that says it all."""
    values = write_blocks(blocks, to)
    if len(values) == 1 and values[0].keys() == {"type", "text"}:
        text: str = values[0]["text"]
        return text
    return values


def write_blocks(blocks: list[canon.Block], to: Writing) -> list[dict[str, Any]]:
    """All blocks that can be said in this dialect; the others are named in the losses."""
    return [value for block in blocks for value in _WRITERS[type(block)](block, to)]


def _write_text(block: canon.Text, to: Writing) -> Written:
    if not to.own and not block.text.strip() and not to.answer:
        return  # Anthropic refuses texts of white space alone
    if not to.own and not block.text:
        return
    value: dict[str, Any] = {"type": "text", "text": block.text}
    citations = [written for given in block.citations if (written := write_citation(given, to, block.text))]
    if citations:
        value["citations"] = citations
    yield to.rest(value, block.cache, block.extra)


def write_citation(citation: dict[str, Any], to: Writing, text: str = "") -> dict[str, Any] | None:
    """A citation in Anthropic's form.  OpenAI's links are shown as web search results, but cannot be sent back."""
    if citation.get("type") != "url_citation":
        return citation
    inner = citation.get("url_citation")
    if type(inner) is not dict:
        inner = citation
    url, title = inner.get("url"), inner.get("title")
    if not to.answer or type(url) is not str:
        to.losses.add("citations")
        return None
    start, end = inner.get("start_index"), inner.get("end_index")
    cited = text[start:end] if type(start) is int and type(end) is int and 0 <= start <= end else ""
    return {
        "type": "web_search_result_location", "url": url, "title": title if type(title) is str else None,
        "cited_text": cited, "encrypted_index": "",
    }  # fmt: skip


def _write_refusal(block: canon.Refusal, to: Writing) -> Written:
    if block.text:
        yield to.rest({"type": "text", "text": block.text}, None, block.extra)


_WEB: Final = ("http://", "https://")


def _write_source(source: canon.Source, extra: canon.Extra, to: Writing, what: str) -> dict[str, Any] | None:
    """The source of an image or a PDF; None (and a loss) if Anthropic cannot reach it."""
    value: dict[str, Any] | None = None
    if source.data:
        value = {
            "type": "base64",
            "media_type": source.media_type or media_type_of(source.data, _USUAL[what]),
            "data": source.data,
        }
    elif source.url:
        if to.own or source.url.startswith(_WEB):
            value = {"type": "url", "url": source.url}
        else:
            to.losses.add(f"{what}_url")  # gs://, s3://, file URIs of other vendors
    elif source.file_id:
        if to.own:
            value = {"type": "file", "file_id": source.file_id}
        else:
            to.losses.add("file_id")
    else:
        to.losses.add(what)
    if value is not None and to.own and type(extra.get("source")) is dict:
        value.update(extra["source"])
    return value


_USUAL: Final = {"image": "image/png", "document": "application/pdf"}
"""The media type of what says nothing of its own."""


def _write_image(block: canon.Image, to: Writing) -> Written:
    if not to.own and to.role != "user":
        to.losses.add("image")  # Claude neither draws nor takes pictures of the assistant
        return
    source = _write_source(block.source, block.extra, to, "image")
    if source is None:
        return
    if block.detail not in ("", "auto"):
        to.losses.add("image_detail")
    yield to.rest({"type": "image", "source": source}, block.cache, _without_source(block.extra))


def _without_source(extra: canon.Extra) -> canon.Extra:
    return {name: value for name, value in extra.items() if name != "source"} if "source" in extra else extra


def _write_document(block: canon.Document, to: Writing) -> Written:
    if not to.own and to.role != "user":
        to.losses.add("document")
        return
    extra = block.extra
    if to.own and type(extra.get("search_result")) is dict:
        yield to.rest({"type": "search_result", **extra["search_result"]}, block.cache, {})
        return
    source: dict[str, Any] | None
    if to.own and "content" in extra:
        source = {"type": "content", "content": extra["content"]}
        extra = {name: value for name, value in extra.items() if name != "content"}
    else:
        source = _document_source(block.source, extra, to)
        extra = _without_source(extra)
    if source is None:
        return
    value: dict[str, Any] = {"type": "document", "source": source}
    if block.title:
        value["title"] = block.title
    yield to.rest(value, block.cache, extra)


def _document_source(source: canon.Source, extra: canon.Extra, to: Writing) -> dict[str, Any] | None:
    """Anthropic reads PDFs and plain text: other texts are given as that, other files are lost."""
    if source.data and not to.own and source.media_type not in ("", "application/pdf"):
        text = decoded(source.data) if source.media_type.startswith(TEXT_TYPES) else ""
        if not text:
            to.losses.add("document")
            return None
        source = canon.Source(text=text)
    if not (source.data or source.url or source.file_id):
        if not to.own and not source.text:
            to.losses.add("document")
            return None
        return {"type": "text", "media_type": (to.own and source.media_type) or "text/plain", "data": source.text}
    return _write_source(source, extra, to, "document")


def _write_audio(block: canon.Audio, to: Writing) -> Written:
    to.losses.add("audio")
    to.losses.rest(block)
    if block.transcript:
        yield {"type": "text", "text": block.transcript}


_TOOL_ID: Final = re.compile(r"[A-Za-z0-9_-]+")
_NOT_IN_TOOL_ID: Final = re.compile(r"[^A-Za-z0-9_-]")


def tool_id(call_id: str) -> str:
    """The id in Anthropic's alphabet: the same for the same, different for different ones."""
    if _TOOL_ID.fullmatch(call_id):
        return call_id
    return f"toolu_{_NOT_IN_TOOL_ID.sub('_', call_id)[:40]}_{crc32(call_id.encode('utf-8', 'replace')):08x}"


def _write_tool_call(block: canon.ToolCall, to: Writing) -> Written:
    call_id = block.id if to.own else tool_id(block.id)
    if block.signature:
        if to.answer:
            yield {"type": "redacted_thinking", "data": sealed_call(block.signature, call_id)}
        else:
            to.losses.add("thinking_signature")
    value = {"type": "tool_use", "id": call_id, "name": block.name, "input": _input_of(block, to)}
    yield to.rest(value, block.cache, block.extra)


def _input_of(block: canon.ToolCall, to: Writing) -> dict[str, Any]:
    """The arguments as an object, which is the only form Anthropic has."""
    if block.custom:
        to.losses.add("custom_tools")
        return {"input": block.arguments}
    if block.arguments.strip() in ("", "null"):
        return {}
    try:
        value = msgspec.json.decode(block.arguments)
    except BAD_JSON:
        value = None
    if type(value) is dict:
        return value
    to.losses.add("tool_arguments")
    return {"input": block.arguments if value is None else value}


def _write_tool_result(block: canon.ToolResult, to: Writing) -> Written:
    value: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": block.call_id if to.own else tool_id(block.call_id),
    }
    content = write_content(block.blocks, to)
    if content:
        value["content"] = content
    if block.is_error:
        value["is_error"] = True
    yield to.rest(value, block.cache, block.extra)


def _write_reasoning(block: canon.Reasoning, to: Writing) -> Written:
    text = block.text or "\n\n".join(block.summary)
    foreign = block.origin != DIALECT
    if foreign:
        to.losses.rest(block)
    if to.answer and foreign:
        carried = sealed_reasoning(block, is_summary=bool(block.summary and not block.text))
        if text:
            yield {"type": "thinking", "thinking": text, "signature": carried}
        elif carried:
            yield {"type": "redacted_thinking", "data": carried}
        return
    if foreign or not (to.own or to.answer or block.signature or block.encrypted):
        if block.signature or block.encrypted:
            to.losses.add("thinking_signature")
        if to.family.signed or not text:
            to.losses.add("thinking")
            return
        yield {"type": "thinking", "thinking": text, "signature": ""}
        return
    if block.encrypted:
        yield to.rest({"type": "redacted_thinking", "data": block.encrypted}, None, block.extra)
    else:
        yield to.rest({"type": "thinking", "thinking": text, "signature": block.signature}, None, block.extra)


def _write_raw(block: canon.Raw, to: Writing) -> Written:
    if block.dialect == DIALECT:
        yield block.value
    else:
        to.losses.block(block)


_WRITERS: Final[dict[type, Callable[[Any, Writing], Written]]] = {
    canon.Text: _write_text,
    canon.Refusal: _write_refusal,
    canon.Image: _write_image,
    canon.Document: _write_document,
    canon.Audio: _write_audio,
    canon.ToolCall: _write_tool_call,
    canon.ToolResult: _write_tool_result,
    canon.Reasoning: _write_reasoning,
    canon.Raw: _write_raw,
}
