"""One client connection: arrival in any split, bounds, deadlines, and how it ends."""

from __future__ import annotations

import math

import pytest

from burncloud.wire.downstream import LINGER_S
from tests.dialogue import Dialogue
from tests.speech import DONE, answer, chat, chunk, chunked, completion, delta, get, post, stream_head

BODY = chat()


def test_a_request_and_its_answer() -> None:
    """The plain case: the body goes up as it came, the content comes down as it came, the receipt is right."""
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY)
        up = d.upstream()
        assert up.request.json == BODY
        up << answer(completion(), "X-Request-Id: up-1")
        heard = client.answer()
        assert heard.status == 200
        assert heard.body == completion()
        assert heard.field("x-request-id").startswith("req_")
        assert heard.field("x-upstream-request-id") == "up-1"
        assert heard.field("x-burncloud-channel") == "ch_1"
        [end] = d.receipts()
        assert (end.state, end.charge, end.usage.input, end.usage.output) == ("done", 1_500_000, 10, 20)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64])
def test_arrival_in_pieces(size: int) -> None:
    """Where reads end says nothing: the same request byte by byte."""
    with Dialogue() as d:
        client = d.client()
        for message in (post(BODY), chunked(BODY, sizes=(3,)), post(BODY)):
            client.say_split(message, size)
            up = d.upstream()
            assert up.request.json == BODY
            up << answer(completion())
            assert client.answer().status == 200


def test_empty_lines_before_a_request() -> None:
    """RFC 9112 §2.2: a client may send CRLF after a body; some do."""
    with Dialogue() as d:
        client = d.client()
        client >> b"\r\n\r\n" + post(BODY)
        d.upstream() << answer(completion())
        assert client.answer().status == 200


@pytest.mark.parametrize("size", [1000, 60_000, 1 << 20], ids=["small reads", "large reads", "one read"])
@pytest.mark.parametrize("where", ["field", "target"])
def test_a_head_above_64_kib(where: str, size: int) -> None:
    """The bound holds in any split, in one read, too, and before the head is complete."""
    with Dialogue() as d:
        client = d.client()
        filler = "a" * 70_000
        path = "/v1/chat/completions" + ("?" + filler if where == "target" else "")
        fields = ["X-Filler: " + filler] if where == "field" else []
        client.say_split(post(BODY, path, *fields), size)
        assert client.answer().status == 431
        assert client.closed
        assert d.silent


def test_a_head_below_64_kib_with_a_large_body() -> None:
    """What is counted is the head, not the read that it came in."""
    with Dialogue() as d:
        client = d.client()
        body = chat(user="u" * 200_000)
        client >> post(body, "/v1/chat/completions", "X-Filler: " + "a" * 60_000)
        assert d.upstream().request.json == body


def test_a_pipelined_head_above_64_kib() -> None:
    """The second head of one read is counted for itself."""
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY) + get("/v1/models", "X-Filler: " + "a" * 66_000)
        d.upstream() << answer(completion())
        assert [a.status for a in client.answers()] == [200, 431]
        assert client.closed


def test_endless_empty_lines() -> None:
    """CRLF without end is a head without end."""
    with Dialogue() as d:
        client = d.client()
        for _ in range(40):
            client >> b"\r\n" * 1000
        assert client.answer().status == 431
        assert client.closed


@pytest.mark.parametrize(("count", "status"), [(96, 200), (101, 431)])
def test_header_fields_are_counted(count: int, status: int) -> None:
    """At most 100 fields."""
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY, "/v1/chat/completions", *[f"X-{n}: v" for n in range(count)])
        if status == 200:
            d.upstream() << answer(completion())
        assert client.answer().status == status


def test_a_slow_head_is_given_up() -> None:
    """Slowloris: a head has 30 s from its first byte, however its bytes trickle."""
    with Dialogue() as d:
        client = d.client()
        for byte in post(BODY)[:25]:
            client >> bytes([byte])
            d.later(1)
            assert not client.closed
        d.later(10)
        assert client.answer().status == 408
        assert client.closed


