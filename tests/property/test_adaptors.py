"""Any bytes in: a result or a Refusal, never another exception; and the two peeks agree."""

from __future__ import annotations

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors import events
from burncloud.adaptors.commit import UsageStripper, first_content
from burncloud.adaptors.dialects import READERS
from burncloud.adaptors.estimate import prompt_tokens, prompt_tokens_billed
from burncloud.adaptors.meter import Meter, billable
from burncloud.adaptors.multipart import Form, boundary
from burncloud.adaptors.openai_chat import ChatUsage, disjoint, usage_of
from burncloud.adaptors.peek import WATCHED, Peek, SlicedPeek, force_usage, peek_json, peek_url, splice
from burncloud.adaptors.vendors import VENDORS, upstream_path
from burncloud.errors import Refusal
from tests.unit.adaptors.own_cases import FILES, load

ENDPOINTS = [(dialect, endpoint or "other") for dialect, table in READERS.items() for endpoint in table]
KEYS = st.sampled_from([*WATCHED["openai"], *WATCHED["gemini"], "messages", "Model", "MODEL", "x", "é", "a\\b", ""])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def objects(draw: st.DrawFn) -> bytes:
    """An object as text, in many spellings, sometimes with keys twice."""
    members = draw(st.lists(st.tuples(KEYS | st.text(max_size=5), VALUES), max_size=7))
    if draw(st.booleans()):
        members.append(("model", draw(st.text(min_size=1, max_size=5))))
    ascii_only, space = draw(st.booleans()), draw(st.sampled_from(["", " ", "\n\t "]))
    parts = []
    for key, value in members:
        text = json.dumps(key, ensure_ascii=ascii_only)
        if key and draw(st.integers(0, 9)) == 0:
            text = '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 0x10000 else c for c in key) + '"'
        separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
        parts.append(text + space + ":" + space + json.dumps(value, ensure_ascii=ascii_only, separators=separators))
    text = "{" + space + ("," + space).join(parts) + space + "}" + draw(st.sampled_from(["", "\n"]))
    return text.encode("utf-8", "surrogatepass")


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data cut at these places."""
    marks = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(marks)]


PLACES = st.lists(st.integers(0, 10_000), max_size=8)


def sliced(body: bytes, dialect: str, places: list[int]) -> Peek | None:
    """SlicedPeek's verdict; None for a refusal."""
    peek = SlicedPeek(dialect)
    try:
        for piece in cut(body, places):
            peek.feed(piece)
        return peek.finish()
    except Refusal:
        return None


@given(objects(), st.sampled_from(list(WATCHED)), PLACES)
@settings(max_examples=400, deadline=None)
def test_sliced_and_whole_peek_agree(body: bytes, dialect: str, places: list[int]) -> None:
    try:
        whole = peek_json(body, dialect)
    except Refusal:
        whole = None
    assert sliced(body, dialect, places) == whole


@given(objects(), st.text(max_size=8))
@settings(max_examples=300, deadline=None)
def test_what_is_let_through_is_read_the_same_by_any_reader(body: bytes, name: str) -> None:
    """First and last occurrence, exact and case-blind: all see our model; and a splice changes nothing else."""
    try:
        peek = peek_json(body, "openai")
    except Refusal:
        return
    pairs: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list)
    assert [value for key, value in pairs if key.casefold() == "model"] == [peek.model]
    spliced = splice(body, {"model": json.dumps(name).encode()})
    assert [(k, v) for k, v in json.loads(spliced, object_pairs_hook=list) if k != "model"] == [
        (k, v) for k, v in pairs if k != "model"
    ]
    assert peek_json(force_usage(body, peek), "openai").include_usage
    without = splice(body, {"model": None})
    assert json.loads(without, object_pairs_hook=list) == [(k, v) for k, v in pairs if k != "model"]


@given(
    st.binary(max_size=300) | objects().map(lambda body: body[:-3] + b'"' + body[-3:]),
    st.sampled_from(list(WATCHED)),
    PLACES,
)
@settings(max_examples=300, deadline=None)
def test_any_body(body: bytes, dialect: str, places: list[int]) -> None:
    sliced(body, dialect, places)
    for call in (lambda: peek_json(body, dialect), lambda: splice(body, {"model": b"1"}), lambda: boundary(body)):
        with contextlib.suppress(Refusal):
            call()
    assert prompt_tokens(body) >= prompt_tokens_billed(body) >= 0


@given(st.text(max_size=60), st.sampled_from(list(VENDORS)))
def test_any_path(path: str, vendor: str) -> None:
    upstream_path(VENDORS[vendor], path, path)
    with contextlib.suppress(Refusal):
        peek_url(path)


