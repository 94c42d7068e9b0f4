"""A session from its first frame to its receipt: what passes, what is billed and when, and every way to end."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto.frame_protocol import FrameProtocol, ParseFailed

from burncloud.domain.journal import Progress
from burncloud.domain.snapshot import Limit, Token, User
from burncloud.domain.usage import Usage
from burncloud.wire.websocket import BINARY, CLOSE, PING, PONG, TEXT, close_frame, frame
from burncloud.wire.windows import TOKENS
from tests.dialogue import KEY, Client, Dialogue, UpstreamEnd
from tests.unit.router.test_opening import switched, upgrade

MASK = b"\x11\x22\x33\x44"
USAGE = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150,
         "output_token_details": {"text_tokens": 10, "audio_tokens": 40}}  # fmt: skip
ANSWER_NANO = 100 * 30_000 + 10 * 60_000 + 40 * 30_000
"""What it costs: in dialogue.PRICE, sound costs what input costs."""


def said(**fields: Any) -> bytes:
    """An upstream's event."""
    return frame(TEXT, json.dumps(fields).encode())


def done(**usage: Any) -> bytes:
    """The end of an answer."""
    return said(type="response.done", response={"usage": USAGE | usage})


def asks(text: str = "{}") -> bytes:
    """A client's event."""
    return frame(TEXT, text.encode(), MASK)


def talking(d: Dialogue) -> tuple[Client, UpstreamEnd]:
    """A session that has begun; the client's handshake is looked at."""
    client = d.client()
    client >> upgrade()
    up = d.upstream()
    up << switched(up)
    assert client.answer().status == 101
    return client, up


def heard(client: Client) -> bytes:
    """All frames that the client got, as bytes."""
    return client.answers()[-1].body


def sent(up: UpstreamEnd) -> bytes:
    """All frames that the upstream got."""
    return up.request.body


def frames(data: bytes, client: bool = True) -> list[tuple[int, bytes]]:
    """Read strictly, by wsproto."""
    proto = FrameProtocol(client=client, extensions=[])
    proto.receive_bytes(data)
    found = []
    for one in proto.received_frames():
        payload = one.payload
        if isinstance(payload, tuple):
            payload = struct.pack(">H", payload[0]) + (payload[1] or "").encode()
        found.append((int(one.opcode), payload.encode() if isinstance(payload, str) else bytes(payload)))
    return found


def last_words(client: Client) -> tuple[str, int]:
    """(code of the error event, code of the Close) that a session ended with."""
    (kind, event), (last, reason) = frames(heard(client))[-2:]
    assert (kind, last) == (TEXT, CLOSE)
    error = json.loads(event)
    assert error["type"] == "error"
    assert error["event_id"].startswith("event_")
    return error["error"]["code"], struct.unpack(">H", reason[:2])[0]


# What passes


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_frames_pass_byte_for_byte(size: int) -> None:
    """Both ways, in any cut: fragments, pings, binary, events of unknown types."""
    down = said(type="session.created") + bytes([1, 3]) + b"abc" + frame(PING, b"p") + bytes([0x80, 1]) + b"d"
    down += frame(BINARY, b"\0" * 70_000) + done() + said(type="x.new")
    up_ = asks() + bytes([0x02, 0x81, 0, 0, 0, 0, 7]) + frame(PONG, b"p", MASK) + bytes([0x80, 0x80, 9, 9, 9, 9])
    with Dialogue() as d:
        client, up = talking(d)
        client.say_split(up_, size)
        for at in range(0, len(down), max(size, 100)):
            up << down[at : at + max(size, 100)]
        assert heard(client) == down
        assert sent(up) == up_
        client >> frame(CLOSE, b"\x03\xe8", MASK)
        up << close_frame(1000)
        up.hang_up()
        [end] = d.receipts()
        assert (end.state, end.status, end.charge, end.estimated) == ("done", 101, ANSWER_NANO, False)
        assert (end.bytes_up, end.bytes_down) == (len(up_) + 8, len(down) + 4)
        assert end.usage == Usage(input=100, output=10, audio_output=40)
        assert client.closed


