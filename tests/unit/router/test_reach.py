"""Channels that are reached in a way of their own: the clouds, and what options do to a request."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from burncloud.adaptors.converse.invoke import wrapped
from burncloud.adaptors.eventstream import write_frame
from burncloud.adaptors.sigv4 import Credentials, signature_headers
from burncloud.domain.journal import End
from burncloud.domain.pricing import Price
from burncloud.domain.snapshot import Channel
from burncloud.router.reach import betas, credentials_of
from burncloud.router.world import World
from tests.dialogue import WALL_NS, Dialogue
from tests.speech import LAST, Request, answer, chat, chunk, post, problem
from tests.unit.router.test_world import Origins, put

AWS = "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
PROJECT: dict[str, Any] = {"project": "my-project", "location": "us-east5"}
MESSAGES = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}


def channel(vendor: str, upstream: str = "up", key: str = "sk-up", base: str = "", **options: Any) -> Channel:
    return Channel(1, "ch_1", vendor, base, ((10, key),), {"m": upstream}, options=options)


def sent(given: Channel, message: bytes, reply: bytes = b"") -> tuple[str, Request]:
    """(origin, request) as the upstream of this channel got them."""
    with Dialogue([given], unpriced="free") as d:
        client = d.client()
        client.say(message)
        up = d.upstream()
        request = up.request
        up << (reply or problem(400))
        assert client.answers()
        key = up.origin.key
        return f"{key.scheme}://{key.host}:{key.port}", request


AZURE = "https://res.openai.azure.com"
VERTEX = "/v1/projects/my-project/locations/us-east5/publishers/"


@pytest.mark.parametrize(
    ("given", "path", "body", "host", "target"),
    [
        (channel("azure", base=AZURE), "/v1/chat/completions", chat(model="m"), AZURE, "/openai/v1/chat/completions"),
        (channel("azure", base=AZURE + "/openai"), "/v1/embeddings", {"model": "m", "input": "x"}, AZURE,
         "/openai/v1/embeddings"),
        (channel("azure", base=AZURE + "/openai/v1", api_version="preview"), "/v1/responses",
         {"model": "m", "input": "x"}, AZURE, "/openai/v1/responses?api-version=preview"),
        (channel("azure-deployments", "gpt 4", base=AZURE), "/v1/chat/completions", chat(model="m"), AZURE,
         "/openai/deployments/gpt%204/chat/completions?api-version=2024-10-21"),
        (channel("azure-deployments", base=AZURE, api_version="2025-04-01-preview"), "/v1/embeddings?x=1",
         {"model": "m", "input": "x"}, AZURE, "/openai/deployments/up/embeddings?api-version=2025-04-01-preview&x=1"),
        (channel("azure-deployments", base=AZURE), "/v1/images/generations", {"model": "m", "prompt": "x"}, AZURE,
         "/openai/deployments/up/images/generations?api-version=2024-10-21"),
        (channel("azure-deployments", base=AZURE), "/v1/audio/speech", {"model": "m", "input": "x"}, AZURE,
         "/openai/deployments/up/audio/speech?api-version=2024-10-21"),
        (channel("azure-deployments", base=AZURE, speaks=["responses"]), "/v1/responses", {"model": "m", "input": "x"},
         AZURE, "/openai/responses?api-version=2024-10-21"),
        (channel("azure-anthropic", base="https://res.services.ai.azure.com"), "/v1/messages", MESSAGES,
         "https://res.services.ai.azure.com", "/anthropic/v1/messages"),
        (channel("bedrock", CLAUDE, AWS, region="eu-west-1"), "/v1/messages", MESSAGES,
         "https://bedrock-runtime.eu-west-1.amazonaws.com",
         "/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/invoke"),
        (channel("bedrock", "amazon.nova-lite-v1:0", region="us-east-1"), "/v1/messages", MESSAGES,
         "https://bedrock-runtime.us-east-1.amazonaws.com", "/model/amazon.nova-lite-v1%3A0/converse"),
        (channel("bedrock", "arn:aws:bedrock:us-east-1:1:x/y", region="us-east-1"), "/v1/chat/completions",
         chat(model="m", stream=True), "https://bedrock-runtime.us-east-1.amazonaws.com",
         "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ax%2Fy/converse-stream"),
        (channel("bedrock-openai", region="us-west-2"), "/v1/chat/completions", chat(model="m"),
         "https://bedrock-runtime.us-west-2.amazonaws.com", "/openai/v1/chat/completions"),
        (channel("bedrock-mantle", region="us-west-2"), "/v1/messages", MESSAGES,
         "https://bedrock-mantle.us-west-2.api.aws", "/anthropic/v1/messages"),
        (channel("vertex", "gemini-2.5-pro", **PROJECT), "/v1beta/models/m:generateContent", CONTENTS,
         "https://us-east5-aiplatform.googleapis.com", VERTEX + "google/models/gemini-2.5-pro:generateContent"),
        (channel("vertex", "gemini-2.5-pro", **PROJECT), "/v1beta/models/m:streamGenerateContent?alt=sse", CONTENTS,
         "https://us-east5-aiplatform.googleapis.com",
         VERTEX + "google/models/gemini-2.5-pro:streamGenerateContent?alt=sse"),
        (channel("vertex", "gemini-2.5-pro", **PROJECT), "/v1beta/models/m:countTokens", CONTENTS,
         "https://us-east5-aiplatform.googleapis.com", VERTEX + "google/models/gemini-2.5-pro:countTokens"),
        (channel("vertex", "gemini-x", project="p"), "/v1/chat/completions", chat(model="m", stream=True),
         "https://aiplatform.googleapis.com",
         "/v1/projects/p/locations/global/publishers/google/models/gemini-x:streamGenerateContent?alt=sse"),
        (channel("vertex", "claude-opus-4-1@20250805", **PROJECT), "/v1/messages", MESSAGES,
         "https://us-east5-aiplatform.googleapis.com",
         VERTEX + "anthropic/models/claude-opus-4-1%4020250805:rawPredict"),
        (channel("vertex", "claude-x", **PROJECT), "/v1/chat/completions", chat(model="m", stream=True),
         "https://us-east5-aiplatform.googleapis.com", VERTEX + "anthropic/models/claude-x:streamRawPredict"),
        (channel("vertex", "claude-x", **PROJECT), "/v1/messages/count_tokens", MESSAGES,
         "https://us-east5-aiplatform.googleapis.com", VERTEX + "anthropic/models/count-tokens:rawPredict"),
        (channel("vertex-openai", project="p", location="eu"), "/v1/chat/completions", chat(model="m"),
         "https://aiplatform.eu.rep.googleapis.com", "/v1/projects/p/locations/eu/endpoints/openapi/chat/completions"),
        (channel("vertex-express"), "/v1beta/models/m:generateContent", CONTENTS, "https://aiplatform.googleapis.com",
         "/v1/publishers/google/models/up:generateContent"),
    ],
)  # fmt: skip
def test_where_a_request_goes(given: Channel, path: str, body: Any, host: str, target: str) -> None:
    origin, request = sent(given, post(body, path))
    assert (origin, request.target) == (host + ":443", target)
    assert request.field("host") == host.removeprefix("https://")


@pytest.mark.parametrize(
    ("vendor", "key", "name", "value"),
    [
        ("azure", "k", "api-key", "k"),
        ("azure", "Bearer eyJ.x", "authorization", "Bearer eyJ.x"),
        ("azure-anthropic", "k", "x-api-key", "k"),
        ("azure-anthropic", "Bearer eyJ.x", "authorization", "Bearer eyJ.x"),
    ],
)
def test_keys_and_access_tokens_of_azure(vendor: str, key: str, name: str, value: str) -> None:
    """A minted Entra token goes where tokens go, a key where keys go."""
    path, body = ("/v1/messages", MESSAGES) if "anthropic" in vendor else ("/v1/chat/completions", chat(model="m"))
    _, request = sent(channel(vendor, "up", key, AZURE), post(body, path))
    assert request.field(name) == value
    assert len(request.names & {"authorization", "api-key", "x-api-key"}) == 1


# Bedrock


def check_signature(request: Request, key: str, region: str, service: str = "bedrock") -> None:
    """As AWS checks it: over host, date and token, over the path and the body that came."""
    credentials = credentials_of(key)
    assert isinstance(credentials, Credentials)
    path, _, query = request.target.partition("?")
    digest = hashlib.sha256(request.body).hexdigest()
    want = signature_headers(
        request.method, path, query, [("host", request.field("host"))], digest, credentials, region, service,
        WALL_NS // 10**9,
    )  # fmt: skip
    for name, value in want:
        assert request.field(name) == value
    assert not {name for name in request.names if name.startswith("x-amz-")} - {name for name, _ in want}


@pytest.mark.parametrize("key", [AWS, AWS + ":token=="])
@pytest.mark.parametrize("size", [10, 100_000, 1_500_000, 3_000_000])
def test_a_request_is_signed_as_it_is_sent(key: str, size: int) -> None:
    """Over the body after its splices, in memory or from the spool; passed through and translated."""
    body = MESSAGES | {"messages": [{"role": "user", "content": "x" * size}]}
    _, request = sent(channel("bedrock", CLAUDE, key, region="us-east-1"), post(body, "/v1/messages", "X-Amz-Date: 1"))
    assert request.complete
    check_signature(request, key, "us-east-1")
    _, request = sent(channel("bedrock", "nova", key, region="us-east-1"), post(chat(model="m", user="u" * size)))
    check_signature(request, key, "us-east-1")


def test_services_and_api_keys() -> None:
    _, request = sent(channel("bedrock-mantle", "m", AWS, region="us-east-1"), post(chat(model="m")))
    check_signature(request, AWS, "us-east-1", "bedrock-mantle")
    _, request = sent(channel("bedrock", CLAUDE, "ABSKkey=", region="us-east-1"), post(MESSAGES, "/v1/messages"))
    assert request.field("authorization") == "Bearer ABSKkey="
    assert "x-amz-date" not in request.names


def test_claude_s_body_goes_up_by_splice() -> None:
    """Model and stream stand in the path, version and betas in the body, every other byte is the client's."""
    body = b'{"model":"m", "max_tokens": 10 ,"stream":true,"messages":[{"role":"user","content":"\\u0048i"}],"x":1.50}'
    message = post(
        body, "/v1/messages", "Anthropic-Version: 2023-06-01", "Anthropic-Beta: a-1, b-2", "Anthropic-Beta: a-1"
    )
    _, request = sent(channel("bedrock", CLAUDE, region="us-east-1"), message)
    assert request.target.endswith("/invoke-with-response-stream")
    assert request.body == (
        b'{"max_tokens": 10,"messages":[{"role":"user","content":"\\u0048i"}],"x":1.50,'
        b'"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1","b-2"]}'
    )
    assert not request.names & {"anthropic-version", "anthropic-beta", "accept"}


