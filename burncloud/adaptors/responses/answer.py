"""Plain answers in Responses' form, and failures.  An answer is written the way a stream is, all at once."""

from __future__ import annotations

from typing import Any

from burncloud.adaptors import canon
from burncloud.adaptors.bodies import answer_bytes, answer_of, no_answer
from burncloud.adaptors.chat.answer import write_failure as write_failure  # OpenAI's form is the same at both doors
from burncloud.adaptors.failures import failure_of
from burncloud.adaptors.fields import Fields
from burncloud.adaptors.responses.parts import DIALECT, DRAWN, drawn, read_content
from burncloud.adaptors.responses.reasoning import read_reasoning
from burncloud.adaptors.responses.response import read_created, read_rest, read_stop, read_usage
from burncloud.adaptors.responses.stream import StreamWriter
from burncloud.adaptors.responses.turns import is_run_by_server, read_call, spoken

# Reading


def read_answer(body: bytes) -> canon.Answer:
    """A response; Unreadable if the body is none, or one that failed."""
    return answer_of(_read, body)


def _read(value: Any) -> canon.Answer:
    if type(value) is not dict or type(value.get("output")) is not list or value.get("status") == "failed":
        raise no_answer(value, "the upstream's answer is no response")
    fields = Fields(value)
    key, model, tier = fields.text("id"), fields.text("model"), fields.text("service_tier")
    extra, said = read_rest(value)
    choice = canon.Choice([])
    if type(value.get("reasoning")) is str:  # mistral.rs
        choice.blocks.append(canon.Reasoning(value["reasoning"], origin=DIALECT))
        del said["reasoning"]
    probs: list[Any] = []
    for at, item in enumerate(value["output"]):
        choice.blocks += _read_item(item, f"output[{at}]", probs)
    called = any(type(block) is canon.ToolCall for block in choice.blocks)
    refused = any(type(block) is canon.Refusal for block in choice.blocks)
    choice.stop = read_stop(value, called=called, refused=refused)
    if probs:
        choice.logprobs = {"content": probs}
    usage = read_usage(value)
    return canon.Answer(key, model, [choice], usage, read_created(value), tier, DIALECT, extra, said)


def _read_item(item: Any, where: str, probs: list[Any]) -> list[canon.Block]:
    """The blocks of one item."""
    fields = Fields(item, where)
    kind = fields.text("type")
    if kind == "message":
        blocks = read_content(fields.take("content"), fields.at("content"))
        said = {name: value for name in ("id", "phase") if (value := fields.take(name)) is not None}
        for block in blocks:
            if isinstance(block, canon.Text) and type(block.extra.get("logprobs")) is list:
                probs += block.extra.pop("logprobs")
        return spoken(blocks, said)
    if kind == "reasoning":
        fields.rest()["type"] = kind
        return [read_reasoning(fields)]
    if kind in ("function_call", "custom_tool_call") and not is_run_by_server(item):
        call = read_call(fields)
        call.custom = kind == "custom_tool_call"
        return [call]
    return [drawn(item) if kind == DRAWN else canon.Raw(DIALECT, item)]


def read_failure(status: int, body: bytes) -> canon.Failure:
    """An error answer."""
    return failure_of(status, body)


# Writing


def write_answer(answer: canon.Answer, losses: canon.Losses, *, request: canon.Request | None = None) -> bytes:
    """A response; Unreadable if it cannot be written.  `request`: what the client asked, which it repeats."""
    writer = StreamWriter("", True, losses, request=request)
    writer.write(
        canon.Started(
            answer.id,
            answer.model,
            answer.created,
            answer.usage,
            answer.service_tier,
            answer.extra,
            answer.dialect,
            answer.said,
        )
    )
    choice = answer.choices[0] if answer.choices else canon.Choice([])
    if len(answer.choices) > 1:
        losses.add("n")
    logprobs = choice.logprobs
    for index, block in enumerate(choice.blocks):
        writer.write(canon.Opened(index, block))
        if logprobs is not None and isinstance(block, canon.Text):
            writer.write(canon.Delta(index, logprobs=logprobs))
            logprobs = None
        writer.write(canon.Closed(index))
    writer.write(canon.Stopped(choice.stop or canon.Stop("stop"), extra=choice.extra))
    writer.write(canon.Ended())
    return answer_bytes(lambda: writer.response)
