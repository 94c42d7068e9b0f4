"""Several requests on one connection: in order, within bounds, none vouching for another."""

from __future__ import annotations

import hashlib

import pytest

from burncloud.domain.link import Drop
from burncloud.domain.snapshot import Token, User
from tests.dialogue import KEY, Client, Dialogue
from tests.speech import answer, chat, chunked, completion, get, post

PATH = "/v1/chat/completions"
HASH = hashlib.sha256(KEY.encode()).digest()


def numbered(n: int) -> bytes:
    """A request that can be told from others."""
    return post(chat(user=f"user-{n}"))


@pytest.mark.parametrize("count", [2, 3, 8, 9])
@pytest.mark.parametrize("size", [1 << 20, 100, 1], ids=["one read", "pieces", "bytes"])
def test_in_order(count: int, size: int) -> None:
    """One active and up to eight queued requests are answered in their order, one at a time."""
    with Dialogue() as d:
        client = d.client()
        client.say_split(b"".join(numbered(n) for n in range(count)), size)
        for n in range(count):
            up = d.upstream()
            assert up.request.json["user"] == f"user-{n}"
            assert d.silent, "two at once"
            up << answer(completion(f"answer {n}"))
            assert client.answer().body == completion(f"answer {n}")
        assert not client.closed


def test_the_ninth_in_line_costs_the_connection() -> None:
    """The active one is still answered; what waited behind it is not, and the connection ends."""
    with Dialogue() as d:
        client = d.client()
        client >> b"".join(numbered(n) for n in range(10))
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert client.quiet
        assert client.closed
        assert d.silent


def test_more_than_64_kib_in_line_costs_the_connection() -> None:
    """Bytes are bounded as well as requests."""
    with Dialogue() as d:
        client = d.client()
        client >> numbered(0)
        client >> post(chat(user="u" * 40_000))
        client >> post(chat(user="u" * 40_000))
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert client.quiet
        assert client.closed


def test_the_line_may_be_long_over_time() -> None:
    """What counts is what waits now: a client that always keeps one in line is no offender."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(user="u" * 20_000))
        for n in range(10):
            client >> post(chat(user="u" * 20_000))
            d.upstream() << answer(completion(f"{n}"))
            assert client.answer().status == 200
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert not client.closed


def test_refused_ones_in_the_middle() -> None:
    """Each gets its own answer at its own place."""
    with Dialogue() as d:
        client = d.client()
        bad_json, unknown = post(b"{"), post(chat(model="nobody"))
        stranger, listing = post(chat(), key="sk-other"), get("/v1/models")
        client >> numbered(0) + bad_json + stranger + numbered(1) + unknown + listing + numbered(2)
        for text in ("first", "second", "third"):
            d.upstream() << answer(completion(text))
        assert [a.status for a in client.answers()] == [200, 400, 401, 200, 404, 200, 200]
        bodies = [a.body for a in client.answers() if b"chatcmpl" in a.body]
        assert bodies == [completion("first"), completion("second"), completion("third")]
        assert not client.closed


@pytest.mark.parametrize("before", [1, 2, 5])
@pytest.mark.parametrize(
    "malformed",
    [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", chunked(chat(), sizes=(5,))[:-40] + b"\r\nnonsense\r\n"],
    ids=["line", "head", "body"],
)
def test_a_malformed_one_behind_good_ones(malformed: bytes, before: int) -> None:
    """Those before it are answered in order, then it is, and the connection ends there."""
    with Dialogue() as d:
        client = d.client()
        client >> b"".join(numbered(n) for n in range(before)) + malformed + numbered(9)
        for n in range(before):
            up = d.upstream()
            assert up.request.json["user"] == f"user-{n}"
            up << answer(completion())
        assert [a.status for a in client.answers()] == [200] * before + [400]
        assert client.closed
        assert d.silent


def test_no_words_after_a_last_answer() -> None:
    """Who asked for the end of the connection with the good one hears no more."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), PATH, "Connection: close") + b"GARBAGE\r\n\r\n"
        d.upstream() << answer(completion())
        assert [a.status for a in client.answers()] == [200]
        assert client.closed


