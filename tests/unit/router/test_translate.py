"""A channel of another dialect: the request written for it, its answer written for the client, money as ever."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from burncloud.adaptors.canon import Reasoning
from burncloud.adaptors.messages.envelope import sealed_reasoning
from burncloud.adaptors.translation import MARK, Job, Visit, Whole, work
from burncloud.domain.snapshot import Channel
from burncloud.errors import Refusal
from burncloud.wire.body import Body
from tests.dialogue import MODEL, Client, Dialogue, UpstreamEnd, channels
from tests.speech import DONE, LAST, answer, chunk, completion, delta, event, post, problem, stream_head, usage_chunk

ASKED = {"model": MODEL, "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
PATH = "/v1/messages"
ROLE = delta("", role="assistant")
STOP = delta("", finish="stop")
FOREIGN = Reasoning("hm", signature="theirs", origin="gemini")


def asking(d: Dialogue, *fields: str, **members: Any) -> tuple[Client, UpstreamEnd]:
    """A client that speaks Messages has asked; the upstream that speaks Chat has the request."""
    client = d.client()
    client >> post({**ASKED, **members}, PATH, *fields)
    return client, d.upstream()


def said(client: Client) -> Any:
    """The client's whole answer, decoded."""
    return msgspec.json.decode(client.answer().body)


def test_a_plain_request() -> None:
    """Path, head and body are the upstream's dialect; the answer is the client's; usage is read off the upstream's."""
    with Dialogue() as d:
        client, up = asking(d, "anthropic-version: 2023-06-01", "anthropic-beta: tools", "user-agent: me")
        request = up.request
        assert request.target == "/v1/chat/completions"
        head = dict(request.fields)
        assert not any(name.startswith("anthropic") for name in head)
        assert (head["content-type"], head["user-agent"]) == ("application/json", "me")
        body = msgspec.json.decode(request.body)
        assert body["messages"] == [{"role": "user", "content": "Hi"}]
        up << answer(completion("Hello!"), "x-request-id: up-1")
        heard = client.answer()
        fields = dict(heard.fields)
        assert fields["content-type"] == "application/json"
        assert fields["x-upstream-request-id"] == "up-1"
        assert fields["x-burncloud-channel"] == "ch_1"
        assert "x-burncloud-lossy" not in fields
        message = msgspec.json.decode(heard.body)
        assert (message["type"], message["content"][0]["text"]) == ("message", "Hello!")
        [end] = d.receipts()
        assert (end.state, end.endpoint, end.usage.input, end.usage.output, end.estimated) == (
            "done", "messages", 10, 20, False,
        )  # fmt: skip


def test_a_stream() -> None:
    """Held until its first content, then event by event; the upstream is asked for its usage."""
    with Dialogue() as d:
        client, up = asking(d, stream=True)
        assert msgspec.json.decode(up.request.body)["stream_options"] == {"include_usage": True}
        up << stream_head() + chunk(ROLE)
        assert client.received == b""
        up << chunk(delta("Hel"))
        assert client.received.count(b"text_delta") == 1
        up << chunk(delta("lo")) + chunk(STOP) + chunk(usage_chunk()) + chunk(DONE) + LAST
        body = client.answer().body
        kinds = [line[7:] for line in body.decode().splitlines() if line.startswith("event: ")]
        assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
        [end] = d.receipts()
        assert (end.state, end.usage.input, end.usage.output) == ("done", 10, 20)


def test_what_is_lost_is_named() -> None:
    """In the answer's head and in the receipt; strict refuses instead, and nothing was sent."""
    with Dialogue() as d:
        client, up = asking(d, top_k=5)
        up << answer(completion())
        assert dict(client.answer().fields)["x-burncloud-lossy"] == "top_k"
        assert d.receipts()[0].lossy == "top_k"
    with Dialogue() as d:
        client = d.client()
        client >> post({**ASKED, "top_k": 5}, PATH, "x-burncloud-strict: true")
        heard = client.answer()
        assert heard.status == 400
        assert b"without loss: top_k" in heard.body