def test_what_a_client_says_too_early_waits() -> None:
    """Frames behind its handshake go up when the session stands; too many end the connection."""
    with Dialogue() as d:
        client = d.client()
        client >> upgrade() + asks("1")
        client >> asks("2")
        up = d.upstream()
        assert sent(up) == b""
        up << switched(up) + said(type="session.created")
        assert sent(up) == asks("1") + asks("2")
        assert heard(client) == said(type="session.created")
        other = d.client()
        other >> upgrade()
        for _ in range(3):
            other >> frame(BINARY, bytes(30_000), MASK)
        assert other.closed


def test_back_pressure() -> None:
    """A slow client slows its upstream, a slow upstream its client."""
    with Dialogue() as d:
        client, up = talking(d)
        client.stop_reading()
        up << frame(BINARY, bytes(100_000))
        assert not up.wire.reading
        client.read()
        assert up.wire.reading
        up.stop_reading()
        client >> frame(BINARY, bytes(300_000), MASK)
        assert not client.wire.reading
        up.read()
        assert client.wire.reading


# What is billed


def test_each_answer_is_journalled_before_it_is_seen() -> None:
    """P with the sum so far, then the event; a worker that dies leaves a bill up to there."""
    with Dialogue() as d:
        client, up = talking(d)
        for n in (1, 2):
            d.events.clear()
            up << done()
            assert [side for side, _ in d.events] == ["journal", "down"]
            progress = d.written()[-1]
            assert isinstance(progress, Progress)
            assert (progress.usage.total(), progress.charge) == (n * 150, n * ANSWER_NANO)
        before = heard(client)
        up << done() + said(type="a")
        assert heard(client) == before + done() + said(type="a")
        assert not d.receipts()
        up.hang_up()
        [end] = d.receipts()
        assert (end.charge, end.state) == (3 * ANSWER_NANO, "cut")
        assert [attempt.charge for attempt in end.attempts] == [3 * ANSWER_NANO]


def test_nothing_overtakes_what_waits_for_the_journal() -> None:
    """Reads that come in the same turn keep their order."""
    with Dialogue() as d:
        client, up = talking(d)
        up.protocol.data_received(done())
        up.protocol.data_received(said(type="b"))
        assert heard(client) == b""
        d.loop.tick()
        assert heard(client) == done() + said(type="b")


def test_a_broken_disk_delays_no_session() -> None:
    """The records wait in memory."""
    with Dialogue() as d:
        client, up = talking(d)
        d.disk_broken = True
        up << done()
        assert heard(client) == done()
        d.disk_broken = False
        d.journal.janitor()


def test_a_session_without_answers_costs_nothing() -> None:
    """And is not an estimate."""
    with Dialogue() as d:
        client, up = talking(d)
        client.hang_up()
        [end] = d.receipts()
        assert (end.state, end.charge, end.usage, end.estimated) == ("gone", 0, Usage(), False)
        assert up.wire.aborted


def test_each_answer_counts_for_the_limits_when_it_is_given() -> None:
    """First of what the session reserved, then more; what it used a minute ago has left."""
    limits = [Limit(name, tokens=100_000) for name in ("token:1", "channel:1")]
    with Dialogue() as d:
        d.put("limit", *limits)
        client, up = talking(d)

        def left() -> set[int]:
            accounts = [d.gateway.limits._accounts[limit.name] for limit in limits]
            return {100_000 - d.gateway.limits.windows.words[account.slot + TOKENS] for account in accounts}

        [before] = left()
        up << done()
        assert left() == {before}  # it was reserved
        up << done(input_tokens=50_000, total_tokens=50_050)
        assert left() == {100_000 - 150 - 50_050}
        d.later(50)
        up << done()
        d.later(20)
        assert client.answers()  # alive
        up << done()
        assert left() == {100_000 - 300}
        client.hang_up()
        assert left() == {100_000 - 300}


