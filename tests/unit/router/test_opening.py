"""The handshake of a WebSocket: who is let in, what the channel is asked, what the client is answered."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from burncloud.domain.snapshot import Token
from burncloud.wire.websocket import accept_of, frame
from tests.dialogue import KEY, MODEL, UPSTREAM_KEY, Dialogue, UpstreamEnd, channels
from tests.speech import answer, completion, get, post, problem

URL = f"/v1/realtime?model={MODEL}"
OFFER = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)  # fmt: skip
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def upgrade(*fields: str, url: str = URL, key: str = KEY) -> bytes:
    """A client's handshake."""
    return get(url, *OFFER, *fields, key=key)


def switched(up: UpstreamEnd, *fields: str) -> bytes:
    """The upstream's answer to the request that it got."""
    accept = accept_of(up.request.field("sec-websocket-key").encode()).decode()
    head = ("HTTP/1.1 101 Switching Protocols", "Upgrade: WebSocket", "Connection: upgrade")
    return "\r\n".join((*head, f"Sec-WebSocket-Accept: {accept}", *fields)).encode() + b"\r\n\r\n"


def test_both_legs_have_a_handshake_of_their_own() -> None:
    """The channel gets its key, its name of the model and no credential of the client's; extensions nobody."""
    with Dialogue(channels(1, models={MODEL: "gpt-realtime/x"})) as d:
        client = d.client()
        client >> upgrade(
            "Sec-WebSocket-Extensions: permessage-deflate", "OpenAI-Beta: realtime=v1", "Cookie: a=b",
            "Sec-WebSocket-Protocol: realtime, openai-organization.org-1",
            url=f"/v1/realtime?intent=x&model={MODEL}&key=",
        )  # fmt: skip
        up = d.upstream()
        asked = up.request
        assert (asked.method, asked.target) == ("GET", "/v1/realtime?model=gpt-realtime%2Fx&intent=x")
        assert asked.field("authorization") == f"Bearer {UPSTREAM_KEY}"
        assert asked.field("upgrade") == "websocket"
        assert asked.field("connection") == "Upgrade"
        assert asked.field("sec-websocket-version") == "13"
        assert asked.field("sec-websocket-protocol") == "realtime"
        assert asked.field("openai-beta") == "realtime=v1"
        assert asked.field("sec-websocket-key") != "dGhlIHNhbXBsZSBub25jZQ=="
        assert not asked.names & {"sec-websocket-extensions", "cookie", "content-length"}
        up << switched(up, "x-request-id: up-1", "Sec-WebSocket-Protocol: realtime", "Set-Cookie: a=b")
        opened = client.answer()
        assert opened.status == 101
        assert opened.field("sec-websocket-accept") == ACCEPT
        assert opened.field("sec-websocket-protocol") == "realtime"
        assert opened.field("x-upstream-request-id") == "up-1"
        assert opened.field("upgrade") == "websocket"
        assert not opened.field("set-cookie") + opened.field("sec-websocket-extensions")


@pytest.mark.parametrize(("fields", "url", "key"), [
    (("api-key: " + KEY,), URL, ""),
    ((), f"{URL}&key={KEY}", ""),
    ((f"Sec-WebSocket-Protocol: realtime, openai-insecure-api-key.{KEY}",), URL, ""),
    ((), f"/openai/realtime?api-version=2024-10-01-preview&deployment={MODEL}&api-key={KEY}", ""),
    ((), f"/openai/v1/realtime?model={MODEL}", KEY),
])  # fmt: skip
def test_where_the_token_may_stand(fields: tuple[str, ...], url: str, key: str) -> None:
    """A field, the query, a subprotocol; OpenAI's path and Azure's.  It never goes up."""
    with Dialogue() as d:
        client = d.client()
        client >> upgrade(*fields, url=url, key=key)
        up = d.upstream()
        assert up.request.target == f"/v1/realtime?model={MODEL}"
        assert KEY.encode() not in up.received
        up << switched(up)
        opened = client.answer()
        assert opened.status == 101
        assert opened.field("sec-websocket-protocol") == ("realtime" if "Protocol" in "".join(fields) else "")


@pytest.mark.parametrize(("request_", "status", "text"), [
    (get(URL), 400, "Upgrade: websocket"),
    (get(URL, "Upgrade: websocket", *OFFER[2:]), 400, "Upgrade: websocket"),
    (get(URL, "Connection: Upgrade", "Upgrade: h2c", *OFFER[2:]), 400, "Upgrade: websocket"),
    (get(URL, *OFFER, method="HEAD"), 400, ""),
    (upgrade().replace(b"Version: 13", b"Version: 8"), 400, "Sec-WebSocket-Version"),
    (upgrade().replace(b"dGhl", b"dG"), 400, "Sec-WebSocket-Key"),
    (upgrade().replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "Upgrade: websocket"),
    (upgrade("Content-Length: 3") + b"abc", 400, "no body"),
    (upgrade(url="/v1/realtime"), 400, "model"),
    (upgrade(url="/v1/realtime?model=other"), 404, "other"),
    (upgrade(key="sk-wrong"), 401, "token"),
    (upgrade(key=""), 401, "No token"),
    (post(b"v=0", URL), 405, "GET"),
])  # fmt: skip
def test_who_is_not_let_in(request_: bytes, status: int, text: str) -> None:
    """Told in plain HTTP; nothing leaves, nothing is booked."""
    with Dialogue() as d:
        client = d.client()
        client >> request_
        refused = client.answers([request_.split()[0]])[0]
        assert refused.status == status
        assert text in refused.body.decode()
        assert d.silent
        assert not d.written()