def test_an_error_of_the_clients_making() -> None:
    """Its status and sentence stay, its shape is the client's; no other channel is tried."""
    with Dialogue(channels(2)) as d:
        client, up = asking(d)
        up << problem(400, "max_tokens is too large")
        heard = client.answer()
        assert heard.status == 400
        assert msgspec.json.decode(heard.body)["error"]["message"] == "max_tokens is too large"
        assert d.silent


@pytest.mark.parametrize("bad", [
    answer(b"<html>", kind="text/html"), answer(b"{}"), answer(b""), problem(500),
    stream_head() + chunk(event({"error": {"message": "overloaded"}})) + LAST, stream_head() + chunk(ROLE) + LAST,
])  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
def test_what_is_no_answer_is_the_channels_fault(bad: bytes, stream: bool) -> None:
    with Dialogue(channels(2)) as d:
        client, up = asking(d, stream=stream)
        up << bad
        other = d.upstream()
        if stream:
            other << stream_head() + chunk(delta("Hi") + STOP + usage_chunk() + DONE) + LAST
        else:
            other << answer(completion("Hi"))
        assert b"Hi" in client.answer().body
        [end] = d.receipts()
        assert (end.channel, end.state, len(end.attempts)) == (2, "done", 2)


@pytest.mark.parametrize("how", ["hang_up", "reset", "end"])
def test_a_stream_that_breaks_off(how: str) -> None:
    """An error event in the client's dialect, no false stop, billed by what came."""
    with Dialogue() as d:
        client, up = asking(d, stream=True)
        up << stream_head() + chunk(delta("Hello"))
        if how == "end":
            up << LAST
        else:
            getattr(up, how)()
        body = client.answer().body
        assert body.count(b"event: error") == 1
        assert b"message_stop" not in body
        [end] = d.receipts()
        assert (end.state, end.estimated) == ("cut", True)
        assert end.usage.output > 0


def test_the_client_leaves() -> None:
    """The upstream is let go; what came is billed once."""
    with Dialogue() as d:
        client, up = asking(d, stream=True)
        up << stream_head() + chunk(delta("Hello"))
        client.hang_up()
        assert up.closed
        [end] = d.receipts()
        assert end.state == "gone"


def test_one_shape_in_the_place_of_the_other() -> None:
    """An upstream that streams unasked is collected; one that does not stream is told as a stream."""
    with Dialogue() as d:
        client, up = asking(d)
        up << stream_head() + chunk(ROLE + delta("Hi")) + chunk(STOP + usage_chunk() + DONE) + LAST
        assert said(client)["content"][0]["text"] == "Hi"
        client, up = asking(d, stream=True)
        up << answer(completion("Hi"))
        body = client.answer().body
        assert body.startswith(b"event: message_start")
        assert [end.state for end in d.receipts()] == ["done", "done"]


def test_a_sealed_signature_never_reaches_its_vendor() -> None:
    """An envelope of ours in a body for Anthropic: written anew, without it (decision 0050)."""
    with Dialogue([Channel(1, "ch_1", "anthropic", "https://a.test", ((1, "k"),), {MODEL: MODEL})]) as d:
        sealed = {"type": "thinking", "thinking": "hm", "signature": sealed_reasoning(FOREIGN, is_summary=False)}
        client = d.client()
        client >> post({**ASKED, "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [sealed, {"type": "text", "text": "Yes?"}]},
            {"role": "user", "content": "Go on"},
        ]}, PATH)  # fmt: skip
        up = d.upstream()
        request = up.request
        assert request.target == PATH
        assert MARK[1:] not in request.body
        up << answer({
            "id": "m", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "Hi"}], "usage": {"input_tokens": 1, "output_tokens": 2},
        })  # fmt: skip
        assert said(client)["content"][0]["text"] == "Hi"


