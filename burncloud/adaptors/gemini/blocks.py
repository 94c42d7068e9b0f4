"""Parts of a message: Gemini's parts and the canonical blocks.

A thoughtSignature on a call stands in the call, on a thought in the thought.  On any other part it becomes a thought
without text right behind that part's block, and is put back onto it when it is written.  Parts that have no equal
elsewhere (video, executed code, server-side calls, whatever comes next) are kept whole as Raw.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon, writing
from burncloud.adaptors.bodies import encoded
from burncloud.adaptors.documents import TEXT_TYPES, decoded, media_type_of, tagged
from burncloud.adaptors.gemini.envelope import opened, sealed
from burncloud.adaptors.gemini.families import Family, family_of
from burncloud.adaptors.gemini.names import DIALECT, Names, camelled
from burncloud.adaptors.gemini.results import Ids, read_response, response_of, written_id
from burncloud.adaptors.reading import BAD_JSON

FILES: Final = "generativelanguage.googleapis.com"
"""Where Gemini's own file store is: a link to it means nothing to another vendor."""

# Reading


def read_parts(content: Names, ids: Ids) -> list[canon.Block]:
    """`parts` of a content."""
    blocks: list[canon.Block] = []
    for part in content.listed("parts"):
        signature = part.rest().get("thoughtSignature")
        found = read_part(part, ids)
        if len(found) == 1 and isinstance(found[0], canon.Reasoning) and found[0].origin != DIALECT:
            found = [opened(str(signature), _before(blocks) + shown(found[0])) or found[0]]
        if len(found) == 1 and blocks and (more := _unsigned_thought(found[0])) and _unsigned_thought(blocks[-1]):
            found = [canon.Reasoning(_before(blocks) + more, origin=DIALECT)]  # clients keep a stream's pieces apart
        blocks += found
    return blocks


def _unsigned_thought(block: canon.Block) -> str:
    """The text of a thought of Gemini's without a signature; "" if it is none."""
    if isinstance(block, canon.Reasoning) and block.origin == DIALECT and not (block.signature or block.extra):
        return block.text
    return ""


def _before(blocks: list[canon.Block]) -> str:
    """The text of the thoughts at the end, taken off: a stream tells whose they are after them."""
    text = ""
    while blocks:
        last = blocks[-1]
        if not isinstance(last, canon.Reasoning) or last.origin != DIALECT or last.signature:
            break
        text = last.text + text
        blocks.pop()
    return text


def shown(block: canon.Reasoning) -> str:
    """The text of the thinking, or the summaries that stand for it."""
    return block.text or "\n\n".join(block.summary)


def read_part(part: Names, ids: Ids) -> list[canon.Block]:
    """One part; Refusal if it is malformed."""
    whole = part.rest().copy()
    signature = part.text("thoughtSignature")
    thought = part.flag("thought")
    reader = next((_READERS[name] for name in _READERS if name in part), None)
    if reader is None or (thought and "text" not in part):
        return [canon.Raw(DIALECT, whole)]
    if thought:
        return [read_thought(part.text("text"), signature, part.rest())]
    block = reader(part, ids)
    if block is None:
        return [canon.Raw(DIALECT, whole)]
    if not signature:
        return [block]
    if isinstance(block, canon.ToolCall):
        block.signature = signature
        return [block]
    signed = canon.Reasoning(signature=signature, origin=DIALECT)
    if isinstance(block, canon.Text) and not block.text:
        signed.extra = {"alone": True}
        return [signed]
    return [block, signed]


def read_thought(text: str, signature: str, extra: canon.Extra) -> canon.Reasoning:
    """Thinking of Gemini, or of whoever else it was carried for."""
    return opened(signature, text) or canon.Reasoning(text, signature=signature, origin=DIALECT, extra=extra)


def _read_text(part: Names, ids: Ids) -> canon.Block:
    return canon.Text(part.text("text"), extra=part.rest())


def _read_call(part: Names, ids: Ids) -> canon.Block | None:
    call = part.inner("functionCall")
    if call is None or "name" not in call:
        return None  # a piece of a call (streamFunctionCallArguments)
    name = call.needed("name")
    call_id = ids.call(call.text("id"), name)
    arguments = encoded(call.map("args") or {}).decode()
    return canon.ToolCall(call_id, name, arguments, extra=_nested(part, call, "functionCall"))


def _read_result(part: Names, ids: Ids) -> canon.Block | None:
    response = part.inner("functionResponse")
    if response is None:
        return None
    result = read_response(response, ids, lambda inner: read_part(inner, ids))
    result.extra = {**part.rest(), **({"functionResponse": result.extra} if result.extra else {})}
    return result


def _nested(part: Names, inner: Names, name: str) -> canon.Extra:
    """What nobody took of a part and of the object in it."""
    return {**part.rest(), **({name: inner.rest()} if inner.rest() else {})}


def _read_inline(part: Names, ids: Ids) -> canon.Block | None:
    blob = part.inner("inlineData")
    if blob is None:
        return None
    source = canon.Source(blob.text("mimeType"), plain_base64(blob.needed("data")))
    return _media(source, part, blob, "inlineData")


