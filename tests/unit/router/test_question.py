"""What is read off a request before anything is decided."""

from __future__ import annotations

import pytest

from tests.dialogue import Dialogue
from tests.speech import answer, chat, chunked, completion, post


def test_what_routing_knows() -> None:
    """Model, stream, usage, and sizes from the body's bytes."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True, stream_options={"include_usage": True}))
        d.upstream()
        [x] = d.gateway.live
        assert (x.model, x.endpoint, x.stream, x.usage_asked) == ("gpt-4", "chat.completions", True, True)
        assert 0 < x.prompt_billed < x.prompt


def test_a_body_in_chunks_is_read_the_same() -> None:
    """However it comes."""
    with Dialogue() as d:
        client = d.client()
        client >> chunked(chat(), sizes=(7,))
        d.upstream() << answer(completion())
        assert client.answer().status == 200


@pytest.mark.parametrize(("path", "body", "word"), [
    ("/v1/engines/gpt-4/embeddings", {"model": "other", "input": "x"}, "different models"),
    ("/v1/chat/completions", {"messages": []}, "model"),
])  # fmt: skip
def test_who_names_no_model_or_two(path: str, body: object, word: str) -> None:
    """The one that is billed must be the one that is meant."""
    with Dialogue() as d:
        client = d.client()
        client >> post(body, path)
        heard = client.answer()
        assert heard.status == 400
        assert word in heard.json["error"]["message"]
