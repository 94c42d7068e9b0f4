"""What this token may use: GET /v1/models in the form of the caller's dialect, and the model where none is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from burncloud.domain.names import among
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.router.exchange import Exchange
from burncloud.router.world import World

CREATED: int = 1_700_000_000
"""OpenAI's clients want a date; there is none that means anything."""
CREATED_AT: str = "2023-11-14T22:13:20Z"
"""The same for Anthropic's."""

Row = dict[str, object]


def listing(world: World, x: Exchange) -> bytes:
    """The list, or the one model that the URL names.  Raises Refusal(NOT_FOUND) for one that is not there."""
    endpoint = x.target.endpoint
    assert endpoint is not None
    models = usable(world, x)
    row, form = FORMS[endpoint.dialect]
    if x.target.model:
        if x.target.model not in models:
            raise Refusal(NOT_FOUND, f"The model `{x.target.model}` does not exist here")
        return msgspec.json.encode(row(x.target.model))
    return msgspec.json.encode(form([row(model) for model in models]))


def usable(world: World, x: Exchange) -> list[str]:
    """The names of all models that this token may use, sorted."""
    allowed = x.token.models
    return [model for model in world.models(x.group) if allowed is None or among(allowed, model)]


def default_model(world: World, x: Exchange) -> str:
    """The model of a request that names none: the vendor's own default, if this token may use it.  Raises Refusal."""
    endpoint = x.target.endpoint
    assert endpoint is not None
    model = endpoint.default_model
    if not model:
        raise Refusal(INVALID_REQUEST, "`model` is required")
    if model not in usable(world, x):
        raise Refusal(INVALID_REQUEST, f"`model` is required: its default, `{model}`, is not to be had here")
    return model


def openai_row(model: str) -> Row:
    """A model as OpenAI lists it (API reference, "Models")."""
    return {"id": model, "object": "model", "created": CREATED, "owned_by": "burncloud"}


def openai_list(rows: list[Row]) -> Row:
    """All of them, in one page."""
    return {"object": "list", "data": rows}


def anthropic_row(model: str) -> Row:
    """A model as Anthropic lists it (API reference, "Models")."""
    return {"type": "model", "id": model, "display_name": model, "created_at": CREATED_AT, "lifecycle": "active"}


def anthropic_list(rows: list[Row]) -> Row:
    """All of them, in one page."""
    first, last = (rows[0]["id"], rows[-1]["id"]) if rows else (None, None)
    return {"data": rows, "has_more": False, "first_id": first, "last_id": last}


def gemini_row(model: str) -> Row:
    """A model as Gemini lists it (API reference, "models.list")."""
    return {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": ["generateContent"]}


def gemini_list(rows: list[Row]) -> Row:
    """All of them, in one page."""
    return {"models": rows}


FORMS: Final[dict[str, tuple[Callable[[str], Row], Callable[[list[Row]], Row]]]] = {
    "openai": (openai_row, openai_list),
    "anthropic": (anthropic_row, anthropic_list),
    "gemini": (gemini_row, gemini_list),
}
"""Dialect → how one model is written, and how all are."""
