"""The openai SDK, changed in nothing but base_url and api_key, sees through BurnCloud what it sees without."""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from openai import AsyncOpenAI, BadRequestError, OpenAI

from tests.e2e.conftest import House

MESSAGES: Any = [{"role": "user", "content": "Sag guten Tag — auf 日本語"}]
TOOLS: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}}}}]  # fmt: skip


def plain(value: Any) -> Any:
    """An SDK answer as data: models as dictionaries, streams as lists, binary answers as bytes."""
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if hasattr(value, "read"):
        return value.read()
    return [plain(item) for item in value]


async def plain_async(value: Any) -> Any:
    """The same for what an async client gives."""
    if hasattr(value, "__aiter__") and not hasattr(value, "model_dump") and not hasattr(value, "aread"):
        return [plain(item) async for item in value]
    return await value.aread() if hasattr(value, "aread") else plain(value)


CALLS: dict[str, Callable[[Any], Any]] = {
    "text": lambda ai: ai.chat.completions.create(model="text", messages=MESSAGES, temperature=0.5),
    "tool": lambda ai: ai.chat.completions.create(model="tool", messages=MESSAGES, tools=TOOLS, tool_choice="auto"),
    "text-stream": lambda ai: ai.chat.completions.create(model="text-stream", messages=MESSAGES, stream=True),
    "text-stream-usage": lambda ai: ai.chat.completions.create(
        model="text-stream", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ),
    "tool-stream": lambda ai: ai.chat.completions.create(
        model="tool-stream", messages=MESSAGES, tools=TOOLS, stream=True
    ),
    "bytewise-stream": lambda ai: ai.chat.completions.create(model="bytewise-stream", messages=MESSAGES, stream=True),
    "embedding": lambda ai: ai.embeddings.create(model="embedding", input=["a", "b"], encoding_format="float"),
    "transcription": lambda ai: ai.audio.transcriptions.create(
        model="transcription", file=("speech.mp3", io.BytesIO(bytes(range(256)) * 300), "audio/mpeg"), language="en"
    ),
    "speech": lambda ai: ai.audio.speech.create(model="speech", voice="alloy", input="Guten Tag"),
    "image": lambda ai: ai.images.generate(model="image", prompt="a red square", size="1024x1024"),
    "image-edit": lambda ai: ai.images.edit(
        model="image", prompt="a blue one", image=("a.png", io.BytesIO(b"\x89PNG" + bytes(5000)), "image/png")
    ),
    "responses": lambda ai: ai.responses.create(model="responses", input="Hello?"),
    "responses-stream": lambda ai: ai.responses.create(model="responses-stream", input="Hello?", stream=True),
    "moderation": lambda ai: ai.moderations.create(model="moderation", input="Have a great day!"),
}


def sync_clients(house: House) -> tuple[OpenAI, OpenAI]:
    """(through BurnCloud, straight to the upstream)."""
    return (
        OpenAI(base_url=f"{house.product.url}/v1", api_key=house.key),
        OpenAI(base_url=f"{house.upstream.url}/v1", api_key="sk-openai"),
    )


@pytest.mark.parametrize("name", CALLS)
def test_sync(house: House, name: str) -> None:
    gateway, upstream = sync_clients(house)
    with gateway, upstream:
        through, straight = plain(CALLS[name](gateway)), plain(CALLS[name](upstream))
    assert through == straight
    assert straight, "the upstream gave nothing to compare"


