"""Parts of a message: Chat's content parts and the canonical blocks.

Content that is one text is written as a string, which every copy of the API takes.  Parts without an equal elsewhere
(video, references, whatever comes next) are kept whole as Raw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from burncloud.adaptors import canon, writing
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.chat.families import DIALECT, Family, family_of
from burncloud.adaptors.chat.reasoning import shown
from burncloud.adaptors.documents import TEXT_TYPES, decoded, tagged
from burncloud.adaptors.fields import Fields, malformed

# Reading


def read_content(content: Any, where: str) -> list[canon.Block]:
    """`content` of a message: a string, a list of parts, or an object that is meant as text (Cloudflare)."""
    if content is None:
        return []
    if type(content) is str:
        return [canon.Text(content)]
    if type(content) is dict:
        return [canon.Text(encoded(content).decode())]
    if type(content) is not list:
        raise malformed(where, "a string or a list")
    return [read_part(value, f"{where}[{at}]") for at, value in enumerate(content)]


def read_part(value: Any, where: str) -> canon.Block:
    """One part; Refusal if it is malformed.  What has no equal elsewhere becomes Raw."""
    if type(value) is str:
        return canon.Text(value)
    fields = Fields(value, where)
    reader = _READERS.get(fields.text("type", "text"))
    block = reader(fields) if reader is not None else None
    return canon.Raw(DIALECT, value) if block is None else block


def _read_text(fields: Fields) -> canon.Block:
    return canon.Text(fields.text("text"), [], fields.map("cache_control"), fields.rest())


def _read_refusal(fields: Fields) -> canon.Block:
    return canon.Refusal(fields.text("refusal"), fields.rest())


def source_of(url: str) -> canon.Source:
    """A URL, taken apart where it is the data itself."""
    if not url.startswith("data:"):
        return canon.Source(url=url)
    head, comma, data = url[5:].partition(",")
    media_type, *options = head.split(";")
    if not comma or "base64" not in options:
        return canon.Source(url=url)
    return canon.Source(media_type, data)


def _read_image(fields: Fields) -> canon.Block:
    cache = fields.map("cache_control")
    if type(fields.rest().get("image_url")) is str:
        return canon.Image(source_of(fields.text("image_url")), fields.text("detail"), cache, fields.rest())
    inner = fields.inner("image_url")
    if inner is None:
        raise malformed(fields.at("image_url"), "given")
    url, detail = inner.needed("url"), inner.text("detail")
    if inner.rest():
        fields.rest()["image_url"] = inner.rest()
    return canon.Image(source_of(url), detail, cache, fields.rest())


def _read_audio(fields: Fields) -> canon.Block:
    if type(fields.rest().get("input_audio")) is str:  # Mistral
        given = fields.text("input_audio")
        source = source_of(given) if given.startswith(("data:", "http")) else canon.Source(data=given)
        return canon.Audio(source, extra=fields.rest())
    inner = fields.inner("input_audio")
    if inner is None:
        raise malformed(fields.at("input_audio"), "given")
    data, kind = inner.needed("data"), inner.text("format")
    source = source_of(data) if data.startswith("data:") else canon.Source(data=data)
    if kind:
        source.media_type = _AUDIO_TYPES.get(kind, f"audio/{kind}")
    if inner.rest():
        fields.rest()["input_audio"] = inner.rest()
    return canon.Audio(source, extra=fields.rest())


_AUDIO_TYPES: Final = {"mp3": "audio/mpeg"}
_AUDIO_FORMATS: Final = {"mpeg": "mp3", "mpga": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}


def _read_file(fields: Fields) -> canon.Block:
    inner = fields.inner("file")
    if inner is None:
        raise malformed(fields.at("file"), "given")
    data, name, file_id = inner.text("file_data"), inner.text("filename"), inner.text("file_id")
    if inner.rest():
        fields.rest()["file"] = inner.rest()
    if file_id and not data:
        source = canon.Source(file_id=file_id)
    else:
        source = source_of(data) if data.startswith(("data:", "http")) else canon.Source("application/pdf", data)
    if source.media_type.startswith("image/"):
        return canon.Image(source, "", fields.map("cache_control"), fields.rest())
    return canon.Document(source, name, fields.map("cache_control"), fields.rest())


def _read_document_url(fields: Fields) -> canon.Block:
    url, name = fields.needed("document_url"), fields.text("document_name")
    return canon.Document(source_of(url), name, fields.map("cache_control"), fields.rest())


def _read_thinking(fields: Fields) -> canon.Block:
    """Mistral's: a list of texts, or a string."""
    whole = dict(fields.rest())
    given = whole.get("thinking")
    pieces = given if type(given) is list else [given]
    texts = [piece.get("text") if type(piece) is dict else piece for piece in pieces]
    text = "".join(text for text in texts if type(text) is str)
    return canon.Reasoning(text, origin=DIALECT, said={"part": {"type": "thinking", **whole}})