def test_strict_takes_a_channel_that_loses_nothing() -> None:
    """Here the one of the client's own dialect, though the other has priority."""
    foreign = Channel(1, "ch_1", "openai", "https://one.test", ((1, "k"),), {MODEL: MODEL}, priority=9)
    native = Channel(2, "ch_2", "anthropic", "https://two.test", ((2, "k"),), {MODEL: MODEL})
    with Dialogue([foreign, native]) as d:
        client = d.client()
        client >> post({**ASKED, "top_k": 5}, PATH, "x-burncloud-strict: true")
        up = d.upstream()
        assert up.request.field("host") == "two.test"
        up << answer({
            "id": "m", "type": "message", "role": "assistant", "model": MODEL, "stop_reason": "end_turn",
            "content": [], "usage": {"input_tokens": 1, "output_tokens": 2},
        })  # fmt: skip
        assert client.answer().status == 200
        assert d.receipts()[0].channel == 2


@pytest.mark.parametrize(("path", "member"), [
    ("/v1/messages/count_tokens", "input_tokens"), (f"/v1beta/models/{MODEL}:countTokens", "totalTokens"),
])  # fmt: skip
def test_tokens_that_nobody_counts_are_estimated(path: str, member: str) -> None:
    """At once, free, and marked so; a channel that counts is asked."""
    with Dialogue() as d:
        client = d.client()
        client >> post(ASKED, path)
        heard = client.answer()
        assert (heard.status, heard.field("x-burncloud-estimated")) == (200, "true")
        assert heard.json[member] > 0
        assert d.silent
        assert d.receipts() == []


class Beside:
    """A translator that keeps its job until told."""

    def __init__(self) -> None:
        self.jobs: list[tuple[Job, bytes, Any]] = []

    def submit(self, job: Job, body: Body, finished: Any) -> None:
        self.jobs.append((job, body.everything(), finished))

    def tell(self, job: Whole | Visit, body: Body, finished: Any) -> None:
        raise AssertionError("only requests are large here")

    visit = tell

    def done(self) -> None:
        job, body, finished = self.jobs.pop(0)
        try:
            content, done = work(job, body)
        except Refusal as refusal:
            finished(refusal)
        else:
            finished((Body(content), done))


def test_a_large_request_is_translated_beside_the_worker() -> None:
    """It waits for that, others do not; a second channel gets it written again; a client may leave meanwhile."""
    beside = Beside()
    large = {**ASKED, "messages": [{"role": "user", "content": "x" * 100_000}]}
    with Dialogue(channels(2)) as d:
        d.gateway.translator = beside
        client = d.client()
        client >> post(large, PATH)
        assert d.silent
        beside.done()
        up = d.upstream()
        assert up.request.json["messages"][0]["content"] == "x" * 100_000
        up << problem(500)
        beside.done()
        d.upstream() << answer(completion("Hi"))
        assert client.answer().json["content"][0]["text"] == "Hi"
        client = d.client()
        client >> post(large, PATH)
        client.hang_up()
        beside.done()
        client = d.client()
        client >> post({**large, "messages": [{"role": "user", "content": 5}], "system": "y" * 100_000}, PATH)
        beside.done()
        assert client.answer().status == 400
        assert [end.state for end in d.receipts()] == ["done"]


def test_embeddings_of_another_vendor() -> None:
    """OpenAI's request at a channel of Gemini's; the bill is estimated, since nobody counts."""
    with Dialogue([Channel(1, "ch_1", "gemini", "https://g.test", ((1, "k"),), {MODEL: "gemini-embedding-001"})]) as d:
        client = d.client()
        client >> post({"model": MODEL, "input": ["a", "b"]}, "/v1/embeddings")
        up = d.upstream()
        assert up.request.target == "/v1beta/models/gemini-embedding-001:batchEmbedContents"
        assert len(up.request.json["requests"]) == 2
        up << answer({"embeddings": [{"values": [0.5]}, {"values": [1.0]}]})
        assert [one["embedding"] for one in client.answer().json["data"]] == [[0.5], [1.0]]
        [end] = d.receipts()
        assert (end.state, end.estimated) == ("done", True)
        assert end.usage.input > 0


RANKED = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}
TO_RANK = {"model": MODEL, "query": "q", "documents": ["a", "b"], "top_n": 1, "return_documents": True}


