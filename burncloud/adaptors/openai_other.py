"""The other OpenAI endpoints: images, audio, moderations, rerank, and what is not known by name.

Images and audio state Responses-like numbers (`input_tokens`, `output_tokens`) where they state any,
rerank Chat-like ones or Cohere's `meta.billed_units`.  Streams of images and of transcripts end with
an event that carries `usage`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import openai_chat, openai_embeddings, openai_responses
from burncloud.adaptors.openai_chat import ChatUsage, Details, disjoint
from burncloud.adaptors.openai_embeddings import Meta
from burncloud.adaptors.openai_responses import ResponsesUsage
from burncloud.adaptors.reading import Reader, Tally, text_size, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usage", "meta.billed_units")


class OtherUsage(ResponsesUsage, gc=False):
    """Numbers under either name."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Body(msgspec.Struct, gc=False):
    """A plain answer or an event."""

    type: str | None = None
    usage: OtherUsage | None = None
    meta: Meta | None = None
    delta: str | None = None
    error: Any = None


def usage_of(body: Body, images: bool = False) -> Usage | None:
    """Disjoint kinds; None if the answer states no count.  Of an image, all output not said to be text is image."""
    stated = body.usage
    if stated is None:
        return openai_embeddings.usage_of(openai_embeddings.Body(meta=body.meta)) if body.meta is not None else None
    if stated.input_tokens is None and stated.output_tokens is None:
        return openai_chat.usage_of(
            ChatUsage(
                stated.prompt_tokens, stated.completion_tokens, stated.total_tokens,
                stated.prompt_tokens_details, stated.completion_tokens_details,
            )
        )  # fmt: skip
    outer = stated.output_tokens_details or stated.output_token_details
    if not images or outer is not None:
        return openai_responses.usage_of(stated)
    inner = stated.input_tokens_details or stated.input_token_details or Details()
    output = whole(stated.output_tokens)
    return disjoint(
        whole(stated.input_tokens), output, 0,
        cached=whole(inner.cached_tokens), image_input=whole(inner.image_tokens), image_output=output,
    )  # fmt: skip


def _absorb(body: Body, tally: Tally, images: bool) -> None:
    if body.error or body.type == "error":
        tally.error = True
        return
    if body.delta:
        tally.text_bytes += text_size(body.delta)
    tally.content = True
    usage = usage_of(body, images)
    if usage is not None:
        tally.usage = usage
    if body.type is not None and body.type.endswith((".completed", ".done")):
        tally.terminal = True


def absorb_chunk(body: Body, tally: Tally) -> None:
    """Add one event of a stream."""
    _absorb(body, tally, False)


def absorb_image_chunk(body: Body, tally: Tally) -> None:
    """Add one event of a stream of images."""
    _absorb(body, tally, True)


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer."""
    _absorb(body, tally, False)
    tally.terminal = tally.content = True


def absorb_image_body(body: Body, tally: Tally) -> None:
    """Add a plain answer with images."""
    _absorb(body, tally, True)
    tally.terminal = tally.content = True


_WATCHED: Final = frozenset({"usage", "meta", "error"})
READER: Final = Reader(Body, absorb_chunk, Body, absorb_body, _WATCHED, done=True)
IMAGES: Final = Reader(Body, absorb_image_chunk, Body, absorb_image_body, _WATCHED, done=True)