_READERS: Final[dict[str, Callable[[Fields], canon.Block | None]]] = {
    "text": _read_text,
    "input_text": _read_text,
    "output_text": _read_text,
    "refusal": _read_refusal,
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
    "document_url": _read_document_url,
    "thinking": _read_thinking,
}

# Writing


class Writing(writing.Writing):
    """What the writer of blocks has to know: is it Chat's own, an answer or a request, and for which model."""

    __slots__ = ("family",)

    def __init__(self, losses: canon.Losses, *, own: bool, answer: bool = False, model: str = "") -> None:
        super().__init__(losses, own=own, answer=answer)
        self.family: Family = family_of(model)

    def rest(self, value: dict[str, Any], cache: canon.Cache | None, extra: canon.Extra) -> dict[str, Any]:
        """The part with its cache mark and with the fields that only this dialect knows."""
        if cache and (self.own or self.family.cache):
            value["cache_control"] = cache
        elif cache:
            self.losses.add("cache_control")
        return self.fill(value, extra)


Written = Iterable[dict[str, Any]]


def write_content(blocks: list[canon.Block], to: Writing, between: str = "\n\n") -> str | list[dict[str, Any]]:
    """`content`: a string where texts are all there is; `between` stands between those of another dialect."""
    parts = write_parts(blocks, to)
    plain = all(part.keys() == {"type", "text"} and part["type"] == "text" for part in parts)
    if plain and (len(parts) < 2 or not to.own):
        return between.join(part["text"] for part in parts)
    return parts


def write_parts(blocks: list[canon.Block], to: Writing) -> list[dict[str, Any]]:
    """All blocks that can be said as parts; the others are named in the losses."""
    return [part for block in blocks for part in _WRITERS[type(block)](block, to)]


def _write_text(block: canon.Text, to: Writing) -> Written:
    if block.citations and not (to.own or to.answer):
        to.losses.add("citations")
    if block.text or to.own:
        yield to.rest({"type": "text", "text": block.text}, block.cache, block.extra)


def _write_refusal(block: canon.Refusal, to: Writing) -> Written:
    if to.own:
        yield to.rest({"type": "refusal", "refusal": block.text}, None, block.extra)
    elif block.text:
        yield to.rest({"type": "text", "text": block.text}, None, block.extra)


_WEB: Final = ("http://", "https://")


def data_url(source: canon.Source, fallback: str) -> str:
    """The data as a URL."""
    return f"data:{source.media_type or fallback};base64,{source.data}"


def write_image(block: canon.Image, to: Writing) -> dict[str, Any] | None:
    """An image part; None (and a loss) if Chat cannot say where it is."""
    source = block.source
    if source.data:
        url = data_url(source, "image/png")
    elif source.url and (to.own or source.url.startswith(_WEB)):
        url = source.url
    else:
        to.losses.add("image_url" if source.url else "file_id" if source.file_id else "image")
        return None
    value: dict[str, Any] = {"url": url}
    if block.detail:
        value["detail"] = block.detail
    return to.rest({"type": "image_url", "image_url": value}, block.cache, block.extra)


def _write_image(block: canon.Image, to: Writing) -> Written:
    part = write_image(block, to)
    if part is not None:
        yield part


