"""OpenAI Embeddings: `usage.prompt_tokens`; some state only `total_tokens`, Cohere `meta.billed_units`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors import openai_chat
from burncloud.adaptors.openai_chat import ChatUsage
from burncloud.adaptors.reading import Count, Reader, Tally, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usage", "meta.billed_units")


class BilledUnits(msgspec.Struct, gc=False):
    """What Cohere bills: tokens for embeddings, searches for rerank."""

    input_tokens: Count = None
    output_tokens: Count = None
    image_tokens: Count = None
    search_units: Count = None


class Meta(msgspec.Struct, gc=False):
    """Cohere's corner."""

    billed_units: BilledUnits | None = None
    tokens: BilledUnits | None = None
    """What SiliconFlow says in place of them."""


class Body(msgspec.Struct, gc=False):
    """A plain answer."""

    usage: ChatUsage | None = None
    meta: Meta | None = None
    error: Any = None
    inputTextTokenCount: Count = None


def usage_of(body: Body) -> Usage | None:
    """Disjoint kinds; None if the answer states no count.  A search unit is no token: it has the price per request."""
    if body.usage is not None:
        return openai_chat.usage_of(body.usage)
    if body.inputTextTokenCount is not None:
        return Usage(whole(body.inputTextTokenCount))
    units = (body.meta.billed_units or body.meta.tokens) if body.meta is not None else None
    if units is None:
        return None
    return Usage(whole(units.input_tokens), whole(units.output_tokens), image_input=whole(units.image_tokens))


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer."""
    tally.terminal = tally.content = True
    tally.error = tally.error or bool(body.error)
    tally.usage = usage_of(body)


_WATCHED: Final = frozenset({"usage", "meta", "error", "inputTextTokenCount"})
READER: Final = Reader(Body, absorb_body, Body, absorb_body, _WATCHED)