def test_vertex_s_claude_keeps_stream_and_betas() -> None:
    body = b'{"model":"m","max_tokens":10,"stream":true,"messages":[]}'
    _, request = sent(channel("vertex", "claude-x", **PROJECT), post(body, "/v1/messages", "Anthropic-Beta: a-1"))
    assert request.body == b'{"max_tokens":10,"stream":true,"messages":[],"anthropic_version":"vertex-2023-10-16"}'
    assert request.field("anthropic-beta") == "a-1"


def of_claude() -> list[dict[str, Any]]:
    """A stream of Claude's."""
    message: dict[str, Any] = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "c", "content": [], "stop_reason": None,
        "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 1},
    }  # fmt: skip
    return [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "lo"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
        {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 7}},
    ]


AS_EVENTS = b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in of_claude())
FRAMED = "Content-Type: application/vnd.amazon.eventstream"


def frames(events: list[dict[str, Any]]) -> bytes:
    return wrapped([json.dumps(event).encode() for event in events])


def framed_head() -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n"


PRICES = (Price("m", *[10**9] * 11),)


def end_of(d: Dialogue) -> End:
    return [record for record in d.written() if isinstance(record, End)][-1]


@pytest.mark.parametrize("cut", [1, 7, 100_000])
def test_claude_s_stream_is_unwrapped_and_billed(cut: int) -> None:
    with Dialogue([channel("bedrock", CLAUDE, region="us-east-1")], prices=PRICES) as d:
        client = d.client()
        client >> post(MESSAGES | {"stream": True}, "/v1/messages")
        up = d.upstream()
        up << framed_head()
        data = frames(of_claude())
        for at in range(0, len(data), cut):
            up << chunk(data[at : at + cut])
        up << LAST
        got = client.answer()
        assert (got.status, got.field("content-type")) == (200, "text/event-stream; charset=utf-8")
        assert got.body == AS_EVENTS
        usage = end_of(d)
        assert (usage.state, usage.usage.input, usage.usage.output) == ("done", 7, 5)


