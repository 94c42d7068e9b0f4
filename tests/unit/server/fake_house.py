"""A house that is what the test says, and a client of its REST application over ASGI: no socket, no database."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from burncloud.errors import INVALID_TOKEN, Refusal
from burncloud.server.app import make_app
from burncloud.server.house import Health, Principal


class FakeHouse:
    """A house that is what the test says."""

    version = "9.9"

    def __init__(self, ready: bool = True) -> None:
        self.ready = ready
        self.asked: list[tuple[str, str]] = []

    async def health(self) -> Health:
        if self.ready:
            return Health(True, (), {"database": True})
        return Health(False, ("the database does not answer",), {"database": False})

    async def status(self) -> dict[str, object]:
        return {"version": self.version, "workers": []}

    async def states(self) -> list[dict[str, object]]:
        return [{"channel": 1, "key": 7, "model": None, "state": "off"}]

    async def principal(self, key: str, peer: str) -> Principal:
        self.asked.append((key, peer))
        roles = {"sk-admin": "admin", "sk-user": "user"}
        if key not in roles:
            raise Refusal(INVALID_TOKEN)
        return Principal(1, "someone", roles[key])


class Answer:
    """What came back."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(house: FakeHouse, path: str, method: str = "GET", answer: Answer | None = None, **headers: str) -> Answer:
    """One request to the application, straight over ASGI."""
    answer = answer or Answer()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            answer.body += message.get("body", b"")

    asyncio.run(make_app(house)(scope, receive, send))
    return answer


def error_of(answer: Answer) -> tuple[int, str, str]:
    """Status, code and type; and the body has the one error shape, nothing else."""
    assert set(answer.json) == {"error"}
    assert set(answer.json["error"]) == {"message", "type", "code"}
    assert answer.headers["content-type"] == "application/json"
    return answer.status, answer.json["error"]["code"], answer.json["error"]["type"]
