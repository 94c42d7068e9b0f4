"""What goes wrong, one small pure function a fault: from what was asked to a script of bytes and pauses.

A script is what the upstream writes, in order, with Wait between and at most one end: RESET, FIN, HANG.  Without an
end the connection serves on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Final, NamedTuple

from tests.faults.voices import Asked, Body, event


class Wait(NamedTuple):
    """Let time pass."""

    seconds: float


class End(NamedTuple):
    """How the connection ends."""

    name: str


RESET: Final = End("reset")
FIN: Final = End("fin")
HANG: Final = End("hang")
"""Nothing more, ever; the connection stays open."""

Script = list[bytes | Wait | End]
Plan = Callable[[Asked], Script]
Fields = tuple[tuple[str, str], ...]

TICK: Final = Wait(0.002)
SETTLE: Final = Wait(0.03)
"""What was sent arrives before a RST overtakes it."""
EVERY: Final = 4
"""Tokens in one write."""
SSE: Final = "text/event-stream; charset=utf-8"
LAST: Final = b"0\r\n\r\n"


def head(status: int, fields: Fields) -> bytes:
    """A status line and header fields."""
    reason = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Overloaded"
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in fields), "", ""]
    return "\r\n".join(lines).encode()


def answer(status: int, body: bytes, fields: Fields = (), kind: str = "application/json") -> bytes:
    """A plain answer with a stated length."""
    return head(status, (("content-type", kind), *fields, ("content-length", str(len(body))))) + body


def sse_head(*fields: tuple[str, str]) -> bytes:
    """The head of a stream."""
    return head(200, (("content-type", SSE), ("cache-control", "no-cache"), *fields, ("transfer-encoding", "chunked")))


def chunk(data: bytes) -> bytes:
    """One HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def begun(asked: Asked, tokens: int) -> Script:
    """The head of a stream, and the first tokens of it."""
    before, texts, _ = asked.voice.stream(asked, asked.voice.stop)
    script: Script = [sse_head() + chunk(b"".join(before)) if before else sse_head()]
    for at in range(0, min(tokens, len(texts)), EVERY):
        script += [chunk(b"".join(texts[at : min(at + EVERY, tokens)])), TICK]
    return script


def ended(asked: Asked, since: int) -> Script:
    """The rest of a stream from token `since`."""
    _, texts, after = asked.voice.stream(asked, asked.voice.stop)
    script: Script = []
    for at in range(since, len(texts), EVERY):
        script += [chunk(b"".join(texts[at : at + EVERY])), TICK]
    return [*script, chunk(b"".join(after)), LAST]


def whole(asked: Asked) -> bytes:
    """A plain answer, all of it."""
    return answer(200, json.dumps(asked.voice.whole(asked, asked.voice.stop)).encode())


def refusal(asked: Asked, status: int, code: str, message: str, *fields: tuple[str, str]) -> Script:
    """An error, in the voice's own words."""
    return [answer(status, json.dumps(asked.voice.error(status, code, message)).encode(), fields)]


# All is well


def good(asked: Asked) -> Script:
    """The whole answer; a prefill is gone on from."""
    return [*begun(asked, 0), *ended(asked, 0)] if asked.stream else [whole(asked)]


