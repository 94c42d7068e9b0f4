"""What the application answers where no route does."""

from __future__ import annotations

import pytest

from burncloud.server.house import Health
from tests.unit.server.fake_house import Answer, FakeHouse, call, error_of


def test_unknown_path_and_method_have_the_error_shape() -> None:
    assert error_of(call(FakeHouse(), "/nothing")) == (404, "not_found", "not_found_error")
    assert error_of(call(FakeHouse(), "/health", "DELETE")) == (405, "method_not_allowed", "invalid_request_error")
    assert error_of(call(FakeHouse(), "/api/v1/status/"))[0] == 404


def test_a_crash_is_a_500_that_tells_nothing() -> None:
    class Broken(FakeHouse):
        async def health(self) -> Health:
            raise RuntimeError("secret detail")

    answer = Answer()
    with pytest.raises(RuntimeError):  # Starlette answers first, then lets the server log it
        call(Broken(), "/health", answer=answer)
    assert error_of(answer) == (500, "server_error", "server_error")
    assert b"secret" not in answer.body
