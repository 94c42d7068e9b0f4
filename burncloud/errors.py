"""Every error a client can meet, in one table, and the three shapes it is written in.

An error is named by what went wrong, carries the HTTP status, the `code` and the `type` of
the public error table (docs/errors.md is made from it), and says whose fault it is: only an
upstream's fault may ever count against a channel.  Nothing here may hold an upstream's
address, name or secret: messages reach clients as they are.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Shape = Literal["openai", "anthropic", "gemini"]


class ErrorRow(msgspec.Struct, frozen=True):
    """One row of the public error table."""

    status: int
    code: str
    type: str
    message: str


INVALID_REQUEST: Final = ErrorRow(400, "invalid_request_error", "invalid_request_error", "Invalid request")
THREAD_UNSUPPORTED: Final = ErrorRow(
    400, "thread_unsupported_request", "invalid_request_error",
    "This model is at another vendor, who does not keep the thread: send the whole conversation",
)  # fmt: skip
"""The word by which Anthropic's SDK goes on without `thread`."""
INVALID_TOKEN: Final = ErrorRow(401, "invalid_token", "invalid_request_error", "Invalid token")
TOKEN_EXPIRED: Final = ErrorRow(401, "token_expired", "invalid_request_error", "Token has expired")
INSUFFICIENT_QUOTA: Final = ErrorRow(402, "insufficient_quota", "insufficient_quota_error", "Insufficient quota")
PERMISSION_DENIED: Final = ErrorRow(403, "permission_denied", "permission_error", "Permission denied")
NOT_FOUND: Final = ErrorRow(404, "not_found", "not_found_error", "Not found")
METHOD_NOT_ALLOWED: Final = ErrorRow(405, "method_not_allowed", "invalid_request_error", "Method not allowed")
REQUEST_TIMEOUT: Final = ErrorRow(408, "request_timeout", "invalid_request_error", "The request did not arrive in time")
REQUEST_TOO_LARGE: Final = ErrorRow(413, "request_too_large", "invalid_request_error", "The request body is too large")
HEAD_TOO_LARGE: Final = ErrorRow(431, "request_head_too_large", "invalid_request_error", "The head is too large")
RATE_LIMIT_EXCEEDED: Final = ErrorRow(429, "rate_limit_exceeded", "rate_limit_error", "Rate limit exceeded")
SERVER_ERROR: Final = ErrorRow(500, "server_error", "server_error", "Internal server error")
BAD_GATEWAY: Final = ErrorRow(502, "bad_gateway", "server_error", "The upstream gave an answer that is not usable")
SERVICE_UNAVAILABLE: Final = ErrorRow(503, "service_unavailable", "server_error", "Service unavailable, try again")

ERRORS: Final[tuple[ErrorRow, ...]] = (
    INVALID_REQUEST, THREAD_UNSUPPORTED, INVALID_TOKEN, TOKEN_EXPIRED, INSUFFICIENT_QUOTA, PERMISSION_DENIED, NOT_FOUND,
    METHOD_NOT_ALLOWED, REQUEST_TIMEOUT, REQUEST_TOO_LARGE, HEAD_TOO_LARGE, RATE_LIMIT_EXCEEDED,
    SERVER_ERROR, BAD_GATEWAY, SERVICE_UNAVAILABLE,
)  # fmt: skip

ANTHROPIC_TYPES: Final[dict[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    503: "overloaded_error",
}
"""Status to `error.type` on Anthropic paths (Anthropic API reference, "Errors")."""

GEMINI_STATUSES: Final[dict[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
"""Status to `error.status` on Gemini paths (google.rpc.Code names, Google API design guide)."""


class Refusal(Exception):
    """A request that is answered with an error row instead of being served.

    `message` replaces the row's own sentence; `retry_after_s` > 0 becomes a Retry-After header.
    """

    def __init__(self, row: ErrorRow, message: str = "", retry_after_s: int = 0) -> None:
        super().__init__(message or row.message)
        self.row = row
        self.message = message or row.message
        self.retry_after_s = retry_after_s


def error_body(row: ErrorRow, message: str = "", shape: Shape = "openai") -> bytes:
    """The JSON body of an error in the shape that the caller's dialect expects."""
    text = message or row.message
    if shape == "anthropic":
        kind = ANTHROPIC_TYPES.get(row.status, "api_error" if row.status >= 500 else "invalid_request_error")
        error: dict[str, object] = {"type": kind, "message": text}
        if row is THREAD_UNSUPPORTED:
            error["details"] = {"error_code": row.code, "unsupported": ["thread"]}
        return msgspec.json.encode({"type": "error", "error": error})
    if shape == "gemini":
        status = GEMINI_STATUSES.get(row.status, "INTERNAL" if row.status >= 500 else "INVALID_ARGUMENT")
        return msgspec.json.encode({"error": {"code": row.status, "message": text, "status": status}})
    return msgspec.json.encode({"error": {"message": text, "type": row.type, "code": row.code}})