def test_only_refusals() -> None:
    """Answers that need nobody come at once, whole pipelines of them."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(), key="sk-other") * 30
        assert [a.status for a in client.answers()] == [401] * 30


def test_a_queued_body_arrives_in_parts() -> None:
    """Its beginning waits in line, its end comes when it is its turn."""
    with Dialogue() as d:
        client = d.client()
        second = chunked(chat(user="later"), sizes=(5,))
        client >> numbered(0) + second[:-30]
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert d.silent
        client >> second[-30:] + numbered(2)
        up = d.upstream()
        assert up.request.json["user"] == "later"
        up << answer(completion())
        assert d.upstream().request.json["user"] == "user-2"


def test_the_client_leaves_with_requests_in_line() -> None:
    """The active one ends as gone, the others were never begun."""
    with Dialogue() as d:
        client = d.client()
        client >> b"".join(numbered(n) for n in range(5))
        d.upstream()
        client.reset()
        assert [end.state for end in d.receipts()] == ["gone"]
        assert d.silent


# The head that came twice (`_serve_again`)


def warm(d: Dialogue, fields: tuple[str, ...] = ()) -> tuple[Client, bytes]:
    """A connection that recognises its head, and that head's request."""
    client = d.client()
    message = post(chat(), "/v1/chat/completions", *fields)
    for _ in range(2):
        client >> message
        d.upstream() << answer(completion())
        assert client.answer().status == 200
    assert client.protocol._again is not None, "this connection recognises nothing"
    return client, message


def test_the_same_head_with_another_length() -> None:
    """Only Content-Length may differ, in value and in digits."""
    with Dialogue() as d:
        client, _ = warm(d)
        for size in (0, 9, 10, 500, 5000, 1):
            body = chat(user="u" * size)
            client >> post(body)
            up = d.upstream()
            assert up.request.json == body
            up << answer(completion(str(size)))
            assert client.answer().body == completion(str(size))


@pytest.mark.parametrize("cut", [1, 10, 60, -1, -50])
def test_the_same_head_in_two_reads(cut: int) -> None:
    """The parser takes over where the request is not here whole."""
    with Dialogue() as d:
        client, message = warm(d)
        for _ in range(2):
            client >> message[:cut]
            assert d.silent
            client >> message[cut:]
            d.upstream() << answer(completion())
            assert client.answer().status == 200


def test_the_same_head_twice_in_one_read() -> None:
    """A pipeline is the parser's matter."""
    with Dialogue() as d:
        client, message = warm(d)
        client >> message * 3
        for _ in range(3):
            d.upstream() << answer(completion())
            assert client.answer().status == 200


@pytest.mark.parametrize(
    "length", [b"+78", b" 78", b"78 ", b"0x4e", b"-1", b"7_8", b"", b"78, 78", b"99999999999", b"\xb2\xb2"]
)
def test_a_length_that_is_none(length: bytes) -> None:
    """What is no plain number goes to the parser, which says what it says without the memo."""
    with Dialogue() as d:
        client, message = warm(d)
        fresh = d.client()
        spoilt = message.replace(b"Content-Length: 78", b"Content-Length: " + length)
        assert spoilt != message
        client >> spoilt
        fresh >> spoilt
        statuses = [a.status for a in client.answers()[2:]], [a.status for a in fresh.answers()]
        assert statuses[0] == statuses[1]
        received = [r for end in d.upstreams for r in end.requests][2:]
        assert len(received) in (0, 2)


def test_another_head_after_it_and_back() -> None:
    """A different head is parsed, and the old one afterwards is not mistaken for it."""
    with Dialogue() as d:
        client, message = warm(d)
        other = post(chat(user="other"), "/v1/chat/completions", "X-Marker: yes")
        for request, marked in ((other, True), (message, False), (other, True), (other, True), (other, True)):
            client >> request
            up = d.upstream()
            assert ("x-marker" in up.request.names) is marked
            up << answer(completion())
            assert client.answer().status == 200


def test_another_target_with_the_same_fields() -> None:
    """The memo of a head is the memo of its target, too."""
    with Dialogue() as d:
        client, message = warm(d)
        client >> message.replace(b"/v1/chat/completions", b"/v1/embeddings")
        up = d.upstream()
        assert up.request.target == "/v1/embeddings"
        up << answer(completion())
        client >> message
        assert d.upstream().request.target == "/v1/chat/completions"


