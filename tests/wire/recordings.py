"""The recorded exchanges of ../shared/wire (BURNCLOUD_WIRE), as far as they are of our three dialects."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
WIRE = Path(os.environ.get("BURNCLOUD_WIRE") or ROOT / ".." / "shared" / "wire")
ABSENT = f"no recordings at {os.environ.get('BURNCLOUD_WIRE') or '../shared/wire'}"

APIS = {
    "chat.completions": "openai", "completions": "openai", "responses": "openai", "embeddings": "openai",
    "images": "openai", "audio": "openai", "moderations": "openai", "rerank": "openai",
    "messages": "anthropic", "count_tokens": "anthropic",
    "generateContent": "gemini", "streamGenerateContent": "gemini",
}  # fmt: skip

OTHER_DIALECT = {
    "/api/embed": "Ollama's native API",
    "/v2/embed": "Cohere's native API",
    "/api/v1/services/": "DashScope's native API",
    ":predict": "Vertex AI's predict",
    ":countTokens": "Gemini's countTokens: nothing is used",
    "/input_tokens": "OpenAI's count of input tokens: nothing is used",
    "/count-tokens": "Bedrock's CountTokens",
}
"""Recordings of these APIs whose path says that they are another dialect."""


class Recording(NamedTuple):
    """One exchange."""

    name: str
    row: dict[str, Any]
    dialect: str
    endpoint: str
    request: bytes | None
    path: str
    content: bytes
    sse: bool
    tags: frozenset[str]


def _dialect(row: dict[str, Any], path: str) -> tuple[str, str] | None:
    """(dialect, endpoint), or None where it is none of ours."""
    if row["framing"] == "aws-eventstream" or any(mark in path for mark in OTHER_DIALECT):
        return None
    if row["api"] not in APIS or (row["provider"], row["api"]) == ("bedrock", "count_tokens"):
        return None
    if "embedContent" in path or "batchEmbedContents" in path:
        return "gemini", "embedContent"
    return APIS[row["api"]], row["api"]


@lru_cache(maxsize=1)
def index() -> list[dict[str, Any]]:
    """The index; empty where there are no recordings."""
    file = WIRE / "INDEX.json"
    rows: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    return rows


def recordings() -> Iterator[Recording]:
    """Every recording of a dialect of ours."""
    for row in index():
        if row["api"] not in APIS:
            continue
        exchange = json.loads((WIRE / row["file"]).read_text())
        request = exchange["request"] or {}
        known = _dialect(row, request.get("path") or "")
        if known is None:
            continue
        answer = exchange["response"]
        text = answer.get("body_text")
        content = text.encode() if text is not None else base64.b64decode(answer.get("body_base64") or "")
        body = request.get("body")
        raw = json.dumps(body, separators=(",", ":")).encode() if body is not None else None
        yield Recording(
            row["file"], row, *known, raw, request.get("path") or "", content, row["framing"] == "sse",
            frozenset(row["tags"]),
        )  # fmt: skip
