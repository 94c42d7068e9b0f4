"""What the test upstream answers: a case, and the book in which a request finds its own.

A case file is JSON in the form of the recorded provider traffic: `response.status`, `.headers`,
`.body_text` or `.body_base64`, and beside it, optionally, `upstream` with any of the fields of Case that
say how it is sent ("framing", "pieces", "fault", …).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

Framing = Literal["length", "chunked", "close"]
Fault = Literal[
    "", "reset", "eof", "silent", "stale", "head", "cut", "cut_eof", "stall", "extra", "early", "refuse_body"
]
"""What goes wrong, with every byte before it as it should be:

reset        RST in place of an answer, after the request was read
eof          the same, politely: FIN
silent       no byte, ever; the connection stays open
stale        a connection that was used before is closed the moment a further request arrives
head         half of the answer's head, then RST
cut          `fault_at` bytes of the body, then RST
cut_eof      the same with FIN
stall        `fault_at` bytes of the body, then silence
extra        the whole answer, then bytes nobody asked for
early        the whole answer as soon as the request's head is there, its body left unread; then close
refuse_body  the connection is reset while the request's body is still coming
"""
CASE_HEADER = "x-upstream-case"
CASE_PATH = re.compile(r"^/~([^/?]+)(/.*)?$")
MODEL_IN_JSON = re.compile(rb'"model"\s*:\s*"([^"\\]+)"')
MODEL_IN_FORM = re.compile(rb'name="model"\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]+)\r\n')
INCLUDE_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
MODEL_IN_PATH = re.compile(r"/models/([^/:?]+):")


@dataclass(frozen=True)
class Case:
    """One answer and the manner of its sending."""

    name: str
    body: bytes = b"{}"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    framing: Framing = "length"
    pieces: int | Literal["whole", "event"] = "whole"
    """Sent in one write · one write a server-sent event · in writes of this many bytes."""
    delay_ms: float = 0
    """Pause between pieces; with 0 the loop still turns once."""
    first_byte_ms: float = 0
    """Pause before the head."""
    fault: Fault = ""
    fault_at: int = 0
    hang_up: bool = False
    """Close the connection after the answer (announced by `Connection: close`)."""

    def with_(self, **changes: Any) -> Case:
        """This case with some fields changed."""
        return replace(self, **changes)

    @property
    def streamed(self) -> bool:
        """It is a stream of server-sent events."""
        return any(name == "content-type" and "event-stream" in value for name, value in self.headers)

    def split(self) -> list[bytes]:
        """The body in the pieces in which it is sent."""
        if self.pieces == "whole" or not self.body:
            return [self.body] if self.body else []
        if self.pieces == "event":
            return [part for part in re.split(rb"(?<=\n\n)|(?<=\r\n\r\n)", self.body) if part]
        return [self.body[start : start + self.pieces] for start in range(0, len(self.body), self.pieces)]


def answer(name: str, value: object, **fields: Any) -> Case:
    """A case whose body is this value as JSON."""
    return Case(name, json.dumps(value).encode(), **fields)


def events(name: str, values: Iterable[object], *, done: bool = True, **fields: Any) -> Case:
    """A case that streams these values as `data:` events, with OpenAI's `[DONE]` at the end."""
    texts = [json.dumps(value, separators=(",", ":")) for value in values] + (["[DONE]"] if done else [])
    body = "".join(f"data: {text}\n\n" for text in texts).encode()
    headers = (("content-type", "text/event-stream; charset=utf-8"),)
    return Case(name, body, headers=headers, **{"framing": "chunked", "pieces": "event", **fields})


def body_of(message: dict[str, Any]) -> bytes:
    """The body of a recorded response."""
    if "body_base64" in message:
        return base64.b64decode(message["body_base64"])
    return str(message.get("body_text", "")).encode()


def case_of(name: str, recorded: dict[str, Any]) -> Case:
    """A recorded exchange's response as a case."""
    response = recorded["response"]
    headers = tuple((key, value) for key, value in response.get("headers", {}).items() if key != "content-length")
    case = Case(name, body_of(response), response["status"], headers)
    if case.streamed:
        case = case.with_(framing="chunked", pieces="event")
    return case.with_(**recorded.get("upstream", {}))


def load(folder: Path) -> list[Case]:
    """All case files below a folder, named by their path without .json."""
    files = sorted(path for path in folder.rglob("*.json") if path.name != "INDEX.json")
    return [case_of(str(path.relative_to(folder).with_suffix("")), json.loads(path.read_bytes())) for path in files]


@dataclass
class Book:
    """The cases, by name; a name may hold several, which are given one after the other, the last for good.

    A request finds its case by, in this order: the header x-upstream-case; a path that begins with
    `/~NAME/`; the name of its model (in JSON, form or URL); its path without /v1; "default".
    A request for usage in a stream (include_usage) prefers `NAME+usage`, where that exists.
    """

    cases: dict[str, list[Case]] = field(default_factory=dict)
    _given: dict[str, int] = field(default_factory=dict)

    def add(self, *cases: Case) -> None:
        """Register each under its own name, in place of what stood there."""
        for case in cases:
            self.script(case.name, [case])

    def script(self, name: str, cases: Sequence[Case]) -> None:
        """Register a sequence: the first for the first request, …, the last for all that follow."""
        self.cases[name] = list(cases)
        self._given.pop(name, None)

    def find(self, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> Case:
        """The case for a request; a 404 that says what was looked for, if there is none."""
        tried = list(self._names(target, headers, body))
        asked = [f"{name}+usage" for name in tried] if INCLUDE_USAGE.search(body) else []
        for name in [*asked, *tried]:
            if name in self.cases:
                given = self._given.get(name, 0)
                self._given[name] = given + 1
                return self.cases[name][min(given, len(self.cases[name]) - 1)]
        message = f"the test upstream has no case for any of {tried}"
        return answer("missing", {"error": {"message": message, "type": "not_found_error"}}, status=404)

    def before_body(self, target: str, headers: Sequence[tuple[str, str]]) -> Case | None:
        """The case, if what it does comes before the request's body is read (faults early, refuse_body)."""
        for name in self._names(target, headers, b""):
            if name in self.cases and self.cases[name][0].fault in ("early", "refuse_body"):
                return self.find(target, headers, b"")
        return None

    def _names(self, target: str, headers: Sequence[tuple[str, str]], body: bytes) -> Iterable[str]:
        yield from (value for name, value in headers if name.lower() == CASE_HEADER)
        path = target.partition("?")[0]
        if prefixed := CASE_PATH.match(path):
            yield prefixed[1]
        if in_path := MODEL_IN_PATH.search(path):
            yield in_path[1]
        if found := MODEL_IN_JSON.search(body) or MODEL_IN_FORM.search(body):
            yield found[1].decode(errors="replace")
        yield path.removeprefix("/v1/").removeprefix("/")
        yield "default"
