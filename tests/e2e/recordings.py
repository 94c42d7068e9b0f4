"""The recorded provider traffic as exchanges that can go through the gateway unchanged, and what each must cost.

Of the recordings (BURNCLOUD_WIRE, default ../shared/wire beside the repository) those count as
same-dialect whose answer is what a client of the OpenAI, Anthropic Messages or Gemini API expects.
The others (Cohere, Bedrock, DashScope's and Ollama's own APIs) need a translation.
"""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.product import ROOT
from tests.upstream.cases import Case, case_of

WIRE: Final = Path(os.environ.get("BURNCLOUD_WIRE", ROOT.parent / "shared" / "wire"))
OMITTED: Final = b"[multipart form data omitted]"

OF_OUR_KEY: Final = (b"API key not valid", b"Incorrect API key provided")
"""What Gemini and xAI say of it with 400."""
OPENAI_PATHS: Final = re.compile(
    r"/(embeddings|responses|moderations|images/generations|images/edits|images/variations|audio/speech"
    r"|audio/transcriptions|audio/translations|rerank)$"
)
"""Ends of a recorded path that an OpenAI client asks for as /v1/<end>, whatever stood before it."""
OTHER_DIALECT_PATHS: Final = re.compile(r"/api/embeddings$|/api/v1/services/|/v1/complete$")
OTHER_DIALECT_FILES: Final = frozenset(
    ("writer/completions/openllmetry--test_writer_streaming_completions_legacy--1.stream.json",)
)
"""Answers in a vendor's own form on a path of OpenAI's: events with nothing but `{"value": …}`, and no end."""
OPENAI_PATH_OF_API: Final = {
    "chat.completions": "chat/completions",
    "completions": "completions",
    "responses": "responses",
    "embeddings": "embeddings",
    "rerank": "rerank",
}
"""For answers whose request, or whose request's path, is unknown or the vendor's own."""


@dataclass(frozen=True)
class Usage:
    """What the provider's numbers come to in disjoint kinds, as far as INDEX.json tells them apart."""

    input: int
    """All input that is stated: uncached, cached, written to a cache, audio, image."""
    cache_read: int
    cache_write: int
    output: int
    """All output that is stated: visible, reasoning, audio, image."""
    reasoning: int
    unnamed: int
    """Tokens that only the provider's total knows of (Gemini's tool prompts, thoughts behind the compatible
    API, Mistral's audio): they must stand in the ledger, in a kind that INDEX.json does not say."""


@dataclass(frozen=True)
class Recording:
    """One recorded exchange."""

    name: str
    """Its file, relative to the corpus, without .json."""
    row: Mapping[str, Any]
    """Its row of INDEX.json."""
    dialect: str
    """openai · anthropic · gemini."""
    target: str
    """Path and query that the client asks the gateway for."""
    model: str
    content_type: str
    body: bytes
    """What the client sends."""
    case: Case
    """What the upstream answers."""

    @property
    def passes_status(self) -> bool:
        """The answer goes to the client as it is: success, or an error of the client's own making."""
        if self.case.status == 400:
            return not any(words in self.case.body for words in OF_OUR_KEY)
        return self.case.status in (200, 404, 413, 422) or b"Content violates usage guidelines" in self.case.body

    @property
    def asks_for_usage(self) -> bool:
        """The gateway has no reason to add stream_options.include_usage."""
        return b'"include_usage": true' in self.body

    @property
    def usage(self) -> Usage | None:
        """What must stand in the ledger; None where the provider stated nothing countable."""
        stated = self.row.get("usage") or {}
        if not {"input", "output"} & set(stated) or stated.get("from"):
            return None
        number = {kind: stated.get(kind) or 0 for kind in ("input", "output", "cached", "cache_write", "reasoning")}
        if self.dialect == "anthropic":
            number["input"] += number["cached"] + number["cache_write"]
        elif self._reasoning_is_outside or number["reasoning"] > number["output"]:
            number["output"] += number["reasoning"]
        total = number["input"] + number["output"]
        return Usage(
            number["input"],
            min(number["cached"], number["input"]),
            number["cache_write"],
            number["output"],
            number["reasoning"],
            max(0, (stated.get("total") or 0) - total),
        )

    @property
    def _reasoning_is_outside(self) -> bool:
        """Reasoning is counted beside the output: Gemini, xAI's chat (elsewhere where it exceeds the output)."""
        return self.dialect == "gemini" or (self.row["provider"], self.row["api"]) == ("xai", "chat.completions")


