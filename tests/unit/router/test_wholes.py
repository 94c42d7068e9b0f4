"""Whole answers of another dialect that are large: turned over beside the worker, sent from a file, billed exactly."""

from __future__ import annotations

import json

import pytest

from burncloud.domain.journal import End
from burncloud.domain.snapshot import Channel
from burncloud.domain.usage import Usage
from burncloud.errors import SERVICE_UNAVAILABLE, Refusal
from burncloud.router.translate import BESIDE_STRINGS, is_heavy
from burncloud.router.wholes import PIECES_A_TURN, TRANSLATED_BYTES_MAX, Wholes
from burncloud.wire.body import PIECE_BYTES, Body
from tests.beside import ASKED, PATH, Talk
from tests.dialogue import MODEL, UpstreamEnd, channels
from tests.speech import DONE, answer, chunk, completion, delta, in_chunks, post, stream_head, usage_chunk

LARGE = "word " * 40_000
HUGE = "word " * 500_000


def in_reads(up: UpstreamEnd, data: bytes, size: int = 60_000) -> None:
    """As it comes from a network."""
    up.say_split(data, size)


@pytest.mark.parametrize("chunks", [False, True])
@pytest.mark.parametrize("text", [LARGE, HUGE])
def test_a_large_answer(text: str, chunks: bool) -> None:
    """The client gets it whole, with its length; what it used is read off the upstream's."""
    with Talk() as d:
        client, up = d.asking()
        body = completion(text)
        if chunks:
            in_reads(up, stream_head().replace(b"text/event-stream", b"application/json") + in_chunks(body))
        else:
            in_reads(up, answer(body))
        assert client.quiet
        d.beside.done()
        heard = client.answer()
        assert heard.json["content"][0]["text"] == text
        assert heard.field("content-length") == str(len(heard.body))
        [end] = d.receipts()
        assert (end.state, end.usage, end.estimated) == ("done", Usage(10, 20), False)
        assert end.bytes_down == len(heard.body)
        assert len(end.attempts) == 1


def test_one_that_came_in_one_read() -> None:
    with Talk() as d:
        client, up = d.asking()
        up << answer(completion(LARGE))
        d.beside.done()
        assert client.answer().json["content"][0]["text"] == LARGE


def test_others_are_served_meanwhile() -> None:
    """And the upstream's connection is free again."""
    with Talk() as d:
        slow, up = d.asking()
        up << answer(completion(LARGE))
        client = d.client()
        client >> post(ASKED, PATH)
        up << answer(completion("Hi"))
        assert client.answer().json["content"][0]["text"] == "Hi"
        d.beside.done()
        assert slow.answer().status == 200


def paid(end: End) -> tuple[str, int, int, bool]:
    return end.state, end.usage.input, end.usage.output, end.charge > 0


def test_who_leaves_while_it_is_turned_over_pays() -> None:
    """The upstream made it; the meter saw all of it."""
    for before in (True, False):
        with Talk() as d:
            client, up = d.asking()
            up << answer(completion(LARGE))
            if before:
                client.reset()
                d.beside.done()
            else:
                d.beside.done()
                client.reset()
            [end] = d.receipts()
            assert paid(end) == ("gone" if before else "done", 10, 20, True)


def test_who_leaves_while_it_is_sent_pays() -> None:
    """A slow reader gets it as fast as it reads, from the file."""
    with Talk() as d:
        client, up = d.asking()
        client.stop_reading()
        in_reads(up, answer(completion(HUGE)))
        d.beside.done()
        assert len(client.received) <= 2 * PIECES_A_TURN * PIECE_BYTES
        client.read(10**6)
        assert len(client.received) < 2_000_000
        client.reset()
        [end] = d.receipts()
        assert paid(end) == ("gone", 10, 20, True)
        assert 0 < end.bytes_down < 2_000_000


def test_a_slow_reader_gets_all_of_it() -> None:
    with Talk() as d:
        client, up = d.asking()
        client.stop_reading()
        in_reads(up, answer(completion(HUGE)))
        d.beside.done()
        for _ in range(40):
            client.read(100_000)
        assert client.answer().json["content"][0]["text"] == HUGE


def test_a_translator_that_cannot() -> None:
    """It died of it twice: an error in the client's dialect, which costs nothing."""
    with Talk() as d:
        client, up = d.asking()
        up << answer(completion(LARGE))
        d.beside.done(Refusal(SERVICE_UNAVAILABLE, "The body could not be translated, try again", 1))
        heard = client.answer()
        assert (heard.status, heard.json["type"], heard.field("retry-after")) == (503, "error", "1")
        [end] = d.receipts()
        assert paid(end) == ("failed", 0, 0, False)
        assert [attempt.status for attempt in end.attempts] == [200]


