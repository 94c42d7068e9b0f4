"""Gemini's requests, in small cases of our own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burncloud.adaptors import canon
from burncloud.adaptors.gemini.request import read_request, write_request
from burncloud.errors import Refusal


def read(body: dict[str, Any], model: str = "gemini-2.5-flash") -> canon.Request:
    return read_request(json.dumps(body).encode(), model=model)


def written(request: canon.Request) -> tuple[dict[str, Any], list[str]]:
    losses = canon.Losses()
    return json.loads(write_request(request, losses)), losses.names()


HELLO = [{"role": "user", "parts": [{"text": "Hello"}]}]


def foreign(model: str = "gemini-2.5-flash", **members: Any) -> canon.Request:
    turns = members.pop("turns", [canon.Turn("user", [canon.Text("Hello")])])
    return canon.Request(model, turns, dialect="chat", **members)


def test_everything_that_is_known() -> None:
    config = {
        "temperature": 0.5, "topP": 0.9, "topK": 40, "maxOutputTokens": 99, "stopSequences": ["END"], "seed": 7,
        "candidateCount": 2, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": True, "logprobs": 3,
        "responseModalities": ["TEXT"], "responseMimeType": "application/json",
        "responseSchema": {"type": "OBJECT", "properties": {"snake_name": {"type": "STRING", "nullable": True}}},
        "thinkingConfig": {"includeThoughts": True, "thinkingBudget": -1}, "mediaResolution": "MEDIA_RESOLUTION_LOW",
        "speechConfig": {"voiceConfig": {}},
    }  # fmt: skip
    body = {
        "contents": HELLO, "systemInstruction": {"parts": [{"text": "Be brief."}]}, "generationConfig": config,
        "safetySettings": [{"category": "X", "threshold": "BLOCK_NONE"}], "cachedContent": "cachedContents/1",
        "serviceTier": "standard",
    }  # fmt: skip
    request = read(body)
    assert (request.temperature, request.top_p, request.top_k, request.max_tokens) == (0.5, 0.9, 40, 99)
    assert (request.stop, request.seed, request.n, request.logprobs, request.top_logprobs) == (["END"], 7, 2, True, 3)
    assert (request.presence_penalty, request.frequency_penalty, request.modalities) == (0.1, 0.2, ["text"])
    assert request.thinking == canon.Thinking(True, True, "", -1, "auto")
    assert request.output is not None
    assert request.output.schema == {"type": "object", "properties": {"snake_name": {"type": ["string", "null"]}}}
    assert request.service_tier == "default"
    assert set(request.extra) == {
        "cachedContent", "generationConfig.mediaResolution", "generationConfig.speechConfig",
    }  # fmt: skip
    assert written(request) == (body, [])


def test_snake_case_is_the_same() -> None:
    body = {
        "contents": HELLO,
        "system_instruction": {"parts": {"text": "Be brief."}},
        "generation_config": {"max_output_tokens": 5, "thinking_config": {"thinking_level": "low"}},
        "tools": [{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}],
        "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
    }
    request = read(body)
    assert request.max_tokens == 5
    assert request.thinking is not None
    assert request.thinking.effort == "low"
    assert request.tool_choice == canon.ToolChoice("tool", "f")
    assert written(request)[0]["tools"] == [
        {"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}
    ]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"contents": []}, "contents must be a list of at least one"),
        ({"contents": [{"role": "system", "parts": []}]}, "contents[0].role must be user or model"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text must be a string"),
        ({"contents": HELLO, "generationConfig": {"topK": "x"}}, "generationConfig.topK must be a number"),
        ({"contents": HELLO, "toolConfig": {"functionCallingConfig": {"mode": "SOME"}}}, "AUTO, ANY, NONE"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "image/png"}}]}]}, "inlineData.data must be given"),
    ],
)
def test_refusals_name_the_field(body: dict[str, Any], says: str) -> None:
    with pytest.raises(Refusal) as refusal:
        read(body)
    assert says in refusal.value.message


def test_the_model_may_stand_in_the_body() -> None:
    assert read({"model": "models/gemini-2.0-flash", "contents": HELLO}, "").model == "gemini-2.0-flash"
    with pytest.raises(Refusal):
        read({"contents": HELLO}, "")


def test_what_gemini_does_not_know_is_named() -> None:
    request = foreign(
        min_p=0.1, logit_bias={"1": 2.0}, user="u", metadata={"a": "b"}, store=True, verbosity="low", seed=1 << 40,
        stop=[str(n) for n in range(9)], n=20, parallel_tools=False, cache_key="k", extra={"odd": 1},
        tools=[canon.Tool("f", strict=True)], service_tier="scale",
    )  # fmt: skip
    body, losses = written(request)
    assert losses == [
        "cache_key", "logit_bias", "metadata", "min_p", "n", "odd", "parallel_tools", "seed", "service_tier", "stop",
        "store", "strict", "user", "verbosity",
    ]  # fmt: skip
    assert body["generationConfig"] == {"stopSequences": ["0", "1", "2", "3", "4"], "candidateCount": 8}


def test_a_schema_in_the_words_of_the_model() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], "pattern": "x"}}}
    output = canon.OutputFormat("schema", schema=schema)
    new, losses = written(foreign(output=output))
    assert new["generationConfig"] == {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert losses == ["schema.pattern"]
    old, _ = written(foreign("gemini-2.0-flash", output=output))
    kind = {"nullable": True, "type": "STRING", "pattern": "x"}
    assert old["generationConfig"]["responseSchema"] == {"type": "OBJECT", "properties": {"a": kind}}


def test_a_system_prompt_alone_becomes_the_user() -> None:
    body, losses = written(foreign(turns=[], system=[canon.Text("Hi")]))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    assert losses == ["first_turn"]
