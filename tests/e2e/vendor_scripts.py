"""What a model says, in each vendor's own form, plain and streamed; and whether a later request brings it all back.

A model's answer is a list of steps: a thought with the vendor's secret, a call of a tool, a text.  Everything here
is written by hand from the vendors' references; nothing of the product's translators is used.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from burncloud.adaptors.eventstream import write_frame
from tests.upstream.cases import Case


class Think(NamedTuple):
    """Thinking, and what its vendor wants back to go on with it (Base64)."""

    text: str
    secret: str


class Call(NamedTuple):
    """A call of a tool."""

    id: str
    name: str
    arguments: dict[str, Any]


class Say(NamedTuple):
    """Text."""

    text: str


Step = Think | Call | Say
Frames = list[tuple[str, dict[str, Any]]]
"""(event name, data)."""
SSE: Final = (("content-type", "text/event-stream; charset=utf-8"),)
IN, OUT = 40, 12
"""Tokens of every answer."""


def halves(text: str) -> tuple[str, str]:
    """A text in two pieces."""
    return text[: len(text) // 2], text[len(text) // 2 :]


def _called(steps: list[Step]) -> bool:
    return any(isinstance(step, Call) for step in steps)


# Chat, as DeepSeek speaks it: its thinking has no secret


def _chat_call(step: Call, arguments: str) -> dict[str, Any]:
    return {"id": step.id, "type": "function", "function": {"name": step.name, "arguments": arguments}}


def chat_plain(steps: list[Step]) -> Any:
    message: dict[str, Any] = {"role": "assistant", "content": None}
    for step in steps:
        if isinstance(step, Think):
            message["reasoning_content"] = step.text
        elif isinstance(step, Say):
            message["content"] = step.text
        else:
            message.setdefault("tool_calls", []).append(_chat_call(step, json.dumps(step.arguments)))
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if _called(steps) else "stop"}],
        "usage": {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT},
    }  # fmt: skip


def chat_stream(steps: list[Step]) -> Frames:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    number = 0
    for step in steps:
        if isinstance(step, Think):
            deltas += [{"reasoning_content": piece} for piece in halves(step.text)]
        elif isinstance(step, Say):
            deltas += [{"content": piece} for piece in halves(step.text)]
        else:
            deltas.append({"tool_calls": [{"index": number, **_chat_call(step, "")}]})
            pieces = halves(json.dumps(step.arguments))
            deltas += [{"tool_calls": [{"index": number, "function": {"arguments": piece}}]} for piece in pieces]
            number += 1
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    finish = "tool_calls" if _called(steps) else "stop"
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    usage = {"prompt_tokens": IN, "completion_tokens": OUT, "total_tokens": IN + OUT}
    return [("", chunk) for chunk in [*chunks, {**head, "choices": [], "usage": usage}]]


def chat_back(body: dict[str, Any], step: Step) -> bool:
    assistant = [message for message in body["messages"] if message["role"] == "assistant"]
    if isinstance(step, Think):
        return any(message.get("reasoning_content") == step.text for message in assistant)
    if isinstance(step, Say):
        return any(step.text in json.dumps(message["content"], ensure_ascii=False) for message in assistant)
    made = [call for message in assistant for call in message.get("tool_calls") or []]
    return any(
        call["id"] == step.id
        and call["function"]["name"] == step.name
        and json.loads(call["function"]["arguments"]) == step.arguments
        for call in made
    )


def chat_results(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(m["tool_call_id"], json.dumps(m["content"])) for m in body["messages"] if m["role"] == "tool"]


# Responses


def _item(number: int, step: Step) -> dict[str, Any]:
    if isinstance(step, Think):
        summary = [{"type": "summary_text", "text": step.text}]
        return {"id": f"rs_{number}", "type": "reasoning", "summary": summary, "encrypted_content": step.secret}
    if isinstance(step, Call):
        return {
            "id": f"fc_{number}", "type": "function_call", "status": "completed", "call_id": step.id,
            "name": step.name, "arguments": json.dumps(step.arguments),
        }  # fmt: skip
    content = [{"type": "output_text", "text": step.text, "annotations": [], "logprobs": []}]
    return {"id": f"msg_{number}", "type": "message", "status": "completed", "role": "assistant", "content": content}


def responses_plain(steps: list[Step]) -> Any:
    return {
        "id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "error": None, "model": "m",
        "incomplete_details": None, "instructions": None, "metadata": {}, "parallel_tool_calls": True,
        "temperature": 1.0, "tool_choice": "auto", "tools": [], "top_p": 1.0, "store": False,
        "output": [_item(number, step) for number, step in enumerate(steps)],
        "usage": {"input_tokens": IN, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": OUT,
                  "output_tokens_details": {"reasoning_tokens": 4}, "total_tokens": IN + OUT},
    }  # fmt: skip


def responses_stream(steps: list[Step]) -> Frames:
    whole = responses_plain(steps)
    shell = {**whole, "status": "in_progress", "output": [], "usage": None}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": shell},
        {"type": "response.in_progress", "response": shell},
    ]
    for number, step in enumerate(steps):
        item = _item(number, step)
        place = {"output_index": number, "item_id": item["id"]}
        if isinstance(step, Think):
            part, at, kind = {"type": "summary_text", "text": ""}, {"summary_index": 0}, "reasoning_summary"
            events.append(
                {"type": "response.output_item.added", "output_index": number, "item": {**item, "summary": []}}
            )
            events.append({"type": f"response.{kind}_part.added", **place, **at, "part": part})
            events += [{"type": f"response.{kind}_text.delta", **place, **at, "delta": p} for p in halves(step.text)]
            events.append({"type": f"response.{kind}_text.done", **place, **at, "text": step.text})
            events.append({"type": f"response.{kind}_part.done", **place, **at, "part": {**part, "text": step.text}})
        elif isinstance(step, Call):
            kind, arguments = "response.function_call_arguments", item["arguments"]
            events.append({"type": "response.output_item.added", "output_index": number,
                           "item": {**item, "arguments": "", "status": "in_progress"}})  # fmt: skip
            events += [{"type": f"{kind}.delta", **place, "delta": piece} for piece in halves(arguments)]
            events.append({"type": f"{kind}.done", **place, "arguments": arguments, "name": step.name})
        else:
            part, at = {**item["content"][0], "text": ""}, {"content_index": 0}
            events.append({"type": "response.output_item.added", "output_index": number,
                           "item": {**item, "content": [], "status": "in_progress"}})  # fmt: skip
            events.append({"type": "response.content_part.added", **place, **at, "part": part})
            events += [{"type": "response.output_text.delta", **place, **at, "delta": piece, "logprobs": []}
                       for piece in halves(step.text)]  # fmt: skip
            events.append({"type": "response.output_text.done", **place, **at, "text": step.text, "logprobs": []})
            events.append({"type": "response.content_part.done", **place, **at, "part": item["content"][0]})
        events.append({"type": "response.output_item.done", "output_index": number, "item": item})
    events.append({"type": "response.completed", "response": whole})
    return [(event["type"], {**event, "sequence_number": at}) for at, event in enumerate(events)]


def responses_back(body: dict[str, Any], step: Step) -> bool:
    items = body["input"]
    if isinstance(step, Think):
        return any(item.get("encrypted_content") == step.secret for item in items if item["type"] == "reasoning")
    if isinstance(step, Say):
        said = [item for item in items if item.get("role") == "assistant"]
        return any(step.text in json.dumps(item["content"], ensure_ascii=False) for item in said)
    return any(
        (item["call_id"], item["name"], json.loads(item["arguments"])) == tuple(step)
        for item in items
        if item["type"] == "function_call"
    )


def responses_results(body: dict[str, Any]) -> list[tuple[str, str]]:
    return [(i["call_id"], json.dumps(i["output"])) for i in body["input"] if i["type"] == "function_call_output"]


# Messages


def _block(step: Step) -> dict[str, Any]:
    if isinstance(step, Think):
        return {"type": "thinking", "thinking": step.text, "signature": step.secret}
    if isinstance(step, Call):
        return {"type": "tool_use", "id": step.id, "name": step.name, "input": step.arguments}
    return {"type": "text", "text": step.text}


def messages_plain(steps: list[Step]) -> Any:
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None,
        "content": [_block(step) for step in steps], "stop_reason": "tool_use" if _called(steps) else "end_turn",
        "usage": {"input_tokens": IN, "output_tokens": OUT},
    }  # fmt: skip


def messages_stream(steps: list[Step]) -> Frames:
    whole = messages_plain(steps)
    start = {**whole, "content": [], "stop_reason": None, "usage": {"input_tokens": IN, "output_tokens": 1}}
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for at, step in enumerate(steps):
        block = _block(step)
        if isinstance(step, Think):
            block |= {"thinking": "", "signature": ""}
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in halves(step.text)]
            deltas.append({"type": "signature_delta", "signature": step.secret})
        elif isinstance(step, Call):
            block |= {"input": {}}
            pieces = ("", *halves(json.dumps(step.arguments)))
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]
        else:
            block |= {"text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in halves(step.text)]
        events.append({"type": "content_block_start", "index": at, "content_block": block})
        events += [{"type": "content_block_delta", "index": at, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": at})
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": OUT}})
    return [(event["type"], event) for event in [*events, {"type": "message_stop"}]]


def messages_back(body: dict[str, Any], step: Step) -> bool:
    turns = [turn["content"] for turn in body["messages"] if turn["role"] == "assistant"]
    blocks = [block for content in turns if isinstance(content, list) for block in content]
    wanted = _block(step)
    return any(block.items() >= wanted.items() for block in blocks) or wanted.get("text") in turns


def messages_results(body: dict[str, Any]) -> list[tuple[str, str]]:
    blocks = [block for turn in body["messages"] if isinstance(turn["content"], list) for block in turn["content"]]
    return [(b["tool_use_id"], json.dumps(b["content"])) for b in blocks if b["type"] == "tool_result"]


# Gemini: a call's secret stands on the call


def _parts(steps: list[Step]) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = []
    secret = ""
    for step in steps:
        if isinstance(step, Think):
            parts.append({"text": step.text, "thought": True})
            secret = step.secret
        elif isinstance(step, Call):
            signed = {"thoughtSignature": secret} if secret else {}
            parts.append({"functionCall": {"name": step.name, "args": step.arguments}, **signed})
            secret = ""
        else:
            parts.append({"text": step.text})
    return parts


def _generated(parts: list[dict[str, Any]], **finish: Any) -> dict[str, Any]:
    usage = {"promptTokenCount": IN, "candidatesTokenCount": OUT, "totalTokenCount": IN + OUT}
    content = {"role": "model", "parts": parts}
    return {
        "candidates": [{"content": content, "index": 0, **finish}], "modelVersion": "m", "responseId": "r1",
        "usageMetadata": usage,
    }  # fmt: skip


def gemini_plain(steps: list[Step]) -> Any:
    return _generated(_parts(steps), finishReason="STOP")


def gemini_stream(steps: list[Step]) -> Frames:
    parts: list[dict[str, Any]] = []
    for part in _parts(steps):
        pieces = halves(part["text"]) if "text" in part else ("",)
        parts += [{**part, "text": piece} for piece in pieces] if "text" in part else [part]
    return [("", _generated([part])) for part in parts] + [("", _generated([{"text": ""}], finishReason="STOP"))]


def gemini_back(body: dict[str, Any], step: Step) -> bool:
    parts = [part for turn in body["contents"] if turn["role"] == "model" for part in turn["parts"]]
    if isinstance(step, Think):
        return any(part.get("thoughtSignature") == step.secret for part in parts)
    if isinstance(step, Say):
        return any(step.text in part.get("text", "") for part in parts)
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return any((call["name"], call["args"]) == (step.name, step.arguments) for call in calls)


def gemini_results(body: dict[str, Any]) -> list[tuple[str, str]]:
    parts = [
        part["functionResponse"] for turn in body["contents"] for part in turn["parts"] if "functionResponse" in part
    ]
    return [(part["name"], json.dumps(part["response"])) for part in parts]


# Converse


def _content(step: Step) -> dict[str, Any]:
    if isinstance(step, Think):
        return {"reasoningContent": {"reasoningText": {"text": step.text, "signature": step.secret}}}
    if isinstance(step, Call):
        return {"toolUse": {"toolUseId": step.id, "name": step.name, "input": step.arguments}}
    return {"text": step.text}


_USED: Final = {"inputTokens": IN, "outputTokens": OUT, "totalTokens": IN + OUT}


def converse_plain(steps: list[Step]) -> Any:
    return {
        "output": {"message": {"role": "assistant", "content": [_content(step) for step in steps]}},
        "stopReason": "tool_use" if _called(steps) else "end_turn", "usage": _USED, "metrics": {"latencyMs": 5},
    }  # fmt: skip


def converse_stream(steps: list[Step]) -> Frames:
    frames: Frames = [("messageStart", {"role": "assistant"})]
    for at, step in enumerate(steps):
        deltas: list[dict[str, Any]]
        if isinstance(step, Think):
            deltas = [{"reasoningContent": {"text": piece}} for piece in halves(step.text)]
            deltas.append({"reasoningContent": {"signature": step.secret}})
        elif isinstance(step, Call):
            start = {"toolUse": {"toolUseId": step.id, "name": step.name}}
            frames.append(("contentBlockStart", {"contentBlockIndex": at, "start": start}))
            deltas = [{"toolUse": {"input": piece}} for piece in halves(json.dumps(step.arguments))]
        else:
            deltas = [{"text": piece} for piece in halves(step.text)]
        frames += [("contentBlockDelta", {"contentBlockIndex": at, "delta": delta}) for delta in deltas]
        frames.append(("contentBlockStop", {"contentBlockIndex": at}))
    frames.append(("messageStop", {"stopReason": "tool_use" if _called(steps) else "end_turn"}))
    return [*frames, ("metadata", {"usage": _USED, "metrics": {"latencyMs": 5}})]


def converse_back(body: dict[str, Any], step: Step) -> bool:
    blocks = [block for turn in body["messages"] if turn["role"] == "assistant" for block in turn["content"]]
    return _content(step) in blocks


def converse_results(body: dict[str, Any]) -> list[tuple[str, str]]:
    blocks = [block["toolResult"] for turn in body["messages"] for block in turn["content"] if "toolResult" in block]
    return [(block["toolUseId"], json.dumps(block["content"])) for block in blocks]


# All of them


class Vendor(NamedTuple):
    """How one upstream dialect says things, and how to see what came back."""

    plain: Callable[[list[Step]], Any]
    stream: Callable[[list[Step]], Frames]
    back: Callable[[dict[str, Any], Step], bool]
    """Whether a request holds what the model said in this step."""
    results: Callable[[dict[str, Any]], list[tuple[str, str]]]
    """(id of the call, or name of the tool; what it answered as JSON text), in order."""


VENDORS: Final[dict[str, Vendor]] = {
    "chat": Vendor(chat_plain, chat_stream, chat_back, chat_results),
    "responses": Vendor(responses_plain, responses_stream, responses_back, responses_results),
    "messages": Vendor(messages_plain, messages_stream, messages_back, messages_results),
    "gemini": Vendor(gemini_plain, gemini_stream, gemini_back, gemini_results),
    "converse": Vendor(converse_plain, converse_stream, converse_back, converse_results),
}


def framed(dialect: str, frames: Frames) -> bytes:
    """The bytes of a stream."""
    if dialect == "converse":
        return b"".join(
            write_frame({":event-type": name, ":content-type": "application/json", ":message-type": "event"},
                        json.dumps(data).encode())
            for name, data in frames
        )  # fmt: skip
    text = "".join((f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n" for name, data in frames)
    return (text + ("data: [DONE]\n\n" if dialect == "chat" else "")).encode()


def said(dialect: str, name: str, steps: list[Step], stream: bool) -> Case:
    """A case that answers so; streams come in pieces of 11 bytes, so that nothing is whole in a read."""
    if not stream:
        return Case(name, json.dumps(VENDORS[dialect].plain(steps)).encode())
    body = framed(dialect, VENDORS[dialect].stream(steps))
    headers = (("content-type", "application/vnd.amazon.eventstream"),) if dialect == "converse" else SSE
    return Case(name, body, headers=headers, framing="chunked", pieces=11)
