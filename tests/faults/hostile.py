"""Upstreams that mean harm, or were written by somebody who never read RFC 9112: scripts like those of faults.py."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from typing import Any, Final

from tests.faults.faults import (
    FIN,
    LAST,
    RESET,
    SETTLE,
    SSE,
    End,
    Plan,
    Script,
    Wait,
    answer,
    begun,
    chunk,
    ended,
    good,
    head,
    sse_head,
    whole,
)
from tests.faults.voices import Asked, event

MIB: Final = 1 << 20


def body_of(asked: Asked, tokens: int = 1 << 30, finish: bool = True) -> bytes:
    """The content of the answer, a stream's up to so many tokens."""
    if not asked.stream:
        return json.dumps(asked.voice.whole(asked, asked.voice.stop)).encode()
    before, texts, after = asked.voice.stream(asked, asked.voice.stop)
    return b"".join([*before, *texts[:tokens], *(after if finish else ())])


def _kind(asked: Asked) -> str:
    return SSE if asked.stream else "application/json"


# Framing


def split(size: int, chunks: bool = True) -> Plan:
    """Good, in writes of so many bytes; with `chunks` each a chunk of its own, else the chunks are cut, too."""

    def plan(asked: Asked) -> Script:
        content = body_of(asked)
        parts = [content[at : at + size] for at in range(0, len(content), size)]
        fields = (("content-type", _kind(asked)), ("transfer-encoding", "chunked"))
        if chunks:
            return [head(200, fields), *map(chunk, parts), LAST]
        raw = head(200, fields) + chunk(content) + LAST
        return [raw[at : at + size] for at in range(0, len(raw), size)]

    return plan


def until_close(version: str, how: End = FIN, tokens: int = 1 << 30) -> Plan:
    """Ended by the connection's end; cut, if `tokens` is less than all."""

    def plan(asked: Asked) -> Script:
        first = head(200, (("content-type", _kind(asked)), ("connection", "close"))).replace(b"1.1", version.encode())
        return [first + body_of(asked, tokens, tokens >= 60), SETTLE, how]

    return plan


def stated(extra: int) -> Plan:
    """A length that is not the body's: `extra` bytes too long (> 0) or too short."""

    def plan(asked: Asked) -> Script:
        content = body_of(asked)
        length = str(len(content) + extra)
        first = head(200, (("content-type", _kind(asked)), ("content-length", length)))
        return [first + content, SETTLE, FIN]

    return plan


def both_framings(asked: Asked) -> Script:
    """Content-Length and Transfer-Encoding: a smuggler's favourite."""
    fields = (("content-type", _kind(asked)), ("content-length", "5"), ("transfer-encoding", "chunked"))
    return [head(200, fields) + chunk(body_of(asked)) + LAST]


def raw(data: bytes, end: End = FIN) -> Plan:
    """These bytes in place of an answer."""
    return lambda asked: [data, SETTLE, end]


