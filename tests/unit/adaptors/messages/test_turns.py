"""Turns in any order become turns in Anthropic's."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Reasoning, Text, ToolCall, ToolResult, Turn
from burncloud.adaptors.messages.families import family_of
from burncloud.adaptors.messages.turns import FIRST, NO_RESULT, mid_call, ordered

OLD = family_of("claude-sonnet-4-5")
NEW = family_of("claude-opus-4-8")


def call(name: str) -> ToolCall:
    return ToolCall(name, "f", "{}")


def result(name: str, text: str = "r") -> ToolResult:
    return ToolResult(name, [Text(text)])


def user(*blocks: canon.Block | str) -> Turn:
    return Turn("user", [Text(block) if isinstance(block, str) else block for block in blocks])


def assistant(*blocks: canon.Block | str) -> Turn:
    return Turn("assistant", user(*blocks).blocks)


def system(text: str) -> Turn:
    return Turn("system", [Text(text)])


CASES: list[tuple[str, list[Turn], list[Turn], list[str]]] = [
    ("merged", [user("a"), user("b"), assistant("c")], [user("a", "b"), assistant("c")], []),
    ("nothing said", [user("a"), assistant(" "), user("b")], [user("a", "b")], []),
    ("assistant first", [assistant("a"), user("b")], [user(FIRST), assistant("a"), user("b")], ["first_turn"]),
    ("trimmed", [user("a"), assistant("b \n")], [user("a"), assistant("b")], []),
    (
        "parallel calls in turns of their own",
        [user("a"), assistant(call("1")), assistant(call("2")), user(result("1")), user(result("2")), user("b")],
        [user("a"), assistant(call("1"), call("2")), user(result("1"), result("2"), "b")],
        [],
    ),
    (
        "results behind other texts",
        [user("a"), assistant(call("1"), call("2")), user("b", result("2")), user(result("1"))],
        [user("a"), assistant(call("1"), call("2")), user(result("1"), result("2"), "b")],
        [],
    ),
    (
        "a result behind another call",
        [user("a"), assistant(call("1")), user("b"), assistant(call("2")), user(result("2"), result("1"))],
        [user("a"), assistant(call("1")), user(result("1"), "b"), assistant(call("2")), user(result("2"))],
        [],
    ),
    (
        "the same id twice",
        [user("a"), assistant(call("1")), user(result("1", "x")), assistant(call("1")), user(result("1", "y"))],
        [user("a"), assistant(call("1")), user(result("1", "x")), assistant(call("1")), user(result("1", "y"))],
        [],
    ),
    (
        "no result",
        [user("a"), assistant(call("1")), user("b")],
        [user("a"), assistant(call("1")), user(ToolResult("1", [Text(NO_RESULT)], is_error=True), "b")],
        ["tool_results"],
    ),
    ("a result of no call", [user(result("9", "x"), "a")], [user("x", "a")], ["tool_results"]),
    ("a call at the end", [user("a"), assistant(call("1"))], [user("a"), assistant(call("1"))], []),
    (
        "a system text",
        [user("a"), system("s"), assistant("b")],
        [user("a", "<system>s</system>"), assistant("b")],
        ["mid_conversation_system"],
    ),
    ("a name", [Turn("user", [Text("a")], "bob")], [user("a")], ["name"]),
]


@pytest.mark.parametrize(("turns", "want", "lost"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_ordered(turns: list[Turn], want: list[Turn], lost: list[str]) -> None:
    losses = canon.Losses()
    before = copy.deepcopy(turns)
    assert ordered(turns, OLD, losses) == want
    assert losses.names() == lost
    assert turns == before, "the given turns are left alone"


def test_system_turns_where_the_model_takes_them() -> None:
    losses = canon.Losses()
    turns = [user("a"), assistant(call("1")), user(result("1")), Turn("developer", [Text("s")]), assistant("b")]
    assert ordered(turns, NEW, losses) == [*turns[:3], system("s"), turns[4]]
    assert not losses
    assert ordered([user("a"), assistant("b"), system("s"), user("c")], NEW, losses) == [
        user("a"), assistant("b"), user("<system>s</system>", "c"),
    ]  # fmt: skip
    assert losses.names() == ["mid_conversation_system"], "only right behind the user, and before the assistant"


def test_a_system_turn_keeps_behind_the_user() -> None:
    losses = canon.Losses()
    turns = [user("a"), assistant(call("1")), user("b"), assistant("c"), user(result("1")), system("s"), assistant("d")]
    assert ordered(turns, NEW, losses) == [
        user("a"), assistant(call("1")), user(result("1"), "b"), assistant("c"), user("<system>s</system>"),
        assistant("d"),
    ]  # fmt: skip
    turns = [user("a"), assistant(call("1")), system("s"), user(result("1")), assistant("d")]
    assert ordered(turns, OLD, losses) == [
        user("a"), assistant(call("1")), user(result("1"), "<system>s</system>"), assistant("d"),
    ]  # fmt: skip
    assert ordered([user(), system("s")], NEW, losses) == [user("<system>s</system>")]


BLOCKS = st.one_of(
    st.builds(Text, st.sampled_from(["", "x", " "])),
    st.builds(call, st.sampled_from(["1", "2", "3"])),
    st.builds(result, st.sampled_from(["1", "2", "3"])),
)
ROLES = st.sampled_from(["user", "assistant", "system"])


@settings(max_examples=300)
@given(st.lists(st.builds(Turn, ROLES, st.lists(BLOCKS, max_size=4)), max_size=8), st.booleans())
def test_any_turns(turns: list[Turn], new: bool) -> None:
    for turn in turns:  # who may say what
        unfit = {"user": ToolCall, "assistant": ToolResult}.get(turn.role)
        turn.blocks = [b for b in turn.blocks if type(b) is Text or (unfit and type(b) is not unfit)]
    found = ordered(turns, NEW if new else OLD, canon.Losses())
    assert all(a.role != b.role for a, b in pairwise(found))
    assert not found or found[0].role == "user"
    asked: list[str] = []
    for at, turn in enumerate(found):
        results = [block.call_id for block in turn.blocks if type(block) is ToolResult]
        assert results == asked
        assert all(type(block) is ToolResult for block in turn.blocks[: len(results)]), "results stand first"
        last = at + 1 == len(found)
        asked = [] if last else [block.id for block in turn.blocks if type(block) is ToolCall]


def test_mid_call() -> None:
    signed = Reasoning("why", signature="s", origin="messages")
    assert mid_call([user("a"), assistant(call("1")), user(result("1"))])
    assert mid_call(
        [user("a"), assistant(Reasoning("why", origin="gemini"), call("1")), user(result("1")), system("s")]
    )
    assert not mid_call([user("a"), assistant(signed, call("1")), user(result("1"))])
    assert not mid_call([user("a"), assistant("b"), user("c")])
    assert not mid_call([user("a")])
