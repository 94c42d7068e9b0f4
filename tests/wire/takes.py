"""Whether an upstream's own schema takes a translated request: the SDKs' TypedDicts and models, botocore's validator.

One row for each upstream dialect.  Nothing of the product is used here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, Final

from anthropic.types.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase as ChatParams
from openai.types.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from pydantic import TypeAdapter

from tests.wire import test_translate_chat, test_translate_converse, test_translate_gemini
from tests.wire.bedrock_sdk import accept_request
from tests.wire.cases import drained

CHAT: Final[TypeAdapter[Any]] = TypeAdapter(ChatParams)
RESPONSES: Final[TypeAdapter[Any]] = TypeAdapter(ResponseCreateParamsBase)
MESSAGES: Final[TypeAdapter[Any]] = TypeAdapter(MessageCreateParamsBase)
COMPLETIONS: Final[TypeAdapter[Any]] = TypeAdapter(CompletionCreateParamsBase)


def _taken(schema: TypeAdapter[Any], body: dict[str, Any]) -> None:
    """Valid, and without a member that the schema does not have."""
    found = drained(schema.validate_python(body))
    assert found == body, differing(found, body)


def differing(got: Any, want: Any, where: str = "") -> str:
    """The first place where two values differ."""
    if isinstance(got, dict) and isinstance(want, dict):
        for name in {**want, **got}:
            if got.get(name) != want.get(name):
                return differing(got.get(name), want.get(name), f"{where}.{name}")
    if isinstance(got, list) and isinstance(want, list) and len(got) == len(want):
        for at, (one, other) in enumerate(zip(got, want, strict=True)):
            if one != other:
                return differing(one, other, f"{where}[{at}]")
    return f"{where}: {str(got)[:150]} instead of {str(want)[:150]}"


def chat(body: dict[str, Any]) -> None:
    """OpenAI's parameters; members of other vendors put aside; each call has its result."""
    body = {name: value for name, value in test_translate_chat.openais(body).items() if name != "stream"}
    _taken(CHAT, body)
    waiting: list[str] = []
    for message in body["messages"]:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
        else:
            assert not waiting, "a call without its result"
        waiting += [call["id"] for call in message.get("tool_calls") or []]


def responses(body: dict[str, Any]) -> None:
    """OpenAI's parameters; each call has its result."""
    body = {name: value for name, value in body.items() if name != "stream"}
    items = body["input"] if isinstance(body.get("input"), list) else []
    for item in items:
        if item.get("type") == "reasoning":
            item.setdefault("id", "rs_0")  # the SDK's type insists on it, OpenAI does not
    _taken(RESPONSES, body)
    for made, answered in (("function_call", "function_call_output"), ("custom_tool_call", "custom_tool_call_output")):
        calls = [item["call_id"] for item in items if item.get("type") == made]
        results = [item["call_id"] for item in items if item.get("type") == answered]
        assert sorted(calls) == sorted(results), "a call without its result"


_NOT_IN_THE_SDK: Final = ("stream", "temperature", "top_p", "top_k")
"""The newest Claude models have no sampling, so the SDK's newest types have none either."""


def messages(body: dict[str, Any]) -> None:
    """Anthropic's parameters; roles alternate, the user begins."""
    body = {name: value for name, value in body.items() if name not in _NOT_IN_THE_SDK}
    _taken(MESSAGES, body)
    roles = [message["role"] for message in body["messages"]]
    assert roles[0] == "user", roles
    assert all(a != b for a, b in pairwise(roles)), roles


def gemini(body: dict[str, Any]) -> None:
    """Google's models; the order that Gemini insists on."""
    test_translate_gemini.body_accepted(body, "request")
    test_translate_gemini.in_order(body, "request", signed=False)


def converse(body: dict[str, Any]) -> None:
    """botocore's validator and service model; the rules that Bedrock has beyond it."""
    accept_request(body, "request")
    test_translate_converse.check_rules(body, "request")


def completions(body: dict[str, Any]) -> None:
    """OpenAI's parameters of the legacy endpoint."""
    body = {name: value for name, value in body.items() if name != "stream"}
    _taken(COMPLETIONS, body)
    assert isinstance(body["prompt"], str)


TAKES: Final[dict[str, Callable[[dict[str, Any]], None]]] = {
    "chat": chat,
    "responses": responses,
    "messages": messages,
    "gemini": gemini,
    "converse": converse,
    "completions": completions,
}
"""Upstream dialect → raises where its schema does not take the body."""
