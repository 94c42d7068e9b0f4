"""From an exchange to its receipt: what is charged in each way that it can end."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from burncloud.domain.snapshot import Token, User
from burncloud.domain.usage import Usage
from burncloud.router.world import FREE
from tests.dialogue import KEY, PRICE, Dialogue, channels
from tests.speech import DONE, LAST, answer, body_of, chat, chunk, completion, delta, event, post, stream_head

HASH = hashlib.sha256(KEY.encode()).digest()
FIXED = msgspec.structs.replace(PRICE, request=1_000_000)


def ended(d: Dialogue) -> Any:
    """The only receipt."""
    [end] = d.receipts()
    return end


def test_done() -> None:
    """Usage as stated, at the prices of admission, and the price of a request."""
    with Dialogue(prices=(FIXED,)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion(prompt=100, output=200))
        assert client.answer().status == 200
        end = ended(d)
        assert end.usage == Usage(100, 200)
        assert end.charge == 15_000_000 + 1_000_000
        assert (end.estimated, end.state, end.status) == (False, "done", 200)


def test_the_example_bill() -> None:
    """100 prompt + 200 completion tokens at 30/60 per 1M are 0.015 USD, to the nano-dollar."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion(prompt=100, output=200))
        assert ended(d).charge == 15_000_000


def test_usage_absent() -> None:
    """Estimated from what was sent and delivered, and marked so."""
    said = {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "word " * 100}, "finish_reason": "stop"}]
    }
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(said)
        assert client.answer().body == body_of(said)
        end = ended(d)
        assert end.estimated
        assert 100 <= end.usage.output <= 200
        assert end.usage.input > 0


def test_an_error_is_free() -> None:
    """The client's fault costs nothing, not even the price of a request."""
    with Dialogue(prices=(FIXED,)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(b"{}", status=400)
        assert client.answer().status == 400
        assert ended(d).charge == 0


def test_the_draw_is_at_most_the_hold() -> None:
    """A charge above its reserve is booked, but the lease gives no more than was held."""
    limited = {"user": User(1, limited=True), "token": Token(1, HASH, 1, limited=True)}
    with Dialogue(**limited) as d:  # type: ignore[arg-type]
        client = d.client()
        client >> post(chat(max_tokens=1))
        d.upstream() << answer(completion(prompt=1000, output=2000))
        assert client.answer().status == 200
        end = ended(d)
        assert end.charge == 150_000_000
        assert end.draw_user == end.draw_token == end.hold_user == end.reserve < end.charge
        lease = d.gateway.desk.users[1]
        assert (lease.held, lease.drawn) == (0, end.reserve)


def test_a_refusal_lets_the_hold_go() -> None:
    """No channel after the hold: nothing was intended, nothing is drawn."""
    with Dialogue(channels(1), user=User(1, limited=True)) as d:
        d.gateway.world.outlets[1].close()
        client = d.client()
        client >> post(chat())
        assert client.answer().status == 503
        assert d.receipts() == []
        assert d.gateway.desk.users[1].held == 0


def test_all_attempts_failed() -> None:
    """A row with no charge, and the holds are back."""
    with Dialogue(channels(2), user=User(1, limited=True), prices=(FIXED,)) as d:
        client = d.client()
        client >> post(chat())
        for _ in range(2):
            d.upstream().reset()
        assert client.answer().status == 502
        end = ended(d)
        assert (end.state, end.charge, end.channel, end.draw_user) == ("failed", 0, 0, 0)
        assert [a.charge for a in end.attempts] == [0, 0]


@pytest.mark.parametrize(("setting", "lowest"), [("none", 0), ("prompt", 1), ("reserved", 6_000_000)])
def test_what_a_crash_would_cost(setting: str, lowest: int) -> None:
    """The intent says what is charged if no end ever comes."""
    from burncloud.domain.journal import Intent

    with Dialogue(interrupted_charge=setting) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        [intent] = [record for record in d.written() if isinstance(record, Intent)]
        assert intent.charge_lost >= lowest
        assert (intent.charge_lost == intent.reserve) is (setting == "reserved")
        assert (intent.charge_lost == 0) is (setting == "none")


def test_free_endpoints() -> None:
    """Counting tokens is never billed, and needs no price."""
    with Dialogue(channels(1, vendor="anthropic-compatible", models={"claude": "claude"}), prices=()) as d:
        client = d.client()
        client >> post({"model": "claude", "messages": []}, "/v1/messages/count_tokens")
        d.upstream() << answer({"input_tokens": 14})
        assert client.answer().json == {"input_tokens": 14}
        assert (ended(d).charge, ended(d).reserve, FREE.price.request) == (0, 0, 0)


def test_times_and_bytes() -> None:
    """Durations in µs from admission, bytes of content both ways."""
    with Dialogue() as d:
        client = d.client()
        body = post(chat(stream=True)).partition(b"\r\n\r\n")[2]
        client >> post(chat(stream=True))
        up = d.upstream()
        d.later(2)
        up << stream_head() + chunk(delta("Hi"))
        d.later(3)
        up << chunk(delta("", finish="stop") + event({"choices": [], "usage": {"prompt_tokens": 1}}) + DONE) + LAST
        heard = client.answer()
        end = ended(d)
        assert (end.duration_us, end.first_byte_us) == (5_000_000, 2_000_000)
        assert end.bytes_up == len(up.request.body) > len(body)
        assert end.bytes_down == len(heard.body) or end.bytes_down > len(heard.body)
        assert end.attempts[0].duration_us == 5_000_000
        assert end.client == "127.0.0.1"
