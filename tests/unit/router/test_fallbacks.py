"""Stand-ins for a model: who answers, who is named, who is billed, what is reserved, who may not."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from burncloud.adaptors.complaints import FILTERED, TOO_LONG
from burncloud.domain import policies
from burncloud.domain.journal import Again, End, Intent
from burncloud.domain.link import Drop
from burncloud.domain.snapshot import Policy, Token, User
from burncloud.router.fault import Fault
from tests.dialogue import KEY, PRICE, Dialogue, channels
from tests.speech import answer, chat, completion, delta, post, problem, stream_head, usage_chunk

HASH = hashlib.sha256(KEY.encode()).digest()
SPARE = msgspec.structs.replace(PRICE, model="spare", input=60 * 10**9, output=120 * 10**9)
CHEAP = msgspec.structs.replace(PRICE, model="cheap", input=10**9, output=10**9)
LIMITED: dict[str, Any] = {"user": User(1, limited=True), "token": Token(1, HASH, 1)}


def policy(scope: str = "*", models: str = "gpt-4", **lists: tuple[str, ...]) -> Policy:
    return Policy(f"{scope} {models}", scope, models, fallbacks=dict(lists))


def given(*models: str, **fields: Any) -> list[Any]:
    """A channel for each of these models; channel 1 is gpt-4's."""
    made = channels(1 + len(models))
    return [made[0]] + [
        msgspec.structs.replace(one, models={model: model}, **fields)
        for one, model in zip(made[1:], models, strict=True)
    ]


def too_long(d: Dialogue) -> None:
    """What the answer's side does with context_length_exceeded, if it asks."""
    [x] = d.gateway.live
    assert d.gateway.answers.judge.elsewhere(x, TOO_LONG)
    d.gateway.attempt_failed(x, Fault(TOO_LONG, 400))


def receipt(d: Dialogue) -> End:
    [end] = d.receipts()
    return end


def test_nothing_available_after_attempts() -> None:
    """Every send is an attempt; the stand-in is named in the head, asked by its name, billed as itself."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat(max_tokens=20))
        d.upstream() << problem(500)
        up = d.upstream()
        assert up.request.json["model"] == "spare"
        up << answer(completion(prompt=10, output=20))
        heard = client.answer()
        assert (heard.status, heard.field("x-burncloud-model")) == (200, "spare")
        end = receipt(d)
        assert (end.model, end.requested, end.charge) == ("spare", "gpt-4", 10 * 60_000 + 20 * 120_000)
        assert [(a.reason, a.status, a.channel, a.charge) for a in end.attempts] == [
            ("first", 500, 1, 0), ("fallback", 200, 2, end.charge),
        ]  # fmt: skip
        intents = [record for record in d.written() if isinstance(record, Intent)]
        [again] = [record for record in d.written() if isinstance(record, Again)]
        assert [(one.model, one.requested) for one in intents] == [("gpt-4", "")]
        assert again.instead is not None
        assert (again.instead.model, again.instead.requested) == ("spare", "gpt-4")
        assert again.instead.reserve > intents[0].reserve


def test_an_ordinary_answer_names_nobody() -> None:
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        assert "x-burncloud-model" not in dict(client.answer().fields)
        assert receipt(d).requested == ""


@pytest.mark.parametrize("known", [True, False])
def test_nothing_available_before_any_attempt(known: bool) -> None:
    """The channel rests, or nobody has the model at all: the intent is the stand-in's from the beginning."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        if known:
            outlet = d.gateway.world.outlets[1]
            outlet.keys[0].breaker.cool(d.loop.now, "broken", 60)
            outlet.look()
            d.gateway.health.resting.add(outlet)
        else:
            d.gateway.world.drop(Drop("channel", [1]))
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion())
        assert client.answer().field("x-burncloud-model") == "spare"
        [intent] = [record for record in d.written() if isinstance(record, Intent)]
        assert (intent.model, intent.requested) == ("spare", "gpt-4")
        assert [a.reason for a in receipt(d).attempts] == ["first"]