@given(
    st.binary(max_size=400),
    st.sampled_from(ENDPOINTS),
    st.booleans(),
    st.sampled_from(["", "gzip", "deflate", "br"]),
    PLACES,
)
@settings(max_examples=400, deadline=None)
def test_any_answer(data: bytes, endpoint: tuple[str, str], sse: bool, encoding: str, places: list[int]) -> None:
    meter, stripper = Meter(*endpoint, sse, encoding), UsageStripper()
    for piece in cut(data, places):
        meter.feed(piece)
        stripper.strip(piece)
    stripper.finish()
    billable(meter.finish(), 5)
    first_content(data, *endpoint)


CASES = [param.values[0] for name in FILES for param in load(name)]
CONTENTS = [(case["dialect"], case["endpoint"], case["sse"], case["content"].encode()) for case in CASES]


@given(st.sampled_from(CONTENTS), st.lists(st.tuples(st.integers(0, 5000), st.binary(max_size=3)), max_size=4), PLACES)
@settings(max_examples=500, deadline=None)
def test_mangled_answers(
    case: tuple[str, str, bool, bytes], wounds: list[tuple[int, bytes]], places: list[int]
) -> None:
    """Real answers with bytes replaced: never an exception, and the cut of the pieces changes nothing."""
    dialect, endpoint, sse, data = case
    for place, bytes_ in wounds:
        at = place % len(data)
        data = data[:at] + bytes_ + data[at + len(bytes_) :]
    readings = []
    for pieces in ([data], cut(data, places)):
        meter = Meter(dialect, endpoint, sse)
        for piece in pieces:
            meter.feed(piece)
        readings.append(meter.finish())
    assert readings[0] == readings[1]
    first_content(data, dialect, endpoint)


COUNTS = st.integers(0, 1000)


@given(COUNTS, COUNTS, COUNTS, st.tuples(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS))
def test_kinds_are_disjoint_and_never_more_than_was_counted(
    prompt: int, completion: int, total: int, parts: tuple[int, ...]
) -> None:
    names = (
        "cached",
        "cache_write",
        "cache_write_1h",
        "audio_input",
        "image_input",
        "reasoning",
        "audio_output",
        "image_output",
    )
    detail = dict(zip(names, parts, strict=True))
    usage = disjoint(prompt, completion, total, **detail)
    assert (
        min(usage.input, usage.output, usage.cache_read, usage.cache_write, usage.cache_write_1h, usage.reasoning) >= 0
    )
    assert min(usage.audio_input, usage.audio_output, usage.image_input, usage.image_output) >= 0
    counted = max(total, prompt + completion)
    beside = detail["reasoning"] if detail["reasoning"] > completion else 0
    assert prompt + completion <= usage.total() <= counted + beside
    plain = usage_of(ChatUsage(prompt_tokens=prompt, completion_tokens=completion))
    assert plain is not None
    assert plain.total() == prompt + completion


@given(st.binary(max_size=200), PLACES)
@settings(max_examples=200, deadline=None)
def test_any_form(data: bytes, places: list[int]) -> None:
    for body in (data, b"--X\r\nContent-Disposition: form-data; name=" + data + b"\r\n--X--"):
        form = Form(b"X")
        with contextlib.suppress(Refusal):
            for piece in cut(body, places):
                form.feed(piece)
            form.finish()


USAGE = b'data: {"choices": [ ], "usage": {"prompt_tokens":1}}\n\n'
STREAM = st.lists(
    st.sampled_from(
        [
            b'data: {"choices":[{"delta":{"content":"x"}}],"usage":null}\n\n',
            b'data: {"choices":[],"prompt_filter_results":[]}\n\n',
            b'data: {"choices":[],"usage":null}\n\n',
            b": ping\n\n",
            b"data: [DONE]\n\n",
            USAGE,
        ]
    )
)


@given(STREAM, st.sampled_from([b"\n", b"\r\n"]), PLACES)
@settings(max_examples=400, deadline=None)
def test_the_stripper_takes_usage_chunks_and_nothing_else(parts: list[bytes], end: bytes, places: list[int]) -> None:
    content = b"".join(parts).replace(b"\n", end)
    whole, pieces = UsageStripper(), UsageStripper()
    want = whole.strip(content) + whole.finish()
    got = b"".join(pieces.strip(piece) for piece in cut(content, places)) + pieces.finish()
    assert got == want
    kept = [payload for payload in events.payloads(events.unify(content)) if payload != USAGE[6:-2]]
    assert events.payloads(events.unify(want)) == kept


def test_cases_are_there() -> None:
    assert len(CONTENTS) > 60
    with pytest.raises(Refusal):
        peek_json(b"", "openai")