def _anthropic_target(api: str, provider: str) -> str:
    if api == "messages":
        return "/v1/messages"
    return "/v1/messages/count_tokens" if (api, provider) == ("count_tokens", "anthropic") else ""


def _gemini_target(path: str) -> str:
    """The same method on the same model below /v1beta, the key taken out of the query."""
    found = re.search(r"/models/([^/:?]+):(generateContent|streamGenerateContent|countTokens|embedContent"
                      r"|batchEmbedContents)(?:\?(.*))?$", path)  # fmt: skip
    if not found:
        return ""
    query = "&".join(part for part in (found[3] or "").split("&") if part and not part.startswith("key="))
    return f"/v1beta/models/{found[1]}:{found[2]}" + (f"?{query}" if query else "")


def _openai_target(api: str, path: str) -> str:
    if OTHER_DIALECT_PATHS.search(path):
        return ""
    if api in ("chat.completions", "completions"):
        return f"/v1/{OPENAI_PATH_OF_API[api]}"
    if found := OPENAI_PATHS.search(path):
        return f"/v1/{found[1]}"
    return f"/v1/{OPENAI_PATH_OF_API[api]}" if not path and api in OPENAI_PATH_OF_API else ""


def _target(row: Mapping[str, Any], path: str) -> tuple[str, str]:
    """(dialect, target); ("", "") for what is no dialect of ours."""
    bare = path.partition("?")[0]
    for dialect, target in (
        ("anthropic", _anthropic_target(row["api"], row["provider"])),
        ("gemini", _gemini_target(path)),
        ("openai", _openai_target(row["api"], bare)),
    ):
        if target:
            return dialect, target
    return "", ""


def _multipart(raw: bytes, content_type: str, model: str) -> bytes:
    """The form, with a model field in front where the client left the choice to the provider."""
    boundary = content_type.partition("boundary=")[2].strip('"').encode()
    field = b'--%b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n' % (boundary, model.encode())
    if raw == OMITTED:
        part = b'--%b\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nID3\r\n'
        raw = part % boundary + b"--%b--\r\n" % boundary
    return raw if b'name="model"' in raw else field + raw


def _request_body(row: Mapping[str, Any], request: Mapping[str, Any], dialect: str, model: str) -> tuple[str, bytes]:
    """(content type, body) as the client sends them; the model is added where it stood in a vendor's own URL."""
    headers = request.get("headers", {})
    if "body_base64" in request:
        content_type = headers.get("content-type", "multipart/form-data; boundary=b")
        return content_type, _multipart(base64.b64decode(request["body_base64"]), content_type, model)
    value = request.get("body")
    if value is None:
        value = {"model": model, "stream": True} if row["stream"] and dialect != "gemini" else {"model": model}
    if dialect != "gemini" and not isinstance(value.get("model"), str):
        value = {"model": model, **{key: kept for key, kept in value.items() if key != "model"}}
    return "application/json", json.dumps(value).encode()


def recording(row: Mapping[str, Any]) -> Recording | None:
    """The exchange of one row of INDEX.json, if it is same-dialect."""
    if row["file"] in OTHER_DIALECT_FILES:
        return None
    exchange = json.loads((WIRE / row["file"]).read_bytes())
    request = exchange["request"] or {}
    dialect, target = _target(row, request.get("path", ""))
    if not target:
        return None
    named = (request.get("body") or {}).get("model") if isinstance(request.get("body"), dict) else None
    in_url = re.search(r"/models/([^/:?]+):", target)
    model = in_url[1] if in_url else named if isinstance(named, str) else row["model"] or "unnamed"
    content_type, body = _request_body(row, request, dialect, model)
    if found := re.search(rb'name="model"\r\n\r\n([^\r\n]+)\r\n', body):
        model = found[1].decode()
    name = str(row["file"]).removesuffix(".json")
    return Recording(name, row, dialect, target, model, content_type, body, case_of(name, exchange))


def index() -> list[dict[str, Any]]:
    """INDEX.json's rows; empty where the corpus is absent."""
    path = WIRE / "INDEX.json"
    rows: list[dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else []
    return rows


def recordings() -> list[Recording]:
    """All same-dialect exchanges of the corpus."""
    return [found for row in index() if (found := recording(row)) is not None]
