"""Streams broken off at any byte, in any dialect, with tools and thinking, gone on with in any other: the client sees
the whole answer or an error, never a mixture, never a false stop.

In process (tests/dialogue.py), so that thousands of cuts cost seconds.  What the client got is read by the SDKs' own
machinery (tests/wire/heard.py).
"""

from __future__ import annotations

import base64
import itertools
import json
import random
from typing import Any, Final, NamedTuple

import pytest
from openai import omit
from openai.lib.streaming.responses._responses import ResponseStreamState

from burncloud.domain.snapshot import Channel
from tests.dialogue import MODEL, Dialogue
from tests.e2e.vendor_scripts import IN, VENDORS, Call, Say, Step, Think, framed
from tests.speech import LAST, chunk, post, stream_head
from tests.wire.heard import HEARD, RESPONSE_EVENT, Heard, responses_plain
from tests.wire.test_translate_responses import ENDS

SECRET: Final = base64.b64encode(b"signed and sealed").decode()
TALE: Final = (
    "Once upon a time there was a gateway that never lost a word — jamais, 決して — until the very end of it. "
)
PLAYS: Final[dict[str, list[Step]]] = {
    "text": [Say(TALE)],
    "call": [Call("call_1", "get_weather", {"city": "Zürich", "days": [1, 2, 3], "note": 'a "quoted" \\ word'})],
    "text and calls": [
        Say(TALE),
        Call("call_1", "get_weather", {"city": "Bern"}),
        Call("call_2", "now", {"utc": True}),
    ],
    "thought": [Think("Let me think about that for a while.", SECRET), Say(TALE)],
    "thought and call": [Think("Let me look it up first.", SECRET), Call("call_1", "now", {"zone": "UTC"})],
}
VENDOR: Final = {"chat": "openai-compatible", "responses": "openai", "messages": "anthropic", "gemini": "gemini"}
SPEAKS: Final[dict[str, dict[str, object]]] = {"responses": {"speaks": ("responses",)}}
BASE: Final = {"chat": "/v1", "responses": "/v1"}
PAIRS: Final = [
    (client, primary, spare)
    for client, primary, spare in itertools.product(VENDOR, VENDOR, VENDOR)
    if client in (primary, spare)
]
"""(client, primary, spare)."""


