"""What an upstream says of its own failure: the sentence and the kind, in whatever shape, without its secrets.

Error bodies come from more hands than answers do: the vendor's API, its cloud's front door, a proxy before it.  So
one function knows all the shapes, and each dialect writes the result in its own.  Addresses, keys and account names
are cut out of the sentence: it goes to a caller who must not learn where the gateway sends requests.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from burncloud.adaptors.canon import Failure
from burncloud.adaptors.reading import BAD_JSON

MESSAGE_CHARS_MAX: Final = 2_000
_MESSAGES: Final = ("message", "Message", "error_description", "detail", "msg", "reason", "error")
_KINDS: Final = ("type", "status", "code", "__type")

_SECRETS: Final = (
    (re.compile(r"\b[a-z][a-z0-9+.-]{1,10}://[^\s\"'<>)\]}]+", re.IGNORECASE), "[link]"),
    (re.compile(r"\barn:aws[\w-]*:[^\s\"',)]+"), "[resource]"),
    (re.compile(r"\bprojects/[\w:.-]+"), "projects/[project]"),
    (re.compile(r"\b(?:org|proj)-[A-Za-z0-9]{8,}\b"), "[account]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)?"), "[key]"),
    (re.compile(r"\b(?:sk|pk|rk|gsk|xai|pplx|nvapi|hf|r8|ak)[-_][\w*.…-]{6,}"), "[key]"),
    (re.compile(r"\b(?:AIza|AKIA|ASIA|ya29\.)[\w*.-]{6,}"), "[key]"),
    (re.compile(r"(?i)(\bbearer\s+|\bapi[ _-]?key(?: provided)?\s*[:=]\s*)[\"']?[\w*.…-]{4,}[\"']?"), r"\1[key]"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"), "[host]"),
    (
        re.compile(
            r"\b(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+"
            r"(?:com|net|org|io|ai|cn|dev|app|cloud|co|eu|us|internal|local|lan|svc|run|xyz)(?::\d+)?\b(?![\w(\[.])",
            re.IGNORECASE,
        ),
        "[host]",
    ),
)  # fmt: skip


def scrubbed(text: str) -> str:
    """The text without addresses, keys and account names, and not too long."""
    text = text[: 2 * MESSAGE_CHARS_MAX]
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text if len(text) <= MESSAGE_CHARS_MAX else text[: MESSAGE_CHARS_MAX - 1] + "…"


def failure_of(status: int, body: bytes) -> Failure:
    """An error answer of any shape; its sentence is the status alone where the body has none."""
    try:
        value = msgspec.json.decode(body)
    except BAD_JSON:
        return Failure(status, _plain(status, body))
    return failure_in(status, value)


def failure_in(status: int, value: Any) -> Failure:
    """The same from decoded JSON: an error body, or the `error` of an event."""
    message, kind = _said(value)
    return Failure(status, scrubbed(message) if message else _bare(status), kind)


def _said(value: Any, depth: int = 0) -> tuple[str, str]:
    """(sentence, kind); the innermost object that has a sentence knows its kind best."""
    if isinstance(value, list) and value:  # Gemini in array form
        value = value[0]
    if isinstance(value, str):
        return value, ""
    if not isinstance(value, dict) or depth > 4:
        return "", ""
    kind = next((str(value[name]) for name in _KINDS if isinstance(value.get(name), str) and value[name]), "")
    inner = value.get("error")
    if isinstance(inner, dict):
        message, inner_kind = _said(inner, depth + 1)
        if message:
            return message, inner_kind or ("" if kind == "error" else kind)
    for name in _MESSAGES:
        said = value.get(name)
        if isinstance(said, str) and said.strip():
            return said.strip(), "" if kind == said else kind
        if isinstance(said, list | dict) and name != "error":
            message, _ = _said(said, depth + 1)
            if message:
                return message, kind
    return "", kind


def _plain(status: int, body: bytes) -> str:
    """A body that is no JSON: a line of text is a sentence, a page of HTML is not."""
    text = body[: 2 * MESSAGE_CHARS_MAX].decode("utf-8", "replace").strip()
    if not text or text.startswith("<") or "<html" in text.lower() or not text.isprintable():
        return _bare(status)
    return scrubbed(text)


def _bare(status: int) -> str:
    return f"The upstream answered with status {status}"
