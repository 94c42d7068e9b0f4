"""What the head of an answer says of the channel."""

from __future__ import annotations

import pytest

from tests.dialogue import Dialogue, channels
from tests.speech import answer, chat, completion, post


@pytest.mark.parametrize(("status", "kind"), [
    (500, "broken"), (503, "broken"), (408, "broken"), (302, "broken"), (429, "busy"), (401, "refused"),
    (402, "refused"), (403, "forbidden"),
])  # fmt: skip
def test_the_channel_s(status: int, kind: str) -> None:
    """The next one is asked, and what failed is blamed by its kind."""
    with Dialogue(channels(2)) as d:
        kinds: list[str] = []
        failed = d.gateway.health.failed

        def note(x: object, said: str, *rest: object) -> None:
            kinds.append(said)
            failed(x, said, *rest)  # type: ignore[arg-type]

        d.gateway.health.failed = note  # type: ignore[method-assign, assignment]
        client = d.client()
        client >> post(chat())
        d.upstream() << answer({"error": {}}, status=status)
        d.upstream() << answer(completion())
        assert client.answer().status == 200
        assert kinds == [kind]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_the_client_s_own(status: int) -> None:
    """Passed on with the upstream's words."""
    with Dialogue(channels(2)) as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer({"error": {"message": "yours"}}, status=status)
        heard = client.answer()
        assert (heard.status, heard.json["error"]["message"]) == (status, "yours")
        assert d.silent
        assert not d.gateway.health.resting
