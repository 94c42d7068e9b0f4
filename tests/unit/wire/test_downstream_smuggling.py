"""Requests that two servers could read differently: each shape is refused or served as decided here.

What is refused gets one error, then the connection ends, and nothing of it or behind it reaches an upstream
(DATAPLANE.md rule 11).
"""

from __future__ import annotations

from typing import Final, NamedTuple

import pytest

from tests.dialogue import Dialogue
from tests.speech import LAST, answer, chat, chunk, completion, post

BODY: Final = b'{"model":"gpt-4","messages":[],"max_tokens":1}'
SIZE: Final = b"2e"
PATH: Final = b"/v1/chat/completions"
LENGTH: Final = b"Content-Length: 46"
CHUNKED: Final = b"Transfer-Encoding: chunked"
IN_CHUNKS: Final = chunk(BODY) + LAST


def head(*lines: bytes, first: bytes = b"POST " + PATH + b" HTTP/1.1", host: bytes = b"Host: gateway.test") -> bytes:
    """A head with these lines beside Host and the credential."""
    every = [first, *([host] if host else []), b"Authorization: Bearer sk-test", *lines]
    return b"\r\n".join(every) + b"\r\n\r\n"


class Shape(NamedTuple):
    """A request, and what the client hears: `status` 0 = it is served."""

    name: str
    bytes_: bytes
    status: int


def coded(size: bytes, end: bytes = b"\r\n") -> bytes:
    """A chunked request whose first chunk has this size line (without its CRLF) and this end."""
    return head(CHUNKED) + size + b"\r\n" + BODY + end + LAST


