"""How bytes move through the whole product: events one by one, cuts, clients that leave, large bodies, TLS, drains."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.asking import CHAT, ask, chat
from tests.e2e.sdk_cases import CHAT_USAGE, chunk, completion, streams
from tests.product import Product
from tests.upstream.cases import Case, answer, events
from tests.upstream.running import Upstream

WORDS = [f"word{number} " for number in range(40)]
CHUNKS = [
    chunk("m", {"role": "assistant", "content": ""}),
    *(chunk("m", {"content": word}) for word in WORDS),
    chunk("m", {}, "stop"),
]
BIG = os.urandom(1 << 20) * 24
SAID = b'{"choices": []}'
CASES = [
    answer("good", completion("good", {"content": "hi"})),
    *streams("slow", CHUNKS, delay_ms=25),
    *streams("cut", CHUNKS, fault="cut", fault_at=2000, delay_ms=1),
    *streams("cut_eof", CHUNKS, fault="cut_eof", fault_at=2000, delay_ms=1),
    Case("cut-plain", b'{"choices": [' + b" " * 300_000, fault="cut", fault_at=280_000),
    events("no-done", [*CHUNKS, {**chunk("m", {}), "choices": [], "usage": CHAT_USAGE}], done=False),
    Case("big", BIG, headers=(("content-type", "audio/mpeg"),), framing="chunked", pieces=65536),
    Case("close-delimited", SAID, framing="close"),
    Case("extra", SAID, fault="extra"),
]


@dataclass
class Stand:
    """A product before the upstream, plain and TLS."""

    product: Product
    upstream: Upstream
    key: str


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("bytes")
    with Upstream(*CASES, tls=True) as upstream, Product(folder, UNPRICED="free") as product:
        names = [case.name for case in CASES if "+" not in case.name]
        product.add_channel("openai", f"{upstream.url}/v1", [*names, "stale"])
        product.add_channel("openai", f"{upstream.tls_url}/v1", ["tls"], "--ca-file", str(upstream.ca_file))
        product.add_channel("openai", f"{upstream.tls_url}/v1", ["tls-stranger"])
        for name in ("slow", "cut", "cut_eof"):
            product.set_price(name, "1", "2")
        yield Stand(product, upstream, product.add_token())


@contextlib.contextmanager
def open_stream(stand: Stand, model: str, **more: object) -> Iterator[http.client.HTTPResponse]:
    """Ask for a stream; the answer, its head read.  The connection is closed at the end."""
    connection = http.client.HTTPConnection("127.0.0.1", stand.product.port, timeout=30)
    body = json.dumps(chat(model, stream=True, **more))
    headers = {"authorization": f"Bearer {stand.key}", "content-type": "application/json"}
    with contextlib.closing(connection):
        connection.request("POST", CHAT, body, headers)
        with connection.getresponse() as response:
            assert response.status == 200
            yield response


def row_of(stand: Stand, request: str | None) -> dict[str, Any]:
    """The ledger row of a request id."""
    found = stand.product.wait_rows(lambda rows: any(row["request"] == request for row in rows))
    return next(row for row in found if row["request"] == request)


def payloads(body: bytes) -> list[dict[str, Any]]:
    """The JSON of every data line, [DONE] apart."""
    lines = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def test_events_come_down_as_they_come(stand: Stand) -> None:
    with open_stream(stand, "slow") as response:
        times = []
        while piece := response.read1(65536):
            times.append((time.monotonic(), piece))
    content = b"".join(piece for _, piece in times)
    assert [event["choices"][0]["delta"].get("content") for event in payloads(content)][1:-1] == WORDS
    # Forty events 25 ms apart: what was held back would show as a few late lumps.
    assert len(times) > 30
    assert times[-1][0] - times[0][0] > 0.8


def test_a_client_that_leaves_stops_the_upstream_and_pays_for_what_came(stand: Stand) -> None:
    before = len(stand.upstream.requests)
    with open_stream(stand, "slow") as response:
        request = response.headers["x-request-id"]
        for _ in range(20):
            response.readline()
    left = time.monotonic()
    seen = stand.upstream.requests[before]
    stand.upstream.wait(lambda up: seen.end == "gone", "the end of the upstream's answer", 2)
    assert seen.ended_at - left < 1
    row = row_of(stand, request)
    assert (row["state"], row["estimated"]) == ("gone", True)
    assert 0 < row["usage"]["output"] < 3 * len(WORDS)
    assert int(row["charge_nano"]) > 0


@pytest.mark.parametrize("model", ["cut", "cut_eof"])
def test_a_cut_stream_ends_with_an_error_and_never_a_false_stop(stand: Stand, model: str) -> None:
    with open_stream(stand, model) as response:
        request = response.headers["x-request-id"]
        try:
            content = response.read()
        except http.client.IncompleteRead as cut:
            content = cut.partial
    whole = [event for event in content.split(b"\n\n") if event.startswith(b"data: {")]
    assert b'"error"' in whole[-1]
    assert b"[DONE]" not in content
    assert b'"finish_reason":"stop"' not in content
    row = row_of(stand, request)
    assert (row["state"], row["estimated"]) == ("cut", True)
    assert row["usage"]["output"] > 0


def test_a_plain_answer_that_breaks_off_does_not_look_complete(stand: Stand) -> None:
    got = ask(stand.product, stand.key, chat("cut-plain"))
    assert got.cut or got.status == 502
    assert row_of(stand, got.headers["x-request-id"])["state"] in ("cut", "failed")


def test_a_stream_without_done_is_complete(stand: Stand) -> None:
    with open_stream(stand, "no-done", stream_options={"include_usage": True}) as response:
        request, content = response.headers["x-request-id"], response.read()
    case = next(case for case in CASES if case.name == "no-done")
    assert content == case.body
    row = row_of(stand, request)
    assert (row["state"], row["estimated"]) == ("done", False)


def test_a_pooled_connection_that_died_is_replaced_unseen(stand: Stand) -> None:
    stand.upstream.add(Case("stale", json.dumps(completion("stale", {"content": "hi"})).encode(), fault="stale"))
    first = ask(stand.product, stand.key, chat("stale"))
    second = ask(stand.product, stand.key, chat("stale"))
    assert first.status == second.status == 200
    row = row_of(stand, second.headers["x-request-id"])
    if len(row["attempts"]) > 1:  # the pool gave the dying connection, not another one
        assert [attempt["reason"] for attempt in row["attempts"]] == ["first", "reconnect"]
        assert sum(int(attempt["charge_nano"]) for attempt in row["attempts"]) == int(row["charge_nano"])


def test_bytes_that_nobody_asked_for_reach_nobody(stand: Stand) -> None:
    for _ in range(3):
        got = ask(stand.product, stand.key, chat("extra"))
        assert (got.status, got.body) == (200, SAID)


def test_close_delimited_answers_and_http_1_0_clients(stand: Stand) -> None:
    assert ask(stand.product, stand.key, chat("close-delimited")).body == SAID
    body = json.dumps(chat("slow", stream=True)).encode()
    with socket.create_connection(("127.0.0.1", stand.product.port), timeout=10) as connection:
        connection.sendall(
            b"POST %b HTTP/1.0\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (CHAT.encode(), stand.key.encode(), len(body), body)
        )
        got = b""
        while piece := connection.recv(65536):
            got += piece
    head, _, content = got.partition(b"\r\n\r\n")
    assert b"transfer-encoding" not in head.lower()
    assert len(payloads(content)) == len(CHUNKS)
    assert content.endswith(b"data: [DONE]\n\n")


def test_a_large_answer_passes_a_slow_client_without_piling_up(stand: Stand) -> None:
    worker = stand.product.pids("worker")[0]

    def resident_mb() -> float:
        line = next(line for line in Path(f"/proc/{worker}/status").read_text().splitlines() if "VmRSS" in line)
        return int(line.split()[1]) / 1024

    before = resident_mb()
    body = json.dumps({"model": "big", "input": "x", "voice": "alloy"})
    connection = http.client.HTTPConnection("127.0.0.1", stand.product.port, timeout=30)
    connection.request("POST", "/v1/audio/speech", body, {"authorization": f"Bearer {stand.key}"})
    response = connection.getresponse()
    time.sleep(1)  # the upstream would have sent all 24 MB by now
    assert resident_mb() - before < 12
    assert response.read() == BIG
    connection.close()


def upload(size: int) -> bytes:
    """A form with a file of this size, its model field last."""
    file = (bytes(range(256)) * (size // 256 + 1))[:size]
    part = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
    return part % (b"file", b'; filename="a.mp3"', file) + part % (b"model", b"", b"good") + b"--b--\r\n"


@pytest.mark.parametrize("size", [1000, 300_000, 12_000_000])
def test_uploads_arrive_byte_for_byte(stand: Stand, size: int) -> None:
    body = upload(size)
    got = ask(
        stand.product, stand.key, body, "/v1/audio/transcriptions", content_type="multipart/form-data; boundary=b"
    )
    assert got.status == 200, got.body
    assert stand.upstream.requests[-1].body == body


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_chunked_and_expected_bodies(stand: Stand, size: int) -> None:
    body = json.dumps(chat("good", padding="x" * size)).encode()
    with socket.create_connection(("127.0.0.1", stand.product.port), timeout=10) as connection:
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
            b"Expect: 100-continue\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            % (CHAT.encode(), stand.key.encode())
        )
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        for start in range(0, len(body), 70_000):
            piece = body[start : start + 70_000]
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        got = b""
        while piece := connection.recv(65536):
            got += piece
    assert got.startswith(b"HTTP/1.1 200 OK\r\n"), got[:500]
    seen = stand.upstream.requests[-1]
    assert seen.body == body
    assert seen.header("expect") is None


def test_a_tls_upstream_is_verified(stand: Stand) -> None:
    stand.upstream.add(answer("tls", completion("tls", {"content": "hi"})))
    assert ask(stand.product, stand.key, chat("tls")).status == 200
    before = len(stand.upstream.requests)
    assert ask(stand.product, stand.key, chat("tls-stranger")).status == 503
    assert len(stand.upstream.requests) == before


def test_a_stop_lets_open_streams_finish_and_books_them(tmp_path: Path) -> None:
    with Upstream(*streams("slow", CHUNKS, delay_ms=25)) as upstream, Product(tmp_path / "p") as product:
        product.add_channel("openai", f"{upstream.url}/v1", ["slow"])
        product.set_price("slow", "1", "2")
        stand = Stand(product, upstream, product.add_token("--quota", "1.00"))
        with open_stream(stand, "slow") as response:
            request = response.headers["x-request-id"]
            response.readline()
            product.tell_to_stop()
            content = response.read()
        assert content.endswith(b"data: [DONE]\n\n")
        assert product.stop() == 0
        row = row_of(stand, request)  # the CLI reads the database without the server
        assert (row["state"], row["charge_nano"]) == ("done", str(24_000 + 24_000))
        assert product.cli("ledger", "verify")["open_journals"] == []
        product.start()
        assert ask(product, stand.key, chat("slow")).status == 200
