"""One conversation, held by each vendor's SDK in its own way: a picture, thinking, a tool, its result, the answer.

Nothing of a client is changed but its base URL and key.  Each talk checks what its SDK made of the first answer and
returns the last text; what reached the upstream is the test's affair (vendor_scripts.py).
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from typing import Any, Final

from anthropic import Anthropic, AsyncAnthropic, beta_tool
from google import genai
from google.genai import types
from openai import AsyncOpenAI, OpenAI

from tests.e2e.vendor_scripts import Call, Say, Step, Think
from tools.losses import PIXEL

SECRET: Final = base64.b64encode(b"what only the vendor can read, and has to get back").decode()
THOUGHT: Final = Think("Zürich — the tool will know.", SECRET)
CALL: Final = Call("call_A1b2C3d4E", "get_weather", {"city": "Zürich", "days": 2})
ANSWER: Final = Say("It is 18 °C in Zürich. 🌤")
FIRST: Final[list[Step]] = [THOUGHT, CALL]
LAST: Final[list[Step]] = [ANSWER]
RESULT: Final = "18 degrees, some clouds"
QUESTION: Final = "What is the weather where this was taken?"
SYSTEM: Final = "You are a weather service."
SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"],
}  # fmt: skip
Talk = Callable[[str, str, str, bool], str]
"""(gateway's URL, key, model, streamed) → the last text."""


def called(name: str | None, arguments: Any) -> None:
    """The call is the one that the model made."""
    assert (name, arguments) == (CALL.name, CALL.arguments)


# OpenAI

DATA_URL: Final = f"data:image/png;base64,{PIXEL}"
CHAT_TOOL: Final[Any] = {"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}
CHAT_MESSAGES: Final[list[Any]] = [
    {"role": "system", "content": SYSTEM},
    {"role": "user", "content": [{"type": "text", "text": QUESTION},
                                 {"type": "image_url", "image_url": {"url": DATA_URL}}]},
]  # fmt: skip


def _chat_turn(message: Any) -> list[Any]:
    """The answer as a client sends it back, and the tool's result."""
    assert (message.model_extra or {}).get("reasoning_content") == THOUGHT.text
    (call,) = message.tool_calls
    called(call.function.name, json.loads(call.function.arguments))
    back = message.model_dump(exclude_none=True, exclude={"parsed"})
    for made in back["tool_calls"]:
        made["function"].pop("parsed_arguments", None)
        made.pop("index", None)
    return [back, {"role": "tool", "tool_call_id": call.id, "content": RESULT}]


def openai_chat(url: str, key: str, model: str, stream: bool) -> str:
    """Chat Completions, and its stream helper."""
    with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:

        def ask(messages: list[Any]) -> Any:
            asked: Any = {"model": model, "messages": messages, "tools": [CHAT_TOOL], "reasoning_effort": "high"}
            if not stream:
                return client.chat.completions.create(**asked).choices[0].message
            with client.chat.completions.stream(**asked, stream_options={"include_usage": True}) as events:
                for _ in events:
                    pass
                whole = events.get_final_completion()
                assert whole.usage is not None
                return whole.choices[0].message

        message = ask(CHAT_MESSAGES)
        return str(ask([*CHAT_MESSAGES, *_chat_turn(message)]).content)


def openai_chat_async(url: str, key: str, model: str, stream: bool) -> str:
    """Chat Completions, asynchronous."""

    async def talk() -> str:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:

            async def ask(messages: list[Any]) -> Any:
                asked: Any = {"model": model, "messages": messages, "tools": [CHAT_TOOL], "reasoning_effort": "high"}
                if not stream:
                    return (await client.chat.completions.create(**asked)).choices[0].message
                async with client.chat.completions.stream(**asked) as events:
                    async for _ in events:
                        pass
                    return (await events.get_final_completion()).choices[0].message

            message = await ask(CHAT_MESSAGES)
            return str((await ask([*CHAT_MESSAGES, *_chat_turn(message)])).content)

    return asyncio.run(talk())


RESPONSES_TOOL: Final[Any] = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
RESPONSES_INPUT: Final[list[Any]] = [
    {"role": "user", "content": [{"type": "input_text", "text": QUESTION},
                                 {"type": "input_image", "image_url": DATA_URL, "detail": "auto"}]}
]  # fmt: skip
RESPONSES_ASKED: Final[dict[str, Any]] = {
    "instructions": SYSTEM, "tools": [RESPONSES_TOOL], "store": False, "include": ["reasoning.encrypted_content"],
    "reasoning": {"effort": "high", "summary": "auto"},
}  # fmt: skip


def _response_turn(response: Any) -> list[Any]:
    """The items as a client sends them back, and the tool's result."""
    thoughts = [item for item in response.output if item.type == "reasoning"]
    assert "".join(part.text for item in thoughts for part in item.content or item.summary) == THOUGHT.text
    (call,) = (item for item in response.output if item.type == "function_call")
    called(call.name, json.loads(call.arguments))
    back = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
    return [*back, {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}]


def openai_responses(url: str, key: str, model: str, stream: bool) -> str:
    """Responses as Codex uses it: nothing stored, encrypted reasoning comes back; and its stream helper."""
    with OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:

        def ask(items: list[Any]) -> Any:
            asked: Any = {"model": model, "input": items, **RESPONSES_ASKED}
            if not stream:
                return client.responses.create(**asked)
            with client.responses.stream(**asked) as events:
                for _ in events:
                    pass
                return events.get_final_response()

        response = ask(RESPONSES_INPUT)
        return str(ask([*RESPONSES_INPUT, *_response_turn(response)]).output_text)


def openai_responses_async(url: str, key: str, model: str, stream: bool) -> str:
    """Responses, asynchronous."""

    async def talk() -> str:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:

            async def ask(items: list[Any]) -> Any:
                asked: Any = {"model": model, "input": items, **RESPONSES_ASKED}
                if not stream:
                    return await client.responses.create(**asked)
                async with client.responses.stream(**asked) as events:
                    async for _ in events:
                        pass
                    return await events.get_final_response()

            response = await ask(RESPONSES_INPUT)
            return str((await ask([*RESPONSES_INPUT, *_response_turn(response)])).output_text)

    return asyncio.run(talk())


# Anthropic

CLAUDE_TOOL: Final[Any] = {"name": "get_weather", "input_schema": SCHEMA}
CLAUDE_MESSAGES: Final[list[Any]] = [
    {"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
        {"type": "text", "text": QUESTION}]}
]  # fmt: skip
CLAUDE_ASKED: Final[dict[str, Any]] = {
    "system": SYSTEM, "max_tokens": 9000, "tools": [CLAUDE_TOOL],
    "thinking": {"type": "enabled", "budget_tokens": 4096},
}  # fmt: skip


def _claude_turn(message: Any) -> list[Any]:
    """The content as a client sends it back, and the tool's result."""
    assert "".join(block.thinking for block in message.content if block.type == "thinking") == THOUGHT.text
    (call,) = (block for block in message.content if block.type == "tool_use")
    called(call.name, call.input)
    assert message.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}
    return [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]


