"""Parts of a message: input_text, input_image, input_file, input_audio, output_text, refusal, and canonical blocks.

Links among the annotations are citations; the others (files of OpenAI's store) stay in `extra`.  Parts without an
equal elsewhere are kept whole as Raw.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from burncloud.adaptors import canon, writing
from burncloud.adaptors.chat.blocks import data_url, source_of
from burncloud.adaptors.chat.families import Family, family_of
from burncloud.adaptors.documents import TEXT_TYPES, decoded, media_type_of, tagged
from burncloud.adaptors.fields import Fields, malformed

DIALECT: Final = "responses"

# Reading


def read_content(content: Any, where: str) -> list[canon.Block]:
    """`content` of a message, `output` of a tool: a string or a list of parts."""
    if content is None:
        return []
    if type(content) is str:
        return [canon.Text(content)]
    if type(content) is not list:
        raise malformed(where, "a string or a list")
    return [read_part(value, f"{where}[{at}]") for at, value in enumerate(content)]


def read_part(value: Any, where: str) -> canon.Block:
    """One part; Refusal if it is malformed.  What has no equal elsewhere becomes Raw."""
    fields = Fields(value, where)
    reader = _READERS.get(fields.text("type", "input_text"))
    block = reader(fields) if reader is not None else None
    return canon.Raw(DIALECT, value) if block is None else block


def _cache(fields: Fields) -> canon.Cache | None:
    """prompt_cache_breakpoint; what it says beside being there stays in the rest."""
    mark = fields.map("prompt_cache_breakpoint")
    if mark is None:
        return None
    if mark != _BREAKPOINT:
        fields.rest()["prompt_cache_breakpoint"] = mark
    return {"type": "ephemeral"}


_BREAKPOINT: Final = {"mode": "explicit"}


def _rest(fields: Fields) -> canon.Extra:
    return {name: value for name, value in fields.rest().items() if value not in (None, [])}


def _read_text(fields: Fields) -> canon.Block:
    text, cache = fields.text("text"), _cache(fields)
    links: list[dict[str, Any]] = []
    others: list[Any] = []
    for note in fields.items("annotations"):
        (links if is_link(note) else others).append(note)
    if others:
        fields.rest()["annotations"] = others
    return canon.Text(text, links, cache, _rest(fields))


def is_link(annotation: Any) -> bool:
    """Whether an annotation is a link, which others know, too."""
    return type(annotation) is dict and annotation.get("type") == "url_citation"


def _read_refusal(fields: Fields) -> canon.Block:
    return canon.Refusal(fields.text("refusal"), _rest(fields))


def _read_image(fields: Fields) -> canon.Block:
    given, file_id = fields.take("image_url"), fields.text("file_id")
    if type(given) is dict:  # as Chat has it
        given = given.get("url")
    if given is not None and type(given) is not str:
        raise malformed(fields.at("image_url"), "a string")
    if not given and not file_id:
        raise malformed(fields.at("image_url"), "given")
    source = source_of(given) if given else canon.Source(file_id=file_id)
    return canon.Image(source, fields.text("detail"), _cache(fields), _rest(fields))


def _read_file(fields: Fields) -> canon.Block | None:
    data, url, file_id = fields.text("file_data"), fields.text("file_url"), fields.text("file_id")
    title, cache = fields.text("filename"), _cache(fields)
    if data:
        source = source_of(data) if data.startswith("data:") else canon.Source("", data)
    elif url or file_id:
        source = canon.Source(url=url, file_id="" if url else file_id)
    else:
        raise malformed(fields.at("file_data"), "given")
    return canon.Document(source, title, cache, _rest(fields))


def _read_audio(fields: Fields) -> canon.Block:
    inner = fields.inner("input_audio")
    if inner is None:
        raise malformed(fields.at("input_audio"), "given")
    data, kind = inner.needed("data"), inner.text("format")
    media_type = {"mp3": "audio/mpeg"}.get(kind, f"audio/{kind}" if kind else "")
    if inner.rest():
        fields.rest()["input_audio"] = inner.rest()
    return canon.Audio(canon.Source(media_type, data), extra=_rest(fields))


DRAWN: Final = "image_generation_call"
"""The item of a picture that the model drew."""
_DRAWN: Final = frozenset({"id", "type", "status", "result", "output_format"})
_FORMATS: Final = ("png", "jpeg", "webp", "gif")


def drawn(item: dict[str, Any]) -> canon.Block:
    """A picture that the model drew; Raw where it is not in the item (it failed, or is only named)."""
    result, form = item.get("result"), item.get("output_format")
    if type(result) is not str or not _is_base64(result):
        return canon.Raw(DIALECT, item)
    kind = f"image/{form}" if form in _FORMATS else media_type_of(result, "image/png")
    extra = {name: value for name, value in item.items() if name not in _DRAWN and value is not None}
    return canon.Image(canon.Source(kind, result), extra=extra, said=item)


def _is_base64(text: str) -> bool:
    """Other vendors' clients decode a picture as they read the answer: one that cannot be decoded costs the answer."""
    try:
        return bool(binascii.a2b_base64(text, strict_mode=True))
    except ValueError:
        return False