def test_the_list_is_gone_through_in_its_order() -> None:
    """Each stand-in has its own attempts; who has no channel, no price or is asked already is passed over."""
    prices = (PRICE, SPARE, CHEAP)
    with Dialogue(given("unpriced", "spare", "cheap"), prices=prices) as d:
        d.put("policy", policy(unavailable=("gpt-4", "nowhere", "unpriced", "spare", "spare", "cheap")))
        client = d.client()
        client >> post(chat())
        for model in ("gpt-4", "spare"):
            up = d.upstream()
            assert up.request.json["model"] == model
            up << problem(503)
        up = d.upstream()
        assert up.request.json["model"] == "cheap"
        up << answer(completion())
        assert client.answer().field("x-burncloud-model") == "cheap"
        assert (receipt(d).model, receipt(d).requested, len(receipt(d).attempts)) == ("cheap", "gpt-4", 3)
        assert b"x-burncloud-model: spare" not in client.received


def test_nobody_can_stand_in() -> None:
    """All have failed: the client hears of what it asked for, the row of what was asked last."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        d.upstream() << problem(500)
        heard = client.answer()
        assert heard.status == 503
        assert "x-burncloud-model" not in dict(heard.fields)
        end = receipt(d)
        assert (end.state, end.charge, end.requested, end.model) == ("failed", 0, "gpt-4", "spare")


def test_the_next_channel_of_the_same_model_comes_first() -> None:
    with Dialogue([*channels(2), *given("spare", "spare")[2:]], prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        up = d.upstream()
        assert up.request.json["model"] == "gpt-4"
        up << answer(completion())
        assert receipt(d).requested == ""


def test_a_stand_in_comes_before_a_pause() -> None:
    """Where there is one, a channel that failed is not waited for."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE), retry_same_ms="500") as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(429, "slow down", "retry-after: 2")
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_a_prompt_too_long() -> None:
    """Only if the operator names a model for it; the channel is not blamed."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(context=("spare",)))
        client = d.client()
        client >> post(chat())
        d.upstream()
        too_long(d)
        up = d.upstream()
        assert up.request.json["model"] == "spare"
        up << answer(completion())
        assert client.answer().field("x-burncloud-model") == "spare"
        assert [(a.reason, a.status) for a in receipt(d).attempts] == [("first", 400), ("fallback", 200)]
        assert not d.gateway.health.resting


def test_only_what_is_asked_for() -> None:
    """A list for one trigger says nothing of another."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(context=("spare",)))
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        [x] = d.gateway.live
        assert d.gateway.answers.judge.elsewhere(x, TOO_LONG)
        assert not d.gateway.answers.judge.elsewhere(x, FILTERED)
        assert not d.gateway.answers.judge.elsewhere(x, policies.UNAVAILABLE)
        up << problem(500)
        assert client.answer().status == 503


def test_a_token_s_own_list_and_scope() -> None:
    """The token's list is nearest; a model that it may not use stands in for nothing."""
    token = Token(1, HASH, 1, models=("gpt-4", "chea*"))
    with Dialogue(given("spare", "cheap"), prices=(PRICE, SPARE, CHEAP), token=token) as d:
        d.put("policy", policy(unavailable=("nobody",)), policy("token:1", "*", unavailable=("spare", "cheap")))
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        d.upstream() << answer(completion())
        assert client.answer().field("x-burncloud-model") == "cheap"


def test_a_stream_falls_back_before_its_first_content() -> None:
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head(coding="") + delta(role="assistant")
        up.hang_up()
        up = d.upstream()
        up << stream_head(coding="") + delta("Hi") + delta(finish="stop") + usage_chunk(10, 20)
        up << b"data: [DONE]\n\n"
        up.hang_up()
        assert b"x-burncloud-model: spare" in client.received
        end = receipt(d)
        assert (end.model, end.requested, end.usage.output) == ("spare", "gpt-4", 20)


# Money


def hold_of(d: Dialogue) -> int:
    return sum(lease.held for lease in d.gateway.desk.users.values())