# Quota


def limited() -> Dialogue:
    """A limited user with a limited token."""
    token = Token(1, hashlib.sha256(KEY.encode()).digest(), 1, limited=True)
    return Dialogue(user=User(1, limited=True), token=token)


def test_the_hold_grows_with_the_session() -> None:
    """What was used and what the next answer may cost is held at any time."""
    with limited() as d:
        client, up = talking(d)
        lease = d.gateway.desk.users[1]
        first = lease.held
        assert first > 0
        up << done()
        assert lease.held == d.gateway.desk.tokens[1].held == first + ANSWER_NANO
        up << done(output_tokens=100_000, total_tokens=100_100)
        dear = ANSWER_NANO + 99_950 * 60_000
        assert lease.held == ANSWER_NANO + dear + max(dear, first)
        assert heard(client).endswith(done(output_tokens=100_000, total_tokens=100_100))
        client.hang_up()
        [end] = d.receipts()
        assert end.draw_user == end.draw_token == end.charge == ANSWER_NANO + dear
        assert end.hold_user >= end.charge


@pytest.mark.parametrize("cut", [0, 5])
def test_without_quota_the_session_ends(cut: int) -> None:
    """After the answer, between two messages: an error event and a Close with 1008."""
    with limited() as d:
        d.bank.limits["user", 1] = 600_000_000
        client, up = talking(d)
        event = said(type="a", text="…")
        answer = done(output_tokens=5_000, total_tokens=5_100)
        up << answer + event[:cut]
        if cut:
            assert not client.closed
            up << event[cut:] + event[:1]
            assert heard(client).startswith(answer + event)
        assert last_words(client) == ("insufficient_quota", 1008)
        assert client.closed
        assert up.closed
        [end] = d.receipts()
        assert (end.state, end.usage.total()) == ("done", 5_100)


def test_silence_of_control_is_no_want_of_quota() -> None:
    """While what is held lasts, the session goes on and asks again; then it is told to come back."""
    with limited() as d:
        client, up = talking(d)
        d.bank.mode = "unavailable"
        d.gateway.desk.users[1].returned = d.gateway.desk.users[1].granted - d.gateway.desk.users[1].held
        d.bank.limits["user", 1] = 1 << 60
        up << done()
        d.later(3)
        assert not client.closed
        asked = len(d.bank.questions)
        assert asked >= 2
        d.bank.mode = "ok"
        held = d.gateway.desk.users[1].held
        d.later(2)
        assert d.gateway.desk.users[1].held == held + ANSWER_NANO
        assert not client.closed
        d.bank.mode = "unavailable"
        up << done(output_tokens=10**9, total_tokens=10**9 + 100)
        assert last_words(client) == ("service_unavailable", 1013)


def test_a_grant_that_comes_too_late() -> None:
    """The hold of a session that is over goes back."""
    with limited() as d:
        client, up = talking(d)
        d.bank.mode = "silent"
        up << done(output_tokens=10**7, total_tokens=10**7 + 100)
        client.hang_up()
        assert len(d.receipts()) == 1
        d.bank.mode = "ok"
        d.reply(d.bank.questions[-1])
        assert d.gateway.desk.users[1].held == 0


# Ends


def test_the_client_leaves() -> None:
    """The upstream is cut off at once; the receipt says gone, or done if it said so before."""
    for goodbye, state in ((b"", "gone"), (frame(CLOSE, b"\x03\xe8", MASK), "done")):
        with Dialogue() as d:
            client, up = talking(d)
            up << done()
            client >> goodbye
            client.hang_up()
            assert up.wire.aborted
            [end] = d.receipts()
            assert (end.state, end.charge) == (state, ANSWER_NANO)