def test_what_is_no_answer_leads_to_the_next_channel() -> None:
    with Talk(channels(2)) as d:
        client, up = d.asking()
        up << answer(b'{"nothing":"' + b"x" * 200_000 + b'"}')
        d.beside.done()
        d.upstream() << answer(completion("Hi"))
        assert client.answer().json["content"][0]["text"] == "Hi"
        [end] = d.receipts()
        assert [attempt.status for attempt in end.attempts] == [200, 200]


def test_one_that_breaks_off_leads_to_the_next_channel() -> None:
    """Nothing of it is left in the next one's."""
    with Talk(channels(2)) as d:
        client, up = d.asking()
        up << answer(completion(HUGE))[:2_000_000]
        up.hang_up()
        d.upstream() << answer(completion(LARGE))
        d.beside.done()
        assert client.answer().json["content"][0]["text"] == LARGE


def test_an_answer_without_end() -> None:
    """More than TRANSLATED_BYTES_MAX is no answer."""
    with Talk(channels(2)) as d:
        client, up = d.asking()
        up << stream_head().replace(b"text/event-stream", b"application/json")
        piece = chunk(b"x" * (8 << 20))
        for _ in range(TRANSLATED_BYTES_MAX // (8 << 20) + 1):
            up << piece
        d.upstream() << answer(completion("Hi"))
        assert client.answer().status == 200


def test_there_is_no_room_for_it() -> None:
    """Files of requests and answers have one budget."""
    with Talk(channels(2), spool_bytes="1000000") as d:
        client, up = d.asking()
        in_reads(up, answer(completion(HUGE))[:1_500_000])
        d.upstream() << answer(completion("Hi"))
        assert client.answer().status == 200


def test_a_stream_that_is_wanted_whole() -> None:
    """The upstream streams though nobody asked: a short one is collected here, a long one beside."""
    for words in (10, 5000):
        with Talk() as d:
            client, up = d.asking()
            up << stream_head() + chunk(delta("", role="assistant"))
            for _ in range(words):
                up << chunk(delta("word "))
            up << chunk(delta("", finish="stop") + usage_chunk() + DONE) + b"0\r\n\r\n"
            if words > 10:
                assert client.quiet
                d.beside.done()
            assert client.answer().json["content"][0]["text"] == "word " * words
            [end] = d.receipts()
            assert paid(end) == ("done", 10, 20, True)


def test_an_error_without_end() -> None:
    """Its sentence arrives, in the client's dialect."""
    body = {"error": {"message": "no " * 100_000, "type": "invalid_request_error", "param": None, "code": None}}
    with Talk() as d:
        client, up = d.asking()
        in_reads(up, answer(json.dumps(body).encode(), status=400))
        d.beside.done()
        heard = client.answer()
        assert (heard.status, heard.json["type"]) == (400, "error")
        assert heard.json["error"]["message"].startswith("no no")
        [end] = d.receipts()
        assert end.charge == 0


def test_what_passes_as_it_came() -> None:
    """InvokeModel's answers are Anthropic's own bytes: nothing is turned over."""
    given = Channel(
        1, "ch_1", "bedrock", "", ((1, "A:S"),), {MODEL: "us.anthropic.claude-x"}, options={"region": "us-east-1"}
    )
    usage = {"input_tokens": 10, "output_tokens": 20}
    for text in ("Hi", HUGE):
        message = {"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
        body = json.dumps({**message, "usage": usage}).encode()
        with Talk([given]) as d:
            client, up = d.asking()
            in_reads(up, answer(body))
            assert client.answer().body == body
            [end] = d.receipts()
            assert paid(end) == ("done", 10, 20, True)


def test_without_a_process_beside() -> None:
    """As on Windows: the worker does it itself."""
    with Talk() as d:
        d.gateway.translator = None
        client, up = d.asking()
        in_reads(up, answer(completion(HUGE)))
        assert client.answer().json["content"][0]["text"] == HUGE


def test_what_is_heavy() -> None:
    """Many bytes, or many pieces."""
    assert not is_heavy(Body(b'"x"' * 500))
    assert not is_heavy(Body(b"x" * 90_000))
    assert is_heavy(Body(b"x" * 100_000))
    assert is_heavy(Body(b'"x":5,' * BESIDE_STRINGS))


def test_nothing_is_held_of_others() -> None:
    """A client that reads on is no reason to send what is not there."""
    with Talk() as d:
        wholes: Wholes = d.gateway.answers.wholes
        client, up = d.asking()
        [x] = d.gateway.live
        wholes.flow(x)
        assert x.whole is None
        up << answer(completion("Hi"))
        assert client.answer().status == 200


def test_what_is_lost_on_the_way_back_is_named() -> None:
    """In the header and in the row, as of a small one."""
    value = json.loads(completion(LARGE))
    value["choices"][0]["logprobs"] = {"content": [{"token": "w", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}
    with Talk() as d:
        client, up = d.asking()
        up << answer(value)
        d.beside.done()
        assert client.answer().field("x-burncloud-lossy") == "logprobs"
        [end] = d.receipts()
        assert end.lossy == "logprobs"
