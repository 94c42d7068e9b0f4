"""Header tables: what is kept, what is dropped, what is refused, in both directions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from burncloud import clock
from burncloud.wire import heads
from burncloud.wire.heads import (
    REQUEST_FIELDS,
    RESPONSE_FIELDS,
    STATUS_LINES,
    credential,
    judge,
    judge_answer,
    method_error,
    relay_fields,
    target_error,
)

HOST = (b"Host", b"h")


def test_what_goes_on() -> None:
    """End-to-end fields in their order and spelling, values without space around them."""
    head = judge([HOST, (b"X-A", b"  1\t"), (b"x-a", b"2"), (b"Content-Type", b"a/b")], True)
    assert head.error is None
    assert head.forward == b"X-A: 1\r\nx-a: 2\r\nContent-Type: a/b\r\n"
    assert head.content_type == b"a/b"


@pytest.mark.parametrize("name", sorted(REQUEST_FIELDS))
def test_what_does_not(name: bytes) -> None:
    """Each name of the table, in any spelling."""
    if name in (b"content-type", b"x-request-id", b"x-client-request-id"):  # read by us, but the client's own matter
        return
    for spelled in (name, name.upper(), name.title()):
        value = b"chunked" if name == b"transfer-encoding" else b"x"
        fields = [(spelled, value)] if name == b"host" else [HOST, (spelled, value)]
        assert judge(fields, True).forward == b""


@pytest.mark.parametrize(
    "name",
    [b"X_Forwarded_For", b"content_length", b"A_", b"X-BurnCloud-Peer", b"X-Forwarded-Prefix", b"Sec-WebSocket-Key"],
)
def test_names_that_could_be_mistaken(name: bytes) -> None:
    """ "_" is folded into "-" by many servers; names of ours are nobody else's to set."""
    assert judge([HOST, (name, b"x")], True).forward == b""


@pytest.mark.parametrize(
    "fields",
    [
        [(b"Authorization", b"Bearer k")], [(b"authorization", b"bearer   k ")], [(b"X-Api-Key", b" k ")],
        [(b"x-goog-api-key", b"k")], [(b"api-key", b"k")], [(b"X-Api-Key", b"other"), (b"Authorization", b"Bearer k")],
        [(b"Authorization", b"Bearer k"), (b"X-Api-Key", b"other")],
    ],
)  # fmt: skip
def test_the_credential(fields: list[tuple[bytes, bytes]]) -> None:
    """In any of its forms; Authorization wins."""
    assert judge([HOST, *fields], True).auth == b"k"


def test_no_credential() -> None:
    """None, not empty; and another scheme is no key of ours."""
    assert judge([HOST], True).auth is None
    assert credential(b"Basic dTpw") == b"Basic dTpw"


def test_connection_names_fields() -> None:
    """They are hop-by-hop then, whatever they are; several such lines count together."""
    fields = [HOST, (b"Connection", b"close, X-A ,x-b"), (b"connection", b"X-C"), (b"X-A", b"1"), (b"x-B", b"1")]
    assert judge([*fields, (b"X-C", b"1"), (b"X-D", b"1")], True).forward == b"X-D: 1\r\n"


@pytest.mark.parametrize(
    ("fields", "http11", "status"),
    [
        ([], True, 400),
        ([], False, 0),
        ([HOST, HOST], False, 400),
        ([HOST, (b"Transfer-Encoding", b"chunked")], False, 400),
        ([HOST, (b"Transfer-Encoding", b" Chunked ")], True, 0),
        ([HOST, (b"Content-Type", b"a"), (b"content-type", b"a")], True, 400),
        ([HOST, *[(b"X", b"")] * 99], True, 0),
        ([HOST, *[(b"X", b"")] * 100], True, 431),
    ],
)
def test_refusals(fields: list[tuple[bytes, bytes]], http11: bool, status: int) -> None:
    """With a text for the client."""
    head = judge(fields, http11)
    assert (head.error.status if head.error else 0) == status
    assert bool(head.error_text) is bool(status)


def test_the_client_s_request_id_is_bounded() -> None:
    """It stands in every receipt."""
    assert judge([HOST, (b"X-Client-Request-Id", b"a" * 500)], True).client_request == "a" * 64


def test_names_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """They come from strangers."""
    monkeypatch.setattr(heads, "_request_names", {})
    monkeypatch.setattr(heads, "_response_names", {})
    for n in range(heads._NAMES_MAX + 20):
        name = b"X-%d" % n
        assert judge([HOST, (name, b"v")], True).forward == name + b": v\r\n"
        assert judge_answer([(name, b"v")]).forward == [name, b": ", b"v", b"\r\n"]
    assert len(heads._request_names) == len(heads._response_names) == heads._NAMES_MAX


def test_the_relay_gets_the_credentials() -> None:
    """Control authorises, so it must see them."""
    fields = [HOST, (b"Cookie", b" a=b "), (b"Authorization", b"Bearer k"), (b"X-Api-Key", b"k"), (b"X-A", b"1")]
    assert relay_fields(fields) == b"X-A: 1\r\nCookie: a=b\r\nAuthorization: Bearer k\r\n"


# Answers


@pytest.mark.parametrize("name", sorted(RESPONSE_FIELDS))
def test_answer_fields(name: bytes) -> None:
    """What the table says: kept only where it is about content, or turned into ours."""
    head = judge_answer([(name, b"5")])
    kept = name in (b"content-type", b"content-encoding", b"retry-after", b"retry-after-ms")
    renamed = name in (b"x-request-id", b"request-id", b"x-amzn-requestid")
    expected = (
        [b"x-upstream-request-id", b": ", b"5", b"\r\n"] if renamed else [name, b": ", b"5", b"\r\n"] if kept else []
    )
    assert head.forward == expected


