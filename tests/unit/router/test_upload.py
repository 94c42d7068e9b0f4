"""The request as it goes up: the client's bytes but for two splices, in memory or from the spool."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from burncloud.domain.pricing import Price
from burncloud.domain.snapshot import Channel
from burncloud.router import upload
from burncloud.router.answer import Answers
from burncloud.router.exchange import Exchange
from burncloud.router.reach import Reach
from burncloud.router.wholes import PIECES_A_TURN
from burncloud.wire.body import PIECE_BYTES, SPOOL_FROM
from burncloud.wire.upstream import Upstream
from tests.dialogue import PRICE, Dialogue, channels
from tests.speech import DONE, LAST, answer, chat, chunk, completion, delta, post, problem, stream_head, usage_chunk

RENAMED = {"models": {"gpt-4": "deployment-7"}}
PATH = "/v1/chat/completions"


def free(**fields: Any) -> Dialogue:
    """A dialogue with one channel, in which nothing needs a price."""
    return Dialogue(channels(1, **fields), unpriced="free")


def served(d: Dialogue, message: bytes, read: int = 200_000) -> tuple[str, bytes]:
    """(target, body) as the upstream got them; the request is then answered."""
    client = d.client()
    client.say_split(message, read)
    up = d.upstream()
    assert up.request.complete
    up << answer(b'{"candidates":[],%b' % completion()[1:])  # an answer to Gemini's clients, too
    assert client.answer().status == 200
    return up.request.target, up.request.body


# The model's name


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"gpt-4","messages":[]}',
        b'{ "messages" : [] ,\r\n\t"model"  :  "gpt-4" }',
        b'{"messages":[{"role":"user","content":"\\"model\\":\\"gpt-4\\""}],"model":"gpt-4"}',
        b'{"x":{"model":"gpt-4"},"model":"gpt-4","y":"gpt-4"}',
        b'{"mod\\u0065l":"gpt-4","messages":[]}',
        b'{"model":"gpt\\u002d4","messages":[]}',
        '{"user":"ключ 模型 😀","model":"gpt-4"}'.encode(),
    ],
)
def test_json(body: bytes) -> None:
    """Only the value of the top-level member changes, however it is spelled."""
    with free(**RENAMED) as d:
        _, sent = served(d, post(body))
        assert json.loads(sent) == json.loads(body) | {"model": "deployment-7"}
        before, after = sent.split(b'"deployment-7"')
        assert body.startswith(before)
        assert body.endswith(after)


def form(model: str, size: int, boundary: str = "xyz") -> bytes:
    """A transcription request: a file of this size, then the model."""
    return (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n'
        f"Content-Type: audio/mpeg\r\n\r\n".encode()
        + bytes(range(256)) * (size // 256)
        + f'\r\n--{boundary}\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n'
        f'--{boundary}\r\nContent-Disposition: form-data; name="language"\r\n\r\nde\r\n--{boundary}--\r\n'.encode()
    )


@pytest.mark.parametrize("size", [1024, 1_500_000, 5 << 20], ids=["memory", "spooled", "5 MiB"])
@pytest.mark.parametrize("name", ["gpt-4", "whisper-with-a-longer-name"])
def test_multipart(size: int, name: str) -> None:
    """The model's field in a form, behind a file of any size."""
    with free(models={"gpt-4": name}) as d:
        message = post(
            form("gpt-4", size), "/v1/audio/transcriptions", "Content-Type: multipart/form-data; boundary=xyz"
        )
        target, sent = served(d, message)
        assert target == "/v1/audio/transcriptions"
        assert sent == form(name, size)


# The vendor's default model


@pytest.mark.parametrize("name", ["dall-e-2", "deployment-7"])
@pytest.mark.parametrize("size", [10, 1_500_000], ids=["memory", "spooled"])
def test_a_request_that_names_no_model(size: int, name: str) -> None:
    """It is billed as the vendor's default, so that is what the channel is asked for."""
    picture = {"prompt": "p" * size}
    with free(models={"dall-e-2": name}) as d:
        _, sent = served(d, post(picture, "/v1/images/generations"))
        assert json.loads(sent) == picture | {"model": name}
        assert d.receipts()[0].model == "dall-e-2"


@pytest.mark.parametrize("name", ["dall-e-2", "deployment-7"])
@pytest.mark.parametrize("size", [1024, 1_500_000], ids=["memory", "spooled"])
def test_a_form_that_names_no_model(size: int, name: str) -> None:
    """The same in a form: a field before all of its bytes."""
    body = form("", size).replace(b'name="model"', b'name="size"')
    kind = "Content-Type: multipart/form-data; boundary=xyz"
    with free(models={"dall-e-2": name}) as d:
        _, sent = served(d, post(body, "/v1/images/edits", kind))
        field = f'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\n{name}\r\n'
        assert sent == field.encode() + body


