"""What this token may use: GET /v1/models in the form of the caller's dialect, and the model where none is named."""

from __future__ import annotations

import msgspec

from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.router.exchange import Exchange
from burncloud.router.world import World

CREATED: int = 1_700_000_000
"""OpenAI's clients want a date; there is none that means anything."""


def listing(world: World, x: Exchange) -> bytes:
    """The list, or the one model that the URL names.  Raises Refusal(NOT_FOUND) for one that is not there."""
    endpoint = x.target.endpoint
    assert endpoint is not None
    models = usable(world, x)
    row = gemini_row if endpoint.dialect == "gemini" else openai_row
    if x.target.model:
        if x.target.model not in models:
            raise Refusal(NOT_FOUND, f"The model `{x.target.model}` does not exist here")
        return msgspec.json.encode(row(x.target.model))
    rows = [row(model) for model in models]
    if endpoint.dialect == "gemini":
        return msgspec.json.encode({"models": rows})
    return msgspec.json.encode({"object": "list", "data": rows})


def usable(world: World, x: Exchange) -> list[str]:
    """The names of all models that this token may use, sorted."""
    allowed = x.token.models
    return [model for model in world.models(x.group) if allowed is None or model in allowed]


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


def openai_row(model: str) -> dict[str, object]:
    """A model as OpenAI lists it (API reference, "Models")."""
    return {"id": model, "object": "model", "created": CREATED, "owned_by": "burncloud"}


def gemini_row(model: str) -> dict[str, object]:
    """A model as Gemini lists it (API reference, "models.list")."""
    return {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": ["generateContent"]}
