"""The answer on its way back: what is held, what commits, what is passed, and how a broken one ends."""

from __future__ import annotations

import pytest

from burncloud.router.answer import JSON_HOLD_BYTES_MAX, SSE_HOLD_BYTES_MAX
from tests.dialogue import MODEL, Client, Dialogue, UpstreamEnd, channels
from tests.speech import (
    DONE,
    LAST,
    answer,
    chat,
    chunk,
    completion,
    delta,
    event,
    post,
    problem,
    stream_head,
    usage_chunk,
)

ROLE = delta("", role="assistant")
STOP = delta("", finish="stop")
ERROR_EVENT = event({"error": {"message": "overloaded", "type": "server_error", "code": None}})


def streaming(d: Dialogue, **fields: object) -> tuple[Client, UpstreamEnd]:
    """A client whose request for a stream has reached an upstream, which has said its head."""
    client = d.client()
    client >> post(chat(stream=True, **fields))
    up = d.upstream()
    up << stream_head()
    return client, up


# The commit point (DATAPLANE.md rule 13)


def test_a_stream_is_held_until_its_first_content() -> None:
    """Head, comments, pings and the role are no content; with the first content all of it goes down at once."""
    with Dialogue() as d:
        client, up = streaming(d)
        up << chunk(b": hello\n\n") + chunk(ROLE) + chunk(b": ping\n\n")
        assert client.received == b""
        up << chunk(delta("Hi"))
        assert client.received.count(b"\r\n\r\n") == 1
        assert b": hello\n\n" + ROLE + b": ping\n\n" + delta("Hi") in client.received
        up << chunk(STOP + usage_chunk() + DONE) + LAST
        assert client.answer().body == b": hello\n\n" + ROLE + b": ping\n\n" + delta("Hi") + STOP + DONE


@pytest.mark.parametrize("said", [
    chunk(ERROR_EVENT), chunk(ROLE) + chunk(ERROR_EVENT), chunk(b"event: error\ndata: {}\n\n"),
    LAST, chunk(ROLE) + LAST, chunk(b": ping\n\n") + LAST,
])  # fmt: skip
def test_another_channel_before_the_first_content(said: bytes) -> None:
    """An error, or an end without content, is no answer yet: the next channel gives one."""
    with Dialogue(channels(2)) as d:
        client, up = streaming(d)
        up << said
        assert client.received == b""
        other = d.upstream()
        assert other.origin is not up.origin
        other << stream_head() + chunk(ROLE + delta("Hi") + STOP + usage_chunk() + DONE) + LAST
        assert client.answer().body == ROLE + delta("Hi") + STOP + DONE
        [end] = d.receipts()
        assert (end.channel, end.state, len(end.attempts)) == (2, "done", 2)


@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_the_connection_breaks_before_the_first_content(how: str) -> None:
    """The same where the upstream leaves."""
    with Dialogue(channels(2)) as d:
        client, up = streaming(d)
        up << chunk(ROLE)
        getattr(up, how)()
        d.upstream() << stream_head() + chunk(delta("Hi") + STOP + usage_chunk() + DONE) + LAST
        assert client.answer().body == delta("Hi") + STOP + DONE


def test_an_error_event_after_the_first_content_is_passed_on() -> None:
    """As it is, with all behind it, where nobody else goes on (test_rescue.py); its usage counts, the row says cut."""
    behind = (b": sorry\n\n", delta("!"), usage_chunk(7, 3), b"data: oops\n\n")
    for reads in ([ERROR_EVENT, *behind], [ERROR_EVENT + b"".join(behind)]):
        with Dialogue() as d:
            client, up = streaming(d, stream_options={"include_usage": True})
            up << chunk(delta("Hi"))
            for read in reads:
                up << chunk(read)
            up << LAST
            assert client.answer().body == delta("Hi") + ERROR_EVENT + b"".join(behind)
            [end] = d.receipts()
            assert (end.state, end.usage.output) == ("cut", 3)


def test_a_stream_that_thinks_for_long_is_let_go() -> None:
    """After 10 s of nothing but comments the head goes down, so that the client sees a sign of life."""
    with Dialogue() as d:
        client, up = streaming(d)
        for _ in range(9):
            up << chunk(b": ping\n\n")
            d.later(1)
        assert client.received == b""
        d.later(2)
        assert client.received.endswith(b": ping\n\n\r\n")
        up << chunk(delta("Hi") + STOP + usage_chunk() + DONE) + LAST
        assert client.answer().status == 200


def test_a_head_alone_is_let_go_too() -> None:
    """Even with nothing behind it."""
    with Dialogue() as d:
        client, up = streaming(d)
        d.later(11)
        assert client.received.endswith(b"\r\n\r\n")
        up << chunk(delta("Hi") + STOP + usage_chunk() + DONE) + LAST
        assert client.answer().body == delta("Hi") + STOP + DONE


