"""Answers of functions and ids of calls."""

from __future__ import annotations

from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.names import Names
from burncloud.adaptors.gemini.results import Ids, made_from, read_response, response_of, written_id
from burncloud.errors import Refusal


def read(response: Any, ids: Ids) -> canon.ToolResult:
    fields = Names({"name": "f", "id": "c", "response": response})
    return read_response(fields, ids, lambda part: [])


@pytest.mark.parametrize(
    ("response", "text", "is_error"),
    [
        ({"output": "x"}, "x", False),
        ({"result": "x"}, "x", False),
        ({"error": "x"}, "x", True),
        ({"temperature": "20"}, '{"temperature":"20"}', False),
        ({"result": [1]}, '{"result":[1]}', False),
        ({"output": '{"a":1}'}, '{"a":1}', False),
        ({"error": {"code": 1}}, '{"error":{"code":1}}', True),
    ],
)
def test_there_and_back(response: dict[str, Any], text: str, is_error: bool) -> None:
    ids = Ids()
    result = read(response, ids)
    assert (result.blocks, result.is_error) == ([canon.Text(text)], is_error)
    assert response_of(text, is_error, ids.said.get("result.c", "")) == response


def test_results_find_their_calls() -> None:
    ids = Ids("r")
    calls = [ids.call("", "f"), ids.call("own", "g"), ids.call("", "f")]
    assert calls == ["gcall_r_0", "own", "gcall_r_1"]
    assert [ids.result("", "f"), ids.result("own", "g"), ids.result("", "f")] == ["gcall_r_0", "own", "gcall_r_1"]
    assert ids.result("", "f") == "gcall_r_f"
    assert ids.result("other", "f") == "other"
    assert (written_id("gcall_r_0"), written_id("own")) == ({}, {"id": "own"})


def test_made_from() -> None:
    assert made_from("a-b_C1", b"") == "abC1"
    assert made_from("", b"x") == made_from("--", b"x") != made_from("", b"y")


def test_a_result_without_a_response() -> None:
    with pytest.raises(Refusal, match="response must be given"):
        read(None, Ids())
