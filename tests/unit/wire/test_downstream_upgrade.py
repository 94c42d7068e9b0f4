"""Upgrade and Expect: what a client offers or asks for beside its request.

An offer that we do not take up is no reason not to serve (DATAPLANE.md rule 11): Java's client sends `Upgrade: h2c`
with each POST, and llhttp would drop that request's body.
"""

from __future__ import annotations

import pytest

from tests.dialogue import Dialogue
from tests.speech import answer, chat, chunked, completion, get, post

PATH = "/v1/chat/completions"
H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA")


@pytest.mark.parametrize("size", [1 << 20, 11, 1])
@pytest.mark.parametrize("coded", [False, True])
def test_h2c_is_served_plainly(size: int, coded: bool) -> None:
    """The body arrives whole, the offer does not go upstream, and the connection serves on."""
    with Dialogue() as d:
        client = d.client()
        for message in (chunked(chat(), PATH, *H2C, sizes=(7,)) if coded else post(chat(), PATH, *H2C), post(chat())):
            client.say_split(message, size)
            up = d.upstream()
            assert up.request.json == chat()
            assert not up.request.names & {"upgrade", "http2-settings", "connection"}
            up << answer(completion())
            assert client.answer().body == completion()


def test_h2c_in_a_pipeline() -> None:
    """Behind, between and before plain requests."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(user="1")) + post(chat(user="2"), PATH, *H2C) + post(chat(user="3"))
        for user in "123":
            up = d.upstream()
            assert up.request.json["user"] == user
            up << answer(completion(user))
            assert client.answer().body == completion(user)


def test_the_rest_of_connection_still_counts() -> None:
    """Fields that `Connection` names beside the upgrade are dropped, and `close` closes."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH, "Connection: close, upgrade, X-Secret", "Upgrade: h2c", "X-Secret: 1", "X-Kept: 1")
        up = d.upstream()
        assert "x-secret" not in up.request.names
        assert "x-kept" in up.request.names
        up << answer(completion())
        assert client.answer().closing
        assert client.closed


def test_an_old_client_stays_an_old_client() -> None:
    """HTTP/1.0 with an offer is still HTTP/1.0."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH, "Connection: upgrade", "Upgrade: h2c").replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        d.upstream() << answer(completion())
        assert client.answer().field("connection") == "close"
        assert client.closed


def test_a_websocket_is_not_opened() -> None:
    """GET with an upgrade gets the plain answer of its path."""
    with Dialogue() as d:
        client = d.client()
        client >> get(
            "/v1/models",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: x",
            "Sec-WebSocket-Version: 13",
        )
        assert client.answer().json["object"] == "list"


def test_an_offer_that_is_malformed_besides() -> None:
    """The rebuilt request is judged like any other."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH, *H2C, "Host: other")
        assert client.answer().status == 400
        assert client.closed
        assert d.silent


def test_connect_is_no_upgrade() -> None:
    """405, and nothing of a tunnel."""
    with Dialogue() as d:
        client = d.client()
        client >> b"CONNECT up.test:443 HTTP/1.1\r\nHost: up.test:443\r\n\r\n\x16\x03\x01"
        assert client.answer().status == 405
        assert client.closed


# Expect: 100-continue

EXPECT = "Expect: 100-continue"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_the_body_is_asked_for_after_admission() -> None:
    """100 comes once the head is admitted; the field is ours and does not go up."""
    with Dialogue() as d:
        client = d.client()
        head, _, body = post(chat(), PATH, EXPECT).partition(b"\r\n\r\n")
        client >> head + b"\r\n\r\n"
        assert client.received == CONTINUE
        client >> body
        up = d.upstream()
        assert "expect" not in up.request.names
        assert up.request.json == chat()
        up << answer(completion())
        assert client.answer().body == completion()
        assert not client.closed


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (post(chat(), PATH, EXPECT, key="sk-other"), 401),
        (post(chat(), PATH, EXPECT, key=""), 401),
        (post(b"", PATH, EXPECT, length=1 << 30), 413),
        (post(chat(), PATH, EXPECT, "Host: other"), 400),
    ],
)
def test_a_refusal_instead_of_100(message: bytes, status: int) -> None:
    """The body is never asked for; what comes of it cannot be told from a request, so the connection ends."""
    with Dialogue() as d:
        client = d.client()
        head, _, body = message.partition(b"\r\n\r\n")
        client >> head + b"\r\n\r\n"
        assert client.answer().status == status
        assert b"100 Continue" not in client.received
        assert client.answers()[0].closing
        assert client.closed
        client >> body
        assert d.silent


def test_100_waits_for_its_turn() -> None:
    """A pipelined request is not invited before the one before it is answered."""
    with Dialogue() as d:
        client = d.client()
        head, _, body = post(chat(user="2"), PATH, EXPECT).partition(b"\r\n\r\n")
        client >> post(chat()) + head + b"\r\n\r\n"
        assert client.received == b""
        d.upstream() << answer(completion())
        assert client.received.endswith(CONTINUE)
        client >> body
        d.upstream() << answer(completion())
        assert [a.status for a in client.answers()] == [200, 200]


def test_http_1_0_is_not_told_to_continue() -> None:
    """1xx is unknown there (RFC 9110 §15.2)."""
    with Dialogue() as d:
        client = d.client()
        head, _, body = post(chat(), PATH, EXPECT).replace(b"HTTP/1.1", b"HTTP/1.0", 1).partition(b"\r\n\r\n")
        client >> head + b"\r\n\r\n"
        assert client.received == b""
        client >> body
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_a_body_that_does_not_wait() -> None:
    """A client may send its body at once, expectation or not."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH, EXPECT) + post(chat())
        for _ in range(2):
            d.upstream() << answer(completion())
            assert client.answer().status == 200
