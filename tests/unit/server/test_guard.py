"""Every route says who may call it; one that says nothing is refused."""

from __future__ import annotations

import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from burncloud.server import status
from burncloud.server.app import make_app
from burncloud.server.guard import ADMIN, PERMISSIONS, PUBLIC, allow, guard, permission_of
from tests.unit.server.fake_house import FakeHouse, call, error_of


def routes_of(app: object) -> list[APIRoute]:
    """Each route of the application; anything the guard does not stand before fails here."""
    found: list[APIRoute] = []
    for route in app.routes:  # type: ignore[attr-defined]
        inner = getattr(route, "original_router", None)
        if inner is not None:
            found += routes_of(inner)
        else:
            assert isinstance(route, APIRoute), f"{route!r} bypasses the guard: use an APIRouter's route"
            found.append(route)
    return found


def test_every_route_has_an_explicit_permission() -> None:
    routes = routes_of(make_app(FakeHouse()))
    assert len(routes) >= 3
    for route in routes:
        where = f"{route.path}: mark it with @allow(PUBLIC) or @allow(ADMIN) (burncloud/server/guard.py)"
        assert permission_of(route.endpoint) in PERMISSIONS, where


def test_only_these_are_public() -> None:
    public = {route.path for route in routes_of(make_app(FakeHouse())) if permission_of(route.endpoint) == PUBLIC}
    assert public == {"/health"}


def test_a_route_without_permission_is_refused_even_to_an_admin(monkeypatch: pytest.MonkeyPatch) -> None:
    router = APIRouter()

    @router.get("/forgotten")
    async def forgotten() -> str:
        return "open to the world"

    monkeypatch.setattr(status, "router", router)
    answer = call(FakeHouse(), "/forgotten", authorization="Bearer sk-admin")
    assert error_of(answer)[:2] == (403, "permission_denied")


def test_the_guard_stands_before_all_routes() -> None:
    dependencies = make_app(FakeHouse()).router.dependencies
    assert [dependency.dependency for dependency in dependencies] == [guard]


def test_unknown_permissions_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="no permission"):
        allow("everyone")
    assert allow(ADMIN)(lambda: None).__permission__ == ADMIN  # type: ignore[attr-defined]
