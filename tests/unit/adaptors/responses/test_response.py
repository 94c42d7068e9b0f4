"""The response object around the output."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.responses.request import read_request
from burncloud.adaptors.responses.response import (
    echo,
    made_id,
    read_created,
    read_rest,
    read_stop,
    read_usage,
    shell,
    usage_rest,
    write_error,
    write_stop,
    write_usage,
)
from burncloud.domain.usage import Usage


def test_it_repeats_the_request() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    body = {"model": "m", "input": "hi", "instructions": "be good", "tools": [tool], "tool_choice": "required",
            "temperature": 0.5, "reasoning": {"effort": "low"}, "store": True, "service_tier": "flex"}  # fmt: skip
    found = echo(read_request(json.dumps(body).encode()))
    assert (found["instructions"], found["tools"], found["tool_choice"]) == ("be good", [tool], "required")
    assert found["reasoning"] == {"effort": "low", "summary": None}
    assert (found["store"], "service_tier" in found) == (False, False)
    assert echo(None)["tools"] == []


def test_what_it_says_beside() -> None:
    extra, said = read_rest(
        {"id": "x", "billing": {"payer": "d"}, "moderation": None, "tools": [], "usage": {"cost": 1}}
    )
    assert (extra, said) == ({"billing": {"payer": "d"}, "usage.cost": 1}, {"tools": []})
    assert usage_rest({}) == {}


@pytest.mark.parametrize(("value", "want"), [(5, 5), (5.5, 5), (None, 0), ("x", 0), (-1, 0)])
def test_created(value: Any, want: int) -> None:
    assert read_created({"created_at": value}) == want


STOPS: list[tuple[dict[str, Any], str]] = [
    ({"status": "completed"}, "stop"),
    ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
    ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "filter"),
    ({"status": "incomplete", "incomplete_details": None}, "other"),
    ({"status": "cancelled"}, "error"),
    ({"status": "queued"}, "other"),
]


@pytest.mark.parametrize(("response", "reason"), STOPS)
def test_stops(response: dict[str, Any], reason: str) -> None:
    stop = read_stop(response, called=False, refused=False)
    assert stop.reason == reason
    losses = canon.Losses()
    written = write_stop(stop, losses, refused=False, own=True)
    assert written.get("incomplete_details") == response.get("incomplete_details")
    assert (written["status"], losses.names()) == (response["status"], [])


def test_a_call_or_a_refusal_is_the_reason() -> None:
    assert read_stop({}, called=True, refused=True).reason == "tool"
    assert read_stop({}, called=False, refused=True).reason == "refusal"


@pytest.mark.parametrize(
    ("stop", "status", "lost"),
    [
        (canon.Stop("refusal"), "incomplete", []),
        (canon.Stop("error"), "failed", []),
        (canon.Stop("pause"), "completed", ["stop_reason"]),
        (canon.Stop("sequence", "x", "END"), "completed", ["stop_sequence"]),
    ],
)
def test_stops_of_others(stop: canon.Stop, status: str, lost: list[str]) -> None:
    losses = canon.Losses()
    assert write_stop(stop, losses, refused=False, own=False)["status"] == status
    assert losses.names() == lost


def test_usage_there_and_back() -> None:
    for usage in (Usage(1, 2), Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)):
        assert read_usage({"usage": write_usage(usage, {"usage.cost": 1})}) == usage
    assert read_usage({"usage": {"input_tokens": "x", "output_tokens": 5}}) == Usage(0, 5)
    assert read_usage({}) is None


def test_a_tier_that_openai_does_not_know() -> None:
    losses = canon.Losses()
    assert shell("r", "m", 1, {}, "provisioned", losses, own=False)["service_tier"] == "default"
    assert losses.names() == ["service_tier"]
    assert shell("r", "m", 1, {}, "provisioned", losses, own=True)["service_tier"] == "provisioned"


def test_ids() -> None:
    assert made_id("resp_msg_01-a") == "msg01a"
    assert made_id("") == "0"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (canon.Failure(429, "m"), "rate_limit_exceeded"),
        (canon.Failure(400, "m", "invalid_request_error"), "invalid_prompt"),
        (canon.Failure(529, "m", "overloaded_error"), "server_error"),
        (canon.Failure(429, "m", "insufficient_quota"), "insufficient_quota"),
    ],
)
def test_errors(failure: canon.Failure, code: str) -> None:
    assert write_error(failure) == {"code": code, "message": "m", "param": None}
