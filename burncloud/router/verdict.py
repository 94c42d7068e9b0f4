"""Whether what an upstream gave with status 200 is an answer at all.

Empty bodies, pages of HTML, JSON that ends in its middle and errors in the place of an answer come with 200, too.
None of them may reach a client as long as another channel can answer; what is held until it is complete (DATAPLANE.md
rule 13) is judged here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud.adaptors.complaints import complaint_in
from burncloud.adaptors.reading import BAD_JSON, Reading
from burncloud.router.routes import Endpoint

FREE_FORM: Final = frozenset(("audio",))
"""Endpoints whose answers need not be JSON: sounds, subtitles."""
HTML: Final = (b"text/html", b"application/xhtml")
MEMBERS: Final[dict[str, tuple[str, ...]]] = {
    "chat.completions": ("choices",),
    "completions": ("choices",),
    "responses": ("output",),
    "messages": ("content",),
    "generateContent": ("candidates", "promptFeedback"),
    "streamGenerateContent": ("candidates", "promptFeedback"),
    "embeddings": ("data",),
}
"""API → what an answer of it holds, one of these."""
_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_valid: Final = msgspec.json.Decoder(msgspec.Raw).decode


def is_page(content_type: bytes) -> bool:
    """A page for people, which no API answers with."""
    return content_type.startswith(HTML)


def json_is_due(endpoint: Endpoint) -> bool:
    """Whether a plain answer of this API is JSON."""
    return endpoint.name not in FREE_FORM


def is_answer(endpoint: Endpoint, body: bytes, reading: Reading | None, own: bool = True) -> bool:
    """Whether a whole body, not compressed, that came with 200 is an answer.  `reading`: of it, if it was read.

    What the vendor complains of to the client (a prompt too long, content it will not take) is one.  `own`: it is in
    the client's dialect; any other is looked at when it is translated.
    """
    if not body:
        return False
    if reading is not None and reading.error:
        return bool(complaint_in(body))
    if json_is_due(endpoint) and not is_json(body):
        return False
    return not own or reading is None or reading.usage is not None or bool(reading.finish) or _says(endpoint, body)


def _says(endpoint: Endpoint, body: bytes) -> bool:
    """Whether JSON without usage and finish has what such an answer is about: errors come in forms of all kinds."""
    members = MEMBERS.get(endpoint.name)
    if members is None:
        return True
    try:
        said = _object(body)
    except BAD_JSON:
        return endpoint.dialect == "gemini" or body[:64].lstrip()[:1] != b"["  # a stream as an array, or as lines
    return any(member in said for member in members)


def is_json(body: bytes) -> bool:
    """One JSON object or array, or a line of JSON each (some servers stream so whatever was asked)."""
    if body[:64].lstrip()[:1] not in (b"{", b"["):
        return False
    try:
        _valid(body)
    except BAD_JSON:
        return all(_is_line(line) for line in body.splitlines() if line.strip())
    return True


def _is_line(line: bytes) -> bool:
    try:
        _valid(line)
    except BAD_JSON:
        return False
    return True
