"""A conversation as one text that a model goes on with.

One text of the user is the prompt as it is, with the system prompt before it.  A longer conversation becomes a
transcript with names, which ends where the assistant is to speak.
"""

from __future__ import annotations

from typing import Final

from burncloud.adaptors import canon
from burncloud.adaptors.documents import tagged

DIALECT: Final = "completions"
NAMES: Final = {"user": "User", "assistant": "Assistant", "system": "System", "developer": "System"}
STOP: Final = "\nUser:"
"""Where the model begins to speak for the user."""


def prompt_of(request: canon.Request, losses: canon.Losses) -> tuple[str, bool]:
    """(the prompt, whether it is a transcript)."""
    told = [(turn.role, said) for turn in request.turns if (said := text_of(turn.blocks, losses))]
    system = text_of(request.system, losses)
    if len(told) <= 1 and all(role == "user" for role, _ in told):
        return "\n\n".join(text for text in (system, *(said for _, said in told)) if text), False
    losses.add("roles")
    lines = [f"{NAMES[role]}: {said}" for role, said in told]
    if told[-1][0] != "assistant":
        lines.append("Assistant:")
    return "\n\n".join([system, *lines] if system else lines), True


def text_of(blocks: list[canon.Block], losses: canon.Losses) -> str:
    """What can be told as text; the rest is named."""
    texts: list[str] = []
    for block in blocks:
        if isinstance(block, canon.Text):
            if block.cache:
                losses.add("cache_control")
            if block.citations:
                losses.add("citations")
            texts.append(block.text)
            losses.extra(block.extra)
        elif isinstance(block, canon.Refusal):
            texts.append(block.text)
            losses.extra(block.extra)
        elif isinstance(block, canon.ToolCall):
            losses.add("tool_calls")
            texts.append(f"[{block.name}({block.arguments})]")
        elif isinstance(block, canon.ToolResult):
            losses.add("tool_results")
            texts.append(f"[{text_of(block.blocks, losses)}]")
        elif isinstance(block, canon.Document) and block.source.text:
            texts.append(tagged(block.title, block.source.text) if block.title else block.source.text)
        elif isinstance(block, canon.Reasoning):
            losses.add("thinking")
        else:
            losses.block(block)
    return "\n\n".join(text for text in texts if text)
