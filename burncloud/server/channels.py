"""GET /api/v1/channels/states: how each key and model of each channel stands, for administrators."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from burncloud.server.guard import ADMIN, allow
from burncloud.server.house import House

router = APIRouter(prefix="/api/v1/channels", tags=["channels"])


@router.get("/states", operation_id="channel_states", summary="What is not ready, or was not once")
@allow(ADMIN)
async def states(request: Request) -> Response:
    """Keys (`key`) and models (`model`): ready, cooling or off until a time (unix seconds), probing; the last fault."""
    house: House = request.app.state.house
    body = msgspec.json.encode({"data": await house.states()})
    return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")
