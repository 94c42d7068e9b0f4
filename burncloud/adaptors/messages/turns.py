"""The order of turns that Anthropic insists on, made of turns in any order.

A conversation begins with the user.  The results of all calls of an assistant's turn stand first in the turn right
after it, and every call has one.  A system text in mid-conversation is a turn of its own only for the newest models,
and only right after the user's; elsewhere it is put into the user's turn in a tag.
"""

from __future__ import annotations

from typing import Final

from burncloud.adaptors import canon
from burncloud.adaptors.messages.families import Family

NO_RESULT: Final = "(no result)"
FIRST: Final = "."
"""What the user says before an assistant that speaks first: Anthropic refuses white space."""


def ordered(turns: list[canon.Turn], family: Family, losses: canon.Losses) -> list[canon.Turn]:
    """The same conversation in Anthropic's order; the given turns are left alone."""
    for turn in turns:
        losses.extra(turn.extra)
        if turn.name:
            losses.add("name")
    placed = _merged(_without_systems(_with_results(_merged(turns), losses), family, losses))
    if placed and placed[0].role == "assistant":
        losses.add("first_turn")
        placed.insert(0, canon.Turn("user", [canon.Text(FIRST)]))
    if placed and placed[-1].role == "assistant":
        _trim(placed[-1])
    return placed


def _without_systems(turns: list[canon.Turn], family: Family, losses: canon.Losses) -> list[canon.Turn]:
    """System and developer turns as what the model takes."""
    found: list[canon.Turn] = []
    for at, turn in enumerate(turns):
        if turn.role in ("user", "assistant"):
            found.append(turn)
            continue
        follows = at + 1 == len(turns) or turns[at + 1].role == "assistant"
        if family.system_turns and follows and found and found[-1].role == "user":
            found.append(canon.Turn("system", turn.blocks))
            continue
        losses.add("mid_conversation_system")
        tagged: list[canon.Block] = [
            canon.Text(f"<system>{block.text}</system>", cache=block.cache) if type(block) is canon.Text else block
            for block in turn.blocks
        ]
        found.append(canon.Turn("user", tagged))
    return found


def _merged(turns: list[canon.Turn]) -> list[canon.Turn]:
    """One turn where the same role speaks twice; nothing where nothing is said."""
    found: list[canon.Turn] = []
    for turn in turns:
        if not any(_says(block) for block in turn.blocks):
            continue
        if found and found[-1].role == turn.role:
            found[-1].blocks += turn.blocks
        else:
            found.append(canon.Turn(turn.role, list(turn.blocks)))
    return found


def _says(block: canon.Block) -> bool:
    return type(block) is not canon.Text or bool(block.text.strip())


def _with_results(turns: list[canon.Turn], losses: canon.Losses) -> list[canon.Turn]:
    """Every call's result moved to right behind it, one made up where there is none."""
    results: dict[str, list[canon.ToolResult]] = {}
    for turn in turns:
        for block in turn.blocks if turn.role == "user" else ():
            if type(block) is canon.ToolResult:
                results.setdefault(block.call_id, []).append(block)
    found: list[canon.Turn] = []
    placed: set[int] = set()
    for at, turn in enumerate(turns):
        if turn.role == "user":
            turn.blocks = _unplaced(turn.blocks, placed, losses)
            if not turn.blocks:
                continue
        calls = [block.id for block in turn.blocks if type(block) is canon.ToolCall]
        if found and found[-1].role == turn.role:
            found[-1].blocks += turn.blocks
        else:
            found.append(turn)
        if not calls or turn.role != "assistant" or (at + 1 == len(turns) and not any(map(results.get, calls))):
            continue
        found.append(canon.Turn("user", [_result_of(call, results, placed, losses) for call in calls]))
    return found


def _result_of(
    call: str, results: dict[str, list[canon.ToolResult]], placed: set[int], losses: canon.Losses
) -> canon.ToolResult:
    """The first result of this id that no earlier call took: some vendors give the same id again and again."""
    waiting = results.get(call)
    if waiting:
        placed.add(id(waiting[0]))
        return waiting.pop(0)
    losses.add("tool_results")
    return canon.ToolResult(call, [canon.Text(NO_RESULT)], is_error=True)


def _unplaced(blocks: list[canon.Block], placed: set[int], losses: canon.Losses) -> list[canon.Block]:
    """What of a user's turn is not yet said; a result whose call is nowhere becomes plain text."""
    found: list[canon.Block] = []
    for block in blocks:
        if type(block) is not canon.ToolResult:
            found.append(block)
        elif id(block) not in placed:
            losses.add("tool_results")
            found += block.blocks
    return found


def _trim(turn: canon.Turn) -> None:
    """A text that Claude is to go on with must not end in white space."""
    last = turn.blocks[-1]
    if type(last) is canon.Text:
        turn.blocks[-1] = canon.Text(last.text.rstrip(), last.citations, last.cache, last.extra)


def mid_call(turns: list[canon.Turn]) -> bool:
    """Whether Claude is to go on after tool results, in a turn that did not begin with thinking it signed.

    With a thinking budget it refuses such a turn (Anthropic docs, "Extended thinking with tool use").
    """
    spoken = [turn for turn in turns[-3:] if turn.role != "system"]
    if len(spoken) < 2 or not any(type(block) is canon.ToolResult for block in spoken[-1].blocks):
        return False
    first = spoken[-2].blocks[0]
    return not (type(first) is canon.Reasoning and first.origin == "messages" and (first.signature or first.encrypted))