def test_a_slow_head_on_a_used_connection() -> None:
    """The same between two requests: an idle time-out is no head time-out."""
    with Dialogue(head_timeout_ms="5000", client_idle_timeout_ms="60000") as d:
        client = d.client()
        client >> post(BODY)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        d.later(30)
        client >> b"POST /v1"
        d.later(6)
        assert client.answer().status == 408


def test_an_idle_connection_is_closed_quietly() -> None:
    """No request is under way, so there is nothing to answer."""
    with Dialogue(client_idle_timeout_ms="20000") as d:
        client = d.client()
        client >> post(BODY)
        d.upstream() << answer(completion())
        client.answer()
        d.later(19)
        assert not client.closed
        d.later(3)
        assert client.closed
        assert client.quiet


def test_a_connection_that_never_speaks() -> None:
    """It gets as long as a head may take."""
    with Dialogue() as d:
        client = d.client()
        d.later(29)
        assert not client.closed
        d.later(2)
        assert client.closed
        assert client.received == b""


@pytest.mark.parametrize("half", ["FIN", "RST"])
def test_a_client_that_leaves_is_noticed(half: str) -> None:
    """During an exchange either counts as gone, and the upstream is cut off at once."""
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY)
        up = d.upstream()
        if half == "FIN":
            client.hang_up()
        else:
            client.reset()
        assert up.wire.aborted
        [end] = d.receipts()
        assert end.state == "gone"


def test_fin_after_the_answer_loses_nothing() -> None:
    """A client may half-close once it has its answer."""
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY)
        d.upstream() << answer(completion())
        client.hang_up()
        assert client.answer().body == completion()
        assert client.closed


@pytest.mark.parametrize("keep", [True, False])
def test_http_1_0(keep: bool) -> None:
    """Old clients keep the connection only where they ask, and hear so."""
    with Dialogue() as d:
        client = d.client()
        fields = ["Connection: keep-alive"] if keep else []
        client >> post(BODY, "/v1/chat/completions", *fields).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        d.upstream() << answer(completion())
        heard = client.answer()
        assert heard.body == completion()
        assert heard.field("connection") == ("keep-alive" if keep else "close")
        assert client.closed is not keep


def test_http_1_0_hears_a_stream_until_the_end_of_the_connection() -> None:
    """Chunks are unknown to it (DATAPLANE.md rule 1)."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True), "/v1/chat/completions", "Connection: keep-alive").replace(b"1.1", b"1.0", 1)
        up = d.upstream()
        (
            up
            << stream_head()
            + chunk(delta("Hello"))
            + chunk(delta("", finish="stop") + b"data: [DONE]\n\n")
            + b"0\r\n\r\n"
        )
        heard = client.answer()
        assert heard.field("transfer-encoding") == ""
        assert heard.field("connection") == "close"
        assert heard.body == delta("Hello") + delta("", finish="stop") + DONE
        assert client.closed


def test_connection_close_is_honoured() -> None:
    """The client's wish ends the connection after its answer."""
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY, "/v1/chat/completions", "Connection: close")
        d.upstream() << answer(completion())
        assert client.answer().closing
        assert client.closed


def test_a_refused_upload_is_read_away() -> None:
    """A small body behind a refusal is discarded, and the connection serves on."""
    with Dialogue() as d:
        client = d.client()
        message = post(BODY, key="sk-wrong")
        client >> message[:-5]
        assert client.answer().status == 401
        client >> message[-5:]
        client >> post(BODY)
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_a_refused_upload_that_never_comes() -> None:
    """Who is refused and then sends nothing more does not keep the connection for ever."""
    with Dialogue() as d:
        client = d.client()
        client >> post(b"x" * 1000, key="sk-wrong", length=100_000)
        assert client.answer().status == 401
        d.later(121)
        assert client.closed


