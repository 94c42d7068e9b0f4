"""Every same-dialect recording of the wire corpus passes through byte for byte, and its usage is read to the token.

All of them are sent once, by one client after another; then each is a test of its own, so that a
failure names the recording.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.e2e.recordings import WIRE, Recording, recordings
from tests.product import Product
from tests.upstream.requests import Seen
from tests.upstream.running import Upstream

RECORDINGS = recordings()
KEYS = 40
BASE_PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta"}
# A number, since a recording's repr would fill the screen.
PROBES = [pytest.param(number, id=found.name) for number, found in enumerate(RECORDINGS)]
pytestmark = pytest.mark.skipif(not RECORDINGS, reason=f"no recordings at {WIRE} (set BURNCLOUD_WIRE)")


@dataclass
class Outcome:
    """What became of one recording."""

    status: int
    body: bytes
    seen: list[Seen]
    """What the upstream received for it."""
    row: dict[str, Any] | None = None
    """Its ledger row."""


def send(product: Product, key: str, found: Recording, client_id: str) -> tuple[int, bytes]:
    """Ask the gateway for it; (status, content)."""
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30)
    try:
        connection.request("POST", found.target, found.body, {
            "authorization": f"Bearer {key}", "content-type": found.content_type,
            "x-upstream-case": found.name, "x-test-id": client_id, "x-client-request-id": client_id,
        })  # fmt: skip
        response = connection.getresponse()
        try:
            return response.status, response.read()
        except http.client.IncompleteRead as cut:
            return response.status, cut.partial
    finally:
        connection.close()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Outcome]]:
    """All recordings, sent."""
    folder = tmp_path_factory.mktemp("recordings")
    with (
        Upstream(*(found.case for found in RECORDINGS)) as upstream,
        Product(folder, UNPRICED="free", ATTEMPTS_MAX="1", RETRY_SAME_MS="0") as product,
    ):
        for dialect, path in BASE_PATHS.items():
            models = sorted({found.model for found in RECORDINGS if found.dialect == dialect})
            # a recorded 401 turns a key off: there are more keys than such recordings
            keys = [word for number in range(KEYS) for word in ("--key", f"sk-{number}")]
            product.add_channel(dialect, upstream.url + path, models, *keys)
        key = product.add_token()
        sent = [
            Outcome(*send(product, key, found, f"rec-{number}"), upstream.of(f"rec-{number}"))
            for number, found in enumerate(RECORDINGS)
        ]
        billed = sum(len(outcome.seen) > 0 for outcome in sent)
        rows = product.wait_rows(lambda rows: len(rows) >= billed, timeout_s=20, count=10_000)
        for row in rows:
            if row["client_request"].startswith("rec-"):
                sent[int(row["client_request"][4:])].row = row
        yield sent


def is_usage_chunk(event: bytes) -> bool:
    """The extra chunk of a stream whose client asked for usage: no choices, but usage."""
    text = event.replace(b" ", b"")
    return b'"choices":[]' in text and b'"usage":{' in text


def expected_body(found: Recording, seen: Seen) -> bytes:
    """The recorded bytes, less the usage chunk where we asked for it and the client did not."""
    if seen.body == found.body:
        return found.case.body
    return b"".join(event for event in found.case.with_(pieces="event").split() if not is_usage_chunk(event))


def spliced(sent: bytes, received: bytes) -> tuple[bytes, bytes]:
    """(what was taken out, what was put in) at the one place where the two differ."""
    start = next((at for at, (a, b) in enumerate(zip(sent, received, strict=False)) if a != b), len(sent))
    end = 0
    while end < min(len(sent), len(received)) - start and sent[-1 - end] == received[-1 - end]:
        end += 1
    return sent[start : len(sent) - end], received[start : len(received) - end]


@pytest.mark.parametrize("number", PROBES)
def test_the_request_arrives_as_it_was_sent(outcomes: list[Outcome], number: int) -> None:
    found, seen = RECORDINGS[number], outcomes[number].seen[-1]
    assert seen.target == found.target
    usage_option = found.row["api"] in ("chat.completions", "completions")
    if usage_option and json.loads(found.body).get("stream") is True and not found.asks_for_usage:
        taken, put = spliced(found.body, seen.body)
        assert taken in (b"", b"false", b"null")
        assert len(put) <= len(b',"stream_options":{"include_usage":true}')
        assert json.loads(seen.body)["stream_options"]["include_usage"] is True
    else:
        assert seen.body == found.body


@pytest.mark.parametrize("number", PROBES)
def test_the_answer_comes_down_as_it_was_given(outcomes: list[Outcome], number: int) -> None:
    found, outcome = RECORDINGS[number], outcomes[number]
    if found.passes_status:
        assert outcome.status == found.case.status
        assert outcome.body == expected_body(found, outcome.seen[-1])
    else:
        # The upstream's trouble, or our key's: never the client's, as far as he is told.
        assert outcome.status in (429, 502, 503)


@pytest.mark.parametrize("number", PROBES)
def test_its_usage_stands_in_the_ledger(outcomes: list[Outcome], number: int) -> None:
    found, row = RECORDINGS[number], outcomes[number].row
    if found.row["api"] == "count_tokens":
        return
    assert row is not None, "there is no ledger row"
    usage = found.usage
    if usage is None or found.case.status != 200:
        return
    kinds = row["usage"]
    written = kinds["cache_write"] + kinds["cache_write_1h"]
    read = (
        kinds["input"] + kinds["cache_read"] + written + kinds["audio_input"] + kinds["image_input"],
        kinds["cache_read"],
        written,
        kinds["output"] + kinds["reasoning"] + kinds["audio_output"] + kinds["image_output"],
        kinds["reasoning"],
    )
    if usage.unnamed:
        assert read[0] + read[3] == usage.input + usage.output + usage.unnamed
        assert read[0] >= usage.input
        assert read[3] >= usage.output
    else:
        assert read == (usage.input, usage.cache_read, usage.cache_write, usage.output, usage.reasoning)
    assert not row["estimated"]


def test_nothing_that_the_corpus_holds_was_left_out() -> None:
    """So that a change of the rules above cannot quietly shrink the proof."""
    assert len(RECORDINGS) > 1000
    usages = [found.usage for found in RECORDINGS if found.usage is not None]
    assert len(usages) > 850
    assert sum(usage.unnamed > 0 for usage in usages) < 12