def _write_document(block: canon.Document, to: Writing) -> Written:
    source = block.source
    text = source.text
    if not text and source.data and source.media_type.startswith(TEXT_TYPES) and not to.own:
        text = decoded(source.data)
    if text:
        part = {"type": "text", "text": tagged(block.title, text)}
        yield to.rest(part, block.cache, {} if to.own else block.extra)
        return
    family = to.family
    value: dict[str, Any] | None = None
    if family.mistral and not source.file_id and (source.url or source.data):
        value = {"type": "document_url", "document_url": source.url or data_url(source, "application/pdf")}
        if block.title:
            value["document_name"] = block.title
    elif source.url and (to.own or family.history == "details"):
        value = _file(file_data=source.url, filename=block.title)
    elif source.data and (to.own or (family.files and source.media_type in ("", "application/pdf"))):
        value = _file(filename=block.title or ("" if to.own else "document.pdf"), file_data=data_url(source, _PDF))
    elif source.file_id and to.own:
        value = _file(filename=block.title, file_id=source.file_id)
    if value is None:
        to.losses.add("document_url" if source.url else "file_id" if source.file_id else "document")
        return
    yield to.rest(value, block.cache, block.extra)


_PDF: Final = "application/pdf"


def _file(**members: str) -> dict[str, Any]:
    return {"type": "file", "file": {name: value for name, value in members.items() if value}}


def _write_audio(block: canon.Audio, to: Writing) -> Written:
    source = block.source
    kind = source.media_type.removeprefix("audio/").partition(";")[0]
    kind = _AUDIO_FORMATS.get(kind, kind)
    if to.family.mistral and (source.data or source.url):
        data = source.url or (data_url(source, "") if source.media_type else source.data)
        yield to.rest({"type": "input_audio", "input_audio": data}, None, block.extra)
    elif source.data and (to.own or kind in ("wav", "mp3") or not to.family.openai):
        inner = {"data": source.data} | ({"format": kind} if kind or not to.own else {})
        yield to.rest({"type": "input_audio", "input_audio": inner}, None, block.extra)
    else:
        to.losses.add("audio")
        if block.transcript:
            yield {"type": "text", "text": block.transcript}


def _write_reasoning(block: canon.Reasoning, to: Writing) -> Written:
    """Only Mistral has thinking among the parts; elsewhere it has members of its own (reasoning.py)."""
    if to.own and block.said and "part" in block.said:
        yield block.said["part"]
    elif to.family.history == "part" and shown(block):
        yield {"type": "thinking", "thinking": [{"type": "text", "text": shown(block)}]}


def _write_result(block: canon.ToolResult, to: Writing) -> Written:
    """A result in a place where no message of its own can be."""
    to.losses.add("tool_results")
    return write_parts(block.blocks, to)


def _write_call(block: canon.ToolCall, to: Writing) -> Written:
    to.losses.add("tool_calls")
    return ()


def _write_raw(block: canon.Raw, to: Writing) -> Written:
    if block.dialect == DIALECT and to.own:
        yield block.value
    else:
        to.losses.block(block)


_WRITERS: Final[dict[type, Callable[[Any, Writing], Written]]] = {
    canon.Text: _write_text,
    canon.Refusal: _write_refusal,
    canon.Image: _write_image,
    canon.Document: _write_document,
    canon.Audio: _write_audio,
    canon.ToolCall: _write_call,
    canon.ToolResult: _write_result,
    canon.Reasoning: _write_reasoning,
    canon.Raw: _write_raw,
}


def read_citations(given: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    """(links, what else stands among the annotations)."""
    links: list[dict[str, Any]] = []
    rest: list[Any] = []
    for value in given if type(given) is list else []:
        is_link = type(value) is dict and value.get("type") == "url_citation"
        (links if is_link else rest).append(value)
    return links, rest


def write_citation(citation: dict[str, Any], start: int, end: int) -> dict[str, Any] | None:
    """An annotation; `start` and `end`: where the cited text stands.  None if it is no link."""
    kind = citation.get("type")
    inner = citation.get("url_citation")
    if kind == "url_citation" and type(inner) is dict:
        first, last = inner.get("start_index"), inner.get("end_index")
        if not start or type(first) is not int or type(last) is not int:
            return citation
        return {**citation, "url_citation": {**inner, "start_index": first + start, "end_index": last + start}}
    url = citation.get("url")
    if type(url) is not str or kind not in ("url_citation", "web_search_result_location"):
        return None
    if kind == "url_citation":
        first, last = citation.get("start_index"), citation.get("end_index")
        if type(first) is int and type(last) is int:
            start, end = start + first, start + last
    title = citation.get("title")
    link = {"start_index": start, "end_index": end, "title": title if type(title) is str else "", "url": url}
    return {"type": "url_citation", "url_citation": link}
