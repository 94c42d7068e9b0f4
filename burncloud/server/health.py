"""GET /health: is it alive, is it ready, and if not, why not."""

from __future__ import annotations

import msgspec
from fastapi import APIRouter, Request, Response

from burncloud.server.guard import PUBLIC, allow
from burncloud.server.house import House

router = APIRouter(tags=["health"])


@router.head("/health", include_in_schema=False)
@router.get("/health", operation_id="health", summary="Liveness and readiness")
@allow(PUBLIC)
async def health(request: Request) -> Response:
    """200 when requests can be served, 503 with the reasons when not.  An answer at all means alive."""
    house: House = request.app.state.house
    now = await house.health()
    body = {
        "status": "ready" if now.ready else "not ready",
        "live": True,
        "ready": now.ready,
        "reasons": now.reasons,
        "checks": now.checks,
        "version": house.version,
    }
    headers = {"cache-control": "no-store"}
    if not now.ready:
        headers["retry-after"] = "1"
    return Response(
        msgspec.json.encode(body),
        status_code=200 if now.ready else 503,
        headers=headers,
        media_type="application/json",
    )
