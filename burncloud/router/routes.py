"""The data-plane paths, a closed table: everything else belongs to the control process.

A target is looked up on the raw path, remembered by its spelling.  `key=` in the query is a credential
(Gemini's clients send it): it is taken out before anything is passed on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote_to_bytes

import msgspec

from burncloud.adaptors.peek import peek_url
from burncloud.errors import INVALID_REQUEST, Refusal, Shape


class Endpoint(msgspec.Struct, frozen=True):
    """One API of one dialect."""

    name: str
    """As in the ledger: "chat.completions", "messages", …"""
    dialect: str
    """openai · anthropic · gemini: the family of channels that answer it, and how it is peeked and metered."""
    model_in: str
    """body · form · either (JSON or multipart) · url · none."""
    shape: Shape = "openai"
    """How errors are written."""
    default_model: str = ""
    """What the vendor takes where a request names no model (OpenAI's API reference); "" = it must name one."""
    usage_option: bool = False
    """Streams carry usage only if `stream_options.include_usage` is set."""
    free: bool = False
    """Never billed (token counting, listings)."""
    counted: str = ""
    """Answer of a request that only counts tokens, where nobody but us can: the JSON with %d in it."""
    conversation: str = ""
    """The dialect, where it can be translated (adaptors/spoken.py); "" = it goes as it comes or not at all."""


OPENAI_PATHS: Final[dict[str, Endpoint]] = {
    "chat/completions": Endpoint("chat.completions", "openai", "body", usage_option=True, conversation="chat"),
    "completions": Endpoint("completions", "openai", "body", usage_option=True),
    "embeddings": Endpoint("embeddings", "openai", "body", conversation="embeddings"),
    "responses": Endpoint("responses", "openai", "body", conversation="responses"),
    "responses/compact": Endpoint("responses.compact", "openai", "body"),
    "responses/input_tokens": Endpoint(
        "input_tokens",
        "openai",
        "body",
        free=True,
        counted='{"object":"response.input_tokens","input_tokens":%d}',
        conversation="input_tokens",
    ),
    "moderations": Endpoint("moderations", "openai", "body", default_model="omni-moderation-latest"),
    "images/generations": Endpoint("images", "openai", "body", default_model="dall-e-2"),
    "images/edits": Endpoint("images", "openai", "either", default_model="dall-e-2"),
    "images/variations": Endpoint("images", "openai", "form", default_model="dall-e-2"),
    "audio/speech": Endpoint("audio", "openai", "body"),
    "audio/transcriptions": Endpoint("audio", "openai", "form"),
    "audio/translations": Endpoint("audio", "openai", "form"),
    "rerank": Endpoint("rerank", "openai", "body", conversation="rerank"),
}

POST_PATHS: Final[dict[bytes, Endpoint]] = {
    **{b"/v1/" + path.encode(): endpoint for path, endpoint in OPENAI_PATHS.items()},
    b"/v2/rerank": Endpoint("rerank", "openai", "body", conversation="cohere-rerank"),
    b"/v1/messages": Endpoint("messages", "anthropic", "body", "anthropic", conversation="messages"),
    b"/v1/messages/count_tokens": Endpoint(
        "count_tokens",
        "anthropic",
        "body",
        "anthropic",
        free=True,
        counted='{"input_tokens":%d}',
        conversation="count_tokens",
    ),
}

GEMINI_METHODS: Final[dict[str, Endpoint]] = {
    "generateContent": Endpoint("generateContent", "gemini", "url", "gemini", conversation="gemini"),
    "streamGenerateContent": Endpoint("streamGenerateContent", "gemini", "url", "gemini", conversation="gemini"),
    "countTokens": Endpoint(
        "countTokens", "gemini", "url", "gemini", free=True, counted='{"totalTokens":%d}', conversation="countTokens"
    ),
    "embedContent": Endpoint("embedContent", "gemini", "url", "gemini", conversation="gemini-embeddings"),
    "batchEmbedContents": Endpoint("embedContent", "gemini", "url", "gemini", conversation="gemini-embeddings"),
}

ENGINE_EMBEDDINGS: Final = Endpoint("embeddings", "openai", "url")
REALTIME: Final = Endpoint("realtime", "openai", "url")
REALTIME_PATHS: Final = frozenset((b"/v1/realtime", b"/openai/v1/realtime", b"/openai/realtime"))
"""OpenAI's, and Azure's two."""
MODELS_OPENAI: Final = Endpoint("models", "openai", "none", free=True)
MODELS_ANTHROPIC: Final = Endpoint("models", "anthropic", "none", "anthropic", free=True)
MODELS_GEMINI: Final = Endpoint("models", "gemini", "none", "gemini", free=True)

METHODS: Final = {b"POST": b"POST", b"GET": b"GET, HEAD"}
"""The two kinds of paths there are, and the methods that each takes."""

GEMINI_PREFIXES: Final = (b"/v1beta/models/", b"/v1/models/", b"/v1beta/tunedModels/")


class Target(msgspec.Struct, frozen=True):
    """Where a request is going."""

    endpoint: Endpoint | None
    """None: to the control process."""
    path: bytes
    """Without the query."""
    query: bytes = b""
    """With its "?", without `key=`; or empty."""
    key: bytes = b""
    """The credential that stood in the query."""
    model: str = ""
    """From the URL, where it stands there."""
    stream: bool = False
    """The URL asks for a stream."""
    allow: bytes = b""
    """Not empty: the path is known, but not with this method; what stands here it takes."""


SPOKEN_FIELDS: Final = {
    b"anthropic-version": MODELS_ANTHROPIC,
    b"x-api-key": MODELS_ANTHROPIC,
    b"x-goog-api-key": MODELS_GEMINI,
    b"x-goog-api-client": MODELS_GEMINI,
}
"""The one path that all vendors have, /v1/models, is told by what only the clients of one send."""

ANY_GEMINI: Final = Target(MODELS_GEMINI, b"")
"""Of a request on a Gemini path that cannot be looked up: its error has Gemini's shape."""


def target(method: bytes, url: bytes, fields: Sequence[tuple[bytes, bytes]] = ()) -> Target:
    """Look a request target up.  Raises Refusal for a Gemini path that names no model.

    `fields`: of the request's head, by which /v1/models knows whose form is wanted.

    A data-plane path with a method that it does not take is never the control process's: `allow` says so.
    """
    path, _, query = url.partition(b"?")
    key = b""
    if query:
        parts = query.split(b"&")
        kept = [part for part in parts if not part.startswith(b"key=")]
        if len(kept) != len(parts):
            key = next(part[4:] for part in parts if part.startswith(b"key="))
            query = b"&".join(kept)
    query = b"?" + query if query else b""
    own = b"GET" if method == b"HEAD" else method
    found = _find(own, path, query, key)
    if found.endpoint is None:
        for other, allow in METHODS.items():
            known = _find(other, path, query, key) if other != own else found
            if known.endpoint is not None:
                return msgspec.structs.replace(known, allow=allow)
    elif found.endpoint is MODELS_OPENAI:
        for name, _ in fields:
            spoken = SPOKEN_FIELDS.get(name.lower())
            if spoken is not None:
                return msgspec.structs.replace(found, endpoint=spoken)
    return found


def _find(method: bytes, path: bytes, query: bytes, key: bytes) -> Target:
    if method == b"POST":
        endpoint = POST_PATHS.get(path)
        if endpoint is not None:
            return Target(endpoint, path, query, key)
        if path.startswith(b"/v1/engines/") and path.endswith(b"/embeddings"):
            model = path[len(b"/v1/engines/") : -len(b"/embeddings")]
            return Target(ENGINE_EMBEDDINGS, path, query, key, model.decode("latin-1"))
        if path.startswith(GEMINI_PREFIXES) and (b":" in path or b"%3a" in path.lower()):
            return _gemini(path, query, key)
    elif method == b"GET" and path.rpartition(b":")[2].decode("latin-1") not in GEMINI_METHODS:
        if path in REALTIME_PATHS:
            return _realtime(query, key)
        if path == b"/v1/models" or path.startswith(b"/v1/models/"):
            return Target(MODELS_OPENAI, path, query, key, _named(path, b"/v1/models/"))
        if path == b"/v1beta/models" or path.startswith(b"/v1beta/models/"):
            return Target(MODELS_GEMINI, path, query, key, _named(path, b"/v1beta/models/"))
    return Target(None, path, query, key)


def _realtime(query: bytes, key: bytes) -> Target:
    """A WebSocket; at Azure the model is a deployment, and the key may stand in the query under another name."""
    said: dict[bytes, bytes] = {}
    kept: list[bytes] = []
    for part in query[1:].split(b"&"):
        name, _, value = part.partition(b"=")
        if name in (b"model", b"deployment", b"api-key", b"api-version"):
            said[name] = value
        elif part:
            kept.append(part)
    model = unquote_to_bytes(said.get(b"model") or said.get(b"deployment", b"")).decode(errors="replace")
    rest = b"?" + b"&".join(kept) if kept else b""
    return Target(REALTIME, b"/v1/realtime", rest, key or said.get(b"api-key", b""), model)


def _named(path: bytes, prefix: bytes) -> str:
    """The model that a path of the listing names; "" = none."""
    return unquote_to_bytes(path[len(prefix) :]).decode(errors="replace")


def _gemini(path: bytes, query: bytes, key: bytes) -> Target:
    try:
        model, method = peek_url(path.decode("ascii"))
    except UnicodeDecodeError:
        raise Refusal(INVALID_REQUEST, "The path is not ASCII") from None
    endpoint = GEMINI_METHODS.get(method)
    if endpoint is None:
        raise Refusal(INVALID_REQUEST, f"Unknown method {method!r}; known are {', '.join(GEMINI_METHODS)}")
    return Target(endpoint, path, query, key, model, method == "streamGenerateContent")


def with_model(target: Target, name: str) -> bytes:
    """The path of a target whose model stands in the URL, with another model in its place."""
    if target.endpoint is ENGINE_EMBEDDINGS:
        return b"/v1/engines/" + quote(name, safe="").encode() + b"/embeddings"
    version = target.path[: target.path.index(b"/", 1)]
    method = target.path.replace(b"%3A", b":").replace(b"%3a", b":").rpartition(b":")[2]
    place = quote(name, safe="/") if name.startswith("tunedModels/") else "models/" + quote(name, safe="")
    return b"%b/%b:%b" % (version, place.encode(), method)
