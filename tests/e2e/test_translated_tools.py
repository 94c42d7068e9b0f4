"""Every SDK holds a conversation with a model of every other dialect: a picture, thinking, a tool, the answer.

What the model said first has to come back to it with the second request: the call with its id, the tool's result,
and the secret with which its vendor goes on thinking.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.conftest import Stage
from tests.e2e.talks import ANSWER, CALL, FIRST, LAST, QUESTION, RESULT, SYSTEM, TALKS, THOUGHT
from tests.e2e.vendor_scripts import VENDORS
from tools.losses import PIXEL

CASES = [
    pytest.param(client, upstream, stream, id=f"{client} on {upstream}{' streamed' if stream else ''}")
    for client, (dialect, _) in TALKS.items()
    for upstream in VENDORS
    for stream in (False, True)
    if upstream != dialect
]


FORGETFUL = "google chat"
"""Of a stream, its automatic calls keep only the chunk with the call: the thought's text is gone, its secret stays."""


def came_back(upstream: str, bodies: list[dict[str, Any]], forgetful: bool) -> None:
    """The first request asks all that the client asked; the second one holds what the first answer gave."""
    assert len(bodies) == 2
    for body in bodies:
        text = json.dumps(body, ensure_ascii=False)
        assert QUESTION in text
        assert SYSTEM in text
        assert PIXEL in text
        assert CALL.name in text
    vendor = VENDORS[upstream]
    assert vendor.back(bodies[1], CALL), bodies[1]
    ((call_id, result),) = vendor.results(bodies[1])
    assert call_id == (CALL.name if upstream == "gemini" else CALL.id)
    assert RESULT in result
    if forgetful:
        assert upstream == "chat" or THOUGHT.secret in json.dumps(bodies[1])
    else:
        assert vendor.back(bodies[1], THOUGHT), f"the vendor's secret is lost: {bodies[1]}"


@pytest.mark.parametrize(("client", "upstream", "stream"), CASES)
def test_conversation(stage: Stage, client: str, upstream: str, stream: bool) -> None:
    _, talk = TALKS[client]
    stage.script(upstream, FIRST, LAST, stream=stream)
    assert talk(stage.product.url, stage.key, f"on-{upstream}", stream) == ANSWER.text
    came_back(upstream, stage.bodies, stream and client == FORGETFUL)