def test_a_cut_and_a_failing_stream_of_claude() -> None:
    """An exception in a frame and a break are errors in Anthropic's form, and what came is billed."""
    throttled = write_frame(
        {":message-type": "exception", ":exception-type": "throttlingException", ":content-type": "application/json"},
        b'{"message":"Too many tokens"}',
    )
    for end in (chunk(throttled) + LAST, LAST):
        with Dialogue([channel("bedrock", CLAUDE, region="us-east-1")], prices=PRICES) as d:
            client = d.client()
            client >> post(MESSAGES | {"stream": True}, "/v1/messages")
            up = d.upstream()
            up << framed_head() + chunk(frames(of_claude()[:4])) + end
            body = client.answer().body
            assert body.startswith(AS_EVENTS[:300])
            error = json.loads(body.rpartition(b"event: error\ndata: ")[2])
            assert error["type"] == "error"
            assert end_of(d).state == "cut"


def test_claude_s_plain_answer_passes_as_it_is() -> None:
    whole = (
        b'{ "id":"msg_1", "type":"message","role":"assistant","content":[{"type":"text","text":"\\u0048i"}],'
        b'"stop_reason":"end_turn","usage":{"input_tokens":3,"output_tokens":2}}'
    )
    with Dialogue([channel("bedrock", CLAUDE, region="us-east-1")], prices=PRICES) as d:
        client = d.client()
        client >> post(MESSAGES, "/v1/messages")
        d.upstream() << answer(whole)
        assert client.answer().body == whole
        assert (end_of(d).usage.input, end_of(d).usage.output) == (3, 2)