_READERS: Final[dict[str, Callable[[Fields], canon.Block | None]]] = {
    "input_text": _read_text,
    "output_text": _read_text,
    "text": _read_text,
    "refusal": _read_refusal,
    "input_image": _read_image,
    "input_file": _read_file,
    "input_audio": _read_audio,
}

# Writing

_BREAKPOINTS: Final = re.compile(r"gpt-(5[.-]([6-9]|\d\d)|[6-9])")
"""Models with explicit prompt_cache_breakpoint (OpenAI's SDK: "gpt-5.6 and later")."""


class Writing(writing.Writing):
    """What the writer of items has to know: is it Responses' own, and for which model."""

    __slots__ = ("breakpoints", "family")

    def __init__(self, losses: canon.Losses, *, own: bool, model: str = "") -> None:
        super().__init__(losses, own=own)
        self.family: Family = family_of(model)
        self.breakpoints = bool(_BREAKPOINTS.search(model.lower()))

    def rest(self, value: dict[str, Any], cache: canon.Cache | None, extra: canon.Extra) -> dict[str, Any]:
        """The part with its cache mark and with the fields that only this dialect knows."""
        if cache and (self.own or self.breakpoints):
            value["prompt_cache_breakpoint"] = dict(_BREAKPOINT)
        elif cache:
            self.losses.add("cache_control")
        return self.fill(value, extra)


Written = Iterable[dict[str, Any]]


def write_parts(blocks: Iterable[canon.Block], to: Writing, *, spoken: bool = False) -> list[dict[str, Any]]:
    """All blocks that can be said as parts; `spoken`: by the assistant."""
    writers = _SPOKEN if spoken else _WRITERS
    return [part for block in blocks for part in writers.get(type(block), _lose)(block, to)]


def _write_text(block: canon.Text, to: Writing) -> Written:
    if block.text or to.own:
        if block.citations:
            to.losses.add("citations")
        yield to.rest({"type": "input_text", "text": block.text}, block.cache, block.extra)


def _speak_text(block: canon.Text, to: Writing) -> Written:
    if not block.text and not to.own:
        return
    value = {"type": "output_text", "text": block.text, "annotations": block.citations}
    extra = block.extra
    if to.own and "annotations" in extra:
        value["annotations"] = [*block.citations, *extra["annotations"]]
        extra = {name: more for name, more in extra.items() if name != "annotations"}
    yield to.rest(value, block.cache, extra)


def links_of(block: canon.Text, losses: canon.Losses) -> list[dict[str, Any]]:
    """The citations as annotations; those that are no links are lost."""
    links = [write_link(citation, len(block.text)) for citation in block.citations]
    if any(link is None for link in links):
        losses.add("citations")
    return [link for link in links if link is not None]