@pytest.mark.parametrize("change", ["disabled", "expired", "deleted", "another key", "user disabled", "user deleted"])
def test_the_token_changes_in_between(change: str) -> None:
    """A remembered head remembers who asks, never that he may."""
    with Dialogue() as d:
        client, message = warm(d)
        if change == "disabled":
            d.put("token", Token(1, HASH, 1, enabled=False))
        elif change == "expired":
            d.put("token", Token(1, HASH, 1, expires_at=1))
        elif change == "another key":
            d.put("token", Token(1, hashlib.sha256(b"sk-new").digest(), 1))
        elif change == "deleted":
            d.gateway.world.drop(Drop("token", [1]))
        elif change == "user disabled":
            d.put("user", User(1, enabled=False))
        else:
            d.gateway.world.drop(Drop("user", [1]))
        client >> message
        heard = client.answer()
        assert heard.status == (403 if change.startswith("user") else 401)
        assert heard.json["error"]["code"] == {"expired": "token_expired"}.get(
            change, "permission_denied" if change.startswith("user") else "invalid_token"
        )
        assert d.silent


def test_a_token_that_comes_back() -> None:
    """Enabled again, the same connection serves again."""
    with Dialogue() as d:
        client, message = warm(d)
        d.put("token", Token(1, HASH, 1, enabled=False))
        client >> message
        assert client.answer().status == 401
        d.put("token", Token(1, HASH, 1))
        client >> message
        d.upstream() << answer(completion())
        assert client.answer().status == 200


def test_a_head_that_asks_for_more_is_not_remembered() -> None:
    """Expect, chunks and `Connection: close` are the parser's matter each time."""
    with Dialogue() as d:
        client = d.client()
        for _ in range(4):
            client >> chunked(chat())
            d.upstream() << answer(completion())
        assert client.protocol._again is None
        for _ in range(4):
            client >> post(chat(), "/v1/chat/completions", "Expect: 100-continue")
            d.upstream() << answer(completion())
        assert client.protocol._again is None


def test_only_a_head_of_its_own_read_is_remembered() -> None:
    """Of several heads in one read, the first one's bytes do not stand for the last one's meaning."""
    with Dialogue() as d:
        client = d.client()
        first = post({"model": "gpt-4", "input": "x"}, "/v1/embeddings")
        last = post(chat(user="u" * 5000))
        client >> post(chat())
        d.upstream() << answer(completion())
        client >> first + last[:1000]
        d.upstream() << answer(completion())
        client >> last[1000:]
        d.upstream() << answer(completion())
        client >> first
        up = d.upstream()
        assert up.request.target == "/v1/embeddings"
        up << answer(completion())
        assert [a.status for a in client.answers()] == [200] * 4


def test_a_refused_head_does_not_borrow_another_s_credential() -> None:
    """Three heads in one read, the first with a key that is none: it stays refused."""
    with Dialogue() as d:
        client = d.client()
        stranger, last = post(chat(), key="sk-nobody"), post(chat(user="u" * 5000))
        client >> stranger + post(chat()) + last[:1000]
        d.upstream() << answer(completion())
        client >> last[1000:]
        d.upstream() << answer(completion())
        client >> stranger
        assert [a.status for a in client.answers()] == [401, 200, 200, 401]


@pytest.mark.parametrize("cut", [200, -1])
def test_a_known_head_whose_body_comes_later(cut: int) -> None:
    """The rest goes past the parser; what follows it, in the same read or later, does not."""
    with Dialogue() as d:
        client, _ = warm(d)
        body = chat(user="u" * 3000)
        message = post(body)
        client >> message[:cut]
        assert d.silent
        client >> message[cut:] + post(chat(user="next")) + post(chat(), key="sk-other")
        for expected in (body, chat(user="next")):
            up = d.upstream()
            assert up.request.json == expected
            up << answer(completion())
        assert [a.status for a in client.answers()] == [200] * 4 + [401]


def test_a_known_head_whose_body_never_comes() -> None:
    """Refused or not, the client's leaving ends it, and a refused one's body is read away."""
    with Dialogue() as d:
        client, message = warm(d)
        client >> message[:-10]
        client.reset()
        client, message = warm(d)
        d.put("token", Token(1, HASH, 1, enabled=False))
        client >> message[:-10]
        assert [a.status for a in client.answers()] == [200, 200, 401]
        d.put("token", Token(1, HASH, 1))
        client >> message[-10:] + message
        d.upstream() << answer(completion())
        assert [a.status for a in client.answers()] == [200, 200, 401, 200]
        assert len(d.receipts()) == 5
