"""The gate of a stream: sound events go on untouched, whatever is none is dropped, an error stops it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors import sieve as module
from burncloud.adaptors.commit import UsageStripper
from burncloud.adaptors.record import Record, Room
from burncloud.adaptors.sieve import Sieve
from tests.speech import DONE, delta, event, usage_chunk

ERROR = event({"error": {"message": "overloaded"}})
SOUND = [
    delta("Hi"), delta("é漢"), DONE, b": ping\n\n", b"data: {}\n\n", b"event: x\ndata: {\"a\":1}\n\n", b"retry: 10\n\n",
    b'data: {"a":\r\ndata: 1}\r\n\r\n', b"data:{\"a\":1}\n\n", b'data: [1]\n\n', b'data: {"a": NaN}\n\n',
    b"event: ping\ndata:\n\n",
    b'data: {"error":null,"choices":[]}\n\n', b"\n\n", b'id: 7\ndata: {"choices": 3}\n\n', b'data: {"a":1}\r\r',
    event({"choices": [{"delta": {"content": 'said "error" and {"error": 1}'}}]}),
]  # fmt: skip
BROKEN = [
    b"data: {oops\n\n", b'data: {"a":1\n\n', b"data: oops\n\n", b"data: \xff\n\n", b"<html>\n\n", b': \xff\n\n',
    b'data: {"a":"\xc3"}\n\n', b'data: {"a":1}}\n\n', b"garbage without a colon\n\n",
    b'data: {"a":1,\n"b":[]}\n\n', b'data: {"a":1,\r"b":[]}\n\n', b'event: x\ndata: {"a":1,\r\n"b":[]}\r\n\r\n',
]  # fmt: skip


def sieved(data: bytes, size: int = 1 << 20, dialect: str = "openai", endpoint: str = "chat.completions") -> Sieve:
    """A sieve that was given this in reads of this size; what it passed on is its record."""
    made = Sieve(dialect, endpoint, None, Record(Room()))
    out = b"".join(made.strip(data[at : at + size]) for at in range(0, len(data), size))
    out += made.finish()
    assert made.record is not None
    assert made.record.whole() == out + made.missing
    return made


def passed(made: Sieve) -> bytes:
    assert made.record is not None
    return made.record.whole()


@pytest.mark.parametrize("size", [1, 3, 50, 1 << 20])
@pytest.mark.parametrize("said", SOUND)
def test_sound_events_pass_untouched(said: bytes, size: int) -> None:
    """All spellings of them, wherever the reads end."""
    made = sieved(delta("a") + said + delta("b"), size)
    assert passed(made) == delta("a") + said + delta("b")
    assert (made.dropped, made.failed) == (0, b"")


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("said", BROKEN)
def test_what_is_no_event_is_dropped(said: bytes, size: int) -> None:
    """And counted; the others are not touched."""
    made = sieved(delta("a") + said + delta("b"), size)
    assert passed(made) == delta("a") + delta("b")
    assert made.dropped == 1


@pytest.mark.parametrize(("dialect", "endpoint", "said"), [
    ("openai", "chat.completions", ERROR),
    ("openai", "chat.completions", b"event: error\ndata: {}\n\n"),
    ("openai", "chat.completions", event({"object": "error", "message": "no", "choices": []})),
    ("openai", "responses", event({"type": "error", "message": "no"})),
    ("openai", "responses", event({"type": "response.failed", "response": {"error": {"code": "server_error"}}})),
    ("anthropic", "messages", b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"}}\n\n'),
    ("gemini", "streamGenerateContent", b'data: {"error":{"code":503,"status":"UNAVAILABLE"}}\r\n\r\n'),
])  # fmt: skip
def test_an_error_stops_it(dialect: str, endpoint: str, said: bytes) -> None:
    """It is held back, with all behind it, until somebody asks for it."""
    for size in (5, 1 << 20):
        made = sieved(delta("a") + said + delta("b"), size, dialect, endpoint)
        assert passed(made) == delta("a")
        assert made.failed == said
        assert made.release() == said + delta("b")


def test_a_client_never_stands_in_the_middle_of_an_event() -> None:
    """The beginning of one waits for its end; at the end of the stream it is dropped unless it is whole."""
    made = Sieve("openai", "chat.completions", None, None)
    assert made.strip(delta("a") + delta("b")[:40]) == delta("a")
    assert made.strip(delta("b")[40:-1]) == b""
    assert made.strip(b"\n") == delta("b")
    assert made.strip(b'data: {"cut":') == b""
    assert (made.finish(), made.dropped) == (b"", 1)
    assert sieved(delta("a") + b"data: [DONE]").record is not None
    for lacking, missing in ((b"data: [DONE]", b"\n\n"), (delta("b")[:-1], b"\n")):
        made = sieved(delta("a") + lacking)
        assert (passed(made), made.missing) == (delta("a") + lacking + missing, missing)
    assert passed(sieved(delta("a") + b"event: message\ndata: ")) == delta("a")


def test_a_first_line_that_is_none() -> None:
    """A sound event does not vouch for what stands before it."""
    made = Sieve("openai", "chat.completions", None, None)
    assert (made.strip(b"data: oops\n\n" + delta("a")), made.dropped) == (delta("a"), 1)
    assert (made.strip(b"data: oops\n" + delta("a")), made.dropped) == (b"", 2)


def test_an_event_too_long_to_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes as it comes; nobody can go on with such a stream, but the next event is looked at again."""
    monkeypatch.setattr(module, "EVENT_BYTES_MAX", 1000)
    long = delta("x" * 5000)
    made = Sieve("openai", "chat.completions", None, Record(Room()))
    out = b"".join(made.strip(long[at : at + 300]) for at in range(0, len(long), 300))
    assert out == long
    assert made.strip(b"data: {oops\n\n" + delta("a")) == delta("a")
    assert made.record is not None
    assert made.record.lost


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_a_long_event_whose_empty_line_is_split(monkeypatch: pytest.MonkeyPatch, end: bytes) -> None:
    """What comes behind it is looked at; where nothing comes, nothing is missing."""
    monkeypatch.setattr(module, "EVENT_BYTES_MAX", 1000)
    long = delta("x" * 5000).rstrip(b"\n") + end
    for at in range(-len(end), 0):
        made = Sieve("openai", "chat.completions", None, None)
        assert made.strip(long[:at]) + made.strip(long[at:]) + made.strip(ERROR) == long
        assert made.failed == ERROR
        made = Sieve("openai", "chat.completions", None, None)
        assert made.strip(long[:at]) + made.finish() == long[:at]


