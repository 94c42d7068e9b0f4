"""A connection has no memory that matters: any run of requests, in any reads, is served as each would be alone."""

from __future__ import annotations

import functools
import hashlib
from typing import Final

import pytest
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


ALIKE: Final = (MESSAGES[0], MESSAGES[3], MESSAGES[4], MESSAGES[8], MESSAGES[12])
"""Other targets, lengths and credentials, but for the credential the same fields."""
FEW: Final = st.one_of(
    st.lists(st.sampled_from(ALIKE), min_size=2, max_size=3),
    st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=3),
)
"""So that they come again and again: a head that is known is what could go wrong."""


WRITE: Final = st.tuples(
    st.integers(1, 3), st.one_of(st.just(1.0), st.floats(0, 1)), st.one_of(st.just(0), st.integers(1, 50))
)
"""How many messages go together, where that is cut in two, and in reads of what size the second part comes (0: one)."""


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    FEW.flatmap(lambda few: st.lists(st.sampled_from(few), min_size=3, max_size=9)),
    st.lists(WRITE, min_size=9, max_size=9),
)
def test_each_as_if_alone(messages: list[bytes], writes: list[tuple[int, float, int]]) -> None:
    """Together or apart, in one read or in many."""
    reads: list[bytes] = []
    waiting = list(messages)
    for count, cut, size in writes:
        data = b"".join(waiting[:count])
        del waiting[:count]
        at = int(len(data) * cut)
        rest = data[at:]
        reads += [data[:at], *(rest[n : n + size] for n in range(0, len(rest), size))] if size else [data[:at], rest]
    with Dialogue() as d:
        heard = play(d, [read for read in reads if read])
        assert heard == [each for message in messages for each in alone(message)]


@pytest.mark.parametrize("first", range(len(ALIKE)))
def test_two_in_a_read_and_one_after(first: int) -> None:
    """All triples of requests that look alike: one, then another whose body is cut, its rest, then a third."""
    a = ALIKE[first]
    for b in ALIKE:
        cut = b.index(b"\r\n\r\n") + 10
        for c in ALIKE:
            with Dialogue() as d:
                heard = play(d, [ALIKE[0], a + b[:cut], b[cut:], c, c])
            assert heard == [each for message in (ALIKE[0], a, b, c, c) for each in alone(message)], (a, b, c)
