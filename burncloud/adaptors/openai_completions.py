"""OpenAI legacy Completions: the Chat usage object, text in `choices[].text`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import openai_chat
from burncloud.adaptors.openai_chat import ChatUsage
from burncloud.adaptors.reading import Reader, Tally, text_size

PATHS: Final = openai_chat.PATHS

usage_of = openai_chat.usage_of


class Choice(msgspec.Struct, gc=False):
    """One choice, the same in a stream and in a plain answer."""

    text: str | None = None
    finish_reason: str | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    error: Any = None
    object: str | None = None


def absorb_chunk(chunk: Chunk, tally: Tally) -> None:
    """Add one chunk of a stream."""
    if chunk.error or chunk.object == "error":
        tally.error = True
    for choice in chunk.choices or ():
        if choice.text:
            tally.content = True
            tally.text_bytes += text_size(choice.text)
        if choice.finish_reason:
            tally.finish = choice.finish_reason
            tally.terminal = tally.content = True
    if chunk.usage is not None:
        usage = usage_of(chunk.usage)
        if usage is not None:
            tally.usage = usage


READER: Final = Reader(
    Chunk, absorb_chunk, openai_chat.Body, openai_chat.absorb_body, frozenset({"usage", "error"}), done=True
)
