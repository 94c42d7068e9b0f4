"""A connection has no memory that matters: any run of requests, in any reads, is served as each would be alone."""

from __future__ import annotations

import functools
import hashlib
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dialogue import Dialogue
from tests.speech import answer, chat, chunked, completion, get, post

PATH: Final = "/v1/chat/completions"
OFFER: Final = ("Connection: Upgrade", "Upgrade: h2c")
MESSAGES: Final[tuple[bytes, ...]] = (
    post(chat()),
    post(chat(user="another")),
    post(chat(user="u" * 900)),
    post(chat(user="u" * 3000)),
    post({"model": "gpt-4", "input": "x"}, "/v1/embeddings"),
    post(chat(), PATH, "X-Marker: yes"),
    post(chat(), PATH, "X-Marker: yes", "X-More: 1"),
    post(chat(), key="sk-nobody"),
    post(chat(user="u" * 800), key="sk-nobody"),
    post(chat(model="nobody")),
    post(b"{"),
    post(b""),
    post(chat(), PATH + "?a=1"),
    post(chat(), PATH, *OFFER),
    post(chat(user="u" * 700), PATH, *OFFER),
    chunked(chat(), sizes=(17,)),
    chunked(chat(user="u" * 600)),
    get("/v1/models"),
    get("/v1/models", key=""),
    b"\r\n" + post(chat()),
    post(chat()).replace(b"Host:", b"host:"),
    post(chat()).replace(b"Content-Length: 78", b"Content-Length: 0078"),
)

Heard = tuple[int, bytes]


def play(d: Dialogue, reads: list[bytes]) -> list[Heard]:
    """What a client hears that says this; upstreams answer at once with a digest of what they were asked."""
    client = d.client()
    for read in reads:
        client >> read
        while not d.silent:
            up = d.upstream()
            request = up.request
            seen = repr((request.method, request.target, sorted(request.fields), request.body)).encode()
            up << answer(completion(hashlib.sha256(seen).hexdigest()))
    assert not client.closed
    return [(heard.status, heard.body) for heard in client.answers()]


@functools.cache
def alone(message: bytes) -> list[Heard]:
    """What it hears on a connection of its own."""
    with Dialogue() as d:
        return play(d, [message])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(MESSAGES), min_size=2, max_size=8),
    st.lists(st.one_of(st.integers(1, 40), st.integers(100, 1500), st.just(100_000)), min_size=1, max_size=10),
    st.booleans(),
)
def test_each_as_if_alone(messages: list[bytes], sizes: list[int], apart: bool) -> None:
    """In reads that follow the messages, or not at all."""
    data = messages if apart else [b"".join(messages)]
    reads: list[bytes] = []
    index = 0
    for part in data:
        pos = 0
        while pos < len(part):
            size = sizes[index % len(sizes)]
            reads.append(part[pos : pos + size])
            pos += size
            index += 1
    with Dialogue() as d:
        assert play(d, reads) == [heard for message in messages for heard in alone(message)]