def test_aws_s_errors_are_told_as_anthropic_tells_them() -> None:
    with Dialogue([channel("bedrock", CLAUDE, region="us-east-1")], prices=PRICES) as d:
        client = d.client()
        client >> post(MESSAGES, "/v1/messages")
        d.upstream() << answer(b'{"message":"Malformed input request"}', status=400)
        got = client.answer()
        assert got.status == 400
        assert got.json["error"] == {"type": "invalid_request_error", "message": "Malformed input request"}


def converse_frames() -> bytes:
    def frame(kind: str, value: Any) -> bytes:
        head = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
        return write_frame(head, json.dumps(value).encode())

    return b"".join(
        [
            frame("messageStart", {"role": "assistant"}),
            frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
            frame("contentBlockStop", {"contentBlockIndex": 0}),
            frame("messageStop", {"stopReason": "end_turn"}),
            frame(
                "metadata",
                {"usage": {"inputTokens": 11, "outputTokens": 13, "totalTokens": 24}, "metrics": {"latencyMs": 1}},
            ),
        ]
    )


@pytest.mark.parametrize("cut", [1, 100_000])
def test_converse_streams_are_translated_and_billed(cut: int) -> None:
    with Dialogue([channel("bedrock", "amazon.nova-lite-v1:0", AWS, region="us-east-1")], prices=PRICES) as d:
        client = d.client()
        client >> post(chat(model="m", stream=True))
        up = d.upstream()
        assert up.request.json["messages"][0]["content"][0] == {"text": "Hello"} or up.request.json["messages"]
        up << framed_head()
        data = converse_frames()
        for at in range(0, len(data), cut):
            up << chunk(data[at : at + cut])
        up << LAST
        body = client.answer().body
        assert b'"content":"Hello"' in body
        assert body.endswith(b"data: [DONE]\n\n")
        assert (end_of(d).state, end_of(d).usage.input, end_of(d).usage.output) == ("done", 11, 13)