@pytest.mark.parametrize(
    ("vendor", "target", "said", "more"),
    [
        ("cohere", "/v2/rerank", {**RANKED, "meta": {"billed_units": {"search_units": 1}}}, {}),
        ("voyage", "/v1/rerank", {"data": RANKED["results"], "usage": {"total_tokens": 12}}, {}),
        (
            "dashscope", "/api/v1/services/rerank/text-rerank/text-rerank",
            {"output": RANKED, "usage": {"total_tokens": 12}}, {},
        ),
        ("bedrock", "/model/cohere.rerank-v3-5%3A0/invoke", RANKED, {"region": "eu-west-1"}),
    ],
)  # fmt: skip
def test_ranks_of_another_vendor(vendor: str, target: str, said: dict[str, Any], more: dict[str, Any]) -> None:
    """A client of Jina's form, and one of Cohere's, at vendors with forms of their own: one result, its document."""
    given = Channel(1, "ch_1", vendor, "", ((1, "k"),), {MODEL: "cohere.rerank-v3-5:0"}, options=more)
    with Dialogue([given]) as d:
        for path in ("/v1/rerank", "/v2/rerank"):
            client = d.client()
            client >> post(TO_RANK, path)
            up = d.upstream()
            assert up.request.target == target
            assert "a" in up.request.json.get("input", up.request.json)["documents"]
            up << answer(said)
            told = client.answer().json
            if target == path == "/v2/rerank":
                assert told == said, "its own form passes as it is"
            else:
                assert told["results"] == [{"index": 1, "relevance_score": 0.9, "document": {"text": "b"}}]
        ends = d.receipts()
        assert [end.state for end in ends if end.state] == ["done"] * len(ends)
        tokens = [end.usage.input for end in ends]
        assert all(count == 12 for count in tokens) or vendor in ("cohere", "bedrock")
        assert vendor != "cohere" or tokens == [0] * len(tokens), "a search unit is no token"


@pytest.mark.parametrize(
    ("vendor", "upstream", "target", "said"),
    [
        ("gemini", "gemini-2.5-pro", "/v1beta/models/gemini-2.5-pro:countTokens", {"totalTokens": 9}),
        ("openai", "gpt-4o", "/v1/responses/input_tokens", {"input_tokens": 9}),
        ("anthropic", "claude-opus-4-8", "/v1/messages/count_tokens", {"input_tokens": 9}),
        (
            "bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0",
            "/model/anthropic.claude-sonnet-4-20250514-v1%3A0/count-tokens", {"inputTokens": 9},
        ),
    ],
)  # fmt: skip
def test_tokens_are_counted_by_whoever_can(vendor: str, upstream: str, target: str, said: dict[str, Any]) -> None:
    """Each client's count at each vendor that counts; nobody pays for it, and it is no estimate."""
    options: dict[str, object] = {"region": "us-east-1"} if vendor == "bedrock" else {}
    counts = {
        "/v1/messages/count_tokens": ({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}, "input_tokens"),
        "/v1/responses/input_tokens": ({"model": MODEL, "input": "x"}, "input_tokens"),
        f"/v1beta/models/{MODEL}:countTokens": ({"contents": [{"parts": [{"text": "x"}]}]}, "totalTokens"),
    }
    with Dialogue([Channel(1, "ch_1", vendor, "", ((1, "k"),), {MODEL: upstream}, options=options)]) as d:
        for path, (body, member) in counts.items():
            client = d.client()
            client >> post(body, path)
            up = d.upstream()
            assert up.request.target == target
            up << answer(said)
            told = client.answer()
            assert told.json[member] == 9
            assert not told.field("x-burncloud-estimated")
        assert not any(end.charge for end in d.receipts())


def test_vendors_that_do_not_count() -> None:
    for vendor, upstream in (("deepseek", "deepseek-chat"), ("bedrock", "amazon.nova-lite-v1:0")):
        given = Channel(1, "ch_1", vendor, "", ((1, "k"),), {MODEL: upstream}, options={"region": "us-east-1"})
        with Dialogue([given]) as d:
            client = d.client()
            client >> post({"model": MODEL, "input": "x"}, "/v1/responses/input_tokens")
            told = client.answer()
            assert told.json["input_tokens"] > 0
            assert told.field("x-burncloud-estimated") == "true"