def test_a_long_opening_is_let_go() -> None:
    """16 KiB are held at most."""
    with Dialogue() as d:
        client, up = streaming(d)
        filler = b": " + b"x" * 1000 + b"\n\n"
        for _ in range(SSE_HOLD_BYTES_MAX // len(filler)):
            up << chunk(filler)
            assert client.received == b""
        up << chunk(filler)
        assert client.received


def test_json_is_held_until_complete() -> None:
    """Up to 256 KiB, in any framing."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        said = answer(completion("x" * 100_000))
        up.say_split(said[:-1], 10_000)
        assert client.received == b""
        up << said[-1:]
        assert client.answer().body == completion("x" * 100_000)


@pytest.mark.parametrize("coded", [False, True])
def test_long_json_passes_as_it_comes(coded: bool) -> None:
    """Above that nothing is held."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        body = completion("x" * (JSON_HOLD_BYTES_MAX + 1000))
        if coded:
            up << b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            up << chunk(body[:200_000])
            assert client.received == b""
            up << chunk(body[200_000:-100])
            assert client.received
            up << chunk(body[-100:]) + LAST
        else:
            said = answer(body)
            up << said[:5000]
            assert client.received
            up << said[5000:]
        heard = client.answer()
        assert heard.body == body
        assert bool(heard.field("content-length")) is not coded
        assert d.receipts()[0].usage.output == 20


def test_sound_passes_as_it_comes() -> None:
    """What is neither JSON nor events is held not at all."""
    with Dialogue() as d:
        client = d.client()
        client >> post({"model": "gpt-4", "input": "Hi", "voice": "x"}, "/v1/audio/speech")
        up = d.upstream()
        up << b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"\xff\xfb")
        assert client.received.endswith(b"2\r\n\xff\xfb\r\n")
        up << chunk(b"\x00" * 100) + LAST
        assert client.answer().body == b"\xff\xfb" + b"\x00" * 100


# Broken after the commit point


@pytest.mark.parametrize("how", ["hang_up", "reset", "end", "half an event"])
def test_a_cut_stream_says_so(how: str) -> None:
    """The client gets an error event in its dialect, never a false stop, and pays for what came."""
    with Dialogue() as d:
        client, up = streaming(d)
        up << chunk(ROLE + delta("Hello, this is a beginning of some length"))
        if how == "half an event":
            up << chunk(delta(" that")[:-9])
        if how == "end":
            up << LAST
        else:
            getattr(up, "reset" if how == "reset" else "hang_up")()
        heard = client.answer()
        last = [part for part in heard.body.split(b"\n\n") if part][-1]
        assert b'"code":"service_unavailable"' in last
        assert last.startswith(b"data: {")
        assert b"[DONE]" not in heard.body
        assert not client.closed
        [end] = d.receipts()
        assert (end.state, end.estimated) == ("cut", True)
        assert 5 < end.usage.output < 20
        assert end.charge > 0


