"""One plain HTTP request to the product, for tests that look closer than an SDK lets them."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any

from tests.product import Product

CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes
    cut: bool = False
    """The body ended before its framing said so."""

    @property
    def error(self) -> dict[str, Any]:
        """The error object."""
        error: dict[str, Any] = json.loads(self.body)["error"]
        return error


def ask(product: Product, key: str, body: object, path: str = CHAT, *, method: str = "POST", **headers: str) -> Answer:
    """Send `body` (JSON unless it is bytes) with the key as a bearer token; `headers` with _ for -."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection("127.0.0.1", product.port, timeout=30)
    try:
        connection.request(method, path, content, sent)
        response = connection.getresponse()
        cut = False
        try:
            got = response.read()
        except http.client.IncompleteRead as error:
            got, cut = error.partial, True
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, got, cut)
    finally:
        connection.close()


def chat(model: str, **more: object) -> dict[str, object]:
    """The body of a chat request."""
    return {"model": model, "messages": [{"role": "user", "content": "hello"}], **more}
