"""/health, for load balancers and people."""

from __future__ import annotations

from tests.unit.server.fake_house import FakeHouse, call


def test_health_is_public_and_says_ready() -> None:
    answer = call(FakeHouse(), "/health")
    assert answer.status == 200
    expected = {"status": "ready", "live": True, "ready": True, "reasons": [], "checks": {"database": True}}
    assert answer.json == expected | {"version": "9.9"}
    assert call(FakeHouse(), "/health", "HEAD").status == 200


def test_health_gives_the_reasons_when_not_ready() -> None:
    answer = call(FakeHouse(ready=False), "/health")
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert answer.json["ready"] is False
    assert answer.json["live"] is True
    assert answer.json["reasons"] == ["the database does not answer"]
    assert answer.json["checks"] == {"database": False}
