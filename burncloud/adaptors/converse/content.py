"""Canonical blocks, written as Bedrock's."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon, writing
from burncloud.adaptors.converse import media
from burncloud.adaptors.converse.blocks import CLAUDE, DIALECT, ORIGINS
from burncloud.adaptors.converse.citations import write_citation
from burncloud.adaptors.converse.families import Family, family_of
from burncloud.adaptors.converse.tools import call_id, tool_name
from burncloud.adaptors.messages.turns import NO_RESULT
from burncloud.adaptors.reading import BAD_JSON

Written = Iterable[dict[str, Any]]


class Writing(writing.Writing):
    """What the writer of blocks has to know: is it Converse's own, an answer or a request, and for which model."""

    __slots__ = ("family", "names", "role", "where")

    def __init__(self, losses: canon.Losses, *, own: bool, answer: bool = False, model: str = "") -> None:
        super().__init__(losses, own=own, answer=answer)
        self.family: Family = family_of(model)
        self.role = "assistant" if answer else "user"
        self.where = "messages"
        """Where cache marks would stand: system · messages · tools."""
        self.names: set[str] = set()
        """Names of the documents so far."""

    def point(self, cache: canon.Cache | None) -> Written:
        """The cachePoint that stands for a cache mark."""
        if not cache:
            return
        if not self.own and self.where not in self.family.caches:
            self.losses.add("cache_control")
            return
        point = {"type": "default"}
        ttl = cache.get("ttl")
        if ttl in ("5m", "1h") or (self.own and ttl is not None):
            if self.own or self.family.cache_ttl:
                point["ttl"] = ttl
            elif ttl != "5m":
                self.losses.add("cache_control.ttl")
        yield {"cachePoint": point}


def write_blocks(blocks: Iterable[canon.Block], to: Writing) -> list[dict[str, Any]]:
    """All blocks that can be said in this dialect, with their cache points; the others are named in the losses."""
    found: list[dict[str, Any]] = []
    for block in blocks:
        written = list(_WRITERS[type(block)](block, to))
        found += written
        cache: canon.Cache | None = getattr(block, "cache", None)
        if cache and written:
            found += to.point(cache)
    return found


def _write_text(block: canon.Text, to: Writing) -> Written:
    if not to.own and not block.text.strip() and not (to.answer and block.text):
        return  # Bedrock refuses blank texts
    said = (block.said or {}) if to.own else {}
    if "json" in said:
        yield {"json": said["json"]}
        return
    if to.own and "guardContent" in block.extra:
        yield {"guardContent": block.extra["guardContent"]}
        return
    to.fill({}, block.extra)
    if not block.citations and "parts" not in said and "apart" not in said:
        yield {"text": block.text}
        return
    if not (to.own or to.answer):
        to.losses.add("citations")
        yield {"text": block.text}
        return
    known = [written for given in block.citations if (written := write_citation(given)) is not None]
    if len(known) < len(block.citations):
        to.losses.add("citations")
    if "apart" in said:
        if block.text:
            yield {"text": block.text}
        yield {"citationsContent": {"citations": known}}
        return
    parts = said.get("parts") or [block.text]
    yield {"citationsContent": {"content": [{"text": part} for part in parts], "citations": known}}


def _write_refusal(block: canon.Refusal, to: Writing) -> Written:
    if block.text.strip():
        to.fill({}, block.extra)
        yield {"text": block.text}


def _write_image(block: canon.Image, to: Writing) -> Written:
    if not to.own and to.role != "user":
        to.losses.add("image")
        return
    form = media.image_format(block.source)
    source = _source(block.source, form, block.extra, to, "image")
    if source is None:
        return
    if block.detail not in ("", "auto"):
        to.losses.add("image_detail")
    yield {"image": to.fill({"format": form, "source": source}, _without(block.extra, "source"))}


def _source(source: canon.Source, form: str, extra: canon.Extra, to: Writing, what: str) -> dict[str, Any] | None:
    """The source of an image, a document or a sound; None (and a loss) if Bedrock cannot take it."""
    if source.file_id:
        to.losses.add("file_id")
        return None
    value = media.write_source(source, to.own)
    if value is None or not form:
        to.losses.add(f"{what}_url" if source.url else what)
        return None
    more = extra.get("source") if to.own else None
    if type(more) is dict:
        for name, inner in more.items():
            known = value.get(name)
            value[name] = {**known, **inner} if type(known) is dict and type(inner) is dict else inner
    return value


def _without(extra: canon.Extra, *names: str) -> canon.Extra:
    return {name: value for name, value in extra.items() if name not in names}


