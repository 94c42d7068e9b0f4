"""HTTP/1.1 as the tests speak it: builders for what clients and upstreams say, and strict readers of what they hear.

The readers share no code with the product: what llhttp or the worker would forgive is an AssertionError here.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple

STATUS_LINE: Final = re.compile(rb"HTTP/1\.1 ([1-5]\d\d) ([\x20-\x7e]*)\r\n")
REQUEST_LINE: Final = re.compile(rb"([A-Z]+) (/[\x21-\x7e]*) HTTP/1\.1\r\n")
FIELD: Final = re.compile(rb"([!#$%&'*+.^`|~0-9A-Za-z-]+): ?([\x20-\x7e\x80-\xff\t]*)\r\n")
CHUNK: Final = re.compile(rb"([0-9a-f]+)\r\n")

Fields = list[tuple[str, str]]


class Cut(AssertionError):
    """The bytes end inside a message."""


class Answer(NamedTuple):
    """One answer as a client reads it."""

    status: int
    fields: Fields
    body: bytes
    closing: bool
    """It says `connection: close`, or only the end of the connection ends it."""
    pieces: list[bytes]
    """Its chunks; one piece where it was not chunked."""

    def field(self, name: str) -> str:
        """The value of a field that may stand at most once, or ""."""
        return field_of(self.fields, name)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


class Request(NamedTuple):
    """One request as an upstream reads it."""

    method: str
    target: str
    fields: Fields
    body: bytes
    complete: bool

    def field(self, name: str) -> str:
        """The value of a field that may stand at most once, or ""."""
        return field_of(self.fields, name)

    @property
    def names(self) -> set[str]:
        """The names of its fields, in lower case."""
        return {name.lower() for name, _ in self.fields}

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def field_of(fields: Fields, name: str) -> str:
    """The value of a field that may stand at most once, or ""."""
    found = [value for field, value in fields if field.lower() == name]
    assert len(found) <= 1, f"{name} stands {len(found)} times"
    return found[0] if found else ""


def _head(data: bytes, pos: int) -> tuple[Fields, int]:
    """The fields from `pos`, and where the head ends.  Raises Cut."""
    fields: Fields = []
    while data[pos : pos + 2] != b"\r\n":
        match = FIELD.match(data, pos)
        if match is None:
            if b"\r\n" not in data[pos:]:
                raise Cut(f"the head ends early: {data[pos:]!r}")
            raise AssertionError(f"no header field: {data[pos : pos + 80]!r}")
        fields.append((match.group(1).decode(), match.group(2).decode("latin-1")))
        pos = match.end()
    return fields, pos + 2


def _chunks(data: bytes, pos: int) -> tuple[list[bytes], int]:
    """The chunks from `pos`, and where they end.  Raises Cut."""
    pieces: list[bytes] = []
    while True:
        match = CHUNK.match(data, pos)
        if match is None:
            if len(data) - pos < 8:
                raise Cut("the answer ends between chunks")
            raise AssertionError(f"no chunk: {data[pos : pos + 80]!r}")
        size, pos = int(match.group(1), 16), match.end()
        if len(data) < pos + size + 2:
            raise Cut("the answer ends inside a chunk")
        assert data[pos + size : pos + size + 2] == b"\r\n", f"no chunk end: {data[pos + size : pos + size + 20]!r}"
        if not size:
            return pieces, pos + 2
        pieces.append(data[pos : pos + size])
        pos += size + 2


def read_answers(data: bytes, closed: bool, methods: list[bytes]) -> list[Answer]:
    """The complete answers in what a client received; interim ones (1xx) are left out.

    `closed`: the connection is over, which ends an answer without framing; `methods`: of the requests, so that the
    answer to HEAD is read without a body.  AssertionError for bytes that no strict client would take.
    """
    answers: list[Answer] = []
    pos = 0
    while pos < len(data):
        assert not (answers and answers[-1].closing), f"bytes after the last answer: {data[pos : pos + 80]!r}"
        try:
            answer, pos = _answer(data, pos, closed, methods[len(answers)] if len(methods) > len(answers) else b"GET")
        except Cut:
            break
        if answer.status >= 200 or answer.status == 101:
            answers.append(answer)
    return answers


def _answer(data: bytes, pos: int, closed: bool, method: bytes) -> tuple[Answer, int]:
    match = STATUS_LINE.match(data, pos)
    if match is None and b"\r\n" not in data[pos:]:
        raise Cut("the status line ends early")
    assert match is not None, f"no status line: {data[pos : pos + 80]!r}"
    status = int(match.group(1))
    fields, pos = _head(data, match.end())
    length, coding = field_of(fields, "content-length"), field_of(fields, "transfer-encoding")
    closing = field_of(fields, "connection").lower() == "close"
    assert not (length and coding), "both framings"
    assert coding in ("", "chunked"), coding
    if status == 101:
        return Answer(status, fields, data[pos:], closing, [data[pos:]]), len(data)  # what follows are frames
    if status < 200 or status in (204, 304) or method == b"HEAD":
        assert not coding or method == b"HEAD" or status == 304, "a bodiless answer that is chunked"
        return Answer(status, fields, b"", closing, []), pos
    if coding:
        pieces, pos = _chunks(data, pos)
        return Answer(status, fields, b"".join(pieces), closing, pieces), pos
    if length:
        size = int(length)
        if len(data) < pos + size:
            raise Cut("the body ends early")
        return Answer(status, fields, data[pos : pos + size], closing, [data[pos : pos + size]]), pos + size
    if not closed:
        raise Cut("only the end of the connection ends this body")
    return Answer(status, fields, data[pos:], True, [data[pos:]]), len(data)


def head_is_out(data: bytes) -> bool:
    """Whether a whole head of an answer is there."""
    return b"\r\n\r\n" in data


def read_requests(data: bytes) -> list[Request]:
    """The requests in what an upstream received; the last may lack a part of its body.

    AssertionError for anything that a gateway must not send: a second length, a coding, a field twice that must
    stand once.
    """
    requests: list[Request] = []
    pos = 0
    while pos < len(data):
        match = REQUEST_LINE.match(data, pos)
        assert match is not None, f"no request line: {data[pos : pos + 80]!r}"
        fields, pos = _head(data, match.end())
        assert field_of(fields, "host")
        assert field_of(fields, "transfer-encoding") == "", "a coding that we do not send"
        size = int(field_of(fields, "content-length") or "0")
        if field_of(fields, "upgrade") == "websocket":
            size = len(data) - pos  # what follows are frames
        body = data[pos : pos + size]
        pos += size
        requests.append(Request(match.group(1).decode(), match.group(2).decode(), fields, body, len(body) == size))
    return requests


# What a client says


def body_of(value: Any) -> bytes:
    """Bytes as they are, anything else as compact JSON."""
    return value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()


def post(
    body: Any, path: str = "/v1/chat/completions", *fields: str, key: str = "sk-test", length: int | None = None
) -> bytes:
    """A POST with a Content-Length (`length` lies about it); `fields` are whole lines, "Name: value"."""
    data = body_of(body)
    lines = [f"POST {path} HTTP/1.1", "Host: gateway.test"]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    if not any(field.lower().startswith("content-type:") for field in fields):
        lines.append("Content-Type: application/json")
    lines += fields
    lines.append(f"Content-Length: {len(data) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def chunked(body: Any, path: str = "/v1/chat/completions", *fields: str, sizes: tuple[int, ...] = ()) -> bytes:
    """A POST whose body comes in chunks of these sizes, the last repeated."""
    head = post(b"", path, *fields).partition(b"\r\nContent-Length")[0]
    return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + in_chunks(body_of(body), sizes)


def get(path: str, *fields: str, method: str = "GET", key: str = "sk-test") -> bytes:
    """A request without a body."""
    lines = [f"{method} {path} HTTP/1.1", "Host: gateway.test", *fields]
    if key:
        lines.append(f"Authorization: Bearer {key}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


# What an upstream says


def in_chunks(body: bytes, sizes: tuple[int, ...] = ()) -> bytes:
    """Transfer-Encoding: chunked."""
    out: list[bytes] = []
    pos = index = 0
    while pos < len(body):
        size = sizes[min(index, len(sizes) - 1)] if sizes else len(body)
        piece = body[pos : pos + size]
        out.append(b"%x\r\n%b\r\n" % (len(piece), piece))
        pos += size
        index += 1
    return b"".join(out) + b"0\r\n\r\n"


def answer(body: Any, *fields: str, status: int = 200, kind: str = "application/json") -> bytes:
    """An answer with a Content-Length."""
    data = body_of(body)
    lines = [f"HTTP/1.1 {status} Said", f"Content-Type: {kind}", *fields, f"Content-Length: {len(data)}"]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def stream_head(*fields: str, status: int = 200, coding: str = "chunked") -> bytes:
    """The head of a stream of events."""
    lines = [f"HTTP/1.1 {status} OK", "Content-Type: text/event-stream", *fields]
    if coding:
        lines.append(f"Transfer-Encoding: {coding}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST: Final = b"0\r\n\r\n"


def event(value: Any) -> bytes:
    """One event with JSON data (bytes as they are)."""
    return b"data: " + body_of(value) + b"\n\n"


def delta(text: str = "", *, role: str = "", finish: str | None = None) -> bytes:
    """One event of OpenAI's chat stream."""
    content: dict[str, str] = {"role": role} if role else {}
    if text:
        content["content"] = text
    return event({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4",
        "choices": [{"index": 0, "delta": content, "finish_reason": finish}],
    })  # fmt: skip


def usage_chunk(prompt: int = 10, completion: int = 20) -> bytes:
    """The event with usage that `stream_options.include_usage` asks for."""
    return event({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4", "choices": [],
        "usage": {
            "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
        },
    })  # fmt: skip


DONE: Final = b"data: [DONE]\n\n"


def chat(**fields: Any) -> dict[str, Any]:
    """The body of a chat request."""
    return {"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 100} | fields


def completion(text: str = "Hello!", prompt: int = 10, output: int = 20) -> bytes:
    """The body of a chat completion."""
    return body_of({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
    })  # fmt: skip


def problem(status: int, message: str = "no", *fields: str) -> bytes:
    """An upstream's error."""
    return answer({"error": {"message": message, "type": "t", "code": "c"}}, *fields, status=status)
