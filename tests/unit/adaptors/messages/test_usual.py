"""The short way takes what it should; that it gives the same as the long way: test_plainly.py."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.messages.usual import read_usual, write_usual, write_usual_answer
from burncloud.domain.usage import Usage

ASKED: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}


def read(**members: Any) -> canon.Request | None:
    return read_usual(msgspec.json.encode(ASKED | members), "", False, "messages")


@pytest.mark.parametrize("more", [{}, {"system": "s"}, {"temperature": 1, "top_p": 0.5}, {"stream": True}])
def test_texts_and_numbers(more: dict[str, Any]) -> None:
    request = read(**more)
    assert request is not None
    assert request.stream is request.include_usage is bool(more.get("stream"))
    assert (write_usual(request, 9) or {})["max_tokens"] == 5


@pytest.mark.parametrize(
    "more", [{"tools": [{}]}, {"system": [{}]}, {"top_k": 5}, {"metadata": {}}, {"temperature": "1"}, {"messages": []}]
)
def test_anything_else_goes_the_long_way(more: dict[str, Any]) -> None:
    assert read(**more) is None


def test_what_the_model_does_not_take_goes_the_long_way() -> None:
    for model, members in (
        ("claude-opus-4-7", {"temperature": 1}),
        ("claude-sonnet-4-5", {"top_p": 1, "temperature": 1}),
    ):
        request = read(model=model, **members)
        assert request is not None
        assert write_usual(request, 9) is None


def test_an_answer() -> None:
    answer = canon.Answer(
        "i", "m", [canon.Choice([canon.Text("Hi")], canon.Stop("length"))], Usage(1, 2), dialect="chat"
    )
    told = write_usual_answer(answer, canon.Losses())
    assert told is not None
    assert (told["stop_reason"], told["usage"]["output_tokens"]) == ("max_tokens", 2)
    answer.choices.append(answer.choices[0])
    assert write_usual_answer(answer, canon.Losses()) is None