def _write_document(block: canon.Document, to: Writing) -> Written:
    extra = block.extra
    if to.own and "searchResult" in extra:
        yield {"searchResult": extra["searchResult"]}
        return
    if not to.own and to.role != "user":
        to.losses.add("document")
        return
    form = media.document_format(block.source)
    source = _source(block.source, form, extra, to, "document")
    if source is None:
        return
    name = block.title if to.own else media.document_name(block.title, to.names)
    value: dict[str, Any] = {"name": name, "source": source}
    if form and (not to.own or block.source.media_type):
        value["format"] = form
    if not to.own and to.family.claude is not None:  # Anthropic's members of the same names and meaning
        for name in ("context", "citations"):
            if extra.get(name) is not None:
                value[name] = extra[name]
        extra = _without(extra, "context", "citations")
    yield {"document": to.fill(value, _without(extra, "source"))}


def _write_audio(block: canon.Audio, to: Writing) -> Written:
    form = media.sound_format(block.source)
    if to.own or (to.family.audio and to.role == "user" and form and block.source.data):
        source = _source(block.source, form, block.extra, to, "audio")
        if source is not None:
            yield {"audio": to.fill({"format": form, "source": source}, _without(block.extra, "source"))}
        return
    to.losses.add("audio")
    if block.transcript:
        yield {"text": block.transcript}


def _write_tool_call(block: canon.ToolCall, to: Writing) -> Written:
    if block.signature:
        to.losses.add("thinking_signature")
    if block.custom:
        to.losses.add("custom_tools")
    value: dict[str, Any] = {
        "toolUseId": block.id if to.own else call_id(block.id),
        "name": block.name if to.own else tool_name(block.name, to.losses),
        "input": _input_of(block, to),
    }
    yield {"toolUse": to.fill(value, block.extra)}


def _input_of(block: canon.ToolCall, to: Writing) -> Any:
    """The arguments as an object, which is the only form that models take."""
    if not block.custom:
        if not block.arguments.strip():
            return {}
        try:
            value = msgspec.json.decode(block.arguments)
        except BAD_JSON:
            value = block.arguments
        if to.own or type(value) is dict:
            return value
        to.losses.add("tool_arguments")
        return {"input": value}
    return {"input": block.arguments}


def _write_tool_result(block: canon.ToolResult, to: Writing) -> Written:
    content = [part for part in write_blocks(block.blocks, to) if to.own or _in_result(part, to)]
    if not to.own:
        if not content:
            content = [{"text": NO_RESULT}]  # Bedrock refuses an error that says nothing, some models any result
        if to.family.json_results:
            content = [_as_json(part) for part in content]
    value: dict[str, Any] = {"toolUseId": block.call_id if to.own else call_id(block.call_id), "content": content}
    if block.is_error:
        if to.own or to.answer or to.family.status:
            value["status"] = "error"
        else:
            to.losses.add("tool_error")
    yield {"toolResult": to.fill(value, block.extra)}


_RESULTS: Final = frozenset({"text", "json", "image", "document", "searchResult"})


def _in_result(part: dict[str, Any], to: Writing) -> bool:
    kind = next(iter(part))
    if kind in _RESULTS:
        return True
    to.losses.add("cache_control" if kind == "cachePoint" else kind)
    return False


def _as_json(part: dict[str, Any]) -> dict[str, Any]:
    """A text as the JSON that it is, or in an object of its own."""
    if "text" not in part:
        return part
    try:
        value = msgspec.json.decode(part["text"])
    except BAD_JSON:
        value = None
    return {"json": value if type(value) is dict else {"output": part["text"]}}


def _write_reasoning(block: canon.Reasoning, to: Writing) -> Written:
    text = block.text or "\n\n".join(block.summary)
    ours = block.origin in ORIGINS
    sealed = block.signature or block.encrypted
    if sealed and not ours:
        to.losses.add("thinking_signature")
    if not (to.own or to.answer) and not (sealed and ours and to.family.claude is not None):
        to.losses.add("thinking")  # Claude takes back only what it signed, the others none at all
        return
    if block.encrypted and ours:
        yield {"reasoningContent": {"redactedContent": blob_of(block)}}
        if not text:
            return
    if not text and not (to.own or (block.signature and ours)):
        return
    inner: dict[str, Any] = {"text": text}
    if block.signature and ours:
        inner["signature"] = block.signature
    yield {"reasoningContent": {"reasoningText": to.fill(inner, block.extra)}}


def blob_of(block: canon.Reasoning) -> str:
    """Redacted thinking in Base64."""
    if block.origin == CLAUDE:
        return base64.b64encode(block.encrypted.encode("utf-8", "replace")).decode()
    return block.encrypted


def _write_raw(block: canon.Raw, to: Writing) -> Written:
    if block.dialect == DIALECT and block.value:  # a part without a kind is none
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
