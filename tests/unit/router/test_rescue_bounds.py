"""What bounds a rescue: the first content that is owed, time, turns of the loop, memory; and whose the bill is."""

from __future__ import annotations

import base64
import random
from typing import Any

import msgspec
import pytest

from burncloud.adaptors.prefill import Sequel, go_on
from burncloud.adaptors.translation import Done, Job, work
from burncloud.domain.snapshot import Channel
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.router.rescue import Rescues
from burncloud.wire.body import Body
from tests.dialogue import MODEL, UPSTREAM_KEY, Dialogue, channels
from tests.speech import DONE, LAST, chat, chunk, delta, event, post, problem, stream_head, usage_chunk
from tests.unit.router.test_rescue import ROLE, STOP, begun

PING = b": ping\n\n"


def noise(count: int) -> bytes:
    """An event that cannot be packed."""
    return delta(base64.b64encode(random.Random(count).randbytes(12000)).decode())


# The first content that a stream owes


def test_a_stream_whose_record_is_lost_has_begun() -> None:
    """Its head went out before its first content, and it delivered more than a record holds."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE)
        d.later(11)
        assert client.received
        up << chunk(delta("Hello"))
        for n in range(30):
            up << chunk(noise(n))
            d.later(9.9)
        d.later(30)
        up << chunk(delta("the end") + STOP + usage_chunk() + DONE) + LAST
        assert b"the end" in client.answer().body


@pytest.mark.parametrize("mode", ["continue", "error"])
def test_pings_do_not_keep_a_stream_open(mode: str) -> None:
    """Whether or not somebody would go on with it."""
    with Dialogue(channels(1), broken_streams=mode, first_content_timeout_ms="60000") as d:
        _, up = begun(d, ROLE)
        for _ in range(20):
            if up.wire.aborted:
                break
            up << chunk(PING)
            d.later(10)
        assert up.wire.aborted
        assert d.loop.now < 1000 + 90


@pytest.mark.parametrize("mode", ["continue", "error"])
def test_one_word_is_content(mode: str) -> None:
    """However many pings follow it."""
    with Dialogue(channels(2), broken_streams=mode, first_content_timeout_ms="60000") as d:
        client, up = begun(d, ROLE)
        d.later(11)
        up << chunk(delta("Hello"))
        for _ in range(30):
            up << chunk(PING * 20)
            d.later(9)
        up << chunk(STOP + usage_chunk() + DONE) + LAST
        assert b"Hello" in client.answer().body
        assert d.receipts()[0].state == "done"


# Time


def test_a_rescue_has_a_budget_of_time() -> None:
    """Three silent spares; the client hears signs of life, then the error."""
    with Dialogue(channels(4), attempts_timeout_ms="60000") as d:
        client, up = begun(d, ROLE, delta("Hi"))
        up.reset()
        began = d.loop.now
        while not client.answers() and d.loop.now < began + 300:
            d.later(5)
        assert d.loop.now - began < 70
        assert 5 <= client.answer().body.count(PING) <= 12
        [end] = d.receipts()
        assert (end.state, [a.charge for a in end.attempts]) == ("cut", [end.charge, 0])


def test_a_spare_that_tells_it_again_is_given_time() -> None:
    """It is at work; the budget is for those that say nothing."""
    with Dialogue(channels(2), attempts_timeout_ms="20000") as d:
        client, up = begun(d, ROLE, delta("one two three four"))
        up.reset()
        other = d.upstream()
        other << stream_head() + chunk(ROLE)
        for word in ("one ", "two ", "three "):
            other << chunk(delta(word))
            d.later(15)
        other << chunk(delta("four five") + STOP + usage_chunk() + DONE) + LAST
        assert b"five" in client.answer().body


@pytest.mark.parametrize(("kind", "option"), [("gemini", "prefix"), ("gemini", "continue"), ("anthropic", "prefix")])
def test_an_option_that_does_not_fit_the_dialect(kind: str, option: str) -> None:
    """The spare is asked from the start."""
    [first] = channels(1, priority=9)
    spare = Channel(2, "ch_2", kind, "http://up2.test/v1", ((20, UPSTREAM_KEY),), {MODEL: MODEL},
                    options={"prefill": option})  # fmt: skip
    with Dialogue([first, spare]) as d:
        _, up = begun(d, ROLE, delta("Hello "))
        up.reset()
        assert not d.silent


def test_a_mistake_of_ours_is_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the stream, not of the client's patience."""

    def fail(*_: Any) -> bool:
        raise KeyError("messages")

    with Dialogue(channels(2)) as d:
        monkeypatch.setattr(Rescues, "write", fail)
        client, up = begun(d, ROLE, delta("Hello "))
        up.reset()
        d.loop.tick()
        assert b"service_unavailable" in client.answer().body


