"""Documents as text, for models that read no files, and what a file is by its first bytes."""

from __future__ import annotations

import base64
from typing import Final

TEXT_TYPES: Final = (
    "text/",
    "application/json",
    "application/xml",
    "application/csv",
    "application/x-",
    "application/ya",
)
"""Media types that are text, by their beginnings."""

_MAGIC: Final = (
    ("JVBER", "application/pdf"), ("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("R0lG", "image/gif"),
    ("UklGR", "image/webp"), ("SUQz", "audio/mpeg"), ("//u", "audio/mpeg"),
)  # fmt: skip


def media_type_of(data: str, otherwise: str) -> str:
    """The media type by the first bytes of the Base64."""
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), otherwise)


def decoded(data: str) -> str:
    """The text in Base64; "" if it is none."""
    try:
        return base64.b64decode(data).decode("utf-8")
    except ValueError:
        return ""


def tagged(title: str, text: str) -> str:
    """A document's text among other texts."""
    head = f"<document title={title!r}>" if title else "<document>"
    return f"{head}\n{text}\n</document>"
