"""The anthropic and google-genai SDKs on their native paths see through BurnCloud what they see without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anthropic import Anthropic, AsyncAnthropic, AuthenticationError
from anthropic import BadRequestError as AnthropicBadRequest
from anthropic import NotFoundError as AnthropicNotFound
from google import genai
from google.genai import errors, types

from tests.e2e.conftest import House
from tests.e2e.test_openai_sdk import plain, plain_async

MESSAGES: Any = [{"role": "user", "content": "Dis bonjour"}]

ANTHROPIC_CALLS: dict[str, Callable[[Any], Any]] = {
    "message": lambda ai: ai.messages.create(model="claude", max_tokens=100, messages=MESSAGES),
    "stream": lambda ai: ai.messages.create(model="claude-stream", max_tokens=100, messages=MESSAGES, stream=True),
}
GEMINI_CALLS: dict[str, Callable[[Any], Any]] = {
    "generate": lambda ai: ai.models.generate_content(model="gemini", contents="Di ciao"),
    "stream": lambda ai: ai.models.generate_content_stream(model="gemini-stream", contents="Di ciao"),
    "embed": lambda ai: ai.models.embed_content(model="gemini-embed", contents="Di ciao"),
}
GEMINI_USAGE = {"input": 30, "cache_read": 20, "output": 9, "reasoning": 31}
CLAUDE_USAGE = {"input": 21, "cache_read": 400, "cache_write": 60, "cache_write_1h": 40, "output": 33}


def gemini(base_url: str, key: str) -> genai.Client:
    """A google-genai client that talks to `base_url`."""
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=base_url))


def gemini_plain(value: Any) -> Any:
    """An answer without the SDK's note of the response's headers."""
    if hasattr(value, "model_dump"):
        return value.model_dump(exclude={"sdk_http_response"})
    return [gemini_plain(item) for item in value]


@pytest.mark.parametrize("name", ANTHROPIC_CALLS)
def test_anthropic(house: House, name: str) -> None:
    call = ANTHROPIC_CALLS[name]
    with (
        Anthropic(base_url=house.product.url, api_key=house.key) as gateway,
        Anthropic(base_url=house.upstream.url, api_key="sk-anthropic") as upstream,
    ):
        assert plain(call(gateway)) == plain(call(upstream))
    through, straight = house.upstream.requests[-2:]
    assert through.body == straight.body
    assert through.target == straight.target
    assert through.header("x-api-key") == "sk-anthropic"
    assert through.header("anthropic-version") == straight.header("anthropic-version")


async def test_anthropic_async(house: House) -> None:
    async with (
        AsyncAnthropic(base_url=house.product.url, api_key=house.key) as gateway,
        AsyncAnthropic(base_url=house.upstream.url, api_key="sk-anthropic") as upstream,
    ):
        call = ANTHROPIC_CALLS["stream"]
        assert await plain_async(await call(gateway)) == await plain_async(await call(upstream))


def test_anthropic_errors_have_anthropics_shape(house: House) -> None:
    with Anthropic(base_url=house.product.url, api_key="sk-nobody") as client:
        with pytest.raises(AuthenticationError) as refused:
            client.messages.create(model="claude", max_tokens=10, messages=MESSAGES)
        assert refused.value.body["type"] == "error"  # type: ignore[index]
        assert refused.value.body["error"]["type"] == "authentication_error"  # type: ignore[index]
    with (
        Anthropic(base_url=house.product.url, api_key=house.key) as client,
        pytest.raises(AnthropicBadRequest, match="too long"),
    ):
        client.messages.create(model="claude-overlong", max_tokens=10, messages=MESSAGES)


@pytest.mark.parametrize("name", GEMINI_CALLS)
def test_gemini(house: House, name: str) -> None:
    call = GEMINI_CALLS[name]
    with gemini(house.product.url, house.key) as gateway, gemini(house.upstream.url, "sk-gemini") as upstream:
        assert gemini_plain(call(gateway)) == gemini_plain(call(upstream))
    through, straight = house.upstream.requests[-2:]
    assert through.body == straight.body
    # The SDK picks v1 or v1beta by its own lights; the channel's base URL says which the upstream is asked in.
    assert through.target.partition("/models/")[2] == straight.target.partition("/models/")[2]
    assert through.header("x-goog-api-key") == "sk-gemini"
    assert house.key not in through.head.decode()


async def test_gemini_async(house: House) -> None:
    through = gemini(house.product.url, house.key).aio
    straight = gemini(house.upstream.url, "sk-gemini").aio
    async with through as gateway, straight as upstream:
        answers = [
            gemini_plain([part async for part in await client.models.generate_content_stream(
                model="gemini-stream", contents="Di ciao")])
            for client in (gateway, upstream)
        ]  # fmt: skip
    assert answers[0] == answers[1]


def test_gemini_errors_have_googles_shape(house: House) -> None:
    with gemini(house.product.url, "sk-nobody") as client, pytest.raises(errors.ClientError) as refused:
        client.models.generate_content(model="gemini", contents="x")
    assert (refused.value.code, refused.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("model", "call", "usage"),
    [
        ("claude", ANTHROPIC_CALLS["message"], CLAUDE_USAGE),
        ("claude-stream", ANTHROPIC_CALLS["stream"], CLAUDE_USAGE),
        ("gemini", GEMINI_CALLS["generate"], GEMINI_USAGE),
        ("gemini-stream", GEMINI_CALLS["stream"], GEMINI_USAGE),
    ],
)
def test_usage_is_read_to_the_token(
    house: House, model: str, call: Callable[[Any], Any], usage: dict[str, int]
) -> None:
    key = house.product.add_token()
    if model.startswith("claude"):
        with Anthropic(base_url=house.product.url, api_key=key) as anthropic:
            plain(call(anthropic))
    else:
        with gemini(house.product.url, key) as google:
            gemini_plain(call(google))
    row = house.product.wait_rows(lambda rows: bool(rows) and rows[0]["model"] == model)[0]
    assert {kind: row["usage"][kind] for kind in usage} == usage
    assert not row["estimated"]


def test_the_anthropic_sdk_lists_models(house: House) -> None:
    key = house.product.add_token("--models", "claude,text")
    with Anthropic(base_url=house.product.url, api_key=key) as client:
        assert [(model.id, model.type) for model in client.models.list()] == [("claude", "model"), ("text", "model")]
        assert client.models.retrieve("claude").created_at.year == 2023
        with pytest.raises(AnthropicNotFound):
            client.models.retrieve("gemini")


def test_the_google_sdk_lists_models(house: House) -> None:
    key = house.product.add_token("--models", "gemini,text")
    client = gemini(house.product.url, key)
    assert [model.name for model in client.models.list()] == ["models/gemini", "models/text"]
    assert client.models.get(model="gemini").supported_actions == ["generateContent"]
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="claude")
    assert caught.value.code == 404