def anthropic_messages(url: str, key: str, model: str, stream: bool) -> str:
    """Messages, and its stream helper."""
    with Anthropic(base_url=url, api_key=key, max_retries=0) as client:

        def ask(messages: list[Any]) -> Any:
            asked: Any = {"model": model, "messages": messages, **CLAUDE_ASKED}
            if not stream:
                return client.messages.create(**asked)
            with client.messages.stream(**asked) as events:
                return events.get_final_message()

        message = ask(CLAUDE_MESSAGES)
        last = ask([*CLAUDE_MESSAGES, *_claude_turn(message)])
        assert last.stop_reason == "end_turn"
        return "".join(block.text for block in last.content if block.type == "text")


def anthropic_async(url: str, key: str, model: str, stream: bool) -> str:
    """Messages, asynchronous."""

    async def talk() -> str:
        async with AsyncAnthropic(base_url=url, api_key=key, max_retries=0) as client:

            async def ask(messages: list[Any]) -> Any:
                asked: Any = {"model": model, "messages": messages, **CLAUDE_ASKED}
                if not stream:
                    return await client.messages.create(**asked)
                async with client.messages.stream(**asked) as events:
                    return await events.get_final_message()

            message = await ask(CLAUDE_MESSAGES)
            last = await ask([*CLAUDE_MESSAGES, *_claude_turn(message)])
            return "".join(block.text for block in last.content if block.type == "text")

    return asyncio.run(talk())


