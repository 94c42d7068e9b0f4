"""A conversation as one text."""

from __future__ import annotations

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Losses, Request, Text, ToolCall, ToolResult, Turn
from burncloud.adaptors.completions.prompt import prompt_of, text_of


@pytest.mark.parametrize(
    ("turns", "system", "prompt", "losses"),
    [
        ([Turn("user", [Text("hi")])], [], "hi", []),
        ([Turn("user", [Text("a"), Text("b")])], [Text("s")], "s\n\na\n\nb", []),
        (
            [Turn("user", [Text("a")]), Turn("assistant", [Text("b")]), Turn("user", [Text("c")])],
            [Text("s")],
            "s\n\nUser: a\n\nAssistant: b\n\nUser: c\n\nAssistant:",
            ["roles"],
        ),
        ([Turn("user", [Text("a")]), Turn("assistant", [Text("b")])], [], "User: a\n\nAssistant: b", ["roles"]),
        ([], [], "", []),
    ],
)
def test_prompts(turns: list[Turn], system: list[canon.Block], prompt: str, losses: list[str]) -> None:
    found = Losses()
    told, is_transcript = prompt_of(Request("m", turns, system), found)
    assert told == prompt
    assert found.names() == losses
    assert is_transcript == bool(losses)


def test_what_is_no_text() -> None:
    losses = Losses()
    blocks: list[canon.Block] = [
        ToolCall("c", "f", "{}"), ToolResult("c", [Text("r")]), canon.Image(canon.Source(url="u")), canon.Refusal("no"),
        canon.Document(canon.Source(text="doc")), canon.Reasoning("why"), canon.Raw("messages", {"type": "odd"}),
    ]  # fmt: skip
    assert text_of(blocks, losses) == "[f({})]\n\n[r]\n\nno\n\ndoc"
    assert losses.names() == ["image", "odd", "thinking", "tool_calls", "tool_results"]
