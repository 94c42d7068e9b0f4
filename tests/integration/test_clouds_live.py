"""Channels of the clouds in the whole product: tokens minted by control, requests signed by a worker, a proxy."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.product import Product
from tests.unit.service.test_credentials import Endpoint

AKID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CLAUDE = {
    "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "stop_reason": "end_turn",
    "stop_sequence": None, "content": [{"type": "text", "text": "Hello"}],
    "usage": {"input_tokens": 3, "output_tokens": 2},
}  # fmt: skip
GEMINI = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Hello"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
}


class Cloud:
    """Answers as Claude or Gemini do; keeps what came."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """An answer."""
                body = self.rfile.read(int(self.headers["content-length"]))
                cloud.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
                said = json.dumps(GEMINI if "generateContent" in self.path else CLAUDE).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *arguments: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    made = Cloud()
    yield made
    made.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    folder: Path = tmp_path_factory.mktemp("clouds")
    with Product(folder, UNPRICED="free") as running:
        yield running


def ask(product: Product, key: str, path: str, body: Any) -> Any:
    """The answer; a channel that has no token yet is waited for."""
    data = json.dumps(body).encode()
    fields = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(product.url + path, data, fields), timeout=10) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                said = error.read()
            if error.code not in (404, 503) or time.monotonic() > deadline:
                raise AssertionError(f"{error.code} {said!r}") from None
            time.sleep(0.05)


MESSAGES = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def test_vertex(product: Product, cloud: Cloud, endpoint: Endpoint) -> None:
    """A worker sends the minted token; Claude and Gemini stand in one channel; chat is translated to Gemini."""
    key = product.add_token()
    product.cli(
        "channel", "add", "-t", "vertex", "-m", "gemini-x,claude-x", "-k", endpoint.google, "--base-url", cloud.url,
        "-o", "location=us-east5",
    )  # fmt: skip
    place = "/v1/projects/my-project/locations/us-east5/publishers/"
    assert ask(product, key, "/v1/messages", MESSAGES | {"model": "claude-x"}) == CLAUDE
    path, fields, body = cloud.seen[-1]
    assert (path, fields["authorization"]) == (place + "anthropic/models/claude-x:rawPredict", "Bearer t1")
    assert json.loads(body) == MESSAGES | {"anthropic_version": "vertex-2023-10-16"}
    said = ask(product, key, "/v1/chat/completions", {"model": "gemini-x", "messages": MESSAGES["messages"]})
    assert said["choices"][0]["message"]["content"] == "Hello"
    assert cloud.seen[-1][0] == place + "google/models/gemini-x:generateContent"
    assert "PRIVATE KEY" not in product.log()


def test_bedrock(product: Product, cloud: Cloud) -> None:
    """What a worker signs, botocore signs so, too."""
    key = product.add_token()
    product.cli(
        "channel", "add", "-t", "bedrock", "-m", "sonnet=us.anthropic.claude-x:0", "-k", f"{AKID}:{SECRET}",
        "--base-url", cloud.url, "-o", "region=eu-west-1",
    )  # fmt: skip
    assert ask(product, key, "/v1/messages", MESSAGES | {"model": "sonnet"}) == CLAUDE
    path, fields, body = cloud.seen[-1]
    assert path == "/model/us.anthropic.claude-x%3A0/invoke"
    request = AWSRequest("POST", cloud.url + path, {"host": fields["host"]}, body)
    request.context["timestamp"] = fields["x-amz-date"]
    signer = SigV4Auth(Credentials(AKID, SECRET), "bedrock", "eu-west-1")
    request.headers["x-amz-date"] = fields["x-amz-date"]
    text = signer.string_to_sign(request, signer.canonical_request(request))
    assert fields["authorization"].endswith("Signature=" + signer.signature(text, request))
    assert hashlib.sha256(body).hexdigest() in signer.canonical_request(request)


def test_a_proxy(product: Product, cloud: Cloud) -> None:
    """One that refuses is the channel's failure, told without the password."""
    key = product.add_token()
    product.cli(
        "channel", "add", "-t", "anthropic-compatible", "-m", "far", "-k", "k", "--base-url", cloud.url,
        "-o", f"proxy={cloud.url.replace('http://', 'http://me:hidden@')}",
    )  # fmt: skip
    assert "hidden" not in json.dumps(product.cli("channel", "show", "anthropic-compatible"))
    request = urllib.request.Request(
        product.url + "/v1/messages", json.dumps(MESSAGES | {"model": "far"}).encode(), {"x-api-key": key}
    )
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=10)
    with raised.value as error:
        assert error.code in (502, 503)
        assert b"hidden" not in error.read()
    assert "hidden" not in product.log()