def test_the_next_stage_gets_whole_events() -> None:
    """The usage chunk that was not asked for is taken out behind it."""
    made = Sieve("openai", "chat.completions", UsageStripper(), Record(Room()))
    out = b"".join(made.strip(bytes([byte])) for byte in delta("a") + usage_chunk() + DONE) + made.finish()
    assert out == delta("a") + DONE


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(SOUND + BROKEN), max_size=12), st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_any_reads_give_the_same(events: list[bytes], cuts: list[int]) -> None:
    """A property: where reads end changes nothing of what goes on."""
    data = b"".join(events)
    made = Sieve("openai", "chat.completions", None, None)
    out, pos, turn = b"", 0, 0
    while pos < len(data):
        size = cuts[turn % len(cuts)]
        out += made.strip(data[pos : pos + size])
        pos, turn = pos + size, turn + 1
    whole = Sieve("openai", "chat.completions", None, None)
    assert out + made.finish() == whole.strip(data) + whole.finish()
    assert made.dropped == whole.dropped


@pytest.mark.parametrize("stripper", [True, False])
def test_the_first_content_is_listened_for(stripper: bool) -> None:
    """Once; then nothing stands there any more."""
    after = UsageStripper() if stripper else None
    made = Sieve("openai", "chat.completions", after, None)
    assert made.begun
    made.listen()
    made.listen()
    for said in (b": ping\n\n", delta("", role="assistant"), b"data: {oops\n\n"):
        assert made.strip(said) == (b"" if b"oops" in said else said)
        assert not made.begun
    assert made.strip(delta("Hi")) == delta("Hi")
    assert made.begun
    assert made._after is after


def test_an_event_too_long_to_be_held_is_content(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EVENT_BYTES_MAX", 100)
    made = Sieve("openai", "chat.completions", None, None)
    made.listen()
    assert made.strip(delta("x" * 300)[:200])
    assert made.begun