@pytest.mark.parametrize("size", [700_000, 1_500_000, 5 << 20], ids=["0.7 MB", "1.5 MB", "5 MiB"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", [False, True], ids=["model last", "model first"])
def test_a_large_body(size: int, stream: bool, first: bool) -> None:
    """Spliced on its way, from the file or from memory, in pieces, and otherwise intact; a file takes no memory."""
    image = {"messages": [{"role": "user", "content": "data:image/png;base64," + "A" * size}], "max_tokens": 5}
    value = ({"model": "gpt-4"} | image) if first else (image | {"model": "gpt-4"})
    value |= {"stream": True, "stream_options": {"x": [1, 2]}} if stream else {}
    with free(**RENAMED) as d:
        client = d.client()
        client.say_split(post(value), 100_000)
        if size > SPOOL_FROM:
            assert d.gateway.arrivals._memory.free == d.gateway.arrivals._memory.total
        up = d.upstream()
        assert max(len(data) for side, data in d.events if side == "up") <= PIECE_BYTES
        expected = value | {"model": "deployment-7"}
        if stream:
            expected |= {"stream_options": {"x": [1, 2], "include_usage": True}}
        assert up.request.complete
        assert up.request.json == expected
        assert list(up.request.json) == list(expected)
        if stream:
            up << stream_head() + chunk(delta("Hi") + delta("", finish="stop") + usage_chunk() + DONE) + LAST
            assert client.answer().body == delta("Hi") + delta("", finish="stop") + DONE
        else:
            up << answer(completion())
            assert client.answer().body == completion()


@pytest.mark.parametrize("size", [700_000, 2_000_000])
def test_a_large_body_for_the_second_channel(size: int) -> None:
    """Failover has the whole body again, with the second channel's name in it."""
    both = [*channels(1, models={"gpt-4": "one"}), channels(2, models={"gpt-4": "two"})[1]]
    with Dialogue(both, unpriced="free") as d:
        client = d.client()
        value = chat(user="u" * size)
        client.say_split(post(value), 100_000)
        first = d.upstream()
        assert first.request.json == value | {"model": "one"}
        first << problem(500)
        second = d.upstream()
        assert second.request.json == value | {"model": "two"}
        second << answer(completion())
        assert client.answer().status == 200


@pytest.mark.parametrize("size", [10_000, 100_000, 900_000])
def test_bodies_in_memory(size: int) -> None:
    """Below a mebibyte, in one read or in many."""
    with free() as d:
        value = chat(user="u" * size)
        assert (
            served(d, post(value), 1 << 20)[1]
            == served(d, post(value), 1000)[1]
            == post(value).partition(b"\r\n\r\n")[2]
        )


@pytest.mark.parametrize(
    ("path", "models", "target"),
    [
        ("/v1beta/models/m:generateContent", {"m": "gemini-2.0"}, "/v1beta/models/gemini-2.0:generateContent"),
        ("/v1beta/models/models:generateContent", {"models": "x"}, "/v1beta/models/x:generateContent"),
        (
            "/v1beta/models/v1beta%3AgenerateContent?alt=sse",
            {"v1beta": "x"},
            "/v1beta/models/x:generateContent?alt=sse",
        ),
        ("/v1beta/models/a%20b:countTokens", {"a b": "c d"}, "/v1beta/models/c%20d:countTokens"),
        ("/v1beta/models/a%20b:countTokens", {"a b": "a b"}, "/v1beta/models/a%20b:countTokens"),
        ("/v1beta/models/%E6%A8%A1:generateContent", {"模": "型"}, f"/v1beta/models/{quote('型')}:generateContent"),
        ("/v1beta/models/m:generateContent", {"m": "tunedModels/t"}, "/v1beta/tunedModels/t:generateContent"),
        ("/v1beta/tunedModels/t:generateContent", {"tunedModels/t": "m"}, "/v1beta/models/m:generateContent"),
        ("/v1/models/m:embedContent", {"m": "n"}, "/v1/models/n:embedContent"),
    ],
)
def test_in_the_url(path: str, models: dict[str, str], target: str) -> None:
    """Gemini's model stands in the path; it is replaced by its place, not by search."""
    [channel] = channels(1, vendor="gemini-compatible", models=models)
    with Dialogue([msgspec.structs.replace(channel, base_url="http://up1.test")], unpriced="free") as d:
        assert served(d, post({"contents": []}, path))[0] == target


@pytest.mark.parametrize(
    ("body", "status"),
    [({"input": "x"}, 200), ({"input": "x", "model": "gpt-4"}, 200), ({"input": "x", "model": "other"}, 400)],
)
def test_in_an_engine_s_url(body: dict[str, str], status: int) -> None:
    """OpenAI's older paths name the model there; a body that names another is refused."""
    with free(**RENAMED) as d:
        client = d.client()
        client >> post(body, "/v1/engines/gpt-4/embeddings")
        if status == 200:
            up = d.upstream()
            assert up.request.target == "/v1/engines/deployment-7/embeddings"
            assert up.request.json == body
            up << answer(completion())
        assert client.answer().status == status


# The usage option


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": None}, {"include_usage": True}),
        ({"stream_options": {}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False, "z": 1}}, {"include_usage": True, "z": 1}),
        ({"stream_options": {"include_usage": True, "z": 1}}, {"include_usage": True, "z": 1}),
    ],
)
def test_usage_is_asked_for(fields: dict[str, Any], options: dict[str, Any]) -> None:
    """A stream must state its usage; other options stay."""
    with Dialogue() as d:
        client = d.client()
        body = chat(stream=True, **fields)
        client >> post(body)
        up = d.upstream()
        assert up.request.json == body | {"stream_options": options}
        if fields.get("stream_options", {}) == options:
            assert up.request.body == post(body).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream": None}])