SHAPES: Final = (
    # two framings, or one that is none
    Shape("both lengths", head(LENGTH, CHUNKED) + IN_CHUNKS, 400),
    Shape("both lengths, the other way round", head(CHUNKED, LENGTH) + IN_CHUNKS, 400),
    Shape("the same length twice", head(LENGTH, LENGTH) + BODY, 400),
    Shape("two lengths", head(LENGTH, b"Content-Length: 3") + BODY, 400),
    Shape("a list of lengths", head(b"Content-Length: 46, 46") + BODY, 400),
    Shape("a signed length", head(b"Content-Length: +46") + BODY, 400),
    Shape("a negative length", head(b"Content-Length: -1") + BODY, 400),
    Shape("a hexadecimal length", head(b"Content-Length: 0x2e") + BODY, 400),
    Shape("an empty length", head(b"Content-Length:") + BODY, 400),
    Shape("a length with a gap", head(b"Content-Length: 4 6") + BODY, 400),
    Shape("a length with an underscore", head(b"Content-Length: 4_6") + BODY, 400),
    Shape("a length past 64 bits", head(b"Content-Length: 99999999999999999999999") + BODY, 400),
    Shape("a length of 2^63", head(b"Content-Length: 9223372036854775808") + BODY, 413),
    Shape("a length with zeros before it", head(b"Content-Length: 0046") + BODY, 0),
    # chunks
    Shape("chunked", head(CHUNKED) + IN_CHUNKS, 0),
    Shape("a chunk size with 0x", coded(b"0x2e"), 400),
    Shape("a chunk size with +", coded(b"+2e"), 400),
    Shape("a chunk size with -", coded(b"-2e"), 400),
    Shape("a chunk size with a space before it", coded(b" 2e"), 400),
    Shape("a chunk size with a space behind it", coded(b"2e "), 400),
    Shape("no chunk size", coded(b""), 400),
    Shape("a chunk size past 64 bits", coded(b"1000000000000002e"), 400),
    Shape("a chunk size with zeros before it", coded(b"0000000000000000000002e"), 0),
    Shape("a chunk size ended by LF", head(CHUNKED) + SIZE + b"\n" + BODY + b"\r\n" + LAST, 400),
    Shape("a chunk ended by LF", coded(SIZE, b"\n"), 400),
    Shape("a chunk with no end", coded(SIZE, b""), 400),
    Shape("a last chunk ended by LF", head(CHUNKED) + chunk(BODY) + b"0\n\n", 400),
    Shape("a chunk extension", coded(b"2e;a=b"), 0),
    Shape("a chunk extension with LF", coded(b"2e;a\n=b"), 400),
    Shape("a chunk extension with CR LF in quotes", coded(b'2e;a="\r\n"'), 400),
    Shape("a chunk extension with a control character", coded(b"2e;a=\x01"), 400),
    Shape("a length among the trailers", head(CHUNKED) + chunk(BODY) + b"0\r\nContent-Length: 5\r\n\r\n", 400),
    Shape("a coding among the trailers", head(CHUNKED) + chunk(BODY) + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    # codings that are not exactly chunked
    Shape("identity", head(b"Transfer-Encoding: identity") + BODY, 400),
    Shape("gzip, chunked", head(b"Transfer-Encoding: gzip, chunked") + IN_CHUNKS, 400),
    Shape("chunked, gzip", head(b"Transfer-Encoding: chunked, gzip") + IN_CHUNKS, 400),
    Shape("xchunked", head(b"Transfer-Encoding: xchunked") + IN_CHUNKS, 400),
    Shape("chunkedx", head(b"Transfer-Encoding: chunkedx") + IN_CHUNKS, 400),
    Shape("chunked in quotes", head(b'Transfer-Encoding: "chunked"') + IN_CHUNKS, 400),
    Shape("chunked with a parameter", head(b"Transfer-Encoding: chunked;q=1") + IN_CHUNKS, 400),
    Shape("chunked behind a vertical tab", head(b"Transfer-Encoding: \x0bchunked") + IN_CHUNKS, 400),
    Shape("chunked and a comma", head(b"Transfer-Encoding: chunked,") + IN_CHUNKS, 400),
    Shape("chunked, chunked", head(b"Transfer-Encoding: chunked, chunked") + IN_CHUNKS, 400),
    Shape("chunked twice", head(CHUNKED, CHUNKED) + IN_CHUNKS, 400),
    Shape("identity and chunked", head(b"Transfer-Encoding: identity", CHUNKED) + IN_CHUNKS, 400),
    Shape("an empty coding", head(b"Transfer-Encoding:") + IN_CHUNKS, 400),
    Shape("an empty coding and a length", head(b"Transfer-Encoding:", LENGTH) + BODY, 400),
    Shape("CHUNKED", head(b"Transfer-Encoding: CHUNKED") + IN_CHUNKS, 0),
    Shape("chunked in HTTP/1.0", head(CHUNKED, first=b"POST " + PATH + b" HTTP/1.0") + IN_CHUNKS, 400),
    # lines and fields
    Shape("a folded line", head(b"X-A: b\r\n c", LENGTH) + BODY, 400),
    Shape("a line folded with a tab", head(b"X-A: b\r\n\tc", LENGTH) + BODY, 400),
    Shape("a folded coding", head(b"Transfer-Encoding:\r\n chunked") + IN_CHUNKS, 400),
    Shape("a space before the first field", b"POST / HTTP/1.1\r\n X: y\r\nHost: h\r\n\r\n", 400),
    Shape("LF for every CR LF", head(LENGTH).replace(b"\r\n", b"\n") + BODY, 400),
    Shape("one LF", head(b"X-A: b\nX-B: c", LENGTH) + BODY, 400),
    Shape("one CR", head(b"X-A: b\rX-B: c", LENGTH) + BODY, 400),
    Shape("LF before the body", head(LENGTH)[:-4] + b"\r\n\n" + BODY, 400),
    Shape("a space before the colon", head(b"Content-Length : 46") + BODY, 400),
    Shape("a tab before the colon", head(b"Transfer-Encoding\t: chunked") + IN_CHUNKS, 400),
    Shape("a space in a name", head(b"X A: b", LENGTH) + BODY, 400),
    Shape("an empty name", head(b": b", LENGTH) + BODY, 400),
    Shape("no colon", head(b"foo", LENGTH) + BODY, 400),
    Shape("NUL in a value", head(b"X-A: a\0b", LENGTH) + BODY, 400),
    Shape("NUL in a name", head(b"X\0A: b", LENGTH) + BODY, 400),
    Shape("a control character in a value", head(b"X-A: a\x01b", LENGTH) + BODY, 400),
    Shape("DEL in a value", head(b"X-A: a\x7fb", LENGTH) + BODY, 400),
    Shape("an empty value", head(b"X-A:", b"X-B: b", LENGTH) + BODY, 0),
    Shape("bytes above 127 in a value", head(b"X-A: \xc3\xa4", LENGTH) + BODY, 0),
    Shape("two content types", head(b"Content-Type: a/b", b"Content-Type: a/c", LENGTH) + BODY, 400),
    # Host
    Shape("no Host", head(LENGTH, host=b"") + BODY, 400),
    Shape("no field at all", b"GET /v1/models HTTP/1.1\r\n\r\n", 400),
    Shape("two Hosts", head(b"Host: other", LENGTH) + BODY, 400),
    Shape("the same Host twice", head(b"Host: gateway.test", LENGTH) + BODY, 400),
    Shape("no Host in HTTP/1.0", head(LENGTH, first=b"POST " + PATH + b" HTTP/1.0", host=b"") + BODY, 0),
    # the first line
    Shape("HTTP/2.0", head(LENGTH, first=b"POST " + PATH + b" HTTP/2.0") + BODY, 400),
    Shape("HTTP/0.9", head(LENGTH, first=b"POST " + PATH + b" HTTP/0.9") + BODY, 400),
    Shape("HTTP/1.2", head(LENGTH, first=b"POST " + PATH + b" HTTP/1.2") + BODY, 400),
    Shape("http/1.1", head(LENGTH, first=b"POST " + PATH + b" http/1.1") + BODY, 400),
    Shape("no version", b"GET /v1/models\r\n\r\n", 400),
    Shape("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    Shape("a TLS hello", bytes.fromhex("160301020001000102030303"), 400),
    Shape("absolute form", head(LENGTH, first=b"POST http://h" + PATH + b" HTTP/1.1") + BODY, 400),
    Shape("authority form", head(LENGTH, first=b"POST h:80 HTTP/1.1") + BODY, 400),
    Shape("OPTIONS *", head(first=b"OPTIONS * HTTP/1.1"), 400),
    Shape("a space in the target", head(LENGTH, first=b"POST " + PATH + b" /x HTTP/1.1") + BODY, 400),
    Shape("a tab for a space", head(LENGTH, first=b"POST\t" + PATH + b" HTTP/1.1") + BODY, 400),
    Shape("a control character in the target", head(LENGTH, first=b"POST /v1\x01/x HTTP/1.1") + BODY, 400),
    Shape("a byte above 127 in the target", head(LENGTH, first=b"POST " + PATH + b"?\xff HTTP/1.1") + BODY, 400),
    Shape("a fragment", head(LENGTH, first=b"POST " + PATH + b"#x HTTP/1.1") + BODY, 400),
    Shape("CONNECT", head(first=b"CONNECT h:443 HTTP/1.1"), 405),
    Shape("TRACE", head(first=b"TRACE /v1/models HTTP/1.1"), 405),
    Shape("PROPFIND", head(first=b"PROPFIND /v1/models HTTP/1.1"), 405),
    Shape("a method that nobody knows", head(first=b"FOO /v1/models HTTP/1.1"), 400),
    Shape("a method in small letters", head(first=b"get /v1/models HTTP/1.1"), 400),
    # paths that two servers could resolve differently
    Shape("an encoded slash", head(LENGTH, first=b"POST /v1%2fchat/completions HTTP/1.1") + BODY, 400),
    Shape("an encoded SLASH", head(LENGTH, first=b"POST /v1%2Fchat/completions HTTP/1.1") + BODY, 400),
    Shape("an encoded backslash", head(LENGTH, first=b"POST /v1%5cchat/completions HTTP/1.1") + BODY, 400),
    Shape("a backslash", head(LENGTH, first=b"POST /v1\\chat/completions HTTP/1.1") + BODY, 400),
    Shape("a double slash", head(LENGTH, first=b"POST /v1//chat/completions HTTP/1.1") + BODY, 400),
    Shape("a double slash at the start", head(LENGTH, first=b"POST //v1/chat/completions HTTP/1.1") + BODY, 400),
    Shape("a dot segment", head(LENGTH, first=b"POST /v1/./chat/completions HTTP/1.1") + BODY, 400),
    Shape("two dots", head(LENGTH, first=b"POST /api/../v1/chat/completions HTTP/1.1") + BODY, 400),
    Shape("two dots at the end", head(LENGTH, first=b"POST /v1/chat/.. HTTP/1.1") + BODY, 400),
    Shape("encoded dots", head(LENGTH, first=b"POST /api/%2e%2E/v1/chat/completions HTTP/1.1") + BODY, 400),
    Shape("an encoded NUL", head(LENGTH, first=b"POST /v1/chat/completions%00 HTTP/1.1") + BODY, 400),
)
NAMES: Final = [shape.name for shape in SHAPES]


def check(d: Dialogue, shape: Shape, statuses: list[int], closed: bool, before: int) -> None:
    """What the client heard, and that an upstream got the request if and only if it is served."""
    received = [request for end in d.upstreams for request in end.requests][before:]
    if shape.status:
        assert statuses == [shape.status]
        assert closed
        assert received == []
    else:
        assert statuses == []
        assert [request.body for request in received] == [BODY]


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_in_one_read(shape: Shape) -> None:
    """The verdict on a shape that comes whole, with a good request behind it that must not be served."""
    with Dialogue() as d:
        client = d.client()
        client >> shape.bytes_ + (post(chat()) if shape.status else b"")
        check(d, shape, [a.status for a in client.answers()], client.closed, 0)


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_byte_by_byte(shape: Shape) -> None:
    """The verdict does not depend on where reads end."""
    with Dialogue() as d:
        client = d.client()
        client.say_split(shape.bytes_)
        check(d, shape, [a.status for a in client.answers()], client.closed, 0)


@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
def test_on_a_connection_in_use(shape: Shape) -> None:
    """Nor on what came before: heads that were accepted twice are remembered, and must not vouch for this one."""
    with Dialogue() as d:
        client = d.client()
        good = head(LENGTH) + BODY
        for _ in range(3):
            client >> good
            d.upstream() << answer(completion())
            assert client.answer().status == 200
        client >> shape.bytes_
        check(d, shape, [a.status for a in client.answers()[3:]], client.closed, 3)


def test_a_version_is_judged_anew() -> None:
    """The same fields under another version: HTTP/2.0 does not pass for the HTTP/1.0 that was served before."""
    with Dialogue() as d:
        client = d.client()
        first = b"POST " + PATH + b" HTTP/1.0"
        for _ in range(2):
            client >> head(LENGTH, b"Connection: keep-alive", first=first) + BODY
            d.upstream() << answer(completion())
            assert client.answer().status == 200
        client >> head(LENGTH, b"Connection: keep-alive", first=first.replace(b"1.0", b"2.0")) + BODY
        assert client.answer().status == 400
        assert client.closed


def test_an_error_is_answered_once() -> None:
    """A head that we refuse and the parser refuses, too, gets one answer."""
    with Dialogue() as d:
        client = d.client()
        client >> head(b"Transfer-Encoding: xchunked") + b"zzz\r\n\r\n" * 50
        assert [a.status for a in client.answers()] == [400]


def test_trailers_are_dropped() -> None:
    """Fields behind the body are no fields: neither credential nor anything else is taken from them."""
    with Dialogue() as d:
        client = d.client()
        client >> head(CHUNKED) + chunk(BODY) + b"0\r\nX-T: 1\r\nAuthorization: Bearer other\r\n\r\n"
        up = d.upstream()
        assert "x-t" not in up.request.names
        assert up.request.field("authorization") == "Bearer sk-up"
        up << answer(completion())
        assert client.answer().status == 200
        client >> post(chat())
        assert d.upstream().request.complete


@pytest.mark.parametrize(
    "flood", [b"0\r\nX-T: " + b"a" * 200_000, b"5;" + b"a" * 200_000], ids=["trailer", "extension"]
)
def test_content_without_end_that_is_none(flood: bytes) -> None:
    """Trailers and chunk extensions have no length of their own: above 64 KiB they end the connection."""
    with Dialogue() as d:
        client = d.client()
        client >> head(CHUNKED) + chunk(BODY)
        client.say_split(flood, 10_000)
        assert client.answer().status == 431
        assert client.closed
        assert d.silent
