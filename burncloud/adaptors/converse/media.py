"""Images, documents and sounds: bytes in Base64 or a place in S3, of a format that is named.

Bedrock fetches nothing from the web.  A document's name may hold only letters, digits, single spaces, hyphens,
parentheses and square brackets, and no two documents of a request may have the same (AWS API reference,
"DocumentBlock").
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.fields import Fields, malformed

IMAGES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
_OFFICE: Final = "application/vnd.openxmlformats-officedocument"
DOCUMENTS: Final = {
    "application/pdf": "pdf", "text/csv": "csv", "application/msword": "doc",
    f"{_OFFICE}.wordprocessingml.document": "docx", "application/vnd.ms-excel": "xls",
    f"{_OFFICE}.spreadsheetml.sheet": "xlsx", "text/html": "html", "text/plain": "txt", "text/markdown": "md",
}  # fmt: skip
SOUNDS: Final = ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "m4a", "mpeg", "mpga", "pcm", "webm", "mkv", "mka")
_TYPES: Final = {form: kind for kind, form in {**IMAGES, **DOCUMENTS}.items()}
_SAME: Final = {"image/jpg": "image/jpeg", "text/x-markdown": "text/markdown", "application/csv": "text/csv"}
_AS_TEXT: Final = ("text/", "application/json", "application/xml", "application/x-")
_MAGIC: Final = (
    ("JVBER", "application/pdf"), ("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("R0lG", "image/gif"),
    ("UklGR", "image/webp"),
)  # fmt: skip

# Reading


def read_source(fields: Fields, form: str, family: str) -> canon.Source | None:
    """`source` of a block of this format; None for a kind that has no equal elsewhere (content in parts)."""
    source = fields.inner("source")
    if source is None:
        raise malformed(fields.at("source"), "given")
    kind = _TYPES.get(form, f"{family}/{form}" if form else "")
    found: canon.Source | None = None
    if "bytes" in source:
        found = canon.Source(kind, _base64(source))
    elif "s3Location" in source:
        where = source.inner("s3Location")
        assert where is not None
        found = canon.Source(kind, url=where.needed("uri"))
        if where.rest():
            source.rest()["s3Location"] = where.rest()
    elif "text" in source:
        found = canon.Source(kind, text=source.text("text"))
    if found is not None and source.rest():
        fields.rest()["source"] = source.rest()
    return found


def _base64(source: Fields) -> str:
    """The bytes; also as JavaScript writes a Buffer."""
    value = source.take("bytes")
    if type(value) is str:
        return value
    data = value.get("data") if type(value) is dict else None
    try:
        if type(data) is list:
            return base64.b64encode(bytes(data)).decode()
    except (ValueError, TypeError):
        pass
    raise malformed(source.at("bytes"), "a string of Base64")


# Writing


def image_format(source: canon.Source) -> str:
    """The format of an image; "" if it is none that Bedrock takes."""
    return IMAGES.get(_kind_of(source, "image/png"), "")


def document_format(source: canon.Source) -> str:
    """The format of a document; "" if it is none that Bedrock takes."""
    kind = _kind_of(source, "text/plain" if source.text else "application/pdf")
    return DOCUMENTS.get(kind) or ("txt" if kind.startswith(_AS_TEXT) else "")


def sound_format(source: canon.Source) -> str:
    """The format of a sound; "" if it is none that Bedrock takes."""
    form = source.media_type.partition("/")[2].removeprefix("x-")
    form = {"wave": "wav", "vnd.wave": "wav"}.get(form, form)
    return form if form in SOUNDS else ""


def _kind_of(source: canon.Source, fallback: str) -> str:
    kind = source.media_type.partition(";")[0].strip().lower()
    if not kind:
        kind = next((known for magic, known in _MAGIC if source.data.startswith(magic)), fallback)
    return _SAME.get(kind, kind)


def write_source(source: canon.Source, own: bool) -> dict[str, Any] | None:
    """`source`; None where the bytes are not at hand, or are none."""
    if source.data:
        return {"bytes": source.data if own else _clean(source.data)} if own or _clean(source.data) else None
    if source.url:
        return {"s3Location": {"uri": source.url}} if own or source.url.startswith("s3://") else None
    if source.text:
        return {"text": source.text} if own else {"bytes": base64.b64encode(source.text.encode()).decode()}
    return None


def _clean(data: str) -> str:
    """Base64 that every decoder takes: without line ends and the URL alphabet, with padding; "" if it is none."""
    try:
        base64.b64decode(data, validate=True)
        return data
    except (binascii.Error, ValueError):
        pass
    try:
        raw = base64.b64decode(data.translate(_URL_ALPHABET) + "===")
    except (binascii.Error, ValueError):
        return ""
    return base64.b64encode(raw).decode()


_URL_ALPHABET: Final = str.maketrans("-_", "+/", "\r\n\t =")

_NOT_IN_NAME: Final = re.compile(r"[^A-Za-z0-9\s()\[\]-]+")
_SPACES: Final = re.compile(r"\s+")
NAME_MAX: Final = 100
"""Characters; Bedrock takes 200."""


def document_name(title: str, taken: set[str]) -> str:
    """A name in Bedrock's alphabet that no other document of the request has."""
    name = _SPACES.sub(" ", _NOT_IN_NAME.sub("-", title)).strip(" -")[:NAME_MAX].strip() or "document"
    found, count = name, 1
    while found.lower() in taken:
        count += 1
        found = f"{name} ({count})"
    taken.add(found.lower())
    return found