def no_prefill(asked: Asked) -> Script:
    """Good, but it wants a user's message last, as newer models of Anthropic's do."""
    if asked.prefill:
        message = (
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
        return refusal(asked, 400, "invalid_request_error", message)
    return good(asked)


def starts_over(asked: Asked) -> Script:
    """Good, but a prefill is a turn like any other to it, as with OpenAI's models: read, and not gone on from."""
    return good(asked._replace(prefill="", read=asked.begun))


# It says that it cannot


def status(code: int, name: str, message: str, *fields: tuple[str, str]) -> Plan:
    """Always this error."""
    return lambda asked: refusal(asked, code, name, message, *fields)


def flap(down_s: float) -> Plan:
    """503 for so long, then healthy."""
    return lambda asked: overloaded(asked) if asked.since_s < down_s else good(asked)


def first(count: int, fault: Plan, then: Plan = good) -> Plan:
    """The first requests meet one plan, the others another."""
    return lambda asked: fault(asked) if asked.n <= count else then(asked)


overloaded: Final = status(503, "overloaded", "The engine is overloaded")


# Nothing comes, or not all


def reset(asked: Asked) -> Script:
    """RST in place of an answer."""
    return [SETTLE, RESET]


def closes(asked: Asked) -> Script:
    """FIN in place of an answer."""
    return [SETTLE, FIN]


def silent(asked: Asked) -> Script:
    """No byte, ever."""
    return [HANG]


def head_then_cut(asked: Asked) -> Script:
    """A promising head, then RST."""
    return [sse_head() if asked.stream else whole(asked).partition(b"\r\n\r\n")[0] + b"\r\n\r\n", SETTLE, RESET]


def half_head(asked: Asked) -> Script:
    """Half a head, then FIN."""
    return [sse_head()[:40], SETTLE, FIN]


def slow_first(seconds: float) -> Plan:
    """The head and what comes before the text at once, signs of life, the first token late."""

    def plan(asked: Asked) -> Script:
        script = begun(asked, 0)
        for _ in range(round(seconds / 0.25)):
            script += [Wait(0.25), chunk(asked.voice.ping)]
        return [*script, *ended(asked, 0)]

    return plan


def cut(after: int, how: End = RESET) -> Plan:
    """Broken off after so many tokens."""
    return lambda asked: [*begun(asked, after), SETTLE, how]


def cut_inside_event(after: int) -> Plan:
    """Broken off in the middle of an event."""

    def plan(asked: Asked) -> Script:
        half = asked.voice.stream(asked, asked.voice.stop)[1][after]
        return [*begun(asked, after), chunk(half[: len(half) // 2]), SETTLE, RESET]

    return plan


def ends_early(after: int) -> Plan:
    """Ended in good HTTP after so many tokens: no finish, no usage, no last event."""
    return lambda asked: [*begun(asked, after), LAST]


def stall(after: int) -> Plan:
    """Nothing more after so many tokens."""
    return lambda asked: [*begun(asked, after), HANG]


def error_event(after: int, status_code: int = 500) -> Plan:
    """An error in the midst of the stream, which ends with it."""

    def plan(asked: Asked) -> Script:
        error = asked.voice.error(status_code, "server_error", "The server had an error while processing the request")
        return [*begun(asked, after), chunk(asked.voice.error_event(error)), LAST]

    return plan


def garbage(after: int, data: str = '{"id":"x","choices":[{"delta":{"con') -> Plan:
    """One event that is no JSON; then it goes on."""
    return lambda asked: [*begun(asked, after), chunk(event(data)), *ended(asked, after)]


def no_done(asked: Asked) -> Script:
    """All but the dialect's last word: [DONE]."""
    *rest, _, last = good(asked)
    after = asked.voice.stream(asked, asked.voice.stop)[2]
    return [*rest, chunk(b"".join(after[:-1])), last]


# A 200 that is none


def empty(asked: Asked) -> Script:
    """200, and nothing."""
    return [answer(200, b"", kind=SSE if asked.stream else "application/json")]


def error_in_200(asked: Asked) -> Script:
    """An error under a good status."""
    error = asked.voice.error(500, "server_error", "Internal error, please try again")
    return [answer(200, json.dumps(error).encode())]


def error_first_event(asked: Asked) -> Script:
    """A stream that opens with an error."""
    return error_event(0)(asked)


def html(asked: Asked) -> Script:
    """A login page or a proxy's apology."""
    return [answer(200, b"<html><body><h1>We'll be back soon</h1></body></html>", kind="text/html; charset=utf-8")]


def truncated(asked: Asked) -> Script:
    """JSON that ends in its middle, in good HTTP."""
    body = json.dumps(asked.voice.whole(asked, asked.voice.stop)).encode()
    return [answer(200, body[: len(body) // 2])]


def cut_body(asked: Asked) -> Script:
    """JSON that ends before the length that was stated, by FIN."""
    return [whole(asked)[:-40], SETTLE, FIN]


def filtered(after: int) -> Plan:
    """The content filter stops it: an answer like any other."""

    def plan(asked: Asked) -> Script:
        short: Body = asked.voice.whole(asked, asked.voice.filtered)
        if not asked.stream:
            return [answer(200, json.dumps(short).encode())]
        tail = asked.voice.stream(asked, asked.voice.filtered)[2]
        return [*begun(asked, after), chunk(b"".join(tail)), LAST]

    return plan


def endless(every_s: float) -> Plan:
    """A token now and then."""

    def plan(asked: Asked) -> Script:
        before, texts, _ = asked.voice.stream(asked, asked.voice.stop)
        script: Script = [sse_head() + chunk(b"".join([*before, *texts[:8]]))]
        for text in texts[8:]:
            script += [Wait(every_s), chunk(text)]
        return [*script, HANG]

    return plan