def asked(dialect: str) -> bytes:
    """A request for a stream, with the tools that are called."""
    schema = {"type": "object", "properties": {}}
    names = ("get_weather", "now")
    text = "How is the weather?"
    if dialect == "gemini":
        tools: Any = [{"functionDeclarations": [{"name": name, "parameters": schema} for name in names]}]
        body = {"contents": [{"role": "user", "parts": [{"text": text}]}], "tools": tools}
        return post(body, f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse")
    if dialect == "messages":
        tools = [{"name": name, "input_schema": schema} for name in names]
        body = {"model": MODEL, "max_tokens": 500, "stream": True, "tools": tools,
                "messages": [{"role": "user", "content": text}]}  # fmt: skip
        return post(body, "/v1/messages")
    if dialect == "responses":
        tools = [{"type": "function", "name": name, "parameters": schema} for name in names]
        return post({"model": MODEL, "stream": True, "tools": tools, "input": text}, "/v1/responses")
    tools = [{"type": "function", "function": {"name": name, "parameters": schema}} for name in names]
    return post({"model": MODEL, "stream": True, "stream_options": {"include_usage": True}, "tools": tools,
                 "messages": [{"role": "user", "content": text}]})  # fmt: skip


def told(dialect: str, steps: list[Step], who: str) -> bytes:
    """The stream of an upstream, with ids of its own."""
    content = framed(dialect, VENDORS[dialect].stream(steps))
    for name in (b"chatcmpl-1", b"resp_1", b"msg_1", b'"r1"', b"msg_0", b"fc_", b"rs_"):
        content = content.replace(
            name, name.replace(b'"', b"") + who.encode() if b'"' not in name else b'"r' + who.encode() + b'"'
        )
    return content.replace(b'{"cached_tokens": 0}', b'{"cached_tokens": 0, "cache_write_tokens": 0}')


class Seen(NamedTuple):
    """What a client got."""

    body: bytes
    end: Any
    """The receipt."""
    sends: int


def played(client: str, primary: str, spare: str, broken: bytes, good: bytes, how: str, pieces: int = 0) -> Seen:
    """One request: `broken` comes from the primary, which then breaks off; `good` from the spare."""
    channels = [
        Channel(n, f"ch_{n}", vendor=VENDOR[dialect], base_url=f"http://up{n}.test{BASE.get(dialect, '')}",
                models={MODEL: MODEL}, keys=((n * 10, "sk-up"),), priority=2 - n, options=SPEAKS.get(dialect, {}))
        for n, dialect in ((1, primary), (2, spare))
    ]  # fmt: skip
    with Dialogue(channels) as d:
        caller = d.client()
        caller >> asked(client)
        up = d.upstream()
        assert up.origin.key.host == "up1.test"
        up << stream_head()
        for piece in [broken] if not pieces else [broken[at : at + pieces] for at in range(0, len(broken), pieces)]:
            if piece:
                up << chunk(piece)
        if how == "reset":
            up.wire.lose(ConnectionResetError())
        elif how == "end":
            up << LAST
        elif how == "stall":
            d.later(150)
        d.loop.tick()
        sends = 1
        while not d.silent:
            d.upstreams[-1].seen = len(d.upstreams[-1].requests)
            other = d.upstreams[-1]
            sends += 1
            other << stream_head()
            for at in range(0, len(good), 97):
                if other.wire.lost:
                    break
                other << chunk(good[at : at + 97])
            if not other.wire.lost:
                other << LAST
            d.loop.tick()
        [answer] = caller.answers()
        [end] = d.receipts()
        return Seen(answer.body, end, sends)


def ended_well(client: str, seen: bytes) -> Heard | None:
    """What it means, if it ended without an error; None = with one."""
    assert seen.endswith((b"\n\n", b"\n\r\n")), "its last event lacks the empty line: strict readers drop it"
    values = [json.loads(line[6:]) for line in seen.split(b"\n") if line[:6] == b"data: " and line[6:] != b"[DONE]"]
    last = values[-1] if values else {}
    failed = last.get("type") in ("error", "response.failed") or last.get("error")
    if failed:
        return None
    if client == "chat" and not seen.endswith(b"[DONE]\n\n"):
        seen += b"data: [DONE]\n\n"  # it may be missing behind a finish
    return responses_heard(values) if client == "responses" else HEARD[client][1](seen)


def responses_heard(values: list[dict[str, Any]]) -> Heard:
    """As HEARD has it, but an end may be told twice at a seam, and a number left out."""
    numbers = [value["sequence_number"] for value in values]
    assert numbers == sorted(set(numbers)), f"numbers: {numbers}"
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    text, last = "", None
    for value in values:
        event = RESPONSE_EVENT.validate_python(value)
        state.handle_event(event)
        text += event.delta if event.type == "response.output_text.delta" else ""
        last = event.response if event.type in ENDS else last
    assert last is not None, "no last event"
    heard = responses_plain(last.model_dump_json().encode())
    assert heard.text == text, f"the last event says {heard.text!r}, the pieces {text!r}"
    return heard


def same(heard: Heard, whole: Heard) -> bool:
    """Whether it is the answer; thinking may be told in part, where it was cut."""
    return (heard.text, heard.calls, heard.stop) == (whole.text, whole.calls, whole.stop)


def places(content: bytes, count: int, seed: str) -> list[int]:
    """Where to cut: each end of an event, and places inside."""
    ends = [at + 2 for at in range(len(content)) if content[at : at + 2] == b"\n\n"]
    some = random.Random(seed).sample(range(1, len(content)), min(count, len(content) - 1))
    return sorted({*ends, *some})


@pytest.mark.parametrize("play", PLAYS)
@pytest.mark.parametrize(("client", "primary", "spare"), PAIRS)
def test_cut_anywhere(client: str, primary: str, spare: str, play: str) -> None:
    """Reset, polite end, stall: after any event, inside some; whole or an error, and the books are right."""
    steps = PLAYS[play]
    content, good = told(primary, steps, "A"), told(spare, steps, "B")
    whole = HEARD[client][1](played(client, spare, primary, good, b"", "end").body)
    wrong: list[str] = []
    continued = 0
    for number, at in enumerate(places(content, 6, f"{client}{primary}{spare}{play}")):
        how = ("reset", "end", "stall")[number % 3]
        seen = played(client, primary, spare, content[:at], good, how, pieces=(0, 61)[number % 2])
        if how == "end" and seen.sends == 1 and seen.body.endswith(content[:at][-20:]):
            # it ended as it wanted to: its last event goes on as it is (docs/decisions/0091)
            seen = seen._replace(body=seen.body.rstrip(b"\r\n") + b"\n\n")
        complaint = judged(client, seen, whole)
        continued += seen.sends > 1 and seen.end.state == "done"
        if complaint:
            tail = seen.body.decode(errors="replace")[-500:]
            wrong.append(
                f"{complaint}\n  {how} at {at} of {len(content)}: …{content[max(0, at - 60) : at]!r}\n  got: …{tail!r}"
            )
    assert not wrong, f"{len(wrong)} cuts of this stream end badly, {continued} well:\n" + "\n".join(wrong[:4])


def judged(client: str, seen: Seen, whole: Heard) -> str:
    """What is wrong; "" = nothing."""
    try:
        heard = ended_well(client, seen.body)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    if heard is None:
        return "" if seen.end.state == "cut" else f"an error is booked as {seen.end.state}"
    if not same(heard, whole):
        return f"another answer: {heard}"
    if seen.end.state != "done":
        return f"a whole answer is booked as {seen.end.state}"
    if seen.end.usage.input != IN and not seen.end.estimated:
        return f"billed {seen.end.usage}"
    return ""