@pytest.mark.parametrize("name", CALLS)
async def test_async(house: House, name: str) -> None:
    call: Callable[[Any], Awaitable[Any]] = CALLS[name]
    async with (
        AsyncOpenAI(base_url=f"{house.product.url}/v1", api_key=house.key) as gateway,
        AsyncOpenAI(base_url=f"{house.upstream.url}/v1", api_key="sk-openai") as upstream,
    ):
        assert await plain_async(await call(gateway)) == await plain_async(await call(upstream))


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("image-edit", "transcription")])
def test_the_upstream_gets_the_clients_bytes(house: House, name: str) -> None:
    gateway, upstream = sync_clients(house)
    with gateway, upstream:
        first = len(house.upstream.requests)
        plain(CALLS[name](gateway))
        plain(CALLS[name](upstream))
    through, straight = house.upstream.requests[first:]
    assert through.target == straight.target
    assert through.header("authorization") == straight.header("authorization") == "Bearer sk-openai"
    if name in ("text-stream", "tool-stream", "bytewise-stream"):
        # The one splice: usage is asked for, everything else stands as it came.
        added = b'"stream_options":{"include_usage":true}'
        assert through.body.replace(b"," + added, b"").replace(added + b",", b"") == straight.body
        assert added in through.body
    else:
        assert through.body == straight.body
    hop_by_hop = {"connection", "host", "accept-encoding", "content-length", "authorization"}
    assert house.key not in str(through.headers)
    lost = {key.lower(): value for key, value in straight.headers if key.lower() not in hop_by_hop}
    kept = {key.lower(): value for key, value in through.headers if key.lower() not in hop_by_hop}
    assert kept == lost


@pytest.mark.parametrize("name", ["image-edit", "transcription"])
def test_uploads_arrive_whole(house: House, name: str) -> None:
    """The SDK draws a new boundary for each form, so the two are compared with it taken out."""
    gateway, upstream = sync_clients(house)
    with gateway, upstream:
        first = len(house.upstream.requests)
        plain(CALLS[name](gateway))
        plain(CALLS[name](upstream))
    bodies = []
    for seen in house.upstream.requests[first:]:
        boundary = str(seen.header("content-type")).partition("boundary=")[2]
        assert boundary
        bodies.append(seen.body.replace(boundary.encode(), b"boundary"))
    assert bodies[0] == bodies[1]
    assert len(bodies[0]) > 5000


def test_a_clients_own_mistake_comes_back_as_the_upstream_put_it(house: House) -> None:
    gateway, upstream = sync_clients(house)
    errors = []
    with gateway, upstream:
        for client in (gateway, upstream):
            with pytest.raises(BadRequestError) as caught:
                client.chat.completions.create(model="bad-request", messages=MESSAGES)
            errors.append((caught.value.code, caught.value.param, caught.value.message))
    assert errors[0] == errors[1]


def test_models_lists_what_the_token_may_use(house: House) -> None:
    key = house.product.add_token("--models", "text,embedding")
    with OpenAI(base_url=f"{house.product.url}/v1", api_key=key) as client:
        listed = [(model.id, model.object) for model in client.models.list()]
    assert sorted(listed) == [("embedding", "model"), ("text", "model")]
    with OpenAI(base_url=f"{house.product.url}/v1", api_key=house.key) as client:
        assert {"text", "tool", "claude", "gemini"} <= {model.id for model in client.models.list()}
        assert client.models.retrieve("text").object == "model"


def test_answers_carry_their_ids(house: House) -> None:
    with OpenAI(base_url=f"{house.product.url}/v1", api_key=house.key) as client:
        raw = client.chat.completions.with_raw_response.create(model="text", messages=MESSAGES)
    assert raw.headers["x-request-id"]
    assert raw.headers["x-burncloud-channel"].startswith("ch_")


def test_tokens_of_the_stream_are_billed_though_the_client_did_not_ask(house: House) -> None:
    with OpenAI(base_url=f"{house.product.url}/v1", api_key=house.key) as client:
        raw = client.chat.completions.with_raw_response.create(model="text-stream", messages=MESSAGES, stream=True)
        request = raw.headers["x-request-id"]
        assert list(raw.parse())
    found = house.product.wait_rows(lambda rows: any(row["request"] == request for row in rows))
    row = next(row for row in found if row["request"] == request)
    # 24 prompt tokens (8 of them cached, no price of their own) at $1 and 12 completion tokens at $2 per 1M.
    assert [row["usage"][kind] for kind in ("input", "cache_read", "output", "reasoning")] == [16, 8, 7, 5]
    assert int(row["charge_nano"]) == 24 * 1000 + 12 * 2000
    assert not row["estimated"]
