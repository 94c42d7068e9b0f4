"""/api/v1/channels/states, for administrators."""

from __future__ import annotations

from tests.unit.server.fake_house import FakeHouse, call, error_of

PATH = "/api/v1/channels/states"


def test_only_administrators_see_how_channels_stand() -> None:
    assert error_of(call(FakeHouse(), PATH))[:2] == (401, "invalid_token")
    assert error_of(call(FakeHouse(), PATH, authorization="Bearer sk-user"))[:2] == (403, "permission_denied")
    answer = call(FakeHouse(), PATH, authorization="Bearer sk-admin")
    assert answer.json == {"data": [{"channel": 1, "key": 7, "model": None, "state": "off"}]}
    assert answer.headers["cache-control"] == "no-store"
