"""A broken stream of each dialect, gone on with by a channel of each: the client sees one answer."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.told import Told
from burncloud.adaptors.translation import read
from burncloud.domain.snapshot import Channel
from burncloud.domain.usage import Usage
from tests.dialogue import MODEL, UPSTREAM_KEY, Client, Dialogue, UpstreamEnd
from tests.speech import LAST, body_of, chunk, post, stream_head

CLIENTS: Final = ("chat", "messages", "responses", "gemini", "completions")
VENDORS: Final = {
    "chat": "openai-compatible", "messages": "anthropic-compatible", "gemini": "gemini-compatible",
    "responses": "openai", "completions": "openai-compatible",
}  # fmt: skip
PATHS: Final = {
    "chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses",
    "gemini": f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse", "completions": "/v1/completions",
}  # fmt: skip
WORDS: Final = ["It ", "was ", "the ", "best ", "of ", "times, ", "it ", "was ", "the ", "worst ", "of ", "times"]
TEXT: Final = "".join(WORDS)


def body(dialect: str) -> dict[str, Any]:
    """A request."""
    said: dict[str, Any] = {"model": MODEL, "max_tokens": 100, "stream": True}
    if dialect == "responses":
        return {"model": MODEL, "input": "Hi", "stream": True}
    if dialect == "gemini":
        return {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    if dialect == "completions":
        return said | {"prompt": "Hi"}
    return said | {"messages": [{"role": "user", "content": "Hi"}]}


def asked(dialect: str) -> Asked:
    return Asked(read(dialect, body_of(body(dialect)), MODEL, True), "")


def events(key: str, words: list[str], output: int = 12) -> list[canon.Event]:
    return [
        canon.Started(key, "served-model", 1),
        canon.Opened(0, canon.Text("")), *(canon.Delta(0, word) for word in words), canon.Closed(0),
        canon.Stopped(canon.Stop("stop")), canon.Used(Usage(10, output)), canon.Ended(),
    ]  # fmt: skip


def stream(dialect: str, found: list[canon.Event]) -> list[bytes]:
    """As an upstream of this dialect says it: its server-sent events."""
    request = asked(dialect)
    request.conversation.include_usage = True
    writer = SPOKEN[dialect].writer(request, canon.Losses())
    whole = b"".join(writer.write(event) for event in found)
    return [part + b"\n\n" for part in whole.split(b"\n\n") if part]


def heard(dialect: str, client: Client) -> tuple[Told, list[canon.Event]]:
    """What the client's SDK would make of it; it must be one sound stream."""
    data = client.answer().body
    reader = SPOKEN[dialect].reader(asked(dialect))
    found = reader.feed(data) + reader.finish()
    told = Told()
    for event in found:
        told.note(event)
    return told, found


def channel(number: int, dialect: str, priority: int, **options: object) -> Channel:
    vendor, speaks = VENDORS[dialect], {"speaks": [dialect]} if dialect == "responses" else {}
    return Channel(
        number, f"ch_{number}", vendor, f"http://up{number}.test", ((number * 10, UPSTREAM_KEY),), {MODEL: MODEL},
        priority=priority, options={**speaks, **options},
    )  # fmt: skip


def start(d: Dialogue, dialect: str, said: list[bytes]) -> tuple[Client, UpstreamEnd]:
    client = d.client()
    client >> post(body(dialect), PATHS[dialect])
    up = d.upstream()
    up << stream_head() + b"".join(map(chunk, said))
    return client, up


def whole_answer(dialect: str, client: Client, key: str) -> None:
    """All words, once; one id, one end, no error."""
    told, found = heard(dialect, client)
    assert "".join(part.text for part in told.answer) == TEXT
    started = [event for event in found if isinstance(event, canon.Started)]
    assert [event.id.removeprefix("resp_") for event in started] == [key]
    assert sum(isinstance(event, canon.Stopped) for event in found) == 1
    assert isinstance(found[-1], canon.Ended)
    assert not any(isinstance(event, canon.Failed) for event in found)


PAIRS: Final = [
    (one, other) for one in CLIENTS for other in CLIENTS if "completions" not in (one, other) or one == other
]