def test_a_plain_request_is_not_touched(fields: dict[str, Any]) -> None:
    """Nothing to splice: the very bytes."""
    with Dialogue() as d:
        body = post(chat(**fields)).partition(b"\r\n\r\n")[2]
        assert served(d, post(body))[1] == body


def test_other_dialects_state_usage_anyway() -> None:
    """Anthropic's streams need no option, and would refuse one."""
    body = {"model": "claude", "max_tokens": 5, "stream": True, "messages": []}
    with free(vendor="anthropic-compatible", models={"claude": "claude"}) as d:
        client = d.client()
        client >> post(body, "/v1/messages")
        up = d.upstream()
        assert up.request.json == body
        assert up.request.field("x-api-key") == "sk-up"
        assert up.request.field("anthropic-version") == "2023-06-01"


def test_a_vendor_s_field_is_not_said_twice() -> None:
    """The client's own anthropic-version wins."""
    with free(vendor="anthropic-compatible", models={"claude": "claude"}) as d:
        client = d.client()
        client >> post(
            {"model": "claude", "max_tokens": 5, "messages": []}, "/v1/messages", "Anthropic-Version: 2099-01-01"
        )
        assert d.upstream().request.field("anthropic-version") == "2099-01-01"


def test_prices_are_those_of_the_public_model() -> None:
    """What the channel calls it does not matter to the bill."""
    with Dialogue(channels(1, **RENAMED), prices=(PRICE, Price("deployment-7", *[1] * 11))) as d:
        served(d, post(chat()))
        [end] = d.receipts()
        assert (end.model, end.upstream_model, end.charge) == ("gpt-4", "deployment-7", 1_500_000)


# The loop stays free


def test_a_large_body_goes_up_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much the upstream takes: two pieces a turn."""
    seen: list[int] = []
    pump = Answers.pump
    with free() as d:

        def counted(answers: Answers, x: Exchange, up: Upstream) -> None:
            before = len(up.transport.sent)
            pump(answers, x, up)
            seen.append(len(up.transport.sent) - before)

        monkeypatch.setattr(Answers, "pump", counted)
        body = json.dumps(chat(user="u" * 3_000_000)).encode()
        assert served(d, post(body))[1] == body
    assert sum(seen) == len(body)
    assert max(seen) == PIECES_A_TURN * PIECE_BYTES


AWS = Channel(
    1, "ch_1", "bedrock", "", ((10, "AKID:SECRET"),), {"m": "us.anthropic.claude-x"}, options={"region": "us-east-1"}
)
LARGE = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x" * 3_000_000}]}


def test_a_large_body_is_hashed_before_it_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece a turn, and once for all attempts at a channel; the signature's other tests: test_reach.py."""
    known: list[str] = []
    signature = Reach.signature

    def seen(reach: Reach, secret: str, method: bytes, target: bytes, body: Any, sha256: str = "") -> bytes:
        known.append(sha256)
        return signature(reach, secret, method, target, body, sha256)

    monkeypatch.setattr(Reach, "signature", seen)
    with Dialogue([AWS], unpriced="free") as d:
        client = d.client()
        client >> post(LARGE, "/v1/messages")
        up = d.upstream()
        assert known == [hashlib.sha256(up.request.body).hexdigest()]
        up << problem(400)
        assert client.answers()


def test_who_leaves_while_it_is_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was sent, nothing is billed."""
    with Dialogue([AWS], unpriced="free") as d:
        client = d.client()
        step = upload._hash

        def leaving(*given: Any) -> None:
            client.reset()
            step(*given)

        monkeypatch.setattr(upload, "_hash", leaving)
        client >> post(LARGE, "/v1/messages")
        assert d.silent
        assert d.receipts() == []
