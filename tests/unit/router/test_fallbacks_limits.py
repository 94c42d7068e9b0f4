"""A model that stands in has limits of its own: who answers is counted there, who is full is passed over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from burncloud.domain.link import Drop
from burncloud.domain.snapshot import Limit
from tests.dialogue import PRICE, Client, Dialogue
from tests.speech import answer, chat, completion, post, problem
from tests.unit.router.test_fallbacks import CHEAP, LIMITED, SPARE, given, policy
from tests.unit.router.test_limits import shared
from tests.unit.router.test_permits import given as permits

WINDOW_S = 61.0


@contextlib.contextmanager
def house(*limits: Limit, **fields: object) -> Iterator[Dialogue]:
    """gpt-4 fails; spare stands in, then cheap."""
    with Dialogue(given("spare", "cheap"), prices=(PRICE, SPARE, CHEAP), **fields) as d:  # type: ignore[arg-type]
        d.put("policy", policy(unavailable=("spare", "cheap")))
        d.put("limit", *limits)
        yield d


def ask(d: Dialogue, fails: bool = True) -> Client:
    client = d.client()
    client >> post(chat(max_tokens=20))
    if fails:
        up = d.upstream()
        assert up.request.json["model"] == "gpt-4"
        up << problem(500)
    return client


def answered_by(d: Dialogue, client: Client, output: int = 20) -> str:
    """The model, or the status."""
    if not d.silent:
        d.upstream() << answer(completion(prompt=10, output=output))
    told = client.answer()
    return told.field("x-burncloud-model") if told.status == 200 else str(told.status)


def left(d: Dialogue, name: str) -> tuple[int, int, int]:
    account = d.gateway.limits._accounts[name]
    return d.gateway.limits.windows.left(account)


def test_a_stand_in_at_its_limit_is_passed_over() -> None:
    with house(Limit("model:spare", 1)) as d:
        assert answered_by(d, ask(d)) == "spare"
        assert answered_by(d, ask(d)) == "cheap"
        d.later(WINDOW_S)
        assert answered_by(d, ask(d)) == "spare"


def test_all_are_at_their_limits() -> None:
    with house(Limit("model:spare", 1), Limit("model:cheap", 0), retry_same_ms="0") as d:
        assert answered_by(d, ask(d)) == "spare"
        refused = ask(d)
        assert d.silent
        assert refused.answer().status == 503
        assert "x-burncloud-model" not in dict(refused.answers()[-1].fields)


def test_tokens_count_for_who_answers() -> None:
    """As they were used; the model that failed has only been asked."""
    with house(Limit("model:spare", 10, 1_000), Limit("model:gpt-4", 10, 1_000)) as d:
        client = ask(d)
        reserved = left(d, "model:spare")[1]
        assert reserved < 1_000 - 20
        assert left(d, "model:gpt-4") == (9, 1_000, -1)
        assert answered_by(d, client, 70) == "spare"
        assert left(d, "model:spare") == (9, 1_000 - 80, -1)
        assert left(d, "model:gpt-4") == (9, 1_000, -1)


def test_places_are_taken_and_given_back() -> None:
    with house(Limit("model:spare", concurrency=1), Limit("model:gpt-4", concurrency=1)) as d:
        first = ask(d)
        assert (left(d, "model:spare")[2], left(d, "model:gpt-4")[2]) == (0, 1)
        up = d.upstream()
        second = ask(d)
        assert answered_by(d, second) == "cheap"
        up << problem(500)  # the next one stands in for it
        assert left(d, "model:spare")[2] == 1
        assert answered_by(d, first) == "cheap"
        assert answered_by(d, ask(d)) == "spare"


def test_where_nobody_has_the_model_at_all() -> None:
    with house(Limit("model:spare", 1), Limit("model:cheap", 1)) as d:
        d.gateway.world.drop(Drop("channel", [1]))
        found = [answered_by(d, ask(d, fails=False)) for _ in range(3)]
        assert found == ["spare", "cheap", "429"]


def test_where_nobody_has_the_model_who_has_no_price_is_passed_over() -> None:
    with Dialogue(given("spare", "cheap"), prices=(PRICE, CHEAP)) as d:
        d.put("policy", policy(unavailable=("spare", "cheap")))
        d.gateway.world.drop(Drop("channel", [1]))
        assert answered_by(d, ask(d, fails=False)) == "cheap"


def test_permits_are_waited_for() -> None:
    with house(Limit("model:spare", 1, whole=(2, -1, -1), nodes=2)) as d:
        far = shared(d)
        client = ask(d)
        assert d.silent
        far.answer(permits(1, 0))
        d.loop.tick()
        assert answered_by(d, client) == "spare"
        client = ask(d)
        far.answer(permits(1, 0, later_ms=30_000))
        d.loop.tick()
        assert answered_by(d, client) == "cheap"


def test_permits_of_the_only_one_left_are_used_up() -> None:
    """The client hears when there will be some."""
    with house(Limit("model:spare", 0), Limit("model:cheap", 1, whole=(2, -1, -1), nodes=2)) as d:
        far = shared(d)
        client = ask(d)
        far.answer(permits(0, 0, later_ms=30_000))
        d.loop.tick()
        told = client.answer()
        assert (told.status, told.field("retry-after")) == (503, "30")
        assert b"`cheap`" in told.body


@pytest.mark.parametrize("granted", [0, 1])
def test_who_leaves_while_permits_are_waited_for_takes_no_place(granted: int) -> None:
    """And what was held of money goes back (the dialogue checks it)."""
    with house(Limit("model:spare", concurrency=2, whole=(-1, -1, 4), nodes=2), **LIMITED) as d:
        far = shared(d)
        client = ask(d)
        client.hang_up()
        far.answer([0, 0, 0, granted, 0, 0, 0, 0, 0])
        d.loop.tick()
        assert d.silent
        assert left(d, "model:spare")[2] == 4


def test_the_answer_names_who_stands_in_after_a_wait_at_the_door() -> None:
    with house(Limit("token:1", 1, whole=(2, -1, -1), nodes=2)) as d:
        d.gateway.world.drop(Drop("channel", [1]))
        far = shared(d)
        client = ask(d, fails=False)
        far.answer(permits(1, 0))
        d.loop.tick()
        assert answered_by(d, client) == "spare"