def write_link(citation: dict[str, Any], end: int) -> dict[str, Any] | None:
    """A url_citation; `end`: how long the text is that it stands for.  None if it is no link."""
    kind, inner = citation.get("type"), citation.get("url_citation")
    if kind == "url_citation":
        given = inner if type(inner) is dict else citation
    elif kind == "web_search_result_location":
        given = {"url": citation.get("url"), "title": citation.get("title")}
    else:
        return None
    url, title = given.get("url"), given.get("title")
    if type(url) is not str:
        return None
    first, last = given.get("start_index"), given.get("end_index")
    return {
        "type": "url_citation",
        "start_index": first if type(first) is int else 0,
        "end_index": last if type(last) is int else end,
        "title": title if type(title) is str else "",
        "url": url,
    }


def _write_refusal(block: canon.Refusal, to: Writing) -> Written:
    yield {"type": "input_text", "text": block.text}


def _speak_refusal(block: canon.Refusal, to: Writing) -> Written:
    yield to.rest({"type": "refusal", "refusal": block.text}, None, block.extra)


_WEB: Final = ("http://", "https://")


def _write_image(block: canon.Image, to: Writing) -> Written:
    source = block.source
    value: dict[str, Any] = {"type": "input_image"}
    if source.data:
        value["image_url"] = data_url(source, "image/png")
    elif source.url and (to.own or source.url.startswith(_WEB)):
        value["image_url"] = source.url
    elif source.file_id and to.own:
        value["file_id"] = source.file_id
    else:
        to.losses.add("image_url" if source.url else "file_id" if source.file_id else "image")
        return
    if block.detail or not to.own:
        value["detail"] = block.detail or "auto"
    yield to.rest(value, block.cache, block.extra)


_PDF: Final = "application/pdf"


def _write_document(block: canon.Document, to: Writing) -> Written:
    source = block.source
    text = source.text
    if not text and not to.own and source.data and source.media_type.startswith(TEXT_TYPES):
        text = decoded(source.data)
    if text:
        part = {"type": "input_text", "text": tagged(block.title, text)}
        yield to.rest(part, block.cache, block.extra)
        return
    value: dict[str, Any] = {"type": "input_file"}
    if source.data and (to.own or source.media_type in ("", _PDF)):
        value["file_data"] = source.data if to.own and not source.media_type else data_url(source, _PDF)
        title = block.title or ("" if to.own else "document.pdf")
    elif source.url and (to.own or source.url.startswith(_WEB)):
        value["file_url"], title = source.url, block.title if to.own else ""
        if block.title and not to.own:
            to.losses.add("document_title")
    elif source.file_id and to.own:
        value["file_id"], title = source.file_id, block.title
    else:
        to.losses.add("document_url" if source.url else "file_id" if source.file_id else "document")
        return
    if title:
        value["filename"] = title
    yield to.rest(value, block.cache, block.extra)


def _write_audio(block: canon.Audio, to: Writing) -> Written:
    """OpenAI's Responses hear nothing; some servers with their form do."""
    if to.own:
        kind = block.source.media_type.removeprefix("audio/").replace("mpeg", "mp3")
        inner = {"data": block.source.data} | ({"format": kind} if kind else {})
        yield to.rest({"type": "input_audio", "input_audio": inner}, None, block.extra)
        return
    to.losses.add("audio")
    if block.transcript:
        yield {"type": "input_text", "text": block.transcript}


def _write_raw(block: canon.Raw, to: Writing) -> Written:
    if block.dialect == DIALECT and to.own:
        yield block.value
    else:
        to.losses.block(block)


def _write_result(block: canon.ToolResult, to: Writing) -> Written:
    """A result in a place where no item of its own can be."""
    to.losses.add("tool_results")
    return write_parts(block.blocks, to)


def _lose(block: canon.Block, to: Writing) -> Written:
    to.losses.block(block)
    return ()


_WRITERS: Final[dict[type, Callable[[Any, Writing], Written]]] = {
    canon.Text: _write_text,
    canon.Refusal: _write_refusal,
    canon.Image: _write_image,
    canon.Document: _write_document,
    canon.Audio: _write_audio,
    canon.ToolResult: _write_result,
    canon.Raw: _write_raw,
}
_SPOKEN: Final[dict[type, Callable[[Any, Writing], Written]]] = {
    canon.Text: _speak_text,
    canon.Refusal: _speak_refusal,
    canon.Raw: _write_raw,
}
