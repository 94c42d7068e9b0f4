"""The short way for what most requests are: texts by turns, a limit and a temperature.

Reading and writing by typed records costs a third of the way over every member (bodies.py, fields.py).  What has
anything else in it is none of these: then the dialect's request.py reads or writes it.  The bytes and the canonical
form are the same on both ways (tests/unit/adaptors/test_plainly.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Annotated, Final, Literal

import msgspec

from burncloud.adaptors import canon

Number = (
    Annotated[int, msgspec.Meta(gt=-(1 << 53), lt=1 << 53)] | Annotated[float, msgspec.Meta(gt=-1e300, lt=1e300)] | None
)


class Said(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message of one text."""

    role: Literal["user", "assistant", "system"]
    content: str


_unset: Final = attrgetter(
    "seed", "min_p", "top_k", "frequency_penalty", "presence_penalty", "top_logprobs", "n", "parallel_tools",
)  # fmt: skip
_UNSET: Final = (None,) * 8
_unsaid: Final = attrgetter(
    "tools", "tool_choice", "output", "thinking", "stop", "logprobs", "logit_bias", "modalities", "audio", "verbosity",
    "service_tier", "user", "metadata", "store", "cache_key", "safety", "extra", "leading", "bound",
)  # fmt: skip
_NEXT: Final = {"user": "assistant", "assistant": "user"}


def turns(said: Sequence[Said]) -> list[canon.Turn] | None:
    """The turns of these messages; None if one is of the system, or says nothing."""
    found: list[canon.Turn] = []
    for message in said:
        if message.role == "system" or not message.content:
            return None
        found.append(canon.Turn(message.role, [canon.Text(message.content)]))
    return found


def messages(request: canon.Request) -> tuple[str, list[dict[str, str]]] | None:
    """(system prompt, messages as Chat and Messages both write them); None if there is more to this request.

    User and assistant take turns, the user is first and last, and everybody says something: no dialect has anything to
    put in order.
    """
    if any(_unsaid(request)) or _unset(request) != _UNSET:
        return None
    system = _text(request.system[0]) if request.system else ""
    if len(request.system) > bool(system):
        return None
    found: list[dict[str, str]] = []
    role = "user"
    for turn in request.turns:
        blocks = turn.blocks
        if turn.role != role or len(blocks) != 1 or turn.name or turn.extra or not (text := _text(blocks[0])):
            return None
        found.append({"role": role, "content": text})
        role = _NEXT[role]
    return None if role == "user" else (system, found)


def _text(block: canon.Block) -> str:
    """What a block of text says; "" if it is more than a text, or nothing."""
    if type(block) is not canon.Text or block.citations or block.cache or block.extra:
        return ""
    return "" if block.text.isspace() else block.text


def only_text(answer: canon.Answer) -> str:
    """The text of an answer that is one text and an ordinary end; "" if there is more to it."""
    if len(answer.choices) != 1:
        return ""
    choice = answer.choices[0]
    stop = choice.stop
    if len(choice.blocks) != 1 or choice.logprobs is not None or choice.extra or stop is None or stop.sequence:
        return ""
    return _text(choice.blocks[0])
