"""An upstream's own sentence is found in every shape, and its secrets are not in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.adaptors.failures import MESSAGE_CHARS_MAX, failure_of, scrubbed

SHAPES: list[tuple[Any, str, str]] = [
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Busy"}}, "Busy", "overloaded_error"),
    ({"error": {"message": "bad", "type": "invalid_request_error", "code": "x"}}, "bad", "invalid_request_error"),
    ({"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}, "bad", "INVALID_ARGUMENT"),
    ([{"error": {"code": 400, "message": "bad", "status": "INVALID_ARGUMENT"}}], "bad", "INVALID_ARGUMENT"),
    ({"message": "Too many tokens", "__type": "ThrottlingException"}, "Too many tokens", "ThrottlingException"),
    ({"Message": "no"}, "no", ""),
    ({"error": "model not found"}, "model not found", ""),
    ({"detail": "Not Found"}, "Not Found", ""),
    ({"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]}, "field required", ""),
    ({"object": "error", "message": "m", "type": "BadRequestError", "code": 400}, "m", "BadRequestError"),
    ({"error": {"message": {"detail": [{"msg": "deep"}]}, "type": "t"}}, "deep", "t"),
    ({}, "The upstream answered with status 418", ""),
    ("just text", "just text", ""),
    (None, "The upstream answered with status 418", ""),
]  # fmt: skip


@pytest.mark.parametrize(("value", "message", "kind"), SHAPES)
def test_shapes(value: Any, message: str, kind: str) -> None:
    failure = failure_of(418, json.dumps(value).encode())
    assert (failure.status, failure.message, failure.kind) == (418, message, kind)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"upstream connect error", "upstream connect error"),
        (b"<html><body>502 Bad Gateway nginx</body></html>", "The upstream answered with status 502"),
        (b"", "The upstream answered with status 502"),
        (b"\x00\x01", "The upstream answered with status 502"),
    ],
)
def test_bodies_that_are_no_json(body: bytes, message: str) -> None:
    assert failure_of(502, body).message == message


@pytest.mark.parametrize(
    "secret",
    [
        "https://api.example-upstream.com/v1/messages?key=1",
        "sk-ant-api03-abcdefgh",
        "sk-proj-****wxyz",
        "AIzaSyA1234567890",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "10.0.12.7:8443",
        "gateway.internal.example.com",
        "org-AbCdEfGhIjKl",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/x",
    ],
)
def test_secrets_are_cut_out(secret: str) -> None:
    text = scrubbed(f"Incorrect value {secret} given, see the manual")
    assert secret not in text
    assert "example" not in text.lower()
    assert text.startswith("Incorrect value")
    assert text.endswith("given, see the manual")


@pytest.mark.parametrize(
    "text",
    [
        "messages.0.content.1.text: Field required",
        "output_format.schema: For 'integer' type, property 'minimum' is not supported",
        "model: claude-3-5-sonnet-20241022 not found; try gpt-4.1-mini or gemini-2.5-flash",
        "max_tokens: 5000 > 4096, version 1.2.3",
    ],
)
def test_ordinary_sentences_stay(text: str) -> None:
    assert scrubbed(text) == text


def test_keys_after_their_name() -> None:
    assert scrubbed("Incorrect API key provided: abc12****xyz. Try") == "Incorrect API key provided: [key] Try"
    assert scrubbed("Bearer abcdef is wrong") == "Bearer [key] is wrong"
    assert len(scrubbed("a " * 5000)) == MESSAGE_CHARS_MAX


@given(st.binary())
def test_any_body(body: bytes) -> None:
    assert failure_of(500, body).message


@given(st.recursive(st.none() | st.text() | st.integers(), lambda s: st.lists(s) | st.dictionaries(
    st.sampled_from(["error", "message", "detail", "type", "msg", "code"]), s)))  # fmt: skip
def test_any_json(value: Any) -> None:
    assert failure_of(500, json.dumps(value).encode()).message