def _read_file(part: Names, ids: Ids) -> canon.Block | None:
    file = part.inner("fileData")
    if file is None:
        return None
    uri = file.needed("fileUri")
    source = canon.Source(file.text("mimeType") or _by_ending(uri))
    if FILES in uri:
        source.file_id = uri
    else:
        source.url = uri
    return _media(source, part, file, "fileData")


def _media(source: canon.Source, part: Names, inner: Names, name: str) -> canon.Block | None:
    """A picture, a sound, a document; None for video and what has no type."""
    title = inner.text("displayName")
    extra = _nested(part, inner, name)
    kind = source.media_type.partition("/")[0]
    if kind == "image":
        if title:
            extra.setdefault(name, {})["displayName"] = title
        return canon.Image(source, extra=extra)
    if kind == "audio":
        return canon.Audio(source, extra=extra)
    if kind in ("application", "text"):
        return canon.Document(source, title, extra=extra)
    return None


def plain_base64(data: str) -> str:
    """The alphabet that every vendor takes; Google's SDKs send the one for URLs."""
    if "-" in data or "_" in data:
        data = data.replace("-", "+").replace("_", "/")
    return data if len(data) % 4 == 0 else data.rstrip("=") + "=" * (-len(data.rstrip("=")) % 4)


_READERS: Final[dict[str, Callable[[Names, Ids], canon.Block | None]]] = {
    "functionCall": _read_call,
    "functionResponse": _read_result,
    "inlineData": _read_inline,
    "fileData": _read_file,
    "text": _read_text,
}

# Writing


class Writing(writing.Writing):
    """What the writer of parts has to know: is it Gemini's own, an answer or a request, and for which model."""

    __slots__ = ("family", "names", "said")

    def __init__(self, losses: canon.Losses, *, own: bool, answer: bool = False, model: str = "") -> None:
        super().__init__(losses, own=own, answer=answer)
        self.family: Family = family_of(model)
        self.names: dict[str, str] = {}
        """Names of functions by the ids of their calls."""
        self.said: dict[str, str] = {}

    def rest(self, value: dict[str, Any], cache: canon.Cache | None, extra: canon.Extra) -> dict[str, Any]:
        """The part with the fields that only this dialect knows; cache marks mean nothing to it."""
        if cache:
            self.losses.add("cache_control")
        return self.fill(value, extra)


Parts = list[dict[str, Any]]


def write_parts(blocks: list[canon.Block], to: Writing) -> Parts:
    """All blocks that can be said in this dialect; the others are named in the losses."""
    parts: Parts = []
    for block in blocks:
        if isinstance(block, canon.Reasoning):
            _write_reasoning(block, to, parts)
        else:
            parts += _WRITERS[type(block)](block, to)
    return parts


def _write_text(block: canon.Text, to: Writing) -> Parts:
    if block.citations and not to.answer:
        to.losses.add("citations")
    if not block.text and not to.own:
        return []
    return [to.rest({"text": block.text}, block.cache, block.extra)]


def _write_refusal(block: canon.Refusal, to: Writing) -> Parts:
    return [to.rest({"text": block.text}, None, block.extra)] if block.text else []


_ENDINGS: Final = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "html": "text/html",
    "csv": "text/csv", "md": "text/markdown", "mp3": "audio/mpeg", "wav": "audio/wav", "ogg": "audio/ogg",
    "flac": "audio/flac", "aac": "audio/aac", "m4a": "audio/mp4",
}  # fmt: skip


def _by_ending(url: str) -> str:
    """The media type by the end of a link's path."""
    return _ENDINGS.get(url.partition("?")[0].rpartition(".")[2].lower(), "")


def _source(source: canon.Source, fallback: str, to: Writing, what: str) -> dict[str, Any] | None:
    """inlineData or fileData; None (and a loss) if Gemini cannot reach it."""
    kind = source.media_type
    if source.data:
        return {"inlineData": {"mimeType": kind or media_type_of(source.data, fallback), "data": source.data}}
    uri = source.url
    if source.file_id and (to.own or FILES in source.file_id):
        uri = source.file_id
    if uri and (to.own or uri.startswith(("http://", "https://", "gs://"))):
        inner = {"fileUri": uri}
        kind = kind or _by_ending(uri) or ("" if to.own else fallback)
        return {"fileData": {"mimeType": kind, **inner} if kind else inner}
    to.losses.add(f"{what}_url" if source.url else "file_id" if source.file_id else what)
    return None


def _write_image(block: canon.Image, to: Writing) -> Parts:
    part = _source(block.source, "image/jpeg", to, "image")
    if part is None:
        return []
    if block.detail not in ("", "auto"):
        to.losses.add("image_detail")
    return [to.rest(part, block.cache, block.extra)]


_READ: Final = ("", "application/pdf", "text/plain", "text/html", "text/css", "text/md", "text/markdown", "text/csv",
                "text/xml", "text/rtf")  # fmt: skip
