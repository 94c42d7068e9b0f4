"""The states of an exchange: in each one the client may leave, and each time the books and the room come out right.

What must hold afterwards is checked by the dialogue itself (tests/dialogue.py): one End for each Intent, one attempt
for each request that an upstream got, no hold, no room, nothing live.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from burncloud.domain.snapshot import Token, User
from burncloud.router import exchange as states
from tests.dialogue import KEY, Client, Dialogue, channels
from tests.speech import answer, chat, chunk, completion, delta, post, problem, stream_head

HASH = hashlib.sha256(KEY.encode()).digest()
LIMITED = {"user": User(1, limited=True), "token": Token(1, HASH, 1, limited=True)}


def the_one(d: Dialogue) -> states.Exchange:
    """The exchange under way."""
    [x] = d.gateway.live
    return x


def arriving(d: Dialogue, client: Client) -> None:
    client >> post(chat())[:-10]


def waiting_for_room(d: Dialogue, client: Client) -> None:
    other = d.client()
    other >> post(b"", length=900_000)
    client >> post(b"", length=900_000)
    assert len(d.gateway.live) == 2
    assert not client.wire.reading


def leasing(d: Dialogue, client: Client) -> None:
    d.bank.mode = "silent"
    client >> post(chat())


def dialling(d: Dialogue, client: Client) -> None:
    d.dialling = "wait"
    client >> post(chat())


def dialling_again(d: Dialogue, client: Client) -> None:
    client >> post(chat())
    d.dialling = "wait"
    d.upstream() << problem(500)


def sent(d: Dialogue, client: Client) -> None:
    client >> post(chat())
    d.upstream()


def sent_again(d: Dialogue, client: Client) -> None:
    client >> post(chat())
    d.upstream() << problem(500)
    d.upstream()


def holding(d: Dialogue, client: Client) -> None:
    client >> post(chat(stream=True))
    d.upstream() << stream_head() + chunk(delta("", role="assistant"))


def holding_json(d: Dialogue, client: Client) -> None:
    client >> post(chat())
    d.upstream() << answer(completion())[:-20]


def passing(d: Dialogue, client: Client) -> None:
    client >> post(chat(stream=True))
    d.upstream() << stream_head() + chunk(delta("Hello, this is some text") * 20)


def passing_slowly(d: Dialogue, client: Client) -> None:
    client.stop_reading()
    client >> post(chat(stream=True))
    up = d.upstream()
    up << stream_head() + chunk(delta("Hello, this is some text") * 1000)
    assert not up.wire.reading


Step = Callable[[Dialogue, Client], None]
STEPS: dict[str, tuple[Step, str, str, int, bool]] = {
    "arriving": (arriving, states.ARRIVING, "", 0, False),
    "waiting for room": (waiting_for_room, states.ARRIVING, "", 0, False),
    "leasing": (leasing, states.LEASING, "", 0, False),
    "dialling": (dialling, states.DIALLING, "", 0, False),
    "dialling again": (dialling_again, states.DIALLING, "gone", 1, False),
    "sent": (sent, states.SENT, "gone", 1, True),
    "sent again": (sent_again, states.SENT, "gone", 2, True),
    "holding events": (holding, states.HOLDING, "gone", 1, True),
    "holding JSON": (holding_json, states.HOLDING, "gone", 1, True),
    "passing": (passing, states.PASSING, "gone", 1, True),
    "passing slowly": (passing_slowly, states.PASSING, "gone", 1, True),
}
"""Name → how to get there, the state, and of the receipt: its state ("" = there is none), attempts, charged or not."""


@pytest.mark.parametrize("how", ["hang_up", "reset"])
@pytest.mark.parametrize("limited", [False, True], ids=["unlimited", "limited"])
@pytest.mark.parametrize("name", STEPS)
def test_the_client_leaves(name: str, limited: bool, how: str) -> None:
    """The upstream is cut off at once, and what was used is billed."""
    step, state, ended, attempts, charged = STEPS[name]
    limited = limited or name == "leasing"  # only a limited payer has a lease
    with Dialogue(channels(2), body_memory_bytes="1000000", **(LIMITED if limited else {})) as d:  # type: ignore[arg-type]
        client = d.client()
        step(d, client)
        if name != "waiting for room":
            assert the_one(d).state is state
            assert state in repr(the_one(d))
        getattr(client, how)()
        for up in d.upstreams:
            assert up.protocol.exchange is None
            assert up.wire.aborted
        receipts = d.receipts()
        assert [end.state for end in receipts] == ([ended] if ended else [])
        if ended:
            assert len(receipts[0].attempts) == attempts
            assert (receipts[0].charge > 0) is charged
            assert receipts[0].status == (200 if state in (states.HOLDING, states.PASSING) else 0)


def test_it_leaves_in_the_tick_of_the_answer() -> None:
    """The receipt is queued, the last bytes wait for it: the answer counts as given."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        up.protocol.data_received(answer(completion()))
        assert the_one(d).state is states.ENDING
        client.reset()
        [end] = d.receipts()
        assert (end.state, end.charge) == ("done", 1_500_000)


def test_it_leaves_in_the_tick_of_the_request() -> None:
    """The intent is queued and the request has not left: an attempt that was not sent, and nothing to pay."""
    with Dialogue() as d:
        first = d.client()
        first >> post(chat())
        up = d.upstream()
        up << answer(completion())
        before = up.received
        client = d.client()
        client.protocol.data_received(post(chat()))
        assert the_one(d).state is states.SENT
        client.reset()
        assert up.received == before
        end = d.receipts()[1]
        assert (end.state, end.charge) == ("gone", 0)
        assert [a.sent for a in end.attempts] == [0]


def test_the_connection_dies_in_the_tick_of_the_request() -> None:
    """What had not left is not counted as sent, and goes over a fresh connection."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        up << answer(completion())
        client.answer()
        client.protocol.data_received(post(chat()))
        up.wire.lose(None)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert [(a.reason, a.sent) for a in d.receipts()[1].attempts] == [("first", 0), ("reconnect", 1)]


def test_the_client_leaves_before_the_lease_comes() -> None:
    """The grant finds nobody: the hold is let go at once."""
    with Dialogue(**LIMITED) as d:  # type: ignore[arg-type]
        d.bank.mode = "silent"
        client = d.client()
        client >> post(chat())
        client.reset()
        d.bank.mode = "ok"
        d.reply(d.bank.questions[0])
        assert d.silent
        assert d.gateway.desk.users[1].held == 0
        assert d.gateway.desk.users[1].granted > 0


def test_every_state_is_spoken_of() -> None:
    """A new state needs its row above; talking has a file of its own, test_realtime.py."""
    spoken = {state for _, state, _, _, _ in STEPS.values()} | {states.TALKING, states.ENDING, states.OVER}
    assert spoken == set(states.STATES)


def test_a_gone_stream_pays_for_what_came() -> None:
    """The estimate follows the text delivered, the prompt is paid once."""
    with Dialogue() as d:
        charges = []
        for words in (1, 100):
            client = d.client()
            client >> post(chat(stream=True))
            up = d.upstream()
            up << stream_head()
            for n in range(words):
                up << chunk(delta(f"word{n:03} "))
            client.reset()
            end = d.receipts()[-1]
            assert end.estimated
            charges.append((end.usage.input, end.usage.output))
        assert charges[0][0] == charges[1][0] > 0
        assert charges[0][1] <= 3
        assert 150 <= charges[1][1] <= 300