@pytest.mark.parametrize("how", ["hang_up", "reset"])
def test_the_upstream_leaves(how: str) -> None:
    """Without a word: the client is told; with a Close: nothing is added."""
    with Dialogue() as d:
        client, up = talking(d)
        getattr(up, how)()
        assert last_words(client) == ("service_unavailable", 1011)
        assert client.closed
        other, up = talking(d)
        up << close_frame(1001, "bye")
        getattr(up, how)()
        assert frames(heard(other)) == [(CLOSE, b"\x03\xe9bye")]
        assert [end.state for end in d.receipts()] == ["cut", "done"]


def test_the_upstream_leaves_inside_a_message() -> None:
    """Nothing can be put there: the connection just ends."""
    with Dialogue() as d:
        client, up = talking(d)
        up << said(type="a")[:5]
        up.hang_up()
        assert heard(client) == said(type="a")[:5]
        assert client.closed


@pytest.mark.parametrize("side", ["client", "upstream"])
def test_what_are_no_frames(side: str) -> None:
    """Neither side hears them; the session ends."""
    with Dialogue() as d:
        client, up = talking(d)
        if side == "client":
            client >> b"\xff\xff"
            assert sent(up) == b""
            assert frames(heard(client)) == [(CLOSE, b"\x03\xea")]
        else:
            up << b"\xff\xff"
            assert last_words(client) == ("service_unavailable", 1011)
        assert up.closed
        assert client.closed
        assert [end.state for end in d.receipts()] == ["gone" if side == "client" else "cut"]


def test_a_token_that_is_taken_back() -> None:
    """Ends its sessions."""
    with Dialogue() as d:
        client, _ = talking(d)
        d.put("token", Token(1, hashlib.sha256(KEY.encode()).digest(), 1, enabled=False))
        d.later(1)
        assert last_words(client) == ("invalid_token", 1008)


def test_drain() -> None:
    """At its end the sessions are told to go."""
    with Dialogue() as d:
        client, up = talking(d)
        up << done()
        client.protocol.drain()
        assert not client.closed
        assert d.gateway.end_sessions()
        d.loop.tick()
        assert last_words(client) == ("service_unavailable", 1001)
        [end] = d.receipts()
        assert (end.state, end.charge) == ("done", ANSWER_NANO)
        assert not d.gateway.end_sessions()


# Clocks

CLOCKS: dict[str, Any] = {"stall_timeout_ms": "4000", "client_idle_timeout_ms": "8000", "total_timeout_ms": "60000"}


def test_an_upstream_that_is_silent_is_pinged_then_given_up() -> None:
    """Half of the time, then all of it."""
    with Dialogue(**CLOCKS) as d:
        client, up = talking(d)
        d.later(3)
        assert frames(sent(up), client=False) == [(PING, b"")]
        d.later(2)
        assert last_words(client) == ("service_unavailable", 1011)
        assert [end.state for end in d.receipts()] == ["cut"]


def test_pongs_are_signs_of_life() -> None:
    """Of both sides; up to the longest time of all."""
    with Dialogue(**CLOCKS) as d:
        client, up = talking(d)
        for _ in range(19):
            d.later(3)
            up << frame(PONG)
            client >> frame(PONG, b"", MASK)
        assert not client.closed
        d.later(4)
        assert last_words(client) == ("service_unavailable", 1001)
        assert [end.state for end in d.receipts()] == ["done"]


def test_a_client_that_is_silent_is_pinged_then_left() -> None:
    """The same for the other side."""
    with Dialogue(**CLOCKS) as d:
        client, up = talking(d)
        for _ in range(4):
            d.later(1.5)
            up << frame(PONG)
        assert (PING, b"") in frames(heard(client))
        for _ in range(4):
            d.later(1.5)
            up << frame(PONG) if not up.closed else None
        assert last_words(client) == ("service_unavailable", 1001)
        assert [end.state for end in d.receipts()] == ["gone"]


def test_a_client_that_reads_slowly_is_cut_off() -> None:
    """By the clock of all clients; the upstream's stands still meanwhile."""
    with Dialogue(**CLOCKS, client_stall_timeout_ms="20000") as d:
        client, up = talking(d)
        client.stop_reading()
        up << frame(BINARY, bytes(100_000))
        d.later(15)
        assert not client.closed
        d.later(8)
        assert client.wire.aborted
        assert up.closed


