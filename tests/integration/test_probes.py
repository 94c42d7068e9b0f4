"""burncloud channel test beside the running product: real sockets, two workers, and what all know afterwards."""

from __future__ import annotations

import http.client
import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.product import CommandFailed, Product

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="two workers")
BAD = "sk-bad-bad-bad-bad-2"


class Upstream(http.server.ThreadingHTTPServer):
    """Refuses the bad key until it is told that it is good, and has not all models."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.good = False
        self.bodies: list[dict[str, Any]] = []


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers as OpenAI does."""

    protocol_version = "HTTP/1.1"
    server: Upstream

    def log_message(self, *_: object) -> None:
        """Not here."""

    def do_GET(self) -> None:
        """The list of models."""
        self._say(200, {"data": [{"id": "gpt-4"}, {"id": "other"}]})

    def do_POST(self) -> None:
        """A request."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.bodies.append(body)
        if BAD in str(self.headers["authorization"]) and not self.server.good:
            self._say(401, {"error": {"message": f"Incorrect API key provided: {BAD}"}})
        elif body["model"] == "gone":
            self._say(404, {"error": {"message": "The model `gone` does not exist"}})
        elif "input" in body:
            item = {"object": "embedding", "index": 0, "embedding": [0.5]}
            self._say(200, {"object": "list", "data": [item], "usage": {"prompt_tokens": 1, "total_tokens": 1}})
        elif body.get("stream"):
            choice = {"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}
            usage = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
            events = [{"id": "x", "choices": [choice]}, {"id": "x", "choices": [], "usage": usage}]
            text = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
            self._say(200, f"{text}data: [DONE]\n\n", "text/event-stream")
        else:
            choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
            self._say(200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})

    def _say(self, status: int, body: Any, kind: str = "application/json") -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def outcomes(product: Product, *arguments: str) -> dict[str, Any]:
    """The results by model; a failure among them is no failure here."""
    try:
        found = product.cli("channel", "test", *arguments)
    except CommandFailed as failed:
        text = str(failed)
        found, _ = json.JSONDecoder().raw_decode(text[text.index("[") :])
    return {row["model"] or "": row for row in found}


def ask(product: Product, key: str) -> int:
    client = http.client.HTTPConnection("127.0.0.1", product.port, timeout=10)
    body = json.dumps({"model": "gpt-4", "messages": []})
    client.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}", "connection": "close"})
    status = client.getresponse().status
    client.close()
    return status


def until(true: Any) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_tests_of_channels(tmp_path: Path, upstream: Upstream) -> None:
    """What works, what does not and why; a key that is off is seen, stays so, and comes back by a good test."""
    base = f"http://127.0.0.1:{upstream.server_port}/v1"
    with Product(tmp_path, WORKERS="2", UNPRICED="free") as product:
        product.add_channel("openai", base, ["gpt-4", "text-embedding-3-small", "gone", "dall-e-3"])
        results = outcomes(product, "--all")
        assert results[""]["missing"] == ["dall-e-3", "gone", "text-embedding-3-small"]
        assert results["gpt-4"]["ok"]
        assert results["gpt-4"]["output_tokens"] == 5
        assert 0 < results["gpt-4"]["first_byte_ms"] <= results["gpt-4"]["duration_ms"]
        assert results["text-embedding-3-small"]["ok"]
        assert results["gone"]["error"] == "status 404: The model `gone` does not exist"
        assert results["dall-e-3"]["skipped"]
        assert max(body.get("max_completion_tokens", 0) for body in upstream.bodies) == 16
        product.cli("channel", "delete", "1", "--yes")

        product.add_channel("openai", base, ["gpt-4"], key=BAD)
        [result] = [row for name, row in outcomes(product, "2").items() if name]
        assert result["error"] == "the key is refused (status 401)"
        token = product.add_token()
        assert {ask(product, token) for _ in range(6)} == {503}, "both workers know it"
        assert len([body for body in upstream.bodies if body.get("messages") == []]) == 0
        until(lambda: product.cli("channel", "list")[0]["state"] == "off")
        [event] = product.cli("event", "list")
        assert (event["kind"], event["key_hint"], event["detail"]) == ("key_off", "…ad-2", "refused, status 401")

    with Product(tmp_path, WORKERS="2", UNPRICED="free", PORT=str(product.port)) as product:
        assert {ask(product, token) for _ in range(4)} == {503}
        assert len([body for body in upstream.bodies if body.get("messages") == []]) == 0, "known after a restart"
        upstream.good = True
        assert outcomes(product, "2", "--model", "gpt-4")["gpt-4"]["ok"]
        time.sleep(0.2)
        assert {ask(product, token) for _ in range(6)} == {200}
        until(lambda: [event["kind"] for event in product.cli("event", "list")] == ["key_ready", "key_off"])
        assert product.cli("channel", "show", "2")["state"] == "ready"
        rows = product.wait_rows(lambda rows: len(rows) >= 11)
        probes = [row for row in rows if not row["user"] or row["user"] == 0]
        assert probes
        product.cli("ledger", "verify")
    assert BAD not in product.log()


def test_a_schedule(tmp_path: Path, upstream: Upstream) -> None:
    with Product(tmp_path, PROBE_EVERY_S="1") as product:
        product.add_channel("openai", f"http://127.0.0.1:{upstream.server_port}/v1", ["gpt-4"])
        until(lambda: len(upstream.bodies) >= 2)
        until(lambda: len(product.cli("channel", "show", "1")["tests"]) == 2)
