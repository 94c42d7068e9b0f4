"""The closed table of data-plane paths: what is ours, what is the control process's, and what stands in a URL."""

from __future__ import annotations

import pytest

from burncloud.errors import Refusal
from burncloud.router.routes import GEMINI_METHODS, OPENAI_PATHS, POST_PATHS, REALTIME, target, with_model


@pytest.mark.parametrize("path", POST_PATHS)
def test_every_posted_path(path: bytes) -> None:
    """Looked up by its exact spelling; its query stays."""
    found = target(b"POST", path + b"?a=1")
    assert found.endpoint is POST_PATHS[path]
    assert (found.path, found.query, found.key, found.model) == (path, b"?a=1", b"", "")


def test_the_openai_paths() -> None:
    """Those of the issue, each."""
    assert set(OPENAI_PATHS) == {
        "chat/completions", "completions", "embeddings", "responses", "moderations", "rerank", "images/generations",
        "images/edits", "images/variations", "audio/speech", "audio/transcriptions", "audio/translations",
        "responses/compact", "responses/input_tokens",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "path"),
    [
        (b"POST", b"/v1/chat/completions/"),
        (b"GET", b"/v1/nothing"),
        (b"POST", b"/V1/chat/completions"),
        (b"POST", b"/v1/chat/completions%20"),
        (b"POST", b"/v1/%63hat/completions"),
        (b"POST", b"/api/v1/status"),
        (b"POST", b"/"),
        (b"GET", b"/console"),
    ],
)
def test_everything_else_is_control_s(method: bytes, path: bytes) -> None:
    """Another path, another spelling: not ours to answer."""
    assert target(method, path).endpoint is None


@pytest.mark.parametrize(
    ("method", "path", "allow", "shape"),
    [
        (b"GET", b"/v1/chat/completions?key=x", b"POST", "openai"),
        (b"PUT", b"/v1/embeddings", b"POST", "openai"),
        (b"HEAD", b"/v1/engines/m/embeddings", b"POST", "openai"),
        (b"GET", b"/v1/messages", b"POST", "anthropic"),
        (b"DELETE", b"/v1/models/x", b"GET, HEAD", "openai"),
        (b"POST", b"/v1/models", b"GET, HEAD", "openai"),
        (b"POST", b"/v1beta/models/x", b"GET, HEAD", "gemini"),
        (b"GET", b"/v1beta/models/m:generateContent", b"POST", "gemini"),
        (b"OPTIONS", b"/v1beta/models/m:countTokens", b"POST", "gemini"),
    ],
)
def test_a_method_that_a_path_does_not_take(method: bytes, path: bytes, allow: bytes, shape: str) -> None:
    """It is said so, in the path's dialect."""
    found = target(method, path)
    assert found.endpoint is not None
    assert (found.allow, found.endpoint.shape) == (allow, shape)
    assert not target(allow[:4].strip(b", "), path).allow


@pytest.mark.parametrize(
    ("query", "kept", "key"),
    [
        (b"", b"", b""),
        (b"?", b"", b""),
        (b"?key=sk", b"", b"sk"),
        (b"?key=sk&alt=sse", b"?alt=sse", b"sk"),
        (b"?alt=sse&key=sk", b"?alt=sse", b"sk"),
        (b"?key=one&key=two", b"", b"one"),
        (b"?key=", b"", b""),
        (b"?monkey=1", b"?monkey=1", b""),
        (b"?a=b?key=c", b"?a=b?key=c", b""),
        (b"?a&&b=", b"?a&&b=", b""),
    ],
)
def test_the_key_in_the_query(query: bytes, kept: bytes, key: bytes) -> None:
    """Every `key=` is taken out; the first one counts; all else stays as it was."""
    found = target(b"POST", b"/v1/messages" + query)
    assert (found.query, found.key) == (kept, key)


@pytest.mark.parametrize("version", ["/v1beta", "/v1"])
@pytest.mark.parametrize("method", GEMINI_METHODS)
def test_gemini(version: str, method: str) -> None:
    """Model and method stand in the path; one of the methods is a stream."""
    found = target(b"POST", f"{version}/models/gemini-2.0-flash:{method}?alt=sse".encode())
    assert found.endpoint is GEMINI_METHODS[method]
    assert (found.model, found.stream) == ("gemini-2.0-flash", method == "streamGenerateContent")


@pytest.mark.parametrize(
    "path", ["/v1beta/models/x:", "/v1beta/models/:generateContent", "/v1beta/models/x:drop", "/v1beta/models/x:a:b"]
)
def test_gemini_s_nonsense(path: str) -> None:
    """A path that is Gemini's but names no model, or no method that is known."""
    with pytest.raises(Refusal):
        target(b"POST", path.encode())


@pytest.mark.parametrize(
    ("path", "dialect", "model"),
    [
        ("/v1/models", "openai", ""),
        ("/v1/models/gpt-4", "openai", "gpt-4"),
        ("/v1beta/models", "gemini", ""),
        ("/v1beta/models/m", "gemini", "m"),
    ],
)
def test_listings(path: str, dialect: str, model: str) -> None:
    """In the form of whoever asks."""
    found = target(b"GET", path.encode())
    assert target(b"HEAD", path.encode()) == found
    assert found.endpoint is not None
    assert (found.endpoint.dialect, found.endpoint.model_in, found.model) == (dialect, "none", model)


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("/v1beta/models/m:countTokens", "n", "/v1beta/models/n:countTokens"),
        ("/v1beta/models/m:countTokens", "a b/c", "/v1beta/models/a%20b%2Fc:countTokens"),
        ("/v1/engines/m/embeddings", "a/b", "/v1/engines/a%2Fb/embeddings"),
    ],
)
def test_another_model_in_the_url(path: str, name: str, expected: str) -> None:
    """By its place, quoted."""
    assert with_model(target(b"POST", path.encode()), name).decode() == expected


@pytest.mark.parametrize(
    ("url", "model", "query", "key"),
    [
        (b"/v1/realtime?model=gpt%2Drealtime", "gpt-realtime", b"", b""),
        (b"/v1/realtime?intent=transcription&model=m&key=k&x", "m", b"?intent=transcription&x", b"k"),
        (b"/openai/v1/realtime?model=m&api-key=k", "m", b"", b"k"),
        (b"/openai/realtime?api-version=v&deployment=d", "d", b"", b""),
        (b"/v1/realtime", "", b"", b""),
    ],
)
def test_realtime(url: bytes, model: str, query: bytes, key: bytes) -> None:
    """OpenAI's path and Azure's two are one; the model is taken out of the query, and a key."""
    found = target(b"GET", url)
    assert found.endpoint is REALTIME
    assert (found.path, found.model, found.query, found.key) == (b"/v1/realtime", model, query, key)