def test_the_token_s_scope_counts() -> None:
    """As with any request."""
    token = Token(1, hashlib.sha256(KEY.encode()).digest(), 1, models=("other",))
    with Dialogue(token=token) as d:
        client = d.client()
        client >> upgrade()
        assert client.answer().status == 403
        assert client.closed


@pytest.mark.parametrize("status", [401, 429, 500, 503])
def test_a_refusal_of_the_upstream_fails_over(status: int) -> None:
    """Before 101 it is an answer like any other: the next channel is asked."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> upgrade()
        d.upstream() << problem(status)
        up = d.upstream()
        up << switched(up)
        assert client.answer().status == 101
        up << frame(8)
        up.hang_up()
        [end] = d.receipts()
        assert (end.channel, [attempt.status for attempt in end.attempts]) == (2, [status, 101])


def test_a_client_s_mistake_is_told() -> None:
    """The upstream's 404 passes, with its words; the connection ends."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> upgrade()
        d.upstream() << problem(404, "no such model")
        told = client.answer()
        assert (told.status, told.json["error"]["message"]) == (404, "no such model")
        assert client.closed
        [end] = d.receipts()
        assert (end.status, end.charge, end.endpoint) == (404, 0, "realtime")


@pytest.mark.parametrize("fields", [
    ("Sec-WebSocket-Accept: AAAA",), ("Sec-WebSocket-Extensions: permessage-deflate",),
    ("Sec-WebSocket-Protocol: other",),
])  # fmt: skip
def test_a_handshake_of_the_upstream_that_is_none(fields: tuple[str, ...]) -> None:
    """Another key's answer, an extension or protocol that nobody offered: the next channel."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> upgrade()
        up = d.upstream()
        said = switched(up, *fields)
        if fields[0].startswith("Sec-WebSocket-Accept"):
            said = said.replace(b"Sec-WebSocket-Accept", b"X", 1)
        up << said
        other = d.upstream()
        other << switched(other)
        assert client.answer().status == 101
        assert up.closed


def test_an_idle_connection_may_be_stale() -> None:
    """One that is reused and was closed in the meantime: the same again on a fresh one."""
    with Dialogue() as d:
        client = d.client()
        client >> post({"model": MODEL, "messages": []})
        up = d.upstream()
        up << answer(completion())
        assert client.answer().status == 200
        client >> upgrade()
        assert d.upstream() is up
        up.reset()
        fresh = d.upstream()
        fresh << switched(fresh)
        assert client.answer().status == 101


def test_channels_with_places_of_their_own() -> None:
    """Query and fields that the channel's options want."""
    options = {"headers": {"set": {"x-a": "1"}}, "query": {"b": "2"}}
    with Dialogue(channels(1, options=options)) as d:
        client = d.client()
        client >> upgrade()
        up = d.upstream()
        assert up.request.target == f"/v1/realtime?model={MODEL}&b=2"
        assert up.request.field("x-a") == "1"


@pytest.mark.parametrize(("vendor", "base", "options", "asked"), [
    ("azure", "", {}, f"/openai/v1/realtime?model={MODEL}"),
    ("azure-deployments", "", {"api_version": "2025-04-01-preview"},
     f"/openai/realtime?api-version=2025-04-01-preview&deployment={MODEL}"),
    ("dashscope", "/compatible-mode/v1", {}, f"/api-ws/v1/realtime?model={MODEL}"),
    ("zhipu", "/api/paas/v4", {}, f"/api/paas/v4/realtime?model={MODEL}"),
])  # fmt: skip
def test_where_vendors_have_it(vendor: str, base: str, options: dict[str, object], asked: str) -> None:
    """Azure's deployments by name, a place of its own at Alibaba, behind the base URL elsewhere."""
    [channel] = channels(1, vendor=vendor, options=options)
    with Dialogue([msgspec.structs.replace(channel, base_url=f"http://up.test{base}")]) as d:
        client = d.client()
        client >> upgrade()
        up = d.upstream()
        assert up.request.target == asked
        up << switched(up)
        assert client.answer().status == 101


def test_other_vendors_have_no_such_door() -> None:
    """404, as for any API that no channel speaks."""
    with Dialogue(channels(1, vendor="anthropic")) as d:
        client = d.client()
        client >> upgrade()
        assert client.answer().status == 404
