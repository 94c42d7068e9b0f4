"""The public error table and its three shapes."""

from __future__ import annotations

import json

import pytest

from burncloud.errors import (
    ERRORS,
    INSUFFICIENT_QUOTA,
    NOT_FOUND,
    THREAD_UNSUPPORTED,
    TOKEN_EXPIRED,
    ErrorRow,
    Refusal,
    error_body,
)

PROMISED = [
    (401, "invalid_token", "invalid_request_error"),
    (401, "token_expired", "invalid_request_error"),
    (402, "insufficient_quota", "insufficient_quota_error"),
    (403, "permission_denied", "permission_error"),
    (404, "not_found", "not_found_error"),
    (429, "rate_limit_exceeded", "rate_limit_error"),
    (500, "server_error", "server_error"),
    (503, "service_unavailable", "server_error"),
]


def test_the_promised_rows_stand_as_promised() -> None:
    rows = {(row.status, row.code, row.type) for row in ERRORS}
    assert set(PROMISED) <= rows
    assert len({row.code for row in ERRORS}) == len(ERRORS)
    assert (INSUFFICIENT_QUOTA.message, TOKEN_EXPIRED.message) == ("Insufficient quota", "Token has expired")


@pytest.mark.parametrize("row", ERRORS, ids=lambda row: row.code)
def test_every_row_has_every_shape(row: ErrorRow) -> None:
    assert json.loads(error_body(row)) == {"error": {"message": row.message, "type": row.type, "code": row.code}}
    anthropic = json.loads(error_body(row, "why", "anthropic"))
    assert anthropic["type"] == "error"
    assert set(anthropic["error"]) == {"type", "message"} | ({"details"} if row is THREAD_UNSUPPORTED else set())
    assert anthropic["error"]["message"] == "why"
    gemini = json.loads(error_body(row, shape="gemini"))["error"]
    assert (gemini["code"], gemini["message"]) == (row.status, row.message)
    assert gemini["status"].isupper()


def test_a_refusal_carries_its_row_and_sentence() -> None:
    assert Refusal(NOT_FOUND).message == str(Refusal(NOT_FOUND)) == NOT_FOUND.message
    refusal = Refusal(NOT_FOUND, "There is no x", 3)
    assert (refusal.row, refusal.message, refusal.retry_after_s) == (NOT_FOUND, "There is no x", 3)