@pytest.mark.parametrize("wait", [False, True])
def test_a_dearer_one_reserves_first(wait: bool) -> None:
    """What is missing is held before anything is sent to it, on the lease or after asking for more."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE), **LIMITED) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat(max_tokens=100))
        up = d.upstream()
        small = hold_of(d)
        if wait:
            lease = d.gateway.desk.users[1]
            lease.granted = lease.drawn + lease.returned + lease.held  # all that is free is gone
            d.bank.granted["user", 1] = lease.granted
        up << problem(500)
        up = d.upstream()
        assert hold_of(d) == 2 * small
        up << answer(completion(prompt=10, output=90))
        assert client.answer().status == 200
        end = receipt(d)
        assert end.hold_user == end.reserve == 2 * small
        assert end.draw_user == end.charge == 10 * 60_000 + 90 * 120_000


def test_one_that_is_too_dear_is_passed_over() -> None:
    """The quota reaches for the next one in the list."""
    with Dialogue(given("spare", "cheap"), prices=(PRICE, SPARE, CHEAP), **LIMITED) as d:
        d.bank.limits["user", 1] = 12_000_000
        d.put("policy", policy(unavailable=("spare", "cheap")))
        client = d.client()
        client >> post(chat(max_tokens=100))
        d.upstream() << problem(500)
        up = d.upstream()
        assert up.request.json["model"] == "cheap"
        up << answer(completion())
        assert client.answer().field("x-burncloud-model") == "cheap"
        assert receipt(d).charge == 30 * 1_000


def test_nobody_else_can_be_paid_for() -> None:
    """503, since what was asked for could be paid; the sentence says why nobody stood in."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE), **LIMITED) as d:
        d.bank.limits["user", 1] = 12_000_000
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat(max_tokens=100))
        d.upstream() << problem(500)
        heard = client.answer()
        assert heard.status == 503
        assert "`gpt-4` is available, and `spare`" in heard.json["error"]["message"]
        assert "quota" in heard.json["error"]["message"]
        assert "x-burncloud-model" not in dict(heard.fields)
        end = receipt(d)
        assert (end.state, end.charge, end.requested) == ("failed", 0, "gpt-4")


def test_nobody_else_can_be_paid_for_before_any_attempt() -> None:
    with Dialogue(given("spare"), prices=(PRICE, SPARE), **LIMITED) as d:
        d.bank.limits["user", 1] = 12_000_000
        d.put("policy", policy(unavailable=("spare",)))
        outlet = d.gateway.world.outlets[1]
        outlet.keys[0].breaker.cool(d.loop.now, "broken", 60)
        outlet.look()
        client = d.client()
        client >> post(chat(max_tokens=100))
        d.loop.tick()
        assert client.answer().status == 503
        assert d.receipts() == []


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize("answered", [True, False])
def test_a_client_that_leaves_while_the_lease_is_asked_for(sent: bool, answered: bool) -> None:
    """Everything that was held goes back (the dialogue checks it), and there is one receipt for one intent."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE), **LIMITED) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        if not sent:
            client >> post(chat(max_tokens=100))
            d.upstream() << answer(completion())
            lease = d.gateway.desk.users[1]
            outlet = d.gateway.world.outlets[1]
            outlet.keys[0].breaker.cool(d.loop.now, "broken", 60)
            outlet.look()
            lease.returned += lease.free - 12_000_000
            d.bank.mode = "silent"
            client >> post(chat(max_tokens=100))
        else:
            client >> post(chat(max_tokens=100))
            up = d.upstream()
            lease = d.gateway.desk.users[1]
            lease.granted = lease.drawn + lease.returned + lease.held
            d.bank.granted["user", 1] = lease.granted
            d.bank.mode = "silent"
            up << problem(500)
        d.loop.tick()
        assert d.silent
        client.reset()
        if answered:
            d.bank.mode = "ok"
            for question in d.bank.questions[-1:]:
                d.reply(question)
        d.later(1)
        assert d.silent


# Other forms


def test_a_model_in_the_path() -> None:
    """Gemini's: the stand-in stands in the path."""
    fields: dict[str, Any] = {"vendor": "gemini", "base_url": "http://g.test/v1beta"}
    prices = (msgspec.structs.replace(PRICE, model="gemini-a"), msgspec.structs.replace(PRICE, model="gemini-b"))
    made = [
        msgspec.structs.replace(one, models={model: model}, **fields)
        for one, model in zip(channels(2), ("gemini-a", "gemini-b"), strict=True)
    ]
    with Dialogue(made, prices=prices) as d:
        d.put("policy", policy(models="gemini-a", unavailable=("gemini-b",)))
        client = d.client()
        client >> post({"contents": [{"parts": [{"text": "Hi"}]}]}, "/v1beta/models/gemini-a:generateContent")
        d.upstream() << problem(500)
        assert d.upstream().request.target == "/v1beta/models/gemini-b:generateContent"


