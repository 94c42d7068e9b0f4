"""/api/v1/status and the OpenAPI document, for administrators."""

from __future__ import annotations

import pytest

from tests.unit.server.fake_house import FakeHouse, call, error_of


@pytest.mark.parametrize("path", ["/api/v1/status", "/api/v1/openapi.json"])
def test_admin_routes_deny_by_default(path: str) -> None:
    assert error_of(call(FakeHouse(), path)) == (401, "invalid_token", "invalid_request_error")
    assert error_of(call(FakeHouse(), path, authorization="Bearer sk-wrong"))[:2] == (401, "invalid_token")
    assert error_of(call(FakeHouse(), path, authorization="Basic sk-admin"))[:2] == (401, "invalid_token")
    assert error_of(call(FakeHouse(), path, authorization="Bearer sk-user"))[:2] == (403, "permission_denied")
    assert call(FakeHouse(), path, authorization="Bearer sk-admin").status == 200


def test_status_and_the_peer_of_the_caller() -> None:
    house = FakeHouse()
    answer = call(house, "/api/v1/status", authorization="bearer sk-admin", x_burncloud_peer="203.0.113.9")
    assert answer.json == {"version": "9.9", "workers": []}
    assert house.asked == [("sk-admin", "203.0.113.9")]


def test_openapi_lists_every_route_and_no_docs_page_exists() -> None:
    paths = call(FakeHouse(), "/api/v1/openapi.json", authorization="Bearer sk-admin").json["paths"]
    assert {"/health", "/api/v1/status", "/api/v1/openapi.json"} <= set(paths)
    for path in ("/openapi.json", "/docs", "/redoc"):
        assert call(FakeHouse(), path, authorization="Bearer sk-admin").status == 404
