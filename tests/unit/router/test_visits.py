"""Long events of a translated stream: turned over beside the worker, in their order, whatever happens meanwhile."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors.splitter import EVENT_BYTES_MAX
from burncloud.adaptors.translation import LONG_BYTES
from burncloud.domain.journal import End
from burncloud.errors import SERVICE_UNAVAILABLE, Refusal
from burncloud.router.wholes import PIECES_A_TURN
from burncloud.wire.body import PIECE_BYTES
from tests.beside import Talk
from tests.dialogue import Client, UpstreamEnd, channels
from tests.speech import DONE, LAST, chunk, delta, event, stream_head, usage_chunk

LONG = "w " * LONG_BYTES
HUGE = "w " * (1 << 20)
END = delta(finish="stop") + usage_chunk() + DONE
ERROR = event({"error": {"message": "no more", "type": "server_error", "code": None, "param": None}})


def asking(d: Talk, *said: bytes, begun: bool = True) -> tuple[Client, UpstreamEnd]:
    """A stream that has begun, and what else its upstream says at once, each in a read of its own."""
    client, up = d.asking(stream=True)
    up << stream_head() + chunk(delta("First.", role="assistant") if begun else delta(role="assistant"))
    for part in said:
        up << chunk(part)
    return client, up


def told(body: bytes) -> str:
    """The text in Anthropic's events."""
    found = [json.loads(line[6:]) for line in body.split(b"\n") if line.startswith(b"data: ") and line.endswith(b"}")]
    return "".join(value["delta"]["text"] for value in found if value["type"] == "content_block_delta")


def text(client: Client) -> str:
    """What the client has read of it so far."""
    return told(client.received.partition(b"\r\n\r\n")[2])


def whole(client: Client) -> str:
    """The same of a stream that is over."""
    body = client.answer().body
    assert body.count(b"event: message_start") == body.count(b"event: message_stop") == 1
    return told(body)


def paid(d: Talk) -> End:
    """The one receipt: as the upstream counted, or, where it broke off, what it told."""
    [end] = d.receipts()
    assert end.usage.input == 10
    assert end.usage.output == 20 or (end.state != "done" and end.usage.output > 20)
    assert end.charge > 0
    return end


@pytest.mark.parametrize("begun", [True, False], ids=["behind the commit point", "before it"])
@pytest.mark.parametrize("long", [LONG, HUGE], ids=["long", "huge"])
def test_in_its_place(long: str, begun: bool) -> None:
    """Nothing is read meanwhile; what comes behind it goes behind it."""
    with Talk() as d:
        client, up = asking(d, delta(long), begun=begun)
        assert text(client) == ("First." if begun else "")
        assert not up.wire.reading
        up << chunk(delta("Last.") + END) + LAST
        d.beside.done()
        up.flush()
        assert whole(client) == ("First." if begun else "") + long + "Last."
        assert paid(d).state == "done"
        assert d.beside.jobs == []


@pytest.mark.parametrize("begun", [True, False])
def test_the_end_comes_with_it(begun: bool) -> None:
    """All in one read; the connection is as good as before."""
    with Talk() as d:
        client, up = asking(d, begun=begun)
        up << chunk(delta(LONG) + delta("Last.") + END) + LAST
        d.beside.done()
        assert whole(client) == ("First." if begun else "") + LONG + "Last."
        assert paid(d).state == "done"
        assert not up.wire.aborted
        assert up.wire.reading


def test_one_after_the_other() -> None:
    with Talk() as d:
        client, up = asking(d, delta(LONG), delta("between"), delta(LONG) + delta("behind"), END)
        up << LAST
        while d.beside.jobs:
            d.beside.done()
            up.flush()
        assert whole(client) == "First." + LONG + "between" + LONG + "behind"


def test_who_leaves_meanwhile_pays() -> None:
    """For what the upstream told so far."""
    with Talk() as d:
        client, up = asking(d, delta(LONG) + usage_chunk())
        client.reset()
        d.beside.done()
        assert paid(d).state == "gone"
        assert up.wire.aborted


def test_a_slow_client() -> None:
    """It gets the long event as fast as it reads, and the upstream is read when it has it."""
    with Talk() as d:
        client, up = asking(d, delta(HUGE))
        client.stop_reading()
        d.beside.done()
        assert len(client.received) < 2 * PIECES_A_TURN * PIECE_BYTES
        assert not up.wire.reading
        up << chunk(END) + LAST
        for _ in range(40):
            client.read()
            up.flush()
        assert whole(client) == "First." + HUGE


@pytest.mark.parametrize("how", ["cut", "error"])
def test_the_stream_breaks_behind_it(how: str) -> None:
    """The client has the long event, and is told so behind it."""
    with Talk() as d:
        client, up = asking(d)
        up << chunk(delta(LONG) + usage_chunk() + (ERROR if how == "error" else b""))
        if how == "cut":
            up.reset()
        d.beside.done()
        body = client.answer().body
        assert text(client) == "First." + LONG
        assert body.rindex(b"event: error") > body.index(b"w w w w")
        assert b"message_stop" not in body
        assert paid(d).state == "cut"


def test_a_break_in_it() -> None:
    """Half of an event is none."""
    with Talk() as d:
        client, up = asking(d, usage_chunk(), delta(HUGE)[:-100_000])
        up.reset()
        if d.beside.jobs:
            d.beside.done()
        body = client.answer().body
        assert text(client) == "First."
        assert body.count(b"event: error") == 1
        assert paid(d).state == "cut"


@pytest.mark.parametrize("begun", [True, False])
def test_a_translator_that_cannot(begun: bool) -> None:
    """Behind the commit point an error event, and what came is paid; before it an error, which costs nothing."""
    with Talk() as d:
        client, up = asking(d, delta(LONG) + usage_chunk(), begun=begun)
        d.beside.done(Refusal(SERVICE_UNAVAILABLE, "The body could not be translated, try again", 1))
        heard = client.answer()
        if begun:
            assert text(client) == "First."
            assert heard.body.count(b"event: error") == 1
            assert paid(d).state == "cut"
        else:
            assert (heard.status, heard.json["type"]) == (503, "error")
            [end] = d.receipts()
            assert (end.state, end.charge) == ("failed", 0)
        assert up.wire.aborted


def test_an_event_without_end() -> None:
    """The client hears so; its beginning is not kept."""
    with Talk() as d:
        client, up = asking(d, usage_chunk())
        piece = b"x" * (1 << 20)
        up << chunk(b'data: {"x":"' + piece)
        for _ in range(EVENT_BYTES_MAX >> 20):
            up << chunk(piece)
        assert client.answer().body.count(b"event: error") == 1
        assert up.wire.aborted
        assert paid(d).state == "cut"


def test_it_breaks_off_before_anything_was_told() -> None:
    """Another channel is asked; what the first one's event became is nobody's."""
    with Talk(channels(2)) as d:
        client, up = asking(d, delta(LONG), begun=False)
        up.reset()
        d.beside.done()
        d.upstream() << stream_head() + chunk(delta("Hi", role="assistant") + END) + LAST
        assert whole(client) == "Hi"


def test_without_a_process_beside() -> None:
    with Talk() as d:
        d.gateway.translator = None
        client, up = asking(d, delta(LONG), END)
        up << LAST
        assert whole(client) == "First." + LONG
