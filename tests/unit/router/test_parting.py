"""The last words to a client whose stream broke off and cannot go on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.domain.snapshot import Channel
from tests.dialogue import MODEL, UPSTREAM_KEY, Dialogue
from tests.speech import LAST, chat, chunk, event, post, stream_head

STARTED = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}}
SAID = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}}


@pytest.mark.parametrize(("settings", "count"), [({}, 1), ({"broken_streams": "error"}, 2), ({}, 2)])
def test_the_number_of_the_last_words(settings: dict[str, Any], count: int) -> None:
    """Behind those that were delivered, also where nothing was recorded, or what was cannot be read."""
    said = [{"type": "response.output_text.delta", "delta": "Hi" * 400, "sequence_number": n} for n in range(12)]
    channels = [Channel(n, f"ch_{n}", "openai", f"http://up{n}.test/v1", ((n * 10, UPSTREAM_KEY),), {MODEL: MODEL})
                for n in range(1, count + 1)]  # fmt: skip
    with Dialogue(channels, **settings) as d:
        client = d.client()
        client >> post(chat(stream=True), "/v1/responses")
        up = d.upstream()
        up << stream_head() + b"".join(chunk(event(one)) for one in said)
        [x] = d.gateway.live
        assert (x.sieve is not None and x.sieve.record is not None) == (not settings and count > 1)
        up.reset()
        assert d.silent  # no id and no item stand in it
        assert json.loads(client.answer().body.rpartition(b"data: ")[2])["sequence_number"] == 12


@pytest.mark.parametrize(("vendor", "path", "said", "shape"), [
    ("openai-compatible", "/v1/chat/completions", [{"choices": [{"delta": {"content": "Hi"}}]}], "chat"),
    ("openai", "/v1/responses", [{"type": "response.output_text.delta", "delta": "Hi"}], "responses"),
    ("anthropic-compatible", "/v1/messages", [STARTED, SAID], "messages"),
    ("gemini-compatible", f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
     [{"candidates": [{"content": {"parts": [{"text": "Hi"}]}}]}], "gemini"),
])  # fmt: skip
def test_in_the_client_s_dialect(vendor: str, path: str, said: list[dict[str, object]], shape: str) -> None:
    """An error event, the chunked end, and no finish reason."""
    channel = Channel(1, "ch_1", vendor, "http://up1.test/v1", ((10, UPSTREAM_KEY),), {MODEL: MODEL})
    with Dialogue([channel]) as d:
        client = d.client()
        client >> post(chat(stream=True), path)
        up = d.upstream()
        up << stream_head() + b"".join(chunk(event(one)) for one in said)
        up << chunk(event(said[-1])[:-9])
        up << LAST
        body = client.answer().body
        last = body.rstrip().rpartition(b"\n\n")[2]
        assert last.startswith(b"event: error\n") == (shape in ("messages", "responses"))
        told = json.loads(last.rpartition(b"data: ")[2])
        assert "broke the stream off" in json.dumps(told)
        assert body.count(b"Hi") == 1
        if shape == "responses":
            assert told["sequence_number"] == 0
        assert d.receipts()[0].state == "cut"
