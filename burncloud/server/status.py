"""GET /api/v1/status: what each part of the house is doing, for administrators."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from burncloud.server.guard import ADMIN, allow
from burncloud.server.house import House

router = APIRouter(prefix="/api/v1", tags=["status"])


@router.get("/status", operation_id="status", summary="Version, workers, journals, leases")
@allow(ADMIN)
async def status(request: Request) -> Response:
    """Counters of each worker, how far the books lag behind the journals, what is out on leases (nano-dollars)."""
    house: House = request.app.state.house
    body = msgspec.json.encode(await house.status())
    return Response(body, headers={"cache-control": "no-store"}, media_type="application/json")


@router.get("/openapi.json", operation_id="openapi", summary="This API as OpenAPI")
@allow(ADMIN)
async def openapi(request: Request) -> Response:
    """The OpenAPI document of all routes."""
    return Response(msgspec.json.encode(request.app.openapi()), media_type="application/json")
