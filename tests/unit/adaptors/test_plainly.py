"""The short way gives what the long way gives, or leaves it to the long way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from burncloud.adaptors import canon, plainly
from burncloud.adaptors.chat import answer as chat_answer
from burncloud.adaptors.chat import request as chat_request
from burncloud.adaptors.chat import usual as chat_usual
from burncloud.adaptors.messages import answer as messages_answer
from burncloud.adaptors.messages import request as messages_request
from burncloud.adaptors.messages import usual as messages_usual
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal

TEXTS = st.sampled_from(["Hi", 'a\n"b"', "", " ", "é 你好", "end "])
ROLES = st.sampled_from(["user", "assistant", "system", "tool"])
ODD: dict[str, Any] = {
    "top_k": 5, "stop": ["x"], "tools": [], "metadata": {}, "user": "u", "n": 1, "seed": 0, "thinking": None, "foo": 1,
    "stop_sequences": ["x"], "service_tier": "auto", "max_completion_tokens": 7,
    "stream_options": {"include_usage": True},
}  # fmt: skip
CONTENTS = TEXTS | st.lists(TEXTS.map(lambda text: {"type": "text", "text": text}), max_size=2) | st.none()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Requests of which most are plain."""
    turns = draw(st.integers(0, 2))
    messages: list[dict[str, Any]] = [{"role": "user", "content": draw(TEXTS)}]
    for _ in range(turns):
        messages += [{"role": "assistant", "content": draw(TEXTS)}, {"role": "user", "content": draw(TEXTS)}]
    if draw(st.booleans()):
        messages.insert(0, {"role": "system", "content": draw(TEXTS)})
    if draw(st.integers(0, 5)) == 0:
        messages.append({"role": draw(ROLES), "content": draw(CONTENTS)})
    body: dict[str, Any] = {"model": draw(st.sampled_from(["m", "", "gpt-5", "claude-opus-4-7"])), "messages": messages}
    optional: dict[str, st.SearchStrategy[Any]] = {
        "max_tokens": st.sampled_from([0, 5, 5.0, True, None]),
        "temperature": st.sampled_from([0, 0.5, 1, 2, 1e400, 1 << 60, None, "1"]),
        "top_p": st.sampled_from([0.5, 1]),
        "stream": st.sampled_from([True, False, None, 1]),
        "system": TEXTS,
    }
    for name, values in optional.items():
        if draw(st.integers(0, 2)) == 0:
            body[name] = draw(values)
    if draw(st.integers(0, 3)) == 0:
        name = draw(st.sampled_from(sorted(ODD)))
        body[name] = ODD[name]
    return msgspec.json.encode(body).replace(b"null", b"1e400" if draw(st.integers(0, 9)) == 0 else b"null")


def outcome(call: Callable[[], Any]) -> Any:
    """What comes, or the refusal's sentence."""
    try:
        return call()
    except Refusal as refusal:
        return refusal.message


READERS: dict[str, tuple[Any, Callable[..., canon.Request | None]]] = {
    "chat": (chat_request, chat_usual.read_usual_request),
    "messages": (messages_request, messages_usual.read_usual),
}


@pytest.mark.parametrize("dialect", sorted(READERS))
@settings(max_examples=600, deadline=None)
@given(body=bodies())
@example(body=b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":null,"max_completion_tokens":7}')
@example(body=b'{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":7,"max_completion_tokens":null}')
def test_requests_are_read_alike(dialect: str, body: bytes) -> None:
    module, short = READERS[dialect]
    usual = short(body, "", False, dialect)
    if usual is not None:
        assert usual == module.request_of(module._read, body, "", False)


WRITERS: dict[str, tuple[Any, Any, str]] = {
    "chat to messages": (chat_request, messages_request, "write_usual"),
    "messages to chat": (messages_request, chat_request, "write_usual_request"),
}
MODELS = st.sampled_from(["m", "gpt-4o", "gpt-5", "o3", "claude-opus-4-7", "claude-sonnet-4-5"])


@pytest.mark.parametrize("pair", sorted(WRITERS))
@settings(max_examples=600, deadline=None)
@given(body=bodies(), model=MODELS)
def test_requests_are_written_alike(pair: str, body: bytes, model: str) -> None:
    reader, writer, name = WRITERS[pair]
    request = outcome(lambda: reader.read_request(body, model="m"))
    if isinstance(request, str):
        return
    request.model = model
    losses, others = canon.Losses(), canon.Losses()
    short = outcome(lambda: writer.write_request(request, losses))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer, name, lambda *given: None)
        assert short == outcome(lambda: writer.write_request(request, others))
    assert losses.names() == others.names()


ENDS: list[canon.Stop | None] = [
    canon.Stop("stop", "x"), canon.Stop("length"), canon.Stop("tool"), canon.Stop("sequence", "", "x"), None,
]  # fmt: skip
BLOCKS: list[canon.Block] = [
    canon.Text("Hello"), canon.Text(""), canon.Text(" "), canon.Text("x", cache={"type": "ephemeral"}),
    canon.Refusal("no"), canon.ToolCall("c", "f", "{}"), canon.Reasoning("hm"),
]  # fmt: skip
COUNTS = st.sampled_from([0, 0, 0, 7])


@settings(max_examples=600, deadline=None)
@given(
    st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=2) | st.just([BLOCKS[0]]), st.sampled_from(ENDS),
    st.none() | st.builds(Usage, st.just(5), st.just(6), *[COUNTS] * 8), st.sampled_from(["", "default", "flex", "x"]),
    st.sampled_from([{}, {"system_fingerprint": "f"}]), st.sampled_from([0, 5]),
)  # fmt: skip
def test_answers_are_written_alike(
    blocks: list[canon.Block], stop: canon.Stop | None, usage: Usage | None, tier: str, extra: dict[str, Any], made: int
) -> None:
    answer = canon.Answer("id", "m", [canon.Choice(blocks, stop)], usage, made or 9, tier, "gemini", extra)
    with pytest.MonkeyPatch.context() as patch:
        for module in (chat_answer, messages_answer):
            losses, others = canon.Losses(), canon.Losses()
            short = module.write_answer(answer, losses)
            patch.setattr(module, "write_usual_answer", lambda *given: None)
            assert short == module.write_answer(answer, others)
            assert losses.names() == others.names()


def test_the_usual_is_taken() -> None:
    """Else the tests above would compare the long way with itself."""
    body = b'{"model":"m","max_tokens":5,"temperature":0.5,"messages":[{"role":"user","content":"Hi"}]}'
    for dialect, (_, short) in READERS.items():
        request = short(body, "", False, dialect)
        assert request is not None
        assert plainly.messages(request) == ("", [{"role": "user", "content": "Hi"}])
        assert chat_usual.write_usual_request(request) is not None
        assert messages_usual.write_usual(request, 1) is not None
    answer = canon.Answer("id", "m", [canon.Choice([canon.Text("Hi")], canon.Stop("stop"))], Usage(1, 2))
    assert chat_usual.write_usual_answer(answer, canon.Losses()) is not None
    assert messages_usual.write_usual_answer(answer, canon.Losses()) is not None