def test_nobody_dials_for_ever() -> None:
    """A connection that neither stands nor fails."""
    with Dialogue(channels(1), dialling="wait", total_timeout_ms="60000") as d:
        client = d.client()
        client >> post(chat())
        d.later(61)
        assert client.answer().status == 503


@pytest.mark.parametrize("cut", [0, 3])
def test_what_cannot_be_understood_any_more_is_not_waited_for(cut: int) -> None:
    """The stream that goes on turns to something that is none of its dialect: the next one goes on."""
    foreign = Channel(2, "ch_2", "anthropic", "http://up2.test", ((20, UPSTREAM_KEY),), {MODEL: MODEL}, priority=5)
    with Dialogue([*channels(1, priority=9), foreign, channels(3)[2]]) as d:
        client, up = begun(d, ROLE, delta("one "))
        up.reset()
        second = d.upstream()
        block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "one two "}}
        said = [{"type": "message_start", "message": {"id": "m"}}, block, text, {**block, "content_block": 5}]
        reads = [b"".join(chunk(event(one)) for one in said[:cut]), b"".join(chunk(event(one)) for one in said[cut:])]
        second << stream_head() + reads[0]
        second << reads[1]
        d.later(0.3)
        assert second.wire.aborted
        d.upstream() << stream_head() + chunk(ROLE + delta("one two three") + STOP + usage_chunk() + DONE) + LAST
        assert b"three" in client.answer().body


# Turns of the loop


class Beside:
    """A translator that does its job when it is told to."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Job, bytes, Any]] = []

    def submit(self, job: Job, body: Body, finished: Any) -> None:
        self.jobs.append((job, body.everything(), finished))

    def done(self, d: Dialogue, outcome: Refusal | None = None) -> Job:
        job, body, finished = self.jobs.pop(0)
        kind = type(job)
        job = msgspec.json.decode(msgspec.json.encode(job), type=kind)
        if outcome is not None:
            finished(outcome)
        else:
            content, done = go_on(job, body) if isinstance(job, Sequel) else work(job, body)
            done.asked = done.asked.without_content()
            finished((Body(content), msgspec.json.decode(msgspec.json.encode(done), type=Done)))
        d.loop.tick()
        return job


MANY = [{"role": "user" if n % 2 == 0 else "assistant", "content": f"hello {n}"} for n in range(2001)]


@pytest.mark.parametrize("vendor", ["vllm", "openai-compatible"])
def test_a_large_request_is_written_beside(vendor: str) -> None:
    """With the beginning, where the spare takes one."""
    [first] = channels(1, priority=9)
    spare = Channel(2, "ch_2", vendor, "http://up2.test/v1", ((20, UPSTREAM_KEY),), {MODEL: MODEL})
    with Dialogue([first, spare]) as d:
        d.gateway.translator = beside = Beside()  # type: ignore[assignment]
        client, up = begun(d, ROLE, delta("The quick "), messages=MANY)
        up.reset()
        d.loop.tick()
        assert type(beside.done(d)) is Job
        assert type(beside.done(d)) is Sequel
        other = d.upstream()
        told = other.request.json["messages"]
        assert len(told) == len(MANY) + (vendor == "vllm")
        assert ("continue_final_message" in other.request.json) == (vendor == "vllm")
        if vendor == "vllm":
            assert told[-1] == {"role": "assistant", "content": "The quick"}
        said = "fox" if vendor == "vllm" else "The quick fox"
        other << stream_head() + chunk(ROLE + delta(said) + STOP + usage_chunk() + DONE) + LAST
        assert b"fox" in client.answer().body
        assert d.receipts()[0].state == "done"


@pytest.mark.parametrize("done", [0, 1])
def test_a_large_request_that_cannot_be_written(done: int) -> None:
    """The client hears the error."""
    with Dialogue(channels(2)) as d:
        d.gateway.translator = beside = Beside()  # type: ignore[assignment]
        client, up = begun(d, ROLE, delta("The quick "), messages=MANY)
        up.reset()
        d.loop.tick()
        if done:
            beside.done(d)
        beside.done(d, Refusal(INVALID_REQUEST, "no"))
        assert b"service_unavailable" in client.answer().body


def test_the_client_leaves_while_it_is_written_beside() -> None:
    """What comes back is for nobody."""
    with Dialogue(channels(2)) as d:
        d.gateway.translator = beside = Beside()  # type: ignore[assignment]
        client, up = begun(d, ROLE, delta("The quick "), messages=MANY)
        up.reset()
        d.loop.tick()
        beside.done(d)
        client.hang_up()
        beside.done(d)
        assert d.silent


def test_a_long_answer_is_read_in_many_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are served between."""
    steps = 0
    step = Rescues._step

    def counted(self: Rescues, x: Any) -> bool:
        nonlocal steps
        steps += 1
        return step(self, x)

    monkeypatch.setattr(Rescues, "_step", counted)
    with Dialogue(channels(2)) as d:
        _, up = begun(d, ROLE)
        for n in range(100):
            up << chunk(b"".join(delta(f" word{n}{m}") for m in range(20)))
        up.reset()
        assert not d.silent
    assert steps > 2000 * 160 / (20 << 10)