def test_the_end_is_said_before_the_connection_is_reset() -> None:
    """A client in the middle of a long upload must be able to read why it was refused: FIN first, the rest is read."""
    with Dialogue() as d:
        client = d.client()
        client >> post(b"x" * 1000, length=100 << 20)
        heard = client.answer()
        assert heard.status == 413
        assert heard.closing
        assert client.wire.half_closed
        assert not client.wire.lost
        client >> b"x" * 100_000
        client.hang_up()
        assert client.wire.lost


def test_who_sends_on_is_cut_off() -> None:
    """That patience has an end."""
    with Dialogue() as d:
        client = d.client()
        client >> post(b"x" * 1000, length=100 << 20)
        for _ in range(int(LINGER_S) + 1):
            client >> b"x" * 100_000
            d.later(1)
        assert client.wire.aborted


def test_an_answer_that_nobody_reads_does_not_hold_a_closing_connection() -> None:
    """close() waits until all is sent; a client that never reads is cut off in the end."""
    with Dialogue() as d:
        client = d.client()
        client.stop_reading()
        client >> post(BODY, "/v1/chat/completions", "Connection: close")
        d.upstream() << answer(completion())
        assert client.wire.closing
        d.later(100)
        assert not client.wire.lost
        d.later(30)
        assert client.wire.aborted


def test_too_many_clients() -> None:
    """Above the bound a connection is told so and closed."""
    with Dialogue() as d:
        d.gateway.clients_max = 1
        first, second = d.client(), d.client()
        assert second.answer().status == 503
        assert second.closed
        first >> post(BODY)
        d.upstream() << answer(completion())
        assert first.answer().status == 200


def test_mapped_addresses_are_ipv4() -> None:
    """A socket on [::] names IPv4 clients ::ffff:a.b.c.d."""
    with Dialogue() as d:
        client = d.client("::ffff:192.0.2.7")
        client >> post(BODY)
        d.upstream() << answer(completion())
        client.answer()
        assert d.receipts()[0].client == "192.0.2.7"


def test_who_retires_serves_one_more_request_on_each_connection() -> None:
    """Also with the head that it knows by heart; what was answered before goes on undisturbed."""
    with Dialogue() as d:
        busy, known, fresh = d.client(), d.client(), d.client()
        for _ in range(2):
            known >> post(BODY)
            d.upstream() << answer(completion())
            known.answer()
        busy >> post(BODY)
        up = d.upstream()
        for client in (busy, known, fresh):
            client.protocol.retire(d.loop.time(), 120.0, 5.0 if client is known else math.inf)
        up << answer(completion())
        assert busy.answer().field("connection") == "keep-alive" or not busy.closed
        for client in (busy, known, fresh):
            client >> post(BODY)
            d.upstream() << answer(completion())
            heard = client.answer()
            assert (heard.status, heard.field("connection")) == (200, "close")
            assert client.closed


def test_who_retires_closes_what_was_quiet_for_long() -> None:
    with Dialogue() as d:
        client = d.client()
        client >> post(BODY)
        d.upstream() << answer(completion())
        client.answer()
        d.later(4)
        client.protocol.retire(d.loop.time(), 120.0, 5.0)
        assert not client.closed
        d.later(2)
        client.protocol.retire(d.loop.time(), 120.0, 5.0)
        d.later(0)
        assert client.closed


def test_drain_finishes_what_runs() -> None:
    """At a stop: idle connections close, the running exchange ends, queued ones are not begun."""
    with Dialogue() as d:
        idle, busy, refused = d.client(), d.client(), d.client()
        busy >> post(BODY) + post(BODY)
        refused >> post(b"", key="sk-wrong", length=1000)
        up = d.upstream()
        for client in (idle, busy, refused):
            client.protocol.drain()
        d.later(0)
        assert idle.closed
        assert refused.closed
        up << answer(completion())
        assert busy.answer().status == 200
        assert busy.quiet
        assert busy.closed


def test_repr_tells_the_state() -> None:
    """For logs and debuggers."""
    with Dialogue() as d:
        client = d.client()
        assert "idle" in repr(client.protocol)
        client >> post(BODY)
        assert "active" in repr(client.protocol)
        client.hang_up()
        assert "closing" in repr(client.protocol)