def test_a_translated_stand_in_names_itself_in_the_body() -> None:
    """Another dialect: the answer is written with the name of the model that answered."""
    made = given("claude", vendor="anthropic", base_url="http://a.test")
    price = msgspec.structs.replace(PRICE, model="claude")
    with Dialogue(made, prices=(PRICE, price)) as d:
        d.put("policy", policy(unavailable=("claude",)))
        client = d.client()
        client >> post(chat(max_tokens=20))
        d.upstream() << problem(500)
        up = d.upstream()
        assert up.request.target == "/v1/messages"
        assert up.request.json["model"] == "claude"
        up << answer({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "stop_reason": "end_turn",
            "stop_sequence": None, "content": [{"type": "text", "text": "Hi"}],
            "usage": {"input_tokens": 3, "output_tokens": 4},
        })  # fmt: skip
        heard = client.answer()
        assert (heard.json["model"], heard.field("x-burncloud-model")) == ("claude", "claude")


def test_a_name_that_no_head_can_carry() -> None:
    price = msgspec.structs.replace(PRICE, model="модель/1")
    with Dialogue(given("модель/1"), prices=(PRICE, price)) as d:
        d.put("policy", policy(unavailable=("модель/1",)))
        client = d.client()
        client >> post(chat())
        d.upstream() << problem(500)
        d.upstream() << answer(completion())
        assert client.answer().field("x-burncloud-model").endswith("/1")


def test_time_is_bounded() -> None:
    with Dialogue(given("spare"), prices=(PRICE, SPARE), attempts_timeout_ms="2000") as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        d.later(3)
        up << problem(500)
        assert client.answer().status == 503


def test_an_error_in_the_place_of_a_stream_s_first_content() -> None:
    """Status 200 and an error event: no other channel has the model, but another model stands in."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("spare",)))
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head(coding="") + b'data: {"error": {"message": "overloaded"}}\n\n'
        up = d.upstream()
        assert up.request.json["model"] == "spare"
        up << stream_head(coding="") + delta("Hi") + delta(finish="stop") + usage_chunk() + b"data: [DONE]\n\n"
        up.hang_up()
        assert b"overloaded" not in client.received
        assert receipt(d).model == "spare"


@pytest.mark.parametrize(
    ("trigger", "error"),
    [
        ("context", {"message": "too long", "code": "context_length_exceeded"}),
        ("filter", {"message": "flagged", "code": "content_filter"}),
    ],
)
def test_what_the_upstream_complains_of(trigger: str, error: dict[str, str]) -> None:
    """By its own words (complaints.py); without a list for it they are passed on."""
    with Dialogue(given("spare"), prices=(PRICE, SPARE)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer({"error": error}, status=400)
        assert client.answer().json["error"] == error
        d.put("policy", Policy("* gpt-4", "*", "gpt-4", fallbacks={trigger: ("spare",)}))
        client >> post(chat())
        d.upstream() << answer({"error": error}, status=400)
        d.upstream() << answer(completion())
        assert client.answer().field("x-burncloud-model") == "spare"


def test_a_stand_in_without_a_price_is_none() -> None:
    """The upstream's own words are heard; where nobody has the model that was asked for, the next is asked."""
    with Dialogue(given("spare")) as d:
        d.put("policy", policy(context=("spare",)))
        client = d.client()
        client >> post(chat())
        d.upstream() << answer({"error": {"message": "9 > 8", "code": "context_length_exceeded"}}, status=400)
        assert (client.answer().status, b"9 > 8" in client.received, d.silent) == (400, True, True)
    with Dialogue(given("unpriced", "spare")[1:], prices=(PRICE, SPARE)) as d:
        d.put("policy", policy(unavailable=("unpriced", "spare")))
        d.client() >> post(chat())
        assert d.upstream().request.json["model"] == "spare"