def informed(count: int, then: Plan = good) -> Plan:
    """So many 103s, then the answer."""
    hint = head(103, (("link", "</a>; rel=preload"),))
    return lambda asked: [*([hint * 50] * (count // 50)), *then(asked)]


def endless_hints(asked: Asked) -> Script:
    """1xx without end."""
    return [step for _ in range(400) for step in (head(103, (("x", "y"),)), Wait(0.05))]


def long_head(size: int) -> Plan:
    """A head field of this size."""
    return lambda asked: [head(200, (("content-type", _kind(asked)), ("x-pad", "p" * size), ("content-length", "0")))]


# Encodings


def squeezed(tokens: int = 1 << 30) -> Plan:
    """gzip, which nobody asked for; cut in its middle, if `tokens` is less than all."""

    def plan(asked: Asked) -> Script:
        packer = zlib.compressobj(wbits=31)
        data = packer.compress(body_of(asked, tokens, tokens >= 60)) + packer.flush(zlib.Z_SYNC_FLUSH)
        fields = (("content-type", _kind(asked)), ("content-encoding", "gzip"), ("transfer-encoding", "chunked"))
        if tokens < 60:
            return [head(200, fields), chunk(data), SETTLE, RESET]
        return [head(200, fields), chunk(data + packer.flush()), LAST]

    return plan


def respelled(change: Callable[[bytes], bytes]) -> Plan:
    """A good stream in another spelling of server-sent events."""
    return lambda asked: [sse_head(), chunk(change(body_of(asked))), LAST]


def bom(asked: Asked) -> Script:
    """A byte order mark first."""
    return respelled(lambda data: b"\xef\xbb\xbf" + data)(asked)


def crlf(asked: Asked) -> Script:
    """Lines end as Windows has it."""
    return respelled(lambda data: data.replace(b"\n", b"\r\n"))(asked)


def no_last_line(asked: Asked) -> Script:
    """The last event lacks its empty line."""
    return respelled(lambda data: data[:-2])(asked)


def commented(asked: Asked) -> Script:
    """Comments between the events, and fields that nobody asked for."""
    return respelled(lambda data: b": hello\n\nretry: 10\n" + data.replace(b"\n\n", b"\n\n: ping\n\n", 9))(asked)


# Size


def padded(size: int, after: int, then: Callable[[Asked, int], Script] = ended) -> Plan:
    """An event of `size` bytes after so many tokens; `then`: what follows."""

    def plan(asked: Asked) -> Script:
        texts = asked.voice.stream(asked, asked.voice.stop)[1]
        lines = texts[after].split(b"data: {", 1)
        long = lines[0] + b'data: {"padding":"' + b"p" * size + b'",' + lines[1]
        return [*begun(asked, after), chunk(long), *then(asked, after + 1)]

    return plan


def breaks(asked: Asked, since: int) -> Script:
    """Some more, then RST."""
    texts = asked.voice.stream(asked, asked.voice.stop)[1]
    return [chunk(b"".join(texts[since : since + 8])), SETTLE, RESET]


def trash(count: int, after: int) -> Plan:
    """A great many garbage events, then it goes on."""

    def plan(asked: Asked) -> Script:
        waste = b"".join(event("{" * (n % 50) + "not json") for n in range(count))
        return [*begun(asked, after), chunk(waste), *ended(asked, after)]

    return plan


def bad_text(after: int) -> Plan:
    """An event that is no UTF-8."""
    return lambda asked: [*begun(asked, after), chunk(b'data: {"choices":[{"\xff\xfe\n\n'), *ended(asked, after)]


# Time


def drip(seconds: float, asked: Asked) -> Script:
    """White space before the JSON, as DeepSeek keeps connections alive."""
    script: Script = [head(200, (("content-type", "application/json"), ("transfer-encoding", "chunked")))]
    for _ in range(round(seconds / 0.2)):
        script += [chunk(b"\n"), Wait(0.2)]
    return [*script, chunk(body_of(asked)), LAST]


def slow_drip(seconds: float) -> Plan:
    """The same for so long."""
    return lambda asked: drip(seconds, asked)


# Meaning


def cut_after_finish(asked: Asked) -> Script:
    """All of the text and the finish, then RST before usage and last word."""
    before, texts, after = asked.voice.stream(asked, asked.voice.stop)
    keep = after[:1] if asked.voice.dialect == "chat" else after[:-1]
    return [sse_head() + chunk(b"".join([*before, *texts, *keep])), SETTLE, RESET]


def other_words(asked: Asked) -> Script:
    """An answer of its own, as a model at another temperature gives."""
    if not asked.stream:
        return [whole(asked)]
    swapped = body_of(asked).replace(b"bal ", b"zzz ")
    return [sse_head(), chunk(swapped), LAST]


def with_usage_before(after: int) -> Plan:
    """Usage in every chunk, as vLLM gives it if told, then cut."""

    def plan(asked: Asked) -> Script:
        before, texts, _ = asked.voice.stream(asked, asked.voice.stop)
        told: list[bytes] = []
        for made, text in enumerate(texts[:after], 1):
            data: dict[str, Any] = json.loads(text[6:])
            data["usage"] = {"prompt_tokens": 21, "completion_tokens": made, "total_tokens": 21 + made}
            told.append(event(data))
        return [sse_head(), chunk(b"".join([*before, *told])), SETTLE, RESET]

    return plan


def redirect(code: int) -> Plan:
    """To somewhere else, which no credential may be taken to."""
    return lambda asked: [answer(code, b"", (("location", "http://127.0.0.1:1/elsewhere"),))]


def late(seconds: float, then: Plan = good) -> Plan:
    """Nothing for a while, then all."""
    return lambda asked: [Wait(seconds), *then(asked)]
