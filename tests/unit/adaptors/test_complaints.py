"""What vendors say when a request is too long or not wanted, in their own words."""

from __future__ import annotations

import json

import pytest

from burncloud.adaptors.canon import Failure
from burncloud.adaptors.complaints import ABSENT, FILTERED, TOO_LONG, complaint_in, complaint_of, kind_of
from burncloud.domain.parts import FORBIDDEN, REFUSED


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
    b'{"code": "x", "error": "This model\'s maximum prompt length is 131072 but the request contains 200000 tokens."}',
    said("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)"),
    said("invalid params, context window exceeds limit (2013)"),
    said("Unable to submit request because the input token count is 9 but model only supports up to 8.", code=400),
    b'{"message": "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input."}',
    said("The input (9000 tokens) is longer than the model's context length (4096 tokens)."),
    said("The decoder prompt (length 9000) is longer than the maximum model length of 4096."),
    said("Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens"),
    said("Request too large for model `llama-3.3-70b-versatile` in organization `org_1` service tier `on_demand` on "
         "tokens per minute (TPM): Limit 6000, Requested 9000", type="tokens", code="rate_limit_exceeded"),
    said("Request body too large for gpt-4o model. Max size: 8000 tokens.", code="tokens_limit_reached"),
]  # fmt: skip
FILTERED_SAID = [
    said("The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
         code="content_filter", status=400, innererror={"code": "ResponsibleAIPolicyViolation"}),
    said("rejected", code="content_policy_violation"),
    said("Input data may contain inappropriate content.", code="data_inspection_failed"),
    said("Your request was flagged as potentially violating our usage policy.", code="invalid_prompt"),
    said("Content Exists Risk", type="invalid_request_error", code="invalid_request_error"),
    said("The request was rejected because it was considered high risk", type="content_filter"),
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


@pytest.mark.parametrize(("status", "body", "kind"), [
    (400, said("API key not valid. Please pass a valid API key.", code=400, status="INVALID_ARGUMENT"), REFUSED),
    (400, b"[" + said("", details=[{"@type": "ErrorInfo", "reason": "API_KEY_INVALID"}]) + b"]", REFUSED),
    (400, b'{"code": "Client specified an invalid argument", "error": "Incorrect API key provided: sk***."}', REFUSED),
    (400, said("Your credit balance is too low to access the Anthropic API.", type="invalid_request_error"), REFUSED),
    (400, b'{"code": "Arrearage", "message": "Access denied"}', REFUSED),
    (400, said("", code="billing_hard_limit_reached"), REFUSED),
    (400, said("User location is not supported for the API use.", status="FAILED_PRECONDITION"), FORBIDDEN),
    (403, said("no"), FORBIDDEN),
    (403, b'{"code": "The caller does not have permission", "error": "Content violates usage guidelines. Team: t"}',
     FILTERED),
    (404, said("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"), ABSENT),
    (404, said("model: claude-9", type="not_found_error"), ABSENT),
    (404, said("models/gemini-9 is not found for API version v1beta", code=404, status="NOT_FOUND"), ABSENT),
    (404, b'{"object": "error", "message": "The model `x` does not exist.", "code": 404}', ABSENT),
    (400, said("acme/x is not a valid model ID", code=400), ABSENT),
    (400, said("Model Not Exist", type="invalid_request_error"), ABSENT),
    (424, b'{"message": "The request failed due to an error while processing the model"}', ABSENT),
    (404, said("File file-1 not found", type="invalid_request_error"), ""),
])  # fmt: skip
def test_what_another_channel_may_do(status: int, body: bytes, kind: str) -> None:
    """The key is bad or empty, the model is not there: told with a client's status."""
    assert kind_of(status, body) == kind


def test_a_client_cannot_take_a_key_away() -> None:
    """Its own words, which an error repeats, say nothing of the key."""
    words = "Incorrect API key provided"
    echo = said(f"Input should be a valid dictionary: '{words}'", detail=[{"input": words, "code": "API_KEY_INVALID"}])
    assert kind_of(400, echo) == ""


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
