"""What vendors say when a request is too long or not wanted, in their own words."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors.canon import Failure
from burncloud.adaptors.complaints import FILTERED, TOO_LONG, complaint_in, complaint_of, kind_of


def said(message: str, **more: object) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


TOO_LONG_SAID = [
    said("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
         type="invalid_request_error", param="messages", code="context_length_exceeded"),
    said("no words for it", code="context_length_exceeded"),
    json.dumps({"type": "error", "error": {"type": "invalid_request_error",
                "message": "prompt is too long: 208310 tokens > 200000 maximum"}}).encode(),
    said("The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
         status="INVALID_ARGUMENT"),
    json.dumps({"message": "Input is too long for requested model."}).encode(),
    said("the request exceeds the available context size, try increasing it", type="exceed_context_size_error"),
    b'{"object": "error", "message": "This model\'s maximum context length is 4096 tokens.", "code": 400}',
    said("Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
         code="3051"),
    said("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]",
         code="invalid_parameter_error"),
    b"prompt is too long",
]  # fmt: skip
FILTERED_SAID = [
    said("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
         code="content_filter", status=400, innererror={"code": "ResponsibleAIPolicyViolation"}),
    said("rejected", code="content_policy_violation"),
    said("Input data may contain inappropriate content.", code="data_inspection_failed"),
    said("Your request was flagged as potentially violating our usage policy.", code="invalid_prompt"),
]  # fmt: skip
ELSE_SAID = [
    said("Invalid value for 'temperature': must be at most 2", code="invalid_value"),
    said("max_tokens is too large: 100000. This model supports at most 16384 completion tokens", code="invalid_value"),
    said("Unrecognized request argument supplied: fro"),
    b"",
    b"<html>Bad Request</html>",
    b"[" * 2000,
]


@pytest.mark.parametrize("body", TOO_LONG_SAID)
def test_too_long(body: bytes) -> None:
    """By code where there is one, by the sentence where not."""
    assert kind_of(400, body) == TOO_LONG


@pytest.mark.parametrize("body", FILTERED_SAID)
def test_filtered(body: bytes) -> None:
    """The same of content that is not wanted."""
    assert kind_of(400, body) == FILTERED


@pytest.mark.parametrize("body", ELSE_SAID)
def test_something_else(body: bytes) -> None:
    """A client's own mistake is none of it."""
    assert kind_of(400, body) == ""


def test_only_of_refusals() -> None:
    """What another status says is not looked at; an event has none."""
    assert kind_of(503, TOO_LONG_SAID[0]) == ""
    assert kind_of(413, TOO_LONG_SAID[2]) == TOO_LONG
    assert complaint_in(FILTERED_SAID[0]) == FILTERED


def test_what_stopped_a_stream() -> None:
    """An event with its name, or what was read of a frame; only of the error, whatever stands beside it."""
    assert complaint_of(b"event: error\r\ndata: " + TOO_LONG_SAID[2] + b"\r\n\r\n") == TOO_LONG
    assert complaint_of(Failure(400, "Input is too long for requested model.", "validationException")) == TOO_LONG
    assert complaint_of(Failure(503, "try again")) == complaint_of(None) == complaint_of(b"") == ""
    beside = {"instructions": "Explain our usage policies." * 5_000}
    for code, kind in (("server_error", ""), ("context_length_exceeded", TOO_LONG)):
        event = {"type": "response.failed", "response": beside | {"error": {"code": code}}}
        assert complaint_of(b"data: " + json.dumps(event).encode() + b"\n\n") == kind