def test_converse_s_plain_answer() -> None:
    with Dialogue([channel("bedrock", CLAUDE, AWS, region="us-east-1")], prices=PRICES) as d:
        client = d.client()
        client >> post(chat(model="m"))
        up = d.upstream()
        assert up.request.target.endswith("/converse")
        said = {
            "output": {"message": {"role": "assistant", "content": [{"text": "Hello"}]}}, "stopReason": "end_turn",
            "usage": {"inputTokens": 11, "outputTokens": 13, "totalTokens": 24}, "metrics": {"latencyMs": 1},
        }  # fmt: skip
        up << answer(json.dumps(said).encode(), "x-amzn-RequestId: 7e9b")
        told = client.answer()
        assert told.json["choices"][0]["message"]["content"] == "Hello"
        assert told.json["id"] == told.field("x-upstream-request-id") == "7e9b"
        assert (end_of(d).usage.input, end_of(d).usage.output) == (11, 13)


@pytest.mark.parametrize("large", [False, True])
def test_tokens_that_stand_in_the_head_are_billed(large: bool) -> None:
    """Cohere's embeddings on Bedrock: 7 tokens, told to the client and charged; one that comes in pieces, too."""
    with Dialogue([channel("bedrock", "cohere.embed-english-v3", AWS, region="us-east-1")], prices=PRICES) as d:
        client = d.client()
        client >> post({"model": "m", "input": "x"}, "/v1/embeddings")
        up = d.upstream()
        assert up.request.target == "/model/cohere.embed-english-v3/invoke"
        data = answer({"embeddings": [[0.5, 1.5]]}, "X-Amzn-Bedrock-Input-Token-Count: 7")
        cut = len(data) - 9 if large else len(data)
        up << data[:cut]
        if large:
            up << data[cut:]
        assert client.answer().json["usage"]["prompt_tokens"] == 7
        assert (end_of(d).usage.input, end_of(d).estimated) == (7, False)


def test_one_channel_speaks_of_each_model_what_its_vendor_speaks_of_it() -> None:
    both = Channel(1, "ch_1", "vertex", "", ((10, "k"),), {"m": "claude-x", "g": "gemini-x"}, options=PROJECT)
    with Dialogue([both], unpriced="free") as d:
        for path, body, end in (
            ("/v1/messages", MESSAGES, "claude-x:rawPredict"),
            ("/v1/messages", MESSAGES | {"model": "g"}, "gemini-x:generateContent"),
            ("/v1/chat/completions", chat(model="g"), "gemini-x:generateContent"),
            ("/v1/chat/completions", chat(model="m"), "claude-x:rawPredict"),
        ):
            client = d.client()
            client >> post(body, path)
            up = d.upstream()
            assert up.request.target.endswith(end)
            up << problem(400)
        for path, body, end in (
            ("/v1/messages/count_tokens", MESSAGES, "anthropic/models/count-tokens:rawPredict"),
            ("/v1/messages/count_tokens", MESSAGES | {"model": "g"}, "gemini-x:countTokens"),
            ("/v1beta/models/m:countTokens", CONTENTS, "anthropic/models/count-tokens:rawPredict"),
            ("/v1/embeddings", {"model": "g", "input": "x"}, "gemini-x:predict"),
            ("/v1beta/models/g:embedContent", {"content": CONTENTS["contents"][0]}, "gemini-x:predict"),
        ):
            client = d.client()
            client >> post(body, path)
            up = d.upstream()
            assert up.request.target.endswith(end)
            assert b"Hi" in up.request.body or b'"x"' in up.request.body
            up << problem(400)


