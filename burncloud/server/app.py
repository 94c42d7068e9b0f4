"""The REST application: routes from the sibling files, one guard before all, one error shape.

It is served on a local socket only; workers relay to it what is not LLM traffic.  It authorises
alone: that a request came through a worker proves nothing.
"""

from __future__ import annotations

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from burncloud import logs
from burncloud.errors import (
    ERRORS,
    INVALID_REQUEST,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    SERVER_ERROR,
    ErrorRow,
    Refusal,
    error_body,
)
from burncloud.server import channels, health, status
from burncloud.server.guard import guard
from burncloud.server.house import House

log = logs.logger(__name__)


def make_app(house: House) -> FastAPI:
    """The application that serves this house."""
    app = FastAPI(
        title="BurnCloud",
        version=house.version,
        dependencies=[Depends(guard)],
        openapi_url=None,  # a route of its own, for administrators only
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.house = house
    app.include_router(health.router)
    app.include_router(status.router)
    app.include_router(channels.router)
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(Exception, _on_crash)
    return app


def _answer(row: ErrorRow, message: str = "", headers: dict[str, str] | None = None) -> Response:
    return Response(error_body(row, message), status_code=row.status, headers=headers, media_type="application/json")


def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    headers = {"retry-after": str(error.retry_after_s)} if error.retry_after_s > 0 else None
    return _answer(error.row, error.message, headers)


def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return _answer(NOT_FOUND, f"There is nothing at {request.url.path}")
    if error.status_code == 405:
        return _answer(METHOD_NOT_ALLOWED, headers=dict(error.headers or {}))
    rows = [row for row in ERRORS if row.status == error.status_code]
    return _answer(rows[0] if rows else SERVER_ERROR)


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    return _answer(INVALID_REQUEST, f"{where}: {first['msg']}")


def _on_crash(request: Request, error: Exception) -> Response:
    log.error("a request to the REST API failed", exc_info=error, extra={"path": request.url.path})
    return _answer(SERVER_ERROR)