def test_a_cut_stream_with_a_stated_length() -> None:
    """Its length would no longer be true, so a stream's length is never passed on."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True, stream_options={"include_usage": True}))
        up = d.upstream()
        up << answer(delta("Hi"), kind="text/event-stream")
        heard = client.answer()
        assert heard.field("content-length") == ""
        assert b"service_unavailable" in heard.body
        assert not client.closed


def test_done_alone_missing_is_complete() -> None:
    """After a finish reason and usage nothing is missing but a formality."""
    with Dialogue() as d:
        client, up = streaming(d)
        up << chunk(delta("Hi") + STOP + usage_chunk()) + LAST
        assert client.answer().body == delta("Hi") + STOP
        assert d.receipts()[0].state == "done"


@pytest.mark.parametrize("broken", [True, False])
def test_a_last_event_without_its_empty_line(broken: bool) -> None:
    """Where the upstream broke off behind the end of the answer it is completed: strict readers would drop it."""
    with Dialogue() as d:
        client, up = streaming(d, stream_options={"include_usage": True})  # else the usage is taken out, and it is new
        up << chunk(delta("Hi") + STOP.rstrip(b"\n"))
        if broken:
            up.reset()
        else:
            up << LAST
        assert client.answer().body == delta("Hi") + STOP.rstrip(b"\n") + (b"\n\n" if broken else b"")
        assert d.receipts()[0].state == "done"


def test_errors_in_the_other_dialects() -> None:
    """Anthropic's clients read `event: error`."""
    with Dialogue(channels(1, vendor="anthropic-compatible", models={"claude": "claude"}), unpriced="free") as d:
        client = d.client()
        client >> post({"model": "claude", "max_tokens": 9, "stream": True, "messages": []}, "/v1/messages")
        up = d.upstream()
        started = b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3}}}\n\n'
        text = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
            b'"delta":{"type":"text_delta","text":"Hello"}}\n\n'
        )
        up << stream_head() + chunk(started)
        assert client.received == b""
        up << chunk(text)
        up.reset()
        heard = client.answer()
        last = [part for part in heard.body.split(b"\n\n") if part][-1]
        assert last.startswith(b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"')


# Statuses


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_the_client_s_fault(status: int) -> None:
    """Passed on with the upstream's body; nothing charged, no other channel asked."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(status, "your fault")
        heard = client.answer()
        assert heard.status == status
        assert heard.json["error"]["message"] == "your fault"
        assert d.silent
        [end] = d.receipts()
        assert (end.state, end.status, end.charge) == ("done", status, 0)


@pytest.mark.parametrize("status", [401, 402, 403])
def test_our_account_at_the_upstream(status: int) -> None:
    """It never looks as if the client's key were bad: 503, the upstream's words unsaid."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(status, "key sk-up is bad")
        heard = client.answer()
        assert heard.status == 503
        assert heard.json["error"]["code"] == "service_unavailable"
        assert b"sk-up" not in heard.body
        assert heard.field("retry-after") == ("1" if status == 403 else "60")  # a key that is off is probed then
        assert d.receipts()[0].attempts[0].status == status


@pytest.mark.parametrize(
    ("status", "becomes"), [(429, 429), (500, 503), (502, 503), (503, 503), (504, 503), (529, 503), (302, 502)]
)
def test_the_upstream_s_fault(status: int, becomes: int) -> None:
    """With no channel left the client hears what it can do about it."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(status, "no", "Retry-After: 17")
        heard = client.answer()
        assert heard.status == becomes
        assert heard.field("retry-after") == {429: "17", 503: "17", 502: ""}[becomes]


# Fields (DATAPLANE.md rule 17)


def test_fields_down() -> None:
    """End-to-end fields pass as they came, in order; hop-by-hop ones and the account's own matters do not."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(
            completion(), "Date: today", "X-Custom: 1", "x-custom: 2", "OpenAI-Processing-Ms: 5", "ETag: x",
            "Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Upgrade: h2", "Trailer: x",
            "Proxy-Authenticate: x", "WWW-Authenticate: x", "Set-Cookie: a=b", "Alt-Svc: h3", "NEL: x", "Report-To: x",
            "Strict-Transport-Security: x", "OpenAI-Organization: acme", "Anthropic-Organization-Id: acme",
            "X-RateLimit-Remaining-Tokens: 5", "Anthropic-RateLimit-Requests-Limit: 5", "X-BurnCloud-Channel: fake",
            "X-Request-Id: up-1",
        )  # fmt: skip
        heard = client.answer()
        names = [(name.lower(), value) for name, value in heard.fields]
        assert names[:5] == [
            ("content-type", "application/json"), ("date", "today"), ("x-custom", "1"), ("x-custom", "2"),
            ("openai-processing-ms", "5"),
        ]  # fmt: skip
        assert {name for name, _ in names} == {
            "content-type", "date", "x-custom", "openai-processing-ms", "etag", "content-length", "x-request-id",
            "x-upstream-request-id", "x-burncloud-channel",
        }  # fmt: skip
        assert heard.field("x-burncloud-channel") == "ch_1"
        assert heard.field("x-upstream-request-id") == "up-1"
        assert d.receipts()[0].upstream_request == "up-1"


def test_a_compressed_answer() -> None:
    """An upstream that compresses in spite of `identity` is passed on as it is, and metered."""
    import gzip

    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        assert up.request.field("accept-encoding") == "identity"
        body = gzip.compress(completion())
        up << answer(body, "Content-Encoding: gzip")
        heard = client.answer()
        assert heard.body == body
        assert heard.field("content-encoding") == "gzip"
        assert d.receipts()[0].usage.output == 20


# The body's room


@pytest.mark.parametrize("pressed", [False, True])
def test_the_body_of_a_stream_is_kept_while_there_is_room(pressed: bool) -> None:
    """It is asked for once more if the stream breaks; never where that would leave little room for other requests."""
    with Dialogue(channels(2)) as d:
        memory = d.gateway.arrivals._memory
        taken = memory.total - 1000 if pressed else 0
        assert memory.take(taken)
        client, up = streaming(d)
        assert memory.free < memory.total - taken
        up << chunk(delta("Hi"))
        assert (memory.free == memory.total - taken) == pressed
        memory.give(taken)
        up << chunk(STOP + usage_chunk() + DONE) + LAST
        assert client.answer().status == 200


def test_a_stream_that_is_an_array_is_not_held() -> None:
    """Gemini streams so to clients that do not ask for server-sent events."""
    element = b'{"candidates":[{"content":{"role":"model","parts":[{"text":"Hi"}]}}],"modelVersion":"g"}'
    last = (
        b'{"candidates":[{"content":{"role":"model","parts":[{"text":"!"}]},"finishReason":"STOP"}],'
        b'"usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":20,"totalTokenCount":30}}'
    )
    with Dialogue(channels(1, vendor="gemini-compatible")) as d:
        client = d.client()
        client >> post({"contents": [{"parts": [{"text": "Hi"}]}]}, f"/v1beta/models/{MODEL}:streamGenerateContent")
        up = d.upstream()
        up << stream_head().replace(b"text/event-stream", b"application/json") + chunk(b"[" + element)
        assert element in client.received
        up << chunk(b",\r\n" + last) + chunk(b"]") + LAST
        assert client.answer().body == b"[" + element + b",\r\n" + last + b"]"
        [end] = d.receipts()
        assert (end.state, end.usage.input, end.usage.output) == ("done", 10, 20)
