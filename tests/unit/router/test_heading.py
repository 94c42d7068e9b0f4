"""The head of an answer: whose fields, which framing."""

from __future__ import annotations

from tests.dialogue import Dialogue
from tests.speech import DONE, LAST, answer, chat, chunk, completion, delta, post, stream_head


def test_a_plain_answer() -> None:
    """The upstream's own fields, its request id under another name, ours beside them."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat())
        d.upstream() << answer(completion("x" * 5000), "X-Own: 1", "X-Request-Id: up", "Set-Cookie: a=b")
        heard = client.answer()
        assert (heard.field("x-own"), heard.field("x-upstream-request-id")) == ("1", "up")
        assert heard.field("x-request-id").startswith("req_")
        assert heard.field("x-burncloud-channel") == "ch_1"
        assert heard.field("set-cookie") == ""


def test_an_old_client() -> None:
    """HTTP/1.0 knows no chunks: the end of the connection ends the stream."""
    with Dialogue() as d:
        client = d.client()
        client >> post(chat(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
        d.upstream() << stream_head() + chunk(delta("Hi") + delta("", finish="stop") + DONE) + LAST
        heard = client.answer()
        assert (heard.closing, heard.field("transfer-encoding")) == (True, "")
        assert heard.body.endswith(DONE)
