"""Requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.canon import Losses, OutputFormat, Reasoning, Request, Source, Text, ToolCall, ToolResult, Turn
from burncloud.adaptors.converse.request import read_request, write_request
from burncloud.errors import Refusal

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
OPUS = "anthropic.claude-opus-4-8"
NOVA = "us.amazon.nova-2-lite-v1:0"
TITAN = "amazon.titan-text-express-v1"
LLAMA = "meta.llama3-3-70b-instruct-v1:0"
HELLO = {"role": "user", "content": [{"text": "hi"}]}


def read(**body: Any) -> Request:
    return read_request(json.dumps({"messages": [HELLO], **body}).encode(), model="m")


def written(model: str = CLAUDE, turns: list[Turn] | None = None, **asked: Any) -> tuple[dict[str, Any], list[str]]:
    """(the body for a request of another dialect, what was lost)."""
    losses = Losses()
    turns = [Turn("user", [Text("hi")])] if turns is None else turns
    request = Request(model, turns, dialect="chat", **asked)
    return json.loads(write_request(request, losses)), losses.names()


def test_read() -> None:
    request = read_request(
        json.dumps({
            "messages": [HELLO, {"role": "assistant", "content": [{"text": "a"}], "novel": 1}],
            "system": [{"text": "s"}, {"cachePoint": {"type": "default"}}],
            "inferenceConfig": {"maxTokens": 5, "temperature": 0.5, "topP": 0.9, "stopSequences": ["x"], "novel": 2},
            "additionalModelRequestFields": {
                "thinking": {"type": "enabled", "budget_tokens": 2000}, "top_k": 4, "y": 1},
            "outputConfig": {"effort": "high", "textFormat": {"type": "json_schema", "structure": {
                "jsonSchema": {"name": "n", "schema": '{"type":"object"}'}}}},
            "serviceTier": {"type": "flex"}, "requestMetadata": {"k": "v"},
            "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        }).encode(),
        model="m", stream=True,
    )  # fmt: skip
    assert (request.model, request.stream, request.include_usage) == ("m", True, True)
    assert request.system == [Text("s", cache={"type": "ephemeral"})]
    assert request.turns == [Turn("user", [Text("hi")]), Turn("assistant", [Text("a")], extra={"novel": 1})]
    assert (request.max_tokens, request.temperature, request.top_p, request.top_k) == (5, 0.5, 0.9, 4)
    assert request.thinking == canon.Thinking(True, False, "high", 2000, "auto")
    assert request.output == OutputFormat("schema", "n", "", {"type": "object"})
    assert (request.stop, request.service_tier, request.metadata) == (["x"], "flex", {"k": "v"})
    assert request.extra == {
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "inferenceConfig": {"novel": 2},
        "additionalModelRequestFields": {"y": 1},
    }


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"messages": 1}, "messages"), ({"messages": [{"role": "x", "content": []}]}, r"messages\[0\]\.role"),
        ({"messages": [{"role": "user"}]}, r"messages\[0\]\.content must be given"),
        ({"inferenceConfig": {"maxTokens": "x"}}, r"inferenceConfig\.maxTokens"),
        ({"outputConfig": {"textFormat": {"type": "json_schema"}}}, "textFormat"),
        ({"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": "x"}}}}},
         "a string that holds a JSON object"),
        ({"system": "s"}, "system must be a list"),
    ],
)  # fmt: skip
def test_malformed(body: dict[str, Any], place: str) -> None:
    with pytest.raises(Refusal, match=place):
        read(**body)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"messages":[]}', b"\xff", b"[" * 100_000])
def test_no_request(body: bytes) -> None:
    with pytest.raises(Refusal):
        read_request(body)


def test_plain() -> None:
    body, lost = written(
        system=[Text("s")], max_tokens=9, temperature=0.5, stop=["x", " "], service_tier="flex",
        metadata={"k": "v", "odd": "ü"}, user="u", seed=1,
    )  # fmt: skip
    assert body == {
        "messages": [HELLO],
        "system": [{"text": "s"}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.5, "stopSequences": ["x"]},
        "serviceTier": {"type": "flex"},
        "requestMetadata": {"k": "v"},
    }
    assert lost == ["metadata", "seed", "stop", "user"]


@pytest.mark.parametrize(
    ("model", "asked", "want", "lost"),
    [
        (CLAUDE, {"thinking": canon.Thinking(effort="low")},
         {"additionalModelRequestFields": {"thinking": {"type": "enabled", "budget_tokens": 2048}},
          "inferenceConfig": {"maxTokens": 6144}}, []),
        (OPUS, {"thinking": canon.Thinking(effort="high"), "max_tokens": 500},
         {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}, "outputConfig": {"effort": "high"},
          "inferenceConfig": {"maxTokens": 500}}, []),
        (OPUS, {"thinking": canon.Thinking(effort="high")},
         {"additionalModelRequestFields": {"thinking": {"type": "adaptive"}}, "outputConfig": {"effort": "high"}}, []),
        (CLAUDE, {"top_k": 5, "temperature": 1.5},
         {"additionalModelRequestFields": {"top_k": 5}, "inferenceConfig": {"temperature": 1}}, ["temperature"]),
        (OPUS, {"temperature": 0.5}, {}, ["temperature"]),
        (NOVA, {"thinking": canon.Thinking(effort="low"), "top_k": 3},
         {"additionalModelRequestFields": {
             "reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}, "inferenceConfig": {"topK": 3}}}, []),
        (LLAMA, {"thinking": canon.Thinking(effort="low"), "top_k": 3}, {}, ["thinking", "top_k"]),
        (CLAUDE, {"output": OutputFormat("schema", "a b", "", {"type": "object", "properties": {}})},
         {"outputConfig": {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": {
             "schema": '{"type":"object","properties":{},"additionalProperties":false}', "name": "a_b"}}}}}, []),
    ],
)  # fmt: skip
def test_knobs(model: str, asked: dict[str, Any], want: dict[str, Any], lost: list[str]) -> None:
    body, names = written(model, **asked)
    assert body == {"messages": [HELLO], **want}
    assert names == lost


def test_schema_as_instruction() -> None:
    body, lost = written(LLAMA, output=OutputFormat("schema", schema={"type": "object"}))
    assert body["system"][0]["text"].startswith("Answer with one JSON value")
    assert lost == ["json_schema"]
    body, lost = written(TITAN, system=[Text("s")], output=OutputFormat("json"))
    assert "system" not in body
    assert [part["text"] for part in body["messages"][0]["content"]] == [
        "Answer with one JSON object and nothing else.", "s", "hi",
    ]  # fmt: skip
    assert lost == ["json_mode", "system"]


def test_tool_turns() -> None:
    """Results first, right behind their calls; ids alike; tools declared again."""
    turns = [
        Turn("user", [Text("q")]),
        Turn("assistant", [Reasoning("t", origin="chat"), ToolCall("a|1", "f", '{"x":1}'), ToolCall("b", "f", "{}")]),
        Turn("user", [ToolResult("b", [Text("2")]), Text("and")]),
        Turn("user", [ToolResult("a|1", [])]),
    ]
    body, lost = written(CLAUDE, turns)
    _, assistant, results = body["messages"]
    calls = [part["toolUse"]["toolUseId"] for part in assistant["content"]]
    assert [part["toolResult"]["toolUseId"] for part in results["content"][:2]] == calls
    assert results["content"][2] == {"text": "and"}
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["f"]
    assert lost == ["thinking", "tools"]


def test_nothing_to_say() -> None:
    assert written(turns=[])[0]["messages"] == [{"role": "user", "content": [{"text": "."}]}]
    picture = canon.Image(Source(url="https://x"))
    turns = [Turn("user", [picture]), Turn("assistant", [Text("a")]), Turn("user", [Text("b")])]
    body, lost = written(turns=turns)
    assert [message["role"] for message in body["messages"]] == ["user", "assistant", "user"]
    assert lost == ["first_turn", "image_url"]
    turns = [Turn("user", [Text("b")]), Turn("assistant", [picture]), Turn("user", [Text("c")])]
    assert written(turns=turns)[0]["messages"] == [{"role": "user", "content": [{"text": "b"}, {"text": "c"}]}]


def test_a_text_beside_a_document() -> None:
    body, lost = written(turns=[Turn("user", [canon.Document(Source(text="a"))])])
    assert body["messages"][0]["content"][1] == {"text": "."}
    assert lost == ["document_text"]


def test_cache_points() -> None:
    mark = {"type": "ephemeral"}
    body, lost = written(system=[Text("s", cache=mark)], turns=[Turn("user", [Text("a", cache=mark)])])
    point = {"cachePoint": {"type": "default"}}
    assert body == {"messages": [{"role": "user", "content": [{"text": "a"}, point]}], "system": [{"text": "s"}, point]}
    assert lost == []


def test_own_extras_stay_home() -> None:
    request = read(guardrailConfig={"guardrailIdentifier": "g"})
    request.dialect = "messages"
    losses = Losses()
    body = json.loads(write_request(request, losses))
    assert "guardrailConfig" not in body
    assert losses.names() == ["guardrailConfig"]
