"""Peek and estimate over every recorded request."""

from __future__ import annotations

import base64
import json
import statistics

import pytest

from burncloud.adaptors.estimate import prompt_tokens, prompt_tokens_billed
from burncloud.adaptors.multipart import Form, boundary
from burncloud.adaptors.peek import SlicedPeek, peek_json, peek_url, splice
from tests.wire.recordings import ABSENT, WIRE, Recording, index, recordings
from tests.wire.test_usage import read, sides

pytestmark = pytest.mark.skipif(not index(), reason=ABSENT)


def bodies() -> list[tuple[Recording, bytes]]:
    """JSON requests that name their model where ours must."""
    found = []
    for recording in recordings():
        if recording.request is None or (recording.dialect != "gemini" and b'"model":' not in recording.request):
            continue
        found.append((recording, recording.request))
    return found


def test_peek_reads_every_request() -> None:
    for recording, compact in bodies():
        value = json.loads(compact)
        for body in (compact, json.dumps(value).encode(), json.dumps(value, indent=2, ensure_ascii=False).encode()):
            peek = peek_json(body, recording.dialect)
            sliced = SlicedPeek(recording.dialect)
            for start in range(0, len(body), 1000):
                sliced.feed(body[start : start + 1000])
            assert sliced.finish() == peek, recording.name
            if recording.dialect == "gemini":
                if ":" in recording.path:
                    assert peek_url(recording.path)[0] == recording.row["model"].removeprefix("models/"), recording.name
                continue
            assert peek.model == value["model"]
            assert peek.stream == bool(value.get("stream")), recording.name
            stated = [value.get(name) or 0 for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
            assert peek.output_tokens == max(stated) * (value.get("n") or 1), recording.name
            renamed = splice(body, {"model": b'"another"'})
            assert json.loads(renamed) == value | {"model": "another"}
            assert len(renamed) - len(body) == len(b'"another"') - len(
                json.dumps(peek.model, ensure_ascii=False).encode()
            )


def test_multipart_requests() -> None:
    found = 0
    for row in index():
        if row["api"] not in ("audio", "images") or "multipart" not in row["tags"]:
            continue
        request = json.loads((WIRE / row["file"]).read_text())["request"]
        body = base64.b64decode(request["body_base64"])
        if not body.startswith(b"--"):
            continue  # the recorder left it out
        for size in (len(body), 100):
            form = Form(boundary(request["headers"]["content-type"].encode()))
            for start in range(0, len(body), size):
                form.feed(body[start : start + size])
            peek = form.finish()
            assert bool(peek.model) == (b'name="model"' in body), row["file"]
            assert body[slice(*peek.model_span)].decode() == peek.model
            assert peek.files == body.count(b"filename=")
        found += 1
    assert found > 10


def test_estimates_are_fair() -> None:
    """The reserve is at or above the truth for nine in ten; a bill without usage is within a factor for most."""
    reserves, bills = [], []
    for recording, body in bodies():
        usage = read(recording, 1 << 20).usage
        if usage is None or recording.row["status"] != 200:
            continue
        truth = sides(usage)["input"]
        if truth and recording.endpoint not in ("images", "audio", "rerank"):
            reserves.append(prompt_tokens(body) / truth)
            bills.append(prompt_tokens_billed(body) / truth)
    below = sum(ratio < 1 for ratio in reserves) / len(reserves)
    print(f"{len(reserves)} requests: reserve below the truth for {below:.1%}; bill/truth by tenths:")
    print(*(f"{ratio:.2f}" for ratio in statistics.quantiles(bills, n=10)))
    assert below < 0.1
    assert 0.7 < statistics.median(bills) < 1.4
