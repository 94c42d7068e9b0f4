"""Content is byte-identical, whatever the framing and wherever reads end: properties, with cases from hypothesis."""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dialogue import Dialogue, channels
from tests.speech import DONE, answer, chat, chunked, delta, event, in_chunks, post, stream_head, usage_chunk

quick = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
CUTS: Final = st.lists(st.integers(1, 400), min_size=1, max_size=12)
CHUNKS: Final = st.lists(st.integers(1, 300), min_size=1, max_size=8).map(tuple)
TEXT: Final = st.text(min_size=1, max_size=60)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    """Reads of these sizes, again and again."""
    reads: list[bytes] = []
    pos = index = 0
    while pos < len(data):
        size = cuts[index % len(cuts)]
        reads.append(data[pos : pos + size])
        pos += size
        index += 1
    return reads


def framed(head: str, body: bytes, framing: str, chunks: tuple[int, ...]) -> bytes:
    """A whole answer in one of the three framings."""
    if framing == "length":
        return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    if framing == "chunks":
        return f"{head}\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + in_chunks(body, chunks)
    return f"{head}\r\nConnection: close\r\n\r\n".encode() + body


@quick
@given(
    body=st.binary(min_size=1, max_size=2000),
    kind=st.sampled_from(["application/json", "audio/mpeg", "text/plain", "application/octet-stream"]),
    framing=st.sampled_from(["length", "chunks", "close"]),
    chunks=CHUNKS,
    cuts=CUTS,
    old=st.booleans(),
)
def test_plain_content_down(
    body: bytes, kind: str, framing: str, chunks: tuple[int, ...], cuts: list[int], old: bool
) -> None:
    """Any bytes of any type, to HTTP/1.1 and to HTTP/1.0."""
    with Dialogue() as d:
        client = d.client()
        if kind == "application/json":  # of a chat nothing but JSON with choices is an answer
            body, message = json.dumps({"choices": [], "said": body.decode("latin-1")}).encode(), post(chat())
        else:
            message = post(chat(), "/v1/audio/speech")
        client >> (message.replace(b"HTTP/1.1", b"HTTP/1.0", 1) if old else message)
        up = d.upstream()
        for read in split(framed(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}", body, framing, chunks), cuts):
            up << read
        if framing == "close":
            up.hang_up()
        heard = client.answer()
        assert heard.body == body
        assert heard.field("content-type") == kind
        assert [end.state for end in d.receipts()] == ["done"]


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """The events of a chat stream, with comments and odd spellings between them."""
    events = [delta("", role="assistant")]
    for text in draw(st.lists(TEXT, min_size=1, max_size=12)):
        events.append(delta(text))
        if draw(st.booleans()):
            events.append(draw(st.sampled_from([b": ping\n\n", b"event: x\ndata: {}\n\n", b"id: 7\n\n", b"\n"])))
    return [*events, delta("", finish="stop")]


@quick
@given(events=streams(), framing=st.sampled_from(["chunks", "length", "close"]), chunks=CHUNKS, cuts=CUTS)
def test_a_stream_down(events: list[bytes], framing: str, chunks: tuple[int, ...], cuts: list[int]) -> None:
    """A client that asks for usage itself gets the stream as the upstream sent it, usage and all."""
    body = b"".join([*events, usage_chunk(7, 9), DONE])
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True, stream_options={"include_usage": True}))
        up = d.upstream()
        for read in split(framed("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream", body, framing, chunks), cuts):
            up << read
        if framing == "close":
            up.hang_up()
        assert client.answer().body == body
        [end] = d.receipts()
        assert (end.state, end.usage.input, end.usage.output, end.estimated) == ("done", 7, 9, False)


@quick
@given(events=streams(), chunks=CHUNKS, cuts=CUTS, lines=st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_whose_usage_we_asked_for(
    events: list[bytes], chunks: tuple[int, ...], cuts: list[int], lines: bytes
) -> None:
    """The one event that the client did not ask for is taken out, all else is as it came."""
    before, after = b"".join(events).replace(b"\n", lines), DONE.replace(b"\n", lines)
    usage = usage_chunk(7, 9).replace(b"\n", lines)
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        assert up.request.json["stream_options"] == {"include_usage": True}
        for read in split(stream_head() + in_chunks(before + usage + after, chunks), cuts):
            up << read
        assert client.answer().body == before + after
        [end] = d.receipts()
        assert (end.state, end.usage.input, end.usage.output, end.estimated) == ("done", 7, 9, False)


JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@quick
@given(
    extra=st.dictionaries(st.sampled_from(["messages", "tools", "x", "ключ", 'a"b', "metadata"]), JSON, max_size=4),
    spaced=st.booleans(),
    coded=st.booleans(),
    chunks=CHUNKS,
    cuts=CUTS,
    other=st.sampled_from(["gpt-4", "gpt-4-0613", 'a"b\\c', "模型"]),
    stream=st.booleans(),
)
def test_a_body_up(
    extra: dict[str, Any], spaced: bool, coded: bool, chunks: tuple[int, ...], cuts: list[int], other: str, stream: bool
) -> None:
    """Body bytes go up as they came, but for the two spliced members: the model's name and the usage option."""
    value = {**extra, "model": "gpt-4", "max_tokens": 5} | ({"stream": True} if stream else {})
    body = json.dumps(value, indent=2 if spaced else None, ensure_ascii=spaced).encode()
    with Dialogue(channels(1, models={"gpt-4": other})) as d:
        client = d.client()
        for read in split(chunked(body, sizes=chunks) if coded else post(body), cuts):
            client >> read
        sent = d.upstream().request
        expected = value | {"model": other} | ({"stream_options": {"include_usage": True}} if stream else {})
        assert sent.json == expected
        if other == "gpt-4" and not stream:
            assert sent.body == body
        name = json.dumps(other, ensure_ascii=False).encode()
        if not stream:
            assert sent.body.replace(b'"model": ' + name, b'"model": "gpt-4"') == body


@quick
@given(status=st.sampled_from([400, 404, 413, 422]), body=st.binary(min_size=1, max_size=500), cuts=CUTS)
def test_an_error_down(status: int, body: bytes, cuts: list[int]) -> None:
    """What the client did wrong is said in the upstream's words."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        up = d.upstream()
        for read in split(answer(body, status=status), cuts):
            up << read
        heard = client.answer()
        assert (heard.status, heard.body) == (status, body)
        [end] = d.receipts()
        assert (end.state, end.charge, end.status) == ("done", 0, status)


def test_an_event_larger_than_every_window() -> None:
    """A delta of 3 MiB passes as it came, in reads of any size, and is metered."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        big = delta("x" * (3 << 20))
        body = delta("", role="assistant") + big + delta("", finish="stop") + usage_chunk(7, 9)
        for read in split(stream_head() + in_chunks(body + DONE, (70_000,)), [65_536]):
            up << read
        assert client.answer().body == delta("", role="assistant") + big + delta("", finish="stop") + DONE
        [end] = d.receipts()
        assert (end.usage.output, end.bytes_down) == (9, len(client.answers()[0].body))


def test_events_are_not_regrouped() -> None:
    """One read, one chunk: nothing waits for what may come."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True))
        up = d.upstream()
        up << stream_head()
        pieces = [delta(f"{n}") for n in range(20)]
        for piece in pieces:
            before = len(client.received)
            up << in_chunks(piece)[:-5]
            assert piece in client.received[before:]
        up << in_chunks(delta("", finish="stop") + event({"choices": []}) + DONE)
        assert client.answer().pieces[: len(pieces)] == pieces
