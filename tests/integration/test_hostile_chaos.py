"""Chaos: any order of what clients, upstreams, the control process, the disk and the clock can do.

Nothing here expects a particular answer.  What is expected holds after every story (Dialogue.settle): each intent has
one end, each request that an upstream got is one attempt, no hold, room or exchange is left, every byte a client got
is well-formed HTTP; and no step raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burncloud.domain.link import Drop
from burncloud.domain.snapshot import Token, User
from tests.dialogue import KEY, Client, Dialogue, channels
from tests.speech import (
    DONE,
    LAST,
    answer,
    chat,
    chunk,
    chunked,
    completion,
    delta,
    get,
    post,
    problem,
    stream_head,
    usage_chunk,
)

HASH: Final = hashlib.sha256(KEY.encode()).digest()
LARGE: Final = post(chat(user="u" * 1_200_000))
FORM: Final = (
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"\0" * 3000 + b"\r\n--b--\r\n"
)
SAID_BY_CLIENTS: Final[tuple[bytes, ...]] = (
    post(chat()),
    post(chat(stream=True)),
    post(chat(stream=True, stream_options={"include_usage": True})),
    post(chat()) * 3,
    post(chat())[:60],
    post(chat())[60:],
    post(chat()).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    post(chat(), "/v1/chat/completions", "Connection: close"),
    post(chat(), "/v1/chat/completions", "Expect: 100-continue"),
    post(chat(), "/v1/chat/completions", "Connection: Upgrade", "Upgrade: h2c"),
    chunked(chat(), sizes=(9,)),
    chunked(chat(user="u" * 5000))[:-7],
    post(FORM, "/v1/audio/transcriptions", "Content-Type: multipart/form-data; boundary=b"),
    post(chat(), key="sk-other"),
    post(b"{"),
    post(chat(model="nobody")),
    post(b"", length=900_000),
    LARGE[:700_000],
    LARGE,
    get("/v1/models"),
    get("/health"),
    get("/health", method="HEAD"),
    b"GARBAGE\r\n\r\n",
    b"\r\n",
)
SAID_BY_UPSTREAMS: Final[tuple[bytes, ...]] = (
    answer(completion()),
    answer(completion())[:90],
    answer(completion())[90:],
    answer(completion()) * 2,
    answer(completion(), "Connection: close"),
    b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json\r\n\r\n" + completion(),
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    stream_head(),
    stream_head() + chunk(delta("", role="assistant")),
    chunk(delta("some text")),
    chunk(delta("some text" * 4000)),
    chunk(delta("", finish="stop") + usage_chunk() + DONE) + LAST,
    stream_head() + chunk(delta("Hi") + delta("", finish="stop") + usage_chunk() + DONE) + LAST,
    LAST,
    answer(b"x" * 300_000, kind="audio/mpeg")[:150_000],
    problem(400),
    problem(429),
    problem(500),
    b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    b"rubbish",
)


class Story:
    """One run: each step picks what it acts on from what is there."""

    def __init__(self, d: Dialogue) -> None:
        self.d = d
        self.headed: list[Client] = []
        """Clients that asked with HEAD: their answers cannot be read without knowing which."""

    def client_says(self, n: int) -> None:
        """An open client, or a new one, says something."""
        open_ = [client for client in self.d.clients if not client.wire.closing]
        client = self.d.client() if not open_ or n % 3 == 0 else open_[n % len(open_)]
        said = SAID_BY_CLIENTS[n % len(SAID_BY_CLIENTS)]
        if said.startswith(b"HEAD"):
            self.headed.append(client)
        client >> said

    def upstream_says(self, n: int) -> None:
        """An open upstream connection says something."""
        open_ = [up for up in self.d.upstreams if not up.wire.closing]
        if open_:
            open_[n % len(open_)] << SAID_BY_UPSTREAMS[n % len(SAID_BY_UPSTREAMS)]

    def upstream_answers(self, n: int) -> None:
        """One that was asked answers properly."""
        open_ = [up for up in self.d.upstreams if not up.wire.closing and up.protocol.exchange is not None]
        if open_:
            open_[n % len(open_)] << answer(completion())

    def client_leaves(self, n: int) -> None:
        """By FIN or RST."""
        open_ = [client for client in self.d.clients if not client.wire.lost]
        if open_:
            client = open_[n % len(open_)]
            (client.hang_up if n & 1 else client.reset)()

    def upstream_leaves(self, n: int) -> None:
        """By FIN or RST."""
        open_ = [up for up in self.d.upstreams if not up.wire.lost]
        if open_:
            up = open_[n % len(open_)]
            (up.hang_up if n & 1 else up.reset)()

    def dial(self, n: int) -> None:
        """The next dials wait, are accepted or refused; one that waits is answered."""
        self.d.dialling = ("accept", "accept", "wait", "refuse")[n % 4]
        waiting = [dial for dial in self.d.dials if dial.open]
        if waiting:
            dial = waiting[n % len(waiting)]
            if n % 3:
                dial.accept(slow=n % 5 == 0)
            else:
                dial.refuse()

    def time_passes(self, n: int) -> None:
        """Up to some minutes."""
        self.d.later((0.1, 1.0, 6.0, 31.0, 130.0)[n % 5])

    def client_stands_still(self, n: int) -> None:
        """Or reads again."""
        if self.d.clients:
            client = self.d.clients[n % len(self.d.clients)]
            if client.wire.slow:
                client.wire.slow = bool(n & 1)
                client.read(n * 1000)
            else:
                client.stop_reading()

    def everybody_flushes(self, n: int) -> None:
        """What was kept back is said."""
        for end in (*self.d.clients, *self.d.upstreams):
            end.flush()
            if n & 1 and end.wire.slow:
                end.read()

    def control_changes(self, n: int) -> None:
        """The Snapshot, the mood of the bank, the link."""
        d = self.d
        if n % 7 == 0:
            d.put("channel", *channels(2))
        elif n % 7 == 1:
            d.put("token", Token(1, HASH, 1, enabled=n % 2 == 0, limited=True))
        elif n % 7 == 2:
            d.gateway.world.drop(Drop("channel", [1 + n % 2]))
        elif n % 7 == 3:
            d.gateway.desk.link_lost()
        elif n % 7 == 4:
            d.gateway.desk.recall("user", 1)
        elif n % 7 == 5:
            d.bank.limits["user", 1] = n * 10**6
        else:
            d.bank.mode = ("ok", "silent", "unavailable", "down")[n % 4]

    def disk_changes(self, n: int) -> None:
        """Broken, or mended."""
        self.d.disk_broken = n % 3 == 0
        self.d.journal.janitor()
        self.d.loop.tick()

    def drain(self, n: int) -> None:
        """One client is told that the worker stops."""
        if self.d.clients:
            self.d.clients[n % len(self.d.clients)].protocol.drain()
            self.d.loop.tick()


STEPS: Final[tuple[Callable[[Story, int], None], ...]] = (
    Story.client_says, Story.client_says, Story.client_says, Story.upstream_says, Story.upstream_says,
    Story.upstream_answers, Story.upstream_answers, Story.client_leaves, Story.upstream_leaves, Story.dial,
    Story.time_passes, Story.client_stands_still, Story.everybody_flushes, Story.control_changes, Story.disk_changes,
    Story.drain,
)  # fmt: skip


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 5000)), min_size=5, max_size=60),
    st.booleans(),
)
def test_chaos(steps: list[tuple[Callable[[Story, int], None], int]], limited: bool) -> None:
    """Any story."""
    payer = {"user": User(1, limited=limited), "token": Token(1, HASH, 1, limited=limited)}
    with Dialogue(
        channels(3),
        body_memory_bytes="2000000",
        unsent_bytes_max="500000",
        stall_timeout_ms="20000",
        **payer,  # type: ignore[arg-type]
    ) as d:
        story = Story(d)
        for step, n in steps:
            step(story, n)
        for client in d.clients:
            if client not in story.headed:
                client.answers()
        d.disk_broken = False
        d.loop.tick()
        d.journal.janitor()
