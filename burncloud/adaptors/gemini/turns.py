"""Contents: the roles user and model, and what Gemini insists on in their order.

What it insists on is what Anthropic does (messages/turns.py): the user begins, results of all calls of a turn stand
right behind it, and a system text in mid-conversation goes into the user's turn.

Gemini 3 checks the calls of the current turn: the first call of each content since the user last spoke must have its
thoughtSignature.  Calls that another model made have none; for them Google documents a dummy that skips the check
(Google AI docs, "Thought signatures", FAQ).
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import canon
from burncloud.adaptors.fields import malformed
from burncloud.adaptors.gemini.blocks import Writing, read_parts, write_parts
from burncloud.adaptors.gemini.names import DIALECT, Names
from burncloud.adaptors.gemini.results import Ids
from burncloud.adaptors.messages.families import OTHER
from burncloud.adaptors.messages.turns import ordered

DUMMY_SIGNATURE: Final = "skip_thought_signature_validator"
_ROLES: Final[dict[str, Any]] = {"user": "user", "model": "assistant", "function": "user", "": "user"}
_ROLES_BACK: Final = {"user": "user", "assistant": "model"}

# Reading


def read_contents(fields: Names, request: canon.Request) -> None:
    """systemInstruction and contents."""
    ids = Ids()
    system = fields.inner("systemInstruction")
    if system is not None:
        system.take("role")
        request.system = [block for block in read_parts(system, ids) if block != canon.Text("")]
    for content in fields.listed("contents"):
        role = content.text("role")
        if role not in _ROLES:
            raise malformed(content.at("role"), "user or model")
        blocks = read_parts(content, ids)
        request.turns.append(canon.Turn(_ROLES[role], blocks, extra=content.rest()))
    if not request.turns:
        raise malformed("contents", "a list of at least one content")
    request.said.update(ids.said)


# Writing


def own_contents(request: canon.Request, to: Writing) -> list[dict[str, Any]]:
    """`contents` as they were."""
    to.said = request.said
    contents: list[dict[str, Any]] = []
    for turn in request.turns:
        role = _ROLES_BACK.get(turn.role, "user")
        contents.append({"role": role, "parts": write_parts(turn.blocks, to), **turn.extra})
    if any(_is_foreign(block) for turn in request.turns for block in turn.blocks):
        _sign(contents, to)
    return contents


def _is_foreign(block: canon.Block) -> bool:
    return isinstance(block, canon.Reasoning) and block.origin != DIALECT


def write_contents(request: canon.Request, to: Writing) -> list[dict[str, Any]]:
    """`contents` for a conversation from another dialect."""
    for turn in request.turns:
        to.losses.extra(turn.extra)
    contents: list[dict[str, Any]] = []
    for turn in ordered(request.turns, OTHER, to.losses):
        role = _ROLES_BACK[turn.role]
        parts = write_parts(_results_first(turn.blocks), to)
        if not parts:
            continue
        if contents and contents[-1]["role"] == role:
            contents[-1]["parts"] += parts
        else:
            contents.append({"role": role, "parts": parts})
    if contents and contents[0]["role"] == "model":  # what the user said first could not be said
        contents.insert(0, {"role": "user", "parts": [{"text": "."}]})
        to.losses.add("first_turn")
    _sign(contents, to)
    return contents


def _results_first(blocks: list[canon.Block]) -> list[canon.Block]:
    """The same blocks, results before what else a turn says."""
    results: list[canon.Block] = [block for block in blocks if isinstance(block, canon.ToolResult)]
    if not results or len(results) == len(blocks):
        return blocks
    return results + [block for block in blocks if not isinstance(block, canon.ToolResult)]


def _sign(contents: list[dict[str, Any]], to: Writing) -> None:
    """A dummy on the calls of the current turn that lack a signature."""
    if not to.family.signed:
        return
    for content in reversed(contents):
        parts = content["parts"]
        if content["role"] == "user":
            if any("functionResponse" in part for part in parts):
                continue
            return
        first = next((part for part in parts if "functionCall" in part), None)
        if first is not None:
            first.setdefault("thoughtSignature", DUMMY_SIGNATURE)
