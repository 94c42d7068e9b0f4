"""Connections of the running product to an upstream: no more than may be, and nobody fails for that."""

from __future__ import annotations

import http.client
import http.server
import json
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.product import Product

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="as the other tests of the product")
ANSWER_S = 0.1


class Counting(http.server.ThreadingHTTPServer):
    """Answers after a moment, and counts the connections that are open at once."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.open = self.most = self.requests = 0
        self.lock = threading.Lock()


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Counting

    def setup(self) -> None:
        """It stands."""
        super().setup()
        with self.server.lock:
            self.server.open += 1
            self.server.most = max(self.server.most, self.server.open)

    def finish(self) -> None:
        """It is gone."""
        super().finish()
        with self.server.lock:
            self.server.open -= 1

    def log_message(self, *_: object) -> None:
        """Not here."""

    def do_POST(self) -> None:
        """A request."""
        self.rfile.read(int(self.headers["content-length"]))
        self.server.requests += 1
        time.sleep(ANSWER_S)
        choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
        data = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5}}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def test_a_worker_keeps_to_its_connections(tmp_path: Path) -> None:
    """Twenty at once over three connections: all are answered, each after a while."""
    upstream = Counting()
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    with Product(tmp_path, POOL_CONNECTIONS_MAX="3", UNPRICED="free") as product:
        product.add_channel("openai", f"http://127.0.0.1:{upstream.server_port}/v1", ["gpt-4"])
        keys = [product.add_token() for _ in range(2)]
        statuses: list[int] = []

        def ask(key: str) -> None:
            client = http.client.HTTPConnection("127.0.0.1", product.port, timeout=20)
            body = json.dumps({"model": "gpt-4", "messages": []})
            client.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}"})
            answer = client.getresponse()
            answer.read()
            statuses.append(answer.status)
            client.close()

        threads = [threading.Thread(target=ask, args=(keys[n % 2],)) for n in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 20
        assert (upstream.most, upstream.requests) == (3, 20)
    upstream.shutdown()
    upstream.server_close()
