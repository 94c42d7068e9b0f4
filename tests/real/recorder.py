"""A proxy that writes what passes as new cases of the wire corpus, without its secrets.

    BURNCLOUD_RECORD=folder python3 run.py test real

It stands between the product and the vendor; each exchange becomes `<vendor>/<api>/<n>[.stream].json` in the form of
../shared/wire/README.md.  Credentials are never written; ids of accounts are replaced.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

AUTH: Final = {
    "authorization": "bearer", "x-api-key": "x-api-key", "api-key": "api-key", "x-goog-api-key": "x-goog-api-key",
}  # fmt: skip
KEPT_REQUEST: Final = frozenset(("content-type", "accept", "anthropic-version", "anthropic-beta"))
KEPT_RESPONSE: Final = frozenset(("content-type", "retry-after", "x-request-id", "request-id", "x-amzn-requestid"))
SECRET: Final = re.compile(
    r"(?i)\b(?:sk-[\w-]{16,}|AIza[\w-]{20,}|AKIA[A-Z0-9]{12,}|org-[\w]{10,}|proj_[\w]{10,}|ya29\.[\w.-]{20,})"
)
FRAMINGS: Final = (
    ("text/event-stream", "sse"), ("application/vnd.amazon.eventstream", "aws-eventstream"),
    ("application/x-ndjson", "ndjson"), ("application/json", "json"), ("text/", "text"),
)  # fmt: skip


def scrubbed(text: str) -> str:
    """Without what looks like a key or an account."""
    return SECRET.sub("REDACTED", text)


def api_of(path: str) -> str:
    """The corpus's name of an API, from a path."""
    path = path.partition("?")[0]
    for end, name in (
        ("/chat/completions", "chat.completions"),
        ("/responses", "responses"),
        ("/messages", "messages"),
    ):
        if path.endswith(end):
            return name
    return path.rpartition(":")[2] if ":" in path else path.rpartition("/")[2]


def case_of(
    vendor: str,
    host: str,
    request: tuple[str, str, dict[str, str], bytes],
    response: tuple[int, dict[str, str], bytes],
) -> dict[str, Any]:
    """One exchange in the corpus's form.  `request`: method, path with query, fields, body."""
    method, path, fields, body = request
    status, answer_fields, answer = response
    kind = answer_fields.get("content-type", "")
    said: dict[str, Any] = {"body_base64": base64.b64encode(body).decode()}
    model, stream = "", "stream" in path.lower()
    try:
        value = json.loads(scrubbed(body.decode()))
        said = {"body": value}
        model, stream = str(value.get("model", "")), bool(value.get("stream", stream))
    except (ValueError, AttributeError):
        pass
    auth = next((name for field, name in AUTH.items() if field in fields), None)
    if fields.get("authorization", "").startswith("AWS4-"):
        auth = "aws-sigv4"
    heard: dict[str, Any]
    try:
        heard = {"body_text": scrubbed(answer.decode())}
    except UnicodeDecodeError:
        heard = {"body_base64": base64.b64encode(answer).decode()}
    return {
        "provider": vendor,
        "api": api_of(path),
        "stream": stream,
        "model": model,
        "request": {
            "method": method, "host": host, "path": re.sub(r"([?&]key=)[^&]+", r"\1REDACTED", path), "auth": auth,
            "headers": {name: value for name, value in fields.items() if name in KEPT_REQUEST}, **said,
        },
        "response": {
            "status": status,
            "headers": {name: scrubbed(value) for name, value in answer_fields.items() if name in KEPT_RESPONSE},
            "framing": next((name for start, name in FRAMINGS if kind.startswith(start)), "binary"), **heard,
        },
        "tags": [],
        "fidelity": ["scrubbed"] if b"REDACTED" in json.dumps(heard).encode() else [],
    }  # fmt: skip


class Recorder:
    """A context manager: `url` stands for the vendor's origin, each exchange is written into `folder`."""

    def __init__(self, vendor: str, origin: str, folder: Path) -> None:
        self.vendor, self.folder = vendor, folder
        self.target = urlsplit(origin)
        self.count = 0
        self._lock = threading.Lock()
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                """Pass on, write down, answer."""
                recorder.exchange(self)

            def log_message(self, *args: object) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Recorder:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def exchange(self, handler: BaseHTTPRequestHandler) -> None:
        """One request to the vendor and back."""
        fields = {name.lower(): value for name, value in handler.headers.items()}
        body = handler.rfile.read(int(fields.get("content-length", 0)))
        host = self.target.netloc
        kind = http.client.HTTPSConnection if self.target.scheme == "https" else http.client.HTTPConnection
        connection = kind(host, timeout=120)
        connection.request("POST", handler.path, body, fields | {"host": host})
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        said = {name.lower(): value for name, value in response.getheaders()}
        case = case_of(self.vendor, host, ("POST", handler.path, fields, body), (response.status, said, answer))
        with self._lock:
            self.count += 1
            place = self.folder / self.vendor / case["api"]
            place.mkdir(parents=True, exist_ok=True)
            name = f"{self.count:03d}{'.stream' if case['stream'] else ''}.json"
            (place / name).write_text(json.dumps(case, indent=1, ensure_ascii=False) + "\n")
        handler.send_response(response.status)
        for name in ("content-type", "retry-after", "x-request-id", "request-id"):
            if name in said:
                handler.send_header(name, said[name])
        handler.send_header("content-length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)
