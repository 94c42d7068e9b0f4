"""What is measured: one row a figure, with the bound that ARCHITECTURE.md sets for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal

from bench.gateways import Gateway

Measure = Literal["cpu_request", "cpu_event", "added", "total"]
"""CPU µs a request · CPU µs a streamed event · median latency less the direct one's · median latency."""

STREAM_EVENTS: Final = 2000
MESSAGES: Final = "/v1/messages"


@dataclass(frozen=True)
class Row:
    """One figure, the same for every gateway."""

    name: str
    title: str
    measure: Measure
    bound: float
    """Passes while our figure ≤ bound x nginx's; 0 = shown only."""
    body_bytes: int = 300
    tls: bool = False
    stream: bool = False
    connections: int = 64
    events: int = STREAM_EVENTS
    """How long a stream is; long enough that none ends while it is measured."""
    together: bool = False
    """True: load, gateway and upstream share one core."""
    path: str = "/v1/chat/completions"
    """/v1/messages: the client speaks Anthropic, the upstream OpenAI, so the gateway translates."""

    def request(self, gateway: Gateway) -> bytes:
        """The bytes of one request as the openai SDK sends it, headers and JSON."""
        body: dict[str, object] = {"model": gateway.model(self.tls), "max_tokens": 64, "temperature": 0.7}
        if self.stream:
            body |= {"stream": True}
            if self.path != MESSAGES:
                body |= {"stream_options": {"include_usage": True}}
        body["messages"] = [{"role": "user", "content": ""}]
        filler = "The quick brown fox jumps over the lazy dog. " * (self.body_bytes // 45 + 1)
        body["messages"] = [{"role": "user", "content": filler[: max(0, self.body_bytes - len(json.dumps(body)))]}]
        content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        events = f"x-bench-chunks: {self.events}\r\n" if self.stream else ""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip, deflate\r\n"
            f"Connection: keep-alive\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
            f"User-Agent: OpenAI/Python 3.54.0\r\nX-Stainless-Lang: python\r\nX-Stainless-Package-Version: 3.54.0\r\n"
            f"X-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
            f"X-Stainless-Runtime-Version: 3.11.7\r\nAuthorization: Bearer {gateway.token}\r\n"
            f"X-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\nx-stainless-read-timeout: 600\r\n"
            f"{events}Content-Length: {len(content)}\r\n\r\n"
        )
        return head.encode() + content


ROWS: Final[tuple[Row, ...]] = (
    Row("plain_small", "CPU per request, 0.3 KB", "cpu_request", 3.0),
    Row("plain_large", "CPU per request, 100 KB", "cpu_request", 3.0, body_bytes=100_000),
    Row("tls_small", "CPU per request, 0.3 KB, TLS upstream", "cpu_request", 3.0, tls=True),
    Row("tls_large", "CPU per request, 100 KB, TLS upstream", "cpu_request", 3.0, body_bytes=100_000, tls=True),
    Row("stream", "CPU per streamed chunk", "cpu_event", 2.0, stream=True),
    Row("stream_tls", "CPU per streamed chunk, TLS upstream", "cpu_event", 2.0, stream=True, tls=True, connections=32),
    Row("translated", "CPU per request, translated, 0.3 KB", "cpu_request", 6.0, path=MESSAGES),
    Row("translated_stream", "CPU per streamed chunk, translated", "cpu_event", 4.0, stream=True, path=MESSAGES),
    Row("latency_1", "added latency, 1 at a time, one core", "added", 2.0, connections=1, together=True),
    Row("latency_1_apart", "total latency, 1 at a time, two cores", "total", 1.25, connections=1),
    Row("latency_64", "added latency, 64 at a time, two cores", "added", 0),
)
