"""Frameworks over the SDKs hold the same conversation: LangChain and OpenAI's agents, on models of other vendors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, function_tool
from agents import set_tracing_disabled as set_agents_tracing_disabled
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import SecretStr

from tests.e2e.conftest import Stage
from tests.e2e.talks import ANSWER, CALL, DATA_URL, FIRST, LAST, QUESTION, RESULT, SYSTEM, THOUGHT, called
from tests.e2e.vendor_scripts import VENDORS
from tools.losses import PIXEL

set_agents_tracing_disabled(True)


@tool
def get_weather(city: str, days: int) -> str:
    """Tell the weather."""
    return RESULT


def chain(model: Any, stream: bool) -> str:
    """A question with a picture, the tool's call, its result, the answer."""
    bound = model.bind_tools([get_weather])

    def ask(messages: list[Any]) -> AIMessage:
        if not stream:
            answer: AIMessage = bound.invoke(messages)
            return answer
        whole: Any = None
        for chunk in bound.stream(messages):
            whole = chunk if whole is None else whole + chunk
        assert isinstance(whole, AIMessage)
        return whole

    picture = {"type": "image_url", "image_url": {"url": DATA_URL}}
    messages = [SystemMessage(SYSTEM), HumanMessage([{"type": "text", "text": QUESTION}, picture])]
    first = ask(messages)
    (call,) = first.tool_calls
    called(call["name"], call["args"])
    assert first.usage_metadata is not None
    assert (first.usage_metadata["input_tokens"], first.usage_metadata["output_tokens"]) == (40, 12)
    last = ask([*messages, first, ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])])
    return last.text


def chat_openai(url: str, key: str, model: str, **more: Any) -> ChatOpenAI:
    """LangChain's model over the openai SDK."""
    return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=SecretStr(key), max_retries=0, **more)


def langchain_chat(url: str, key: str, model: str, stream: bool) -> str:
    """Chat Completions."""
    return chain(chat_openai(url, key, model, stream_usage=True), stream)


def langchain_responses(url: str, key: str, model: str, stream: bool) -> str:
    """Responses, nothing stored."""
    more: Any = {"use_responses_api": True, "store": False, "include": ["reasoning.encrypted_content"]}
    return chain(chat_openai(url, key, model, output_version="responses/v1", **more), stream)


def langchain_anthropic(url: str, key: str, model: str, stream: bool) -> str:
    """Messages with thinking."""
    thinking: Any = {"type": "enabled", "budget_tokens": 4096}
    more: Any = {"model_name": model, "base_url": url, "max_tokens_to_sample": 9000, "thinking": thinking}
    return chain(ChatAnthropic(api_key=SecretStr(key), timeout=30, stop=None, max_retries=0, **more), stream)


def _agent(client: AsyncOpenAI, model: Any, stream: bool) -> str:
    """The agent calls its tool by itself."""
    calls: list[tuple[str, int]] = []

    @function_tool(name_override="get_weather")
    def weather(city: str, days: int) -> str:
        """Tell the weather."""
        calls.append((city, days))
        return RESULT

    more = {"response_include": ["reasoning.encrypted_content"]} if isinstance(model, OpenAIResponsesModel) else {}
    settings = ModelSettings(store=False, reasoning=Reasoning(effort="high"), **more)  # type: ignore[arg-type]
    agent = Agent(name="a", instructions=SYSTEM, model=model, tools=[weather], model_settings=settings)
    given: Any = [{"role": "user", "content": [
        {"type": "input_text", "text": QUESTION},
        {"type": "input_image", "image_url": DATA_URL, "detail": "auto"}]}]  # fmt: skip

    async def talk() -> str:
        async with client:
            if not stream:
                return str((await Runner.run(agent, given)).final_output)
            run = Runner.run_streamed(agent, given)
            async for _ in run.stream_events():
                pass
            return str(run.final_output)

    text = asyncio.run(talk())
    assert calls == [("Zürich", 2)]
    return text


def agents_chat(url: str, key: str, model: str, stream: bool) -> str:
    """Chat Completions."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    return _agent(client, OpenAIChatCompletionsModel(model, client), stream)


def agents_responses(url: str, key: str, model: str, stream: bool) -> str:
    """Responses."""
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
    return _agent(client, OpenAIResponsesModel(model, client), stream)


FRAMEWORKS: Final[dict[str, tuple[str, bool, Callable[[str, str, str, bool], str]]]] = {
    "langchain-openai chat": ("chat", False, langchain_chat),
    "langchain-openai responses": ("responses", True, langchain_responses),
    "langchain-anthropic": ("messages", True, langchain_anthropic),
    "openai-agents chat": ("chat", False, agents_chat),
    "openai-agents responses": ("responses", True, agents_responses),
}
"""Framework → (its dialect, whether it sends back what a vendor needs to go on thinking, its talk)."""
FORGETFUL: Final = {("langchain-openai responses", "chat")}
"""Where nothing is stored LangChain sends no reasoning back that has no encrypted part, which this vendor has not."""
CASES = [
    pytest.param(name, upstream, stream, id=f"{name} on {upstream}{' streamed' if stream else ''}")
    for name, (dialect, _, _) in FRAMEWORKS.items()
    for upstream in VENDORS
    for stream in (False, True)
    if upstream != dialect
]


@pytest.mark.filterwarnings("ignore")  # theirs: deprecations, sockets left to the collector
@pytest.mark.parametrize(("name", "upstream", "stream"), CASES)
def test_framework(stage: Stage, name: str, upstream: str, stream: bool) -> None:
    _, keeps_secrets, talk = FRAMEWORKS[name]
    stage.script(upstream, FIRST, LAST, stream=stream)
    assert talk(stage.product.url, stage.key, f"on-{upstream}", stream) == ANSWER.text
    vendor, bodies = VENDORS[upstream], stage.bodies
    assert len(bodies) == 2
    for body in bodies:
        text = json.dumps(body, ensure_ascii=False)
        assert all(word in text for word in (QUESTION, SYSTEM, PIXEL, CALL.name))
    assert vendor.back(bodies[1], CALL), bodies[1]
    ((call_id, result),) = vendor.results(bodies[1])
    assert call_id == (CALL.name if upstream == "gemini" else CALL.id)
    assert RESULT in result
    if keeps_secrets and (name, upstream) not in FORGETFUL:
        assert vendor.back(bodies[1], THOUGHT), f"the vendor's secret is lost: {bodies[1]}"
