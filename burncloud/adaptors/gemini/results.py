"""Answers of functions, and the ids by which they find their calls.

Gemini's calls may come without ids: a result belongs to the first call of its name that has none yet.  Other
dialects need ids, so each such call gets one here, the same for the same body; it is recognised and left out when
the call is written for Gemini again.

A functionResponse is an object.  Its text stands under "output", or "error" where the function failed; an object
that says more is the text of its JSON.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import msgspec

from burncloud.adaptors import canon
from burncloud.adaptors.fields import malformed
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.reading import BAD_JSON

MADE: Final = "gcall_"
"""How the ids begin that are made here."""


class Ids:
    """The ids of one conversation or answer, as its calls and results come.  `made` tells one answer from another."""

    def __init__(self, made: str = "") -> None:
        self._made = f"{MADE}{made}_" if made else MADE
        self._next = 0
        self._waiting: list[tuple[str, str]] = []
        self.said: dict[str, str] = {}
        """How results were said, by their id: for Request.said."""

    def call(self, call_id: str, name: str) -> str:
        """The id of a call."""
        if not call_id:
            call_id = f"{self._made}{self._next}"
            self._next += 1
        self._waiting.append((call_id, name))
        return call_id

    def result(self, call_id: str, name: str) -> str:
        """The id of the call that a result belongs to."""
        for wanted in ((call_id, None), ("", name)):
            for at, (known, called) in enumerate(self._waiting):
                if known == wanted[0] or (not wanted[0] and not call_id and called == wanted[1]):
                    del self._waiting[at]
                    return known
        return call_id or f"{self._made}{name}"


def made_from(answer_id: str, body: bytes) -> str:
    """What goes into the ids of an answer's calls: its responseId, or something of the body that has none."""
    letters = "".join(letter for letter in answer_id if letter.isascii() and letter.isalnum())
    return letters[-20:] or f"{crc32(body):08x}"


# Reading

_WRAPPERS: Final = ("output", "result", "return_value", "response", "content", "error")


def read_response(fields: Names, ids: Ids, read_part: Any) -> canon.ToolResult:
    """A functionResponse; `read_part` reads its media."""
    name = fields.needed("name")
    call_id = ids.result(fields.text("id"), name)
    response = fields.map("response")
    blocks: list[canon.Block] = []
    is_error = False
    if response:
        key, value = next(iter(response.items()))
        is_error = key == "error" and bool(value)
        if len(response) == 1 and key in _WRAPPERS and type(value) is str:
            blocks.append(canon.Text(value))
            if key not in ("output", "error") or _object_in(value) is not None:
                ids.said[f"result.{call_id}"] = key
        else:
            blocks.append(canon.Text(msgspec.json.encode(response).decode()))
    elif response is None and "parts" not in fields:
        raise malformed(fields.at("response"), "given")
    for part in fields.listed("parts"):
        blocks += read_part(part)
    return canon.ToolResult(call_id, blocks, is_error, name, extra=fields.rest())


def _object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that a text is."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = msgspec.json.decode(text)
    except BAD_JSON:
        return None
    return value if type(value) is dict else None


# Writing


def response_of(text: str, is_error: bool, key: str = "") -> dict[str, Any]:
    """The object that says a text; `key`: under which name the client said it."""
    if key:
        return {key: text}
    value = _object_in(text)
    if value is not None and (not is_error or "error" in value):
        return value
    return {"error" if is_error else "output": text}


def written_id(call_id: str) -> dict[str, str]:
    """The member `id`, where the id was not made here."""
    return {} if call_id.startswith(MADE) else {"id": call_id}