"""What Gemini reads as a document."""


def _write_document(block: canon.Document, to: Writing) -> Parts:
    source = block.source
    text = source.text
    if source.data and not to.own and source.media_type not in _READ:
        text = decoded(source.data) if source.media_type.startswith(TEXT_TYPES) else ""
        if not text:
            to.losses.add("document")
            return []
    if text:
        return [to.rest({"text": tagged(block.title, text)}, block.cache, {} if to.own else block.extra)]
    part = _source(source, "application/pdf", to, "document")
    if part is None:
        return []
    if block.title and to.own:
        part[next(iter(part))]["displayName"] = block.title
    elif block.title:
        to.losses.add("document_title")
    return [to.rest(part, block.cache, block.extra)]


def _write_audio(block: canon.Audio, to: Writing) -> Parts:
    parts: Parts = [{"text": block.transcript}] if block.transcript else []
    source = block.source
    if not (source.data or source.url or source.file_id):
        if block.id or not parts:
            to.losses.add("audio")
        return parts
    part = _source(source, "audio/wav", to, "audio")
    if part is not None:
        parts.append(to.rest(part, None, block.extra))
    return parts


def _write_call(block: canon.ToolCall, to: Writing) -> Parts:
    to.names[block.id] = block.name
    inner = {**written_id(block.id), "name": block.name, "args": arguments_of(block, to.losses)}
    part: dict[str, Any] = {"functionCall": inner}
    if block.signature:
        part["thoughtSignature"] = block.signature
    return [to.rest(part, block.cache, block.extra)]


def arguments_of(block: canon.ToolCall, losses: canon.Losses) -> dict[str, Any]:
    """The arguments as an object, which is the only form Gemini has."""
    if block.custom:
        losses.add("custom_tools")
        return {"input": block.arguments}
    if block.arguments.strip() in ("", "null"):
        return {}
    try:
        value = msgspec.json.decode(block.arguments)
    except BAD_JSON:
        value = None
    if type(value) is dict:
        return value
    losses.add("tool_arguments")
    return {"input": block.arguments if value is None else value}


_SAID: Final = (canon.Text, canon.Refusal)


def _write_result(block: canon.ToolResult, to: Writing) -> Parts:
    texts = [str(part["text"]) for one in block.blocks if isinstance(one, _SAID) for part in write_parts([one], to)]
    others: list[canon.Block] = [part for part in block.blocks if not isinstance(part, _SAID)]
    media = write_parts(others, to)
    texts += [part["text"] for part in media if "text" in part]
    media = [part for part in media if "text" not in part]
    key = to.said.get(f"result.{block.call_id}", "") if to.own else ""
    response = response_of("\n".join(texts), block.is_error, key) if texts or not to.own else {}
    name = block.name or to.names.get(block.call_id, "unknown")
    inner: dict[str, Any] = {**written_id(block.call_id), "name": name, "response": response}
    beside: Parts = []
    if media and (to.own or to.family.result_media):
        inner["parts"] = media
    elif media:
        to.losses.add("tool_result_media")
        beside = [{"text": f"What {name} answered:"}, *media]
    return [to.rest({"functionResponse": inner}, block.cache, block.extra), *beside]


def _write_reasoning(block: canon.Reasoning, to: Writing, parts: Parts) -> None:
    """A thought, or a signature that belongs to the part before it."""
    text = shown(block)
    if block.origin == DIALECT:
        if not text and block.signature and "alone" not in block.extra and parts and _unsigned(parts[-1]):
            parts[-1]["thoughtSignature"] = block.signature
            return
        if not text and block.signature:
            parts.append({"text": "", "thoughtSignature": block.signature})
            return
        part: dict[str, Any] = {"text": text, "thought": True}
        if block.signature:
            part["thoughtSignature"] = block.signature
        parts.append(to.rest(part, None, block.extra))
        return
    to.losses.rest(block)
    carried = sealed(block) if to.answer else ""
    if carried:
        parts.append({"text": text, "thought": True, "thoughtSignature": carried})
        return
    if block.signature or block.encrypted:
        to.losses.add("thinking_signature")
    if text and (to.answer or to.family.knob):
        parts.append({"text": text, "thought": True})
    elif text or not (block.signature or block.encrypted):
        to.losses.add("thinking")


def _unsigned(part: dict[str, Any]) -> bool:
    return not ("thoughtSignature" in part or "thought" in part or "functionCall" in part)


def _write_raw(block: canon.Raw, to: Writing) -> Parts:
    if block.dialect == DIALECT:
        return [camelled(block.value)]
    to.losses.block(block)
    return []


_WRITERS: Final[dict[type, Callable[[Any, Writing], Parts]]] = {
    canon.Text: _write_text,
    canon.Refusal: _write_refusal,
    canon.Image: _write_image,
    canon.Document: _write_document,
    canon.Audio: _write_audio,
    canon.ToolCall: _write_call,
    canon.ToolResult: _write_result,
    canon.Raw: _write_raw,
}
