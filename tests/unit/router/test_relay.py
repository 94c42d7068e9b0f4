"""The wall: what is not LLM traffic goes to the control process, with its credentials and our word for who asks."""

from __future__ import annotations

import pytest

from burncloud.router.relay import AWAY_S_MAX, RELAYS_MAX, allowed_from
from tests.dialogue import Dialogue
from tests.speech import answer, chat, chunk, get, post

JSON = b'{"ok":true}'


def test_a_management_request() -> None:
    """The head is rebuilt: credentials and cookies go, what could lie about the client does not; the answer comes
    with its cookies and policies."""
    with Dialogue() as d:
        client = d.client("198.51.100.7")
        client >> post(
            {"a": 1}, "/api/v1/users?x=1", "Cookie: session=1", "X-Forwarded-For: 1.2.3.4", "X-Real-IP: 1.2.3.4",
            "Forwarded: for=1.2.3.4", "X-BurnCloud-Peer: 1.2.3.4", "X_Forwarded_For: 1", "Accept-Encoding: gzip",
            "If-None-Match: x", "Connection: X-Hop", "X-Hop: 1", "X-Request-Id: r",
        )  # fmt: skip
        control = d.upstream()
        assert control.origin.key.scheme == "unix"
        assert control.request.target == "/api/v1/users?x=1"
        assert control.request.json == {"a": 1}
        assert control.request.field("authorization") == "Bearer sk-test"
        assert control.request.field("cookie") == "session=1"
        assert control.request.field("x-burncloud-peer") == "198.51.100.7"
        assert control.request.field("accept-encoding") == "gzip"
        assert control.request.field("x-request-id") == "r"
        assert (
            control.request.names & {"x-forwarded-for", "x-real-ip", "forwarded", "x_forwarded_for", "x-hop"} == set()
        )
        control << answer(JSON, "Set-Cookie: a=1", "Set-Cookie: b=2", "WWW-Authenticate: Bearer", "ETag: e", status=403)
        heard = client.answer()
        assert (heard.status, heard.body) == (403, JSON)
        assert [value for name, value in heard.fields if name == "Set-Cookie"] == ["a=1", "b=2"]
        assert heard.field("www-authenticate") == "Bearer"
        assert heard.field("x-burncloud-channel") == ""
        assert d.receipts() == []


@pytest.mark.parametrize(
    ("peer", "told", "client"),
    [
        ("198.51.100.7", "1.2.3.4", "198.51.100.7"),
        ("10.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", " , ,", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "nonsense"),
    ],
)
def test_who_the_client_is(peer: str, told: str, client: str) -> None:
    """The nearest address that is no trusted proxy's; what a stranger tells counts for nothing."""
    with Dialogue(trusted_proxies="10.0.0.0/8") as d:
        speaker = d.client(peer)
        speaker >> get("/health", *([f"X-Forwarded-For: {told}"] if told else []))
        assert d.upstream().request.field("x-burncloud-peer") == client


def test_head() -> None:
    """Answered by a head alone; that connection is not used again, the client's is."""
    with Dialogue() as d:
        client = d.client()
        client >> get("/console", method="HEAD")
        control = d.upstream()
        control << b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\nContent-Type: text/html\r\n\r\n"
        [heard] = client.answers([b"HEAD"])
        assert (heard.status, heard.field("content-length")) == (200, "5000")
        client >> get("/console")
        other = d.upstream()
        assert other is not control
        other << answer(b"<html>", kind="text/html")
        assert client.answers([b"HEAD", b"GET"])[1].body == b"<html>"


def test_304_and_204() -> None:
    """No body, and the connection serves on."""
    with Dialogue() as d:
        client = d.client()
        for status in (304, 204):
            client >> get("/console/app.js")
            d.upstream() << f"HTTP/1.1 {status} X\r\nETag: e\r\n\r\n".encode()
            assert client.answer().status == status


def test_a_stream_passes_as_it_comes() -> None:
    """The console's live view: no commit point here."""
    with Dialogue() as d:
        client = d.client()
        client >> get("/api/v1/live")
        control = d.upstream()
        control << b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert client.received.endswith(b"\r\n\r\n")
        control << chunk(b": hi\n\n")
        assert client.received.endswith(b"6\r\n: hi\n\n\r\n")
        control.reset()
        assert client.wire.aborted


def test_control_is_away() -> None:
    """It is waited for, a moment; then 503, while LLM traffic goes on."""
    with Dialogue(dialling="refuse") as d:
        client = d.client()
        client >> get("/health")
        d.later(AWAY_S_MAX - 0.5)
        assert client.quiet
        d.later(1)
        heard = client.answer()
        assert (heard.status, heard.field("retry-after")) == (503, "1")
        d.dialling = "accept"
        client >> post(chat())
        assert d.upstream().origin.key.scheme == "http"


def test_another_control_process_takes_its_place() -> None:
    """A reload: nobody who asks meanwhile is refused; who leaves meanwhile is forgotten."""
    with Dialogue(dialling="refuse") as d:
        client, gone = d.client(), d.client()
        for one in (client, gone):
            one >> get("/health")
        d.later(1)
        gone.reset()
        d.dialling = "accept"
        d.later(0.1)
        d.upstream() << answer(b"{}")
        assert client.answer().status == 200
        assert d.silent


def test_control_closed_an_idle_connection_just_now() -> None:
    """uvicorn does so after some seconds: asked once more on a fresh one."""
    with Dialogue() as d:
        client = d.client()
        client >> get("/health")
        control = d.upstream()
        control << answer(JSON)
        client.answer()
        client >> post({"a": 1}, "/api/v1/users")
        assert d.upstream() is control
        control.hang_up()
        fresh = d.upstream()
        assert fresh is not control
        assert fresh.request.json == {"a": 1}
        fresh << answer(JSON)
        assert client.answer().body == JSON


def test_few_at_a_time() -> None:
    """Management never takes the worker from LLM traffic."""
    with Dialogue(dialling="wait") as d:
        crowd = [d.client() for _ in range(RELAYS_MAX + 1)]
        for client in crowd:
            client >> get("/api/v1/status")
        assert [len(client.answers()) for client in crowd] == [0] * RELAYS_MAX + [1]
        assert crowd[-1].answer().status == 503
        crowd[0].reset()
        crowd[-1] >> get("/api/v1/status")
        assert crowd[-1].quiet
        assert d.gateway.relay.running == RELAYS_MAX


@pytest.mark.parametrize("when", ["dialling", "sent", "passing"])
def test_the_client_leaves(when: str) -> None:
    """Control's connection is cut, the place is free."""
    with Dialogue(dialling="wait" if when == "dialling" else "accept") as d:
        client = d.client()
        client >> get("/api/v1/live")
        if when != "dialling":
            control = d.upstream()
            if when == "passing":
                control << b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(
                    b"x"
                )
        client.reset()
        assert d.gateway.relay.running == 0
        if when == "dialling":
            assert d.dials[0].accept().wire.aborted
        else:
            assert d.upstreams[0].wire.aborted


def test_a_large_body() -> None:
    """Up to 8 MiB, from the spool."""
    with Dialogue() as d:
        client = d.client()
        message = post(b"x" * 3_000_000, "/api/v1/import")
        client.say_split(message, 200_000)
        control = d.upstream()
        assert control.request.body == b"x" * 3_000_000
        control << answer(JSON)
        assert client.answer().status == 200


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_allowed_from(address: str, allowed: bool) -> None:
    """Networks of both families; host bits in a network are no error."""
    assert allowed_from(address, ("10.9.9.9/8", "2001:db8::/32")) is allowed