# Options


def test_headers() -> None:
    """Set over the client's and over ours, removed; the client's credential never goes up."""
    given = channel(
        "openai-compatible", base="https://a.test/v1",
        headers={"set": {"X-Team": "7", "authorization": "Token z"}, "remove": ["User-Agent"]},
    )  # fmt: skip
    message = post(chat(model="m"), "/v1/chat/completions", "x-team: mine", "User-Agent: curl", "X-Other: 1")
    _, request = sent(given, message)
    assert (request.field("x-team"), request.field("authorization"), request.field("x-other")) == ("7", "Token z", "1")
    assert "user-agent" not in request.names
    assert not any("sk-test" in value or "sk-up" in value for _, value in request.fields)


@pytest.mark.parametrize("size", [10, 1_500_000])
def test_parameters(size: int) -> None:
    """Set, defaulted, removed: in memory, from the spool, and on a translated body."""
    params = {"set": {"temperature": 0}, "default": {"user": "u", "top_p": 0.5}, "remove": ["seed"]}
    body = chat(model="m", seed=1, temperature=1, user="x" * size)
    _, request = sent(channel("openai-compatible", base="https://a.test", params=params), post(body))
    want = body | {"model": "up", "temperature": 0, "top_p": 0.5}
    del want["seed"]
    assert request.json == want
    given = channel("openai-compatible", base="https://a.test", params=params)
    _, request = sent(given, post(MESSAGES | {"temperature": 1}, "/v1/messages"))
    assert (request.json["temperature"], request.json["top_p"], request.json["user"]) == (0, 0.5, "u")


def test_query_and_params_together_with_a_place() -> None:
    given = channel("azure-deployments", base=AZURE, query={"a b": "c&d"}, params={"default": {"user": "u"}})
    _, request = sent(given, post(chat(model="m"), "/v1/chat/completions?x=1"))
    assert request.target == "/openai/deployments/up/chat/completions?api-version=2024-10-21&x=1&a%20b=c%26d"
    assert request.json["user"] == "u"


def test_an_ordinary_channel_has_no_reach() -> None:
    known = World(Origins())
    put(known, "channel", Channel(1, "ch_1", "openai", "", ((1, "k"),), {"m": "m"}))
    assert known.outlets[1].reach is None
    proxied: dict[str, Any] = {"proxy": "http://u:p@proxy.test:1"}
    put(known, "channel", Channel(1, "ch_1", "openai", "", ((1, "k"),), {"m": "m"}, options=proxied))
    assert known.outlets[1].reach is None
    assert known.outlets[1].origin.key.proxy is not None


def test_a_channel_that_cannot_be_reached_is_left_out() -> None:
    known = World(Origins())
    wrong: list[dict[str, Any]] = [
        {},
        {"region": "x", "proxy": "ftp://x"},
        {"region": "x", "params": {"set": {"model": "y"}}},
    ]
    for options in wrong:
        put(known, "channel", Channel(1, "ch_1", "bedrock", "", ((1, "k"),), {"m": "m"}, options=options))
        assert not known.outlets


@pytest.mark.parametrize(
    ("secret", "known"),
    [("a:b", True), ("a:b:c", True), ("ABSK+/=", False), ("a:", False), ("a:b:c:d", False)],
)
def test_what_is_an_access_key(secret: str, known: bool) -> None:
    assert (credentials_of(secret) is not None) is known


def test_betas_are_gathered() -> None:
    assert betas(b"a: b\r\nAnthropic-Beta: x,y\r\nanthropic-beta:y , z\r\n") == ["x", "y", "z"]
    assert betas(b"") == []