@pytest.mark.parametrize(
    "name", [b"X-RateLimit-Limit-Requests", b"anthropic-ratelimit-tokens-reset", b"RateLimit-Policy"]
)
def test_the_account_s_limits_are_its_own(name: bytes) -> None:
    """By their beginnings."""
    assert judge_answer([(name, b"5")]).forward == []


@pytest.mark.parametrize(
    ("fields", "length", "chunked"),
    [
        ([(b"Content-Length", b"5")], 5, False),
        ([(b"Transfer-Encoding", b"Chunked")], -1, True),
        ([(b"Transfer-Encoding", b"gzip, chunked")], -2, True),
        ([(b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")], -2, True),
        ([], -1, False),
    ],
)
def test_answer_framing(fields: list[tuple[bytes, bytes]], length: int, chunked: bool) -> None:
    """-2: a coding that is not to be had."""
    head = judge_answer(fields)
    assert (head.length, head.chunked) == (length, chunked)


@pytest.mark.parametrize(
    ("value", "close", "kept"),
    [
        (b"close", True, 2),
        (b"Close, X-A", True, 1),
        (b"keep-alive", False, 2),
        (b"X-a, x-b", False, 0),
        (b"", False, 2),
    ],
)
def test_answer_connection(value: bytes, close: bool, kept: int) -> None:
    """`close` is remembered, named fields are dropped."""
    head = judge_answer([(b"Connection", value), (b"X-A", b"1"), (b"X-B", b"1")])
    assert (head.close, len(head.forward) // 4) == (close, kept)


@pytest.mark.parametrize(("value", "seconds"), [
    (b"17", 17), (b" 17 ", 17), (b"-1", 0), (b"soon", 0), (b"9" * 30, 0), (b"0", 0),
    (b"Wed, 21 Oct 2026 07:28:40 GMT", 40), (b"Wed, 21 Oct 2026 07:27:59 GMT", 0), (b"Wed, 99 Oct 2026", 0),
    (b"Wed, 21 Oct 2888888888 07:28:40 GMT", 0),
    (b"Wed, 21 Oct 2026 07:28:40 -0000", 40),
])  # fmt: skip
def test_retry_after(value: bytes, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds, a time, or nothing we understand."""
    now = datetime(2026, 10, 21, 7, 28, tzinfo=UTC).timestamp()
    monkeypatch.setattr(clock, "now_ns", lambda: int(now * 1e9))
    assert judge_answer([(b"Retry-After", value)]).retry_after_s == seconds


@pytest.mark.parametrize(("fields", "seconds"), [
    ([(b"Retry-After-Ms", b"2500")], 3), ([(b"retry-after-ms", b"1")], 1),
    ([(b"retry-after-ms", b"812"), (b"retry-after", b"1")], 1),
    ([(b"retry-after", b"9"), (b"retry-after-ms", b"x")], 9),
])  # fmt: skip
def test_retry_after_ms(fields: list[tuple[bytes, bytes]], seconds: int) -> None:
    """As OpenAI says it, beside the other."""
    assert judge_answer(fields).retry_after_s == seconds


def test_answer_kinds() -> None:
    """Type and encoding in lower case; identity is none; what can be judged whole."""
    head = judge_answer([(b"Content-Type", b" Application/JSON; charset=utf-8"), (b"Content-Encoding", b"Identity")])
    assert (head.content_type, head.encoding, head.whole) == (b"application/json; charset=utf-8", "", True)
    head = judge_answer([(b"Content-Type", b"application/json"), (b"Content-Encoding", b"GZIP")])
    assert (head.encoding, head.whole) == ("gzip", False)


# Targets and methods


@pytest.mark.parametrize(
    "url", [b"/", b"/v1/chat/completions", b"/a.b/..c/d..", b"/a?b=//../%2f#"[:-1], b"/a%20b", b"/~"]
)
def test_targets(url: bytes) -> None:
    """One spelling a path; the query is free."""
    assert target_error(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        b"", b"*", b"http://h/", b"h:80", b"//a", b"/a//b", b"/./a", b"/a/./b", b"/a/../b", b"/a/.", b"/a/..", b"/..",
        b"/a\\b", b"/a%2Fb", b"/a%5cb", b"/%2e%2e/a", b"/a%00", b"/a#b", b"/a?b#c",
    ],
)  # fmt: skip
def test_bad_targets(url: bytes) -> None:
    """With a reason."""
    assert target_error(url)


def test_methods_and_status_lines() -> None:
    """From tables."""
    assert method_error(b"POST") is None
    row = method_error(b"TRACE")
    assert row is not None
    assert row.status == 405
    assert STATUS_LINES[404] == b"HTTP/1.1 404 Not Found\r\n"
    assert STATUS_LINES[599] == b"HTTP/1.1 599 Unknown\r\n"
    assert set(STATUS_LINES) == set(range(100, 600))


def test_the_name_of_a_conversation_is_for_us() -> None:
    """x-burncloud-affinity, shortened; it never goes up."""
    head = judge([(b"Host", b"x"), (b"X-BurnCloud-Affinity", b" mine "), (b"x-a", b"1")], True)
    assert (head.thread, head.forward) == (b"mine", b"x-a: 1\r\n")
    assert judge([(b"Host", b"x"), (b"x-burncloud-affinity", b"y" * 900)], True).thread == b"y" * 256