# Memory


def test_nothing_is_kept_where_there_is_one_channel() -> None:
    """Nobody could go on."""
    with Dialogue(channels(1)) as d:
        begun(d, ROLE, delta("Hello "))
        [x] = d.gateway.live
        assert x.sieve is not None
        assert x.sieve.record is None
        assert x.body is None


def test_the_body_goes_with_the_record() -> None:
    """One is of no use without the other."""
    with Dialogue(channels(2)) as d:
        _, up = begun(d, ROLE, delta("Hello "))
        d.later(1)
        [x] = d.gateway.live
        assert x.body is not None
        for n in range(30):
            up << chunk(noise(n))
        assert x.sieve is not None
        assert x.sieve.record is not None
        assert x.sieve.record.lost
        d.later(1)
        assert x.body is None


# The bill


@pytest.mark.parametrize("how", ["even", "uneven", "long", "with pings"])
def test_nothing_is_booked_where_nothing_was_delivered(how: str) -> None:
    """The meter estimates what the first stream delivered, the record knows; the difference is nobody's."""
    with Dialogue(channels(2)) as d:
        _, up = begun(d, ROLE)
        if how == "even":
            up << chunk(delta("word " * 3) * 40)
        elif how == "uneven":
            for n in range(40):
                up << chunk(delta("x" * (2000 if n % 7 == 3 else 3)))
        elif how == "long":
            for n in range(1000):
                up << chunk(delta(f"w{n} " if n % 100 < 90 else "x" * 500))
        else:
            for _ in range(10):
                up << chunk(delta("x" * 4000)) + chunk(b": " + b"p" * 3000 + b"\n\n")
        up.reset()
        d.upstream() << problem(500)
        d.later(1)
        [end] = d.receipts()
        assert (end.channel, [a.charge for a in end.attempts]) == (1, [end.charge, 0])


def test_what_was_dropped_stands_in_the_row() -> None:
    """Also where another channel went on."""
    with Dialogue(channels(2)) as d:
        client, up = begun(d, ROLE + delta("Hello "), b"data: {garbage\n\n")
        up.reset()
        d.upstream() << stream_head() + chunk(ROLE + delta("Hello you") + STOP + usage_chunk() + DONE) + LAST
        assert b"you" in client.answer().body
        assert d.receipts()[0].lossy == "malformed_events"
