"""What is asked of every vendor, in every client's dialect: each scenario says what a good answer must hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from anthropic import Anthropic
from google import genai
from google.genai import types
from openai import OpenAI

SYSTEM: Final = "You answer in one short sentence."
HELLO: Final = "Say hello."
WEATHER: Final = "What is the weather in Paris? Use the tool."
SCHEMA: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
TOKENS: Final = 400


def chat_plain(url: str, key: str, model: str) -> None:
    """A text, with usage and a stop reason."""
    answer = OpenAI(base_url=url + "/v1", api_key=key).chat.completions.create(
        model=model, max_tokens=TOKENS, messages=_chat(HELLO)
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.completion_tokens > 0


def chat_stream(url: str, key: str, model: str) -> None:
    """The same as a stream, with its usage at the end."""
    stream = OpenAI(base_url=url + "/v1", api_key=key).chat.completions.create(
        model=model,
        max_tokens=TOKENS,
        stream=True,
        messages=_chat(HELLO),
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert any(chunk.usage is not None and chunk.usage.completion_tokens > 0 for chunk in chunks)


def chat_tools(url: str, key: str, model: str) -> None:
    """A tool is called, its result goes back, a text comes."""
    client = OpenAI(base_url=url + "/v1", api_key=key)
    tools: Any = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
    messages: Any = _chat(WEATHER)
    first = client.chat.completions.create(model=model, max_tokens=TOKENS, messages=messages, tools=tools)
    calls = first.choices[0].message.tool_calls
    assert calls
    assert "paris" in json.loads(calls[0].function.arguments)["city"].lower()  # type: ignore[union-attr]
    messages += [first.choices[0].message.model_dump(exclude_none=True)]
    messages += [{"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"} for call in calls]
    second = client.chat.completions.create(model=model, max_tokens=TOKENS, messages=messages, tools=tools)
    assert "21" in (second.choices[0].message.content or "")


def responses_plain(url: str, key: str, model: str) -> None:
    """OpenAI's Responses."""
    answer = OpenAI(base_url=url + "/v1", api_key=key).responses.create(
        model=model, input=HELLO, instructions=SYSTEM, max_output_tokens=TOKENS
    )
    assert answer.output_text
    assert answer.status == "completed"


def responses_stream(url: str, key: str, model: str) -> None:
    """The same as a stream."""
    with OpenAI(base_url=url + "/v1", api_key=key).responses.stream(
        model=model, input=HELLO, instructions=SYSTEM, max_output_tokens=TOKENS
    ) as stream:
        kinds = [event.type for event in stream]
        assert stream.get_final_response().output_text
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


def messages_plain(url: str, key: str, model: str) -> None:
    """Anthropic's Messages."""
    answer = Anthropic(base_url=url, api_key=key).messages.create(
        model=model, max_tokens=TOKENS, system=SYSTEM, messages=[{"role": "user", "content": HELLO}]
    )
    assert any(block.type == "text" and block.text for block in answer.content)
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0


def messages_stream(url: str, key: str, model: str) -> None:
    """The same as a stream."""
    with Anthropic(base_url=url, api_key=key).messages.stream(
        model=model, max_tokens=TOKENS, system=SYSTEM, messages=[{"role": "user", "content": HELLO}]
    ) as stream:
        assert "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens > 0


def messages_tools(url: str, key: str, model: str) -> None:
    """A tool loop."""
    client = Anthropic(base_url=url, api_key=key)
    tools: Any = [{"name": "get_weather", "input_schema": SCHEMA}]
    messages: Any = [{"role": "user", "content": WEATHER}]
    first = client.messages.create(model=model, max_tokens=TOKENS, messages=messages, tools=tools)
    [call] = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny, 21 degrees"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(model=model, max_tokens=TOKENS, messages=messages, tools=tools)
    assert any(block.type == "text" and "21" in block.text for block in second.content)


def gemini_plain(url: str, key: str, model: str) -> None:
    """Gemini's generateContent."""
    answer = _gemini(url, key).models.generate_content(
        model=model, contents=HELLO, config=types.GenerateContentConfig(system_instruction=SYSTEM)
    )
    assert answer.text
    assert answer.usage_metadata is not None
    assert answer.usage_metadata.prompt_token_count


def gemini_stream(url: str, key: str, model: str) -> None:
    """The same as a stream."""
    chunks = list(_gemini(url, key).models.generate_content_stream(model=model, contents=HELLO))
    assert "".join(chunk.text or "" for chunk in chunks)


def _chat(text: str) -> Any:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def _gemini(url: str, key: str) -> genai.Client:
    return genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url))


SCENARIOS: Final[dict[str, Callable[[str, str, str], None]]] = {
    scenario.__name__: scenario
    for scenario in (
        chat_plain, chat_stream, chat_tools, responses_plain, responses_stream,
        messages_plain, messages_stream, messages_tools, gemini_plain, gemini_stream,
    )
}  # fmt: skip