# Anything


MOVES = st.sampled_from([
    "ask", "half an ask", "no frame", "client's close", "done", "done", "event", "half an event", "its other half",
    "upstream's no frame", "upstream's close", "client gone", "client reset", "upstream gone", "upstream reset",
    "client slow", "client reads", "upstream slow", "upstream reads", "no control", "control", "silence", "no quota",
    "disk broken", "disk whole", "a second", "token off", "drain",
])  # fmt: skip
EVENT = said(type="x", text="…" * 20)
DENY = 1


class Scene:
    """A session that anything may happen to."""

    def __init__(self, d: Dialogue) -> None:
        self.d = d
        self.client, self.up = talking(d)
        self.told = b""
        self.asked = b""

    def move(self, name: str) -> None:
        """One move of the script."""
        d, client, up = self.d, self.client, self.up
        downs = {
            "done": done(), "event": EVENT, "half an event": EVENT[:9], "its other half": EVENT[9:],
            "upstream's no frame": b"\xf0\xf0", "upstream's close": close_frame(1000),
        }  # fmt: skip
        ups = {
            "ask": asks(), "half an ask": asks()[:3], "no frame": b"\x70", "client's close": frame(CLOSE, b"", MASK)
        }  # fmt: skip
        acts: dict[str, Callable[[], object]] = {
            "client gone": client.hang_up, "client reset": client.reset, "upstream gone": up.hang_up,
            "upstream reset": up.reset, "client slow": client.stop_reading, "client reads": client.read,
            "upstream slow": up.stop_reading, "upstream reads": up.read,
            "no control": lambda: setattr(d.bank, "mode", "unavailable"),
            "control": lambda: setattr(d.bank, "mode", "ok"), "silence": lambda: setattr(d.bank, "mode", "silent"),
            "no quota": lambda: d.bank.limits.update({("user", 1): DENY}),
            "disk broken": lambda: setattr(d, "disk_broken", True),
            "disk whole": lambda: setattr(d, "disk_broken", False),
            "a second": lambda: d.later(1), "drain": d.gateway.end_sessions,
            "token off": lambda: d.put("token", Token(1, hashlib.sha256(KEY.encode()).digest(), 1, enabled=False)),
        }  # fmt: skip
        if name in downs:
            self.told += downs[name]
            up << downs[name]
        elif name in ups:
            self.asked += ups[name]
            client >> ups[name]
        else:
            acts[name]()
        d.loop.tick()

    def check(self) -> None:
        """What each side got is what the other said, up to an end; the bill lies between what was seen and said."""
        got = heard(self.client)
        assert self.asked.startswith(sent(self.up))
        if not self.told.startswith(got):
            same = next((i for i, (a, b) in enumerate(zip(got, self.told, strict=False)) if a != b), len(self.told))
            assert any(ends(got[at:]) for at in range(max(0, same - 4), same + 1)), (got, self.told)
        for end in self.d.receipts():
            assert got.count(done()) * 150 <= end.usage.total() <= self.told.count(done()) * 150
            assert end.charge == end.usage.total() // 150 * ANSWER_NANO


def ends(data: bytes) -> bool:
    """Whether these are our last words."""
    try:
        kinds = [kind for kind, _ in frames(data)]
    except ParseFailed:
        return False
    return kinds in ([TEXT, CLOSE], [CLOSE])


@settings(max_examples=150, deadline=None)
@given(st.lists(MOVES, max_size=14))
def test_anything(moves: list[str]) -> None:
    """In any order: one receipt, no hold left, no byte changed."""
    with limited() as d:
        session = Scene(d)
        for move in moves:
            session.move(move)
        d.disk_broken = False
        d.bank.mode = "ok"
        d.journal.janitor()
        d.later(12)
        session.check()