@pytest.mark.parametrize(("dialect", "spare"), PAIRS)
def test_told_again_from_the_start(dialect: str, spare: str) -> None:
    """By a channel of any dialect, wherever the first was cut."""
    first = stream(dialect, events("one", WORDS))
    content = next(at for at, said in enumerate(first) if b"It " in said)
    for cut in range(content + 1, len(first), 2 if dialect == spare else 4):
        delivered = b"".join(first[:cut])
        if b'"stop"' in delivered or b"end_turn" in delivered or b"STOP" in delivered or b"completed" in delivered:
            break
        with Dialogue([channel(1, dialect, 9), channel(2, spare, 0, prefill="none")]) as d:
            client, up = start(d, dialect, first[:cut])
            up.reset()
            other = d.upstream()
            again = stream(spare, events("two", ["It was the ", "best of times, it was", " the worst of times"]))
            other << stream_head() + b"".join(map(chunk, again)) + LAST
            whole_answer(dialect, client, "one")
            [end] = d.receipts()
            assert (end.state, end.usage.output, end.channel) == ("done", 12, 2)


@pytest.mark.parametrize(("dialect", "spare"), PAIRS)
def test_gone_on_with(dialect: str, spare: str) -> None:
    """The same where the spare is given what the client has."""
    first = stream(dialect, events("one", WORDS))
    content = next(at for at, said in enumerate(first) if b"It " in said)
    for count in (1, 5):
        with Dialogue([channel(1, dialect, 9), channel(2, spare, 0, prefill="plain")]) as d:
            client, up = start(d, dialect, first[: content + count])
            up.reset()
            other = d.upstream()
            given = "".join(WORDS[:count]).rstrip()
            assert given in json.dumps(other.request.json)
            rest = stream(spare, events("two", WORDS[count:]))
            other << stream_head() + b"".join(map(chunk, rest)) + LAST
            whole_answer(dialect, client, "one")
            [end] = d.receipts()
            assert sum(attempt.charge for attempt in end.attempts) == end.charge


@pytest.mark.parametrize("dialect", CLIENTS)
@pytest.mark.parametrize("translated", [False, True])
def test_nobody_goes_on(dialect: str, translated: bool) -> None:
    """The spare says something else: the words that came stay, and an error ends it."""
    if translated and dialect == "completions":
        pytest.skip("is not translated")
    spoken = ("messages" if dialect == "chat" else "chat") if translated else dialect
    with Dialogue([channel(1, spoken, 9), channel(2, dialect, 0, prefill="none")]) as d:
        first = stream(spoken, events("one", WORDS))
        content = next(at for at, said in enumerate(first) if b"It " in said)
        client, up = start(d, dialect, first[: content + 3])
        up.reset()
        d.upstream() << stream_head() + b"".join(map(chunk, stream(dialect, events("two", ["No."])))) + LAST
        told, found = heard(dialect, client)
        assert "".join(part.text for part in told.answer) == "It was the "
        assert sum(isinstance(event, canon.Failed) for event in found) == 1
        assert not any(isinstance(event, canon.Stopped | canon.Ended) for event in found)
        assert d.receipts()[0].state == "cut"


@pytest.mark.parametrize("dialect", [one for one in CLIENTS if one != "completions"])
def test_a_translated_stream_breaks(dialect: str) -> None:
    """What the writer of the translation told is what is gone on with."""
    spoken = "messages" if dialect == "chat" else "chat"
    with Dialogue([channel(1, spoken, 9), channel(2, dialect, 0, prefill="plain")]) as d:
        first = stream(spoken, events("one", WORDS))
        content = next(at for at, said in enumerate(first) if b"It " in said)
        client, up = start(d, dialect, first[: content + 4])
        up.reset()
        rest = stream(dialect, events("two", WORDS[4:]))
        d.upstream() << stream_head() + b"".join(map(chunk, rest)) + LAST
        told, found = heard(dialect, client)
        assert "".join(part.text for part in told.answer) == TEXT
        assert sum(isinstance(event, canon.Started) for event in found) == 1
        assert isinstance(found[-1], canon.Ended)