def anthropic_tool_loop(url: str, key: str, model: str, stream: bool) -> str:
    """The SDK's own tool runner: it calls the function and asks again by itself."""
    calls: list[tuple[str, int]] = []

    @beta_tool
    def get_weather(city: str, days: int = 1) -> str:
        """Tell the weather."""
        calls.append((city, days))
        return RESULT

    with Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        asked: Any = {**CLAUDE_ASKED, "model": model, "messages": list(CLAUDE_MESSAGES), "tools": [get_weather]}
        if stream:
            last = None
            for events in client.beta.messages.tool_runner(**asked, stream=True):
                last = events.get_final_message()
        else:
            last = client.beta.messages.tool_runner(**asked).until_done()
        assert last is not None
        assert calls == [("Zürich", 2)]
        return "".join(block.text for block in last.content if block.type == "text")


# Google


def _google(url: str, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


def _question() -> types.Content:
    picture = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/png")
    return types.Content(role="user", parts=[types.Part(text=QUESTION), picture])


def google_genai(url: str, key: str, model: str, stream: bool) -> str:
    """generateContent, the contents kept by hand."""
    declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
    config = types.GenerateContentConfig(
        system_instruction=SYSTEM,
        tools=[types.Tool(function_declarations=[declared])],
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=4096),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    with _google(url, key) as client:

        def ask(contents: list[Any]) -> list[types.Part]:
            asked: Any = {"model": model, "contents": contents, "config": config}
            answers = (
                client.models.generate_content_stream(**asked) if stream else [client.models.generate_content(**asked)]
            )
            candidates = [answer.candidates[0].content for answer in answers if answer.candidates]
            return [part for content in candidates if content for part in content.parts or []]

        parts = ask([_question()])
        assert "".join(part.text or "" for part in parts if part.thought) == THOUGHT.text
        (call,) = (part.function_call for part in parts if part.function_call)
        called(call.name, call.args)
        response = types.FunctionResponse(id=call.id, name=call.name, response={"output": RESULT})
        answered = types.Content(role="user", parts=[types.Part(function_response=response)])
        last = ask([_question(), types.Content(role="model", parts=parts), answered])
        return "".join(part.text or "" for part in last)


def google_chat(url: str, key: str, model: str, stream: bool) -> str:
    """The SDK's chat: it keeps the history and calls the function by itself."""
    calls: list[tuple[str, int]] = []

    def get_weather(city: str, days: int) -> str:
        """Tell the weather."""
        calls.append((city, days))
        return RESULT

    config = types.GenerateContentConfig(system_instruction=SYSTEM, tools=[get_weather])
    with _google(url, key) as client:
        chat = client.chats.create(model=model, config=config)
        message = _question().parts or []
        if stream:
            text = "".join(part.text or "" for part in chat.send_message_stream(message))
        else:
            text = chat.send_message(message).text or ""
        assert calls == [("Zürich", 2)]
        return text


TALKS: Final[dict[str, tuple[str, Talk]]] = {
    "openai chat": ("chat", openai_chat),
    "openai chat async": ("chat", openai_chat_async),
    "openai responses": ("responses", openai_responses),
    "openai responses async": ("responses", openai_responses_async),
    "anthropic": ("messages", anthropic_messages),
    "anthropic async": ("messages", anthropic_async),
    "anthropic tool loop": ("messages", anthropic_tool_loop),
    "google": ("gemini", google_genai),
    "google chat": ("gemini", google_chat),
}
"""Client → (its dialect, its talk)."""
