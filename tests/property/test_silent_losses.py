"""Nothing is lost without a word: every field of the canonical form, in every place, written by every dialect.

Each thing to say has a mark that stands nowhere else.  A body that is written with it must hold the mark, or name one
more loss than the body without it.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable
from typing import Any, Final

import msgspec
import pytest

from burncloud.adaptors import assemble, canon
from burncloud.adaptors.canon import (
    Answer,
    Audio,
    Choice,
    Document,
    Image,
    OutputFormat,
    Raw,
    Reasoning,
    Refusal,
    Request,
    ServerTool,
    Source,
    Stop,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Turn,
)
from burncloud.domain.usage import KINDS, Usage

MODELS: Final[dict[str, tuple[str, ...]]] = {
    "chat": ("gpt-5.2", "gpt-4o", "deepseek-chat", "mistral-large", "anthropic/claude-sonnet-4.5", "some-model"),
    "responses": ("gpt-5.2", "gpt-4o", "some-model"),
    "messages": ("claude-sonnet-4-5", "claude-opus-4-8", "claude-3-5-haiku-latest"),
    "gemini": ("gemini-2.0-flash", "gemini-2.5-pro", "gemini-3-flash-preview"),
    "converse": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0", "openai.gpt-oss-120b-1:0",
        "mistral.mistral-large-3-675b-instruct", "amazon.titan-text-express-v1",
    ),
    "completions": ("gpt-3.5-turbo-instruct",),
}  # fmt: skip
TARGETS: Final = [(dialect, model) for dialect, models in MODELS.items() for model in models]
FROM: Final = "elsewhere"
"""A dialect that is nobody's own."""
MARK: Final = "zQmark7"
PNG: Final = "iVBORw0KGgozQm7A"
PDF: Final = "JVBERi0xLjQKzQm7"
WAV: Final = "UklGRzQm7AAA"

Change = Callable[[Request], None]


def plain() -> Request:
    """A request that says almost nothing."""
    return Request("m", [Turn("user", [Text("hello")])], dialect=FROM, max_tokens=99)


def written(dialect: str, model: str, request: Request) -> tuple[str, set[str]]:
    losses = canon.Losses()
    request.model = model
    write = importlib.import_module(f"burncloud.adaptors.{dialect}.request").write_request
    return write(request, losses).decode(), set(losses.names())


def held(body: str, marks: tuple[Any, ...]) -> bool:
    """Whether a body says all of it."""
    texts = [mark if isinstance(mark, str) else json.dumps(mark) for mark in marks]
    return all(text in body or base64.b64encode(text.encode()).decode() in body for text in texts)


def member(**members: Any) -> Change:
    def change(request: Request) -> None:
        for name, value in members.items():
            setattr(request, name, value)

    return change


def user(*blocks: Any) -> Change:
    return lambda request: request.turns.append(Turn("user", [*blocks]))


def spoken(*blocks: Any) -> Change:
    def change(request: Request) -> None:
        request.turns += [Turn("assistant", [*blocks]), Turn("user", [Text("go on")])]

    return change


TOOL: Final = Tool("known", parameters={"type": "object", "properties": {}})


def called(call: ToolCall, *results: ToolResult) -> Change:
    def change(request: Request) -> None:
        request.tools.append(TOOL)
        request.turns += [Turn("assistant", [call]), Turn("user", list(results))]

    return change


def resulting(**members: Any) -> Change:
    result: dict[str, Any] = {"call_id": "call_1", "blocks": [Text("done")], **members}
    return called(ToolCall("call_1", "known", "{}"), ToolResult(**result))


CACHE: Final = {"type": "ephemeral"}
LINK: Final = {"type": "url_citation", "url": f"https://{MARK}", "title": "t"}
ASKED: Final[dict[str, tuple[Change, tuple[Any, ...]]]] = {
    "system": (member(system=[Text(MARK)]), (MARK,)),
    "system, cached": (member(system=[Text("be kind", cache=CACHE)]), ("cache",)),
    "temperature": (member(temperature=0.37), (0.37,)),
    "top_p": (member(top_p=0.37), (0.37,)),
    "top_k": (member(top_k=373), (373,)),
    "min_p": (member(min_p=0.0373), (0.0373,)),
    "frequency_penalty": (member(frequency_penalty=0.37), (0.37,)),
    "presence_penalty": (member(presence_penalty=0.37), (0.37,)),
    "max_tokens": (member(max_tokens=37373), (37373,)),
    "seed": (member(seed=37373), (37373,)),
    "seed 0": (member(seed=0), ('seed":0',)),
    "stop": (member(stop=[MARK]), (MARK,)),
    "n": (member(n=7), (":7",)),
    "logprobs": (member(logprobs=True), ("ogprobs",)),
    "top_logprobs": (member(logprobs=True, top_logprobs=17), (17,)),
    "logit_bias": (member(logit_bias={"37373": 5}), ("37373",)),
    "modalities": (member(modalities=["text", "audio"]), ("audio",)),
    "voice": (member(modalities=["text", "audio"], audio={"voice": MARK}), (MARK,)),
    "verbosity": (member(verbosity="high"), ("high",)),
    "service_tier": (member(service_tier="flex"), ("flex",)),
    "service_tier, odd": (member(service_tier=MARK), (MARK,)),
    "user": (member(user=MARK), (MARK,)),
    "metadata": (member(metadata={"a": MARK}), (MARK,)),
    "store": (member(store=True), ('"store":true',)),
    "cache_key": (member(cache_key=MARK), (MARK,)),
    "safety": (member(safety=[{"category": MARK}]), (MARK,)),
    "extra": (member(extra={MARK: 1}), (MARK,)),
    "json": (member(output=OutputFormat("json")), ("json",)),
    "schema": (member(output=OutputFormat("schema", "n", schema={"type": "object", "description": MARK})), (MARK,)),
    "schema, its description": (
        member(output=OutputFormat("schema", "n", MARK, {"type": "object"})), (MARK,),
    ),
    "thinking": (member(thinking=Thinking(True)), ()),
    "thinking, effort": (member(thinking=Thinking(effort="high")), ()),
    "thinking, budget": (member(thinking=Thinking(True, budget_tokens=3737), max_tokens=9999), (3737,)),
    "thinking, summary": (member(thinking=Thinking(effort="high", summary="detailed")), ("detailed",)),
    "tool": (member(tools=[Tool(MARK)]), (MARK,)),
    "tool, description": (member(tools=[Tool("f", MARK)]), (MARK,)),
    "tool, parameters": (member(tools=[Tool("f", "d", {"type": "object", "properties": {MARK: {}}})]), (MARK,)),
    "tool, strict": (member(tools=[Tool("f", "d", {"type": "object"}, True)]), ('"strict":true',)),
    "tool, cached": (member(tools=[Tool("f", "d", {"type": "object"}, cache=CACHE)]), ("cache",)),
    "tool, extra": (member(tools=[Tool("f", "d", {"type": "object"}, extra={MARK: 1})]), (MARK,)),
    "tool, custom": (member(tools=[Tool("f", custom={"format": {"type": "grammar", "definition": MARK}})]), (MARK,)),
    "tool of a server": (member(tools=[ServerTool(FROM, {"type": MARK})]), (MARK,)),
    "choice none": (member(tools=[TOOL], tool_choice=ToolChoice("none")), ()),
    "choice required": (member(tools=[TOOL], tool_choice=ToolChoice("required")), ()),
    "choice tool": (member(tools=[TOOL], tool_choice=ToolChoice("tool", "known")), ("known",)),
    "choice allowed": (
        member(tools=[TOOL, Tool("other")], tool_choice=ToolChoice("allowed", names=["known"], mode="required")),
        ("known",),
    ),
    "one call at a time": (member(tools=[TOOL], parallel_tools=False), ("parallel",)),
    "turn, name": (lambda request: request.turns.append(Turn("user", [Text("hi")], MARK)), (MARK,)),
    "turn, extra": (lambda request: request.turns.append(Turn("user", [Text("hi")], extra={MARK: 1})), (MARK,)),
    "turn of the assistant, extra": (
        lambda request: request.turns.extend(
            [Turn("assistant", [Text("hi")], extra={MARK: 1}), Turn("user", [Text("x")])]
        ),
        (MARK,),
    ),
    "turn of the system": (
        lambda request: request.turns.extend([Turn("system", [Text(MARK)]), Turn("user", [Text("x")])]), (MARK,),
    ),
    "text": (user(Text(MARK)), (MARK,)),
    "text, cited": (user(Text("hi", [LINK])), (MARK,)),
    "text, cached": (user(Text("hi", cache=CACHE)), ("cache",)),
    "text, extra": (user(Text("hi", extra={MARK: 1})), (MARK,)),
    "image": (user(Image(Source("image/png", PNG))), (PNG,)),
    "image, link": (user(Image(Source(url=f"https://{MARK}/a.png"))), (MARK,)),
    "image, odd link": (user(Image(Source(url=f"gs://{MARK}/a.png"))), (MARK,)),
    "image, file": (user(Image(Source(file_id=MARK))), (MARK,)),
    "image, nothing": (user(Text("x"), Image(Source())), ("no such thing",)),
    "image, detail": (user(Image(Source("image/png", PNG), "high")), ("high",)),
    "image, cached": (user(Image(Source("image/png", PNG), cache=CACHE)), ("cache",)),
    "image, extra": (user(Image(Source("image/png", PNG), extra={MARK: 1})), (MARK,)),
    "document": (user(Text("x"), Document(Source("application/pdf", PDF))), (PDF,)),
    "document, link": (user(Text("x"), Document(Source(url=f"https://{MARK}/a.pdf"))), (MARK,)),
    "document, file": (user(Text("x"), Document(Source(file_id=MARK))), (MARK,)),
    "document, text": (user(Text("x"), Document(Source("text/plain", text=MARK))), (MARK,)),
    "document, nothing": (user(Text("x"), Document(Source())), ("no such thing",)),
    "document, title": (user(Text("x"), Document(Source("application/pdf", PDF), MARK)), (MARK,)),
    "document, title of a text": (user(Text("x"), Document(Source("text/plain", text="a"), MARK)), (MARK,)),
    "document, title of a link": (user(Text("x"), Document(Source(url="https://x/a.pdf"), MARK)), (MARK,)),
    "document, cached": (user(Text("x"), Document(Source("application/pdf", PDF), cache=CACHE)), ("cache",)),
    "document, extra": (user(Text("x"), Document(Source("application/pdf", PDF), extra={MARK: 1})), (MARK,)),
    "document, odd type": (user(Text("x"), Document(Source("application/zip", PDF))), (PDF,)),
    "audio": (user(Text("x"), Audio(Source("audio/wav", WAV))), (WAV,)),
    "audio, link": (user(Text("x"), Audio(Source(url=f"https://{MARK}/a.wav"))), (MARK,)),
    "audio, extra": (user(Text("x"), Audio(Source("audio/wav", WAV), extra={MARK: 1})), (MARK,)),
    "raw": (user(Text("x"), Raw(FROM, {"type": MARK})), (MARK,)),
    "said": (spoken(Text(MARK)), (MARK,)),
    "said, cited": (spoken(Text("hi", [LINK])), (MARK,)),
    "said, cached": (spoken(Text("hi", cache=CACHE)), ("cache",)),
    "said, extra": (spoken(Text("hi", extra={MARK: 1})), (MARK,)),
    "refused": (spoken(Refusal(MARK)), (MARK,)),
    "refused, extra": (spoken(Refusal("no", extra={MARK: 1})), (MARK,)),
    "drawn": (spoken(Text("x"), Image(Source("image/png", PNG))), (PNG,)),
    "spoken": (spoken(Audio(Source("audio/wav", WAV), "hi")), (WAV,)),
    "spoken, transcript": (spoken(Audio(Source(), MARK)), (MARK,)),
    "spoken, id": (spoken(Audio(Source(), "hi", "audio_1")), ("audio_1",)),
    "thought": (spoken(Reasoning(MARK, origin="chat"), Text("x")), (MARK,)),
    "thought, summary": (spoken(Reasoning("", [MARK], origin="responses", id="rs"), Text("x")), (MARK,)),
    "thought, signed": (spoken(Reasoning("t", [], MARK, origin=FROM), Text("x")), (MARK,)),
    "thought, encrypted": (spoken(Reasoning("t", [], "", MARK, origin=FROM), Text("x")), (MARK,)),
    "thought, extra": (spoken(Reasoning("t", origin=FROM, extra={MARK: 1}), Text("x")), (MARK,)),
    "raw said": (spoken(Text("x"), Raw(FROM, {"type": MARK})), (MARK,)),
    "call": (called(ToolCall("call_1", "known", json.dumps({"a": MARK})), ToolResult("call_1", [Text("x")])), (MARK,)),
    "call, no JSON": (called(ToolCall("call_1", "known", MARK), ToolResult("call_1", [Text("x")])), (MARK,)),
    "call, custom": (
        called(ToolCall("call_1", "known", MARK, custom=True), ToolResult("call_1", [Text("x")])), (MARK,),
    ),
    "call, signed": (called(ToolCall("call_1", "known", "{}", MARK), ToolResult("call_1", [Text("x")])), (MARK,)),
    "call, cached": (
        called(ToolCall("call_1", "known", "{}", cache=CACHE), ToolResult("call_1", [Text("x")])), ("cache",),
    ),
    "call, extra": (
        called(ToolCall("call_1", "known", "{}", extra={MARK: 1}), ToolResult("call_1", [Text("x")])), (MARK,),
    ),
    "result": (resulting(blocks=[Text(MARK)]), (MARK,)),
    "result, error": (resulting(is_error=True), ("error",)),
    "result, picture": (resulting(blocks=[Text("x"), Image(Source("image/png", PNG))]), (PNG,)),
    "result, document": (resulting(blocks=[Text("x"), Document(Source("application/pdf", PDF))]), (PDF,)),
    "result, sound": (resulting(blocks=[Text("x"), Audio(Source("audio/wav", WAV))]), (WAV,)),
    "result, raw": (resulting(blocks=[Text("x"), Raw(FROM, {"type": MARK})]), (MARK,)),
    "result, cached": (resulting(cache=CACHE), ("cache",)),
    "result, cached inside": (resulting(blocks=[Text("x", cache=CACHE)]), ("cache",)),
    "result, extra": (resulting(extra={MARK: 1}), (MARK,)),
    "result, extra inside": (resulting(blocks=[Text("x", extra={MARK: 1})]), (MARK,)),
    "resultless": (user(ToolResult("call_9", [Text(MARK)])), (MARK,)),
}  # fmt: skip


BEFORE: Final[dict[str, Change]] = {
    "call": called(ToolCall("call_1", "known", "{}"), ToolResult("call_1", [Text("x")])),
    "result": resulting(),
    "choice": member(tools=[TOOL]),
    "one call": member(tools=[TOOL]),
    "tool,": member(tools=[Tool("f", "d", {"type": "object"})]),
    "said": spoken(Text("hi")), "refused": spoken(Text("hi")), "thought": spoken(Text("x")),
    "raw said": spoken(Text("x")),
    "drawn": spoken(Text("x")), "spoken": spoken(Text("hi")), "turn": user(Text("hi")),
    "text": user(Text("hi")), "image": user(Text("x")), "document": user(Text("x")),
    "audio": user(Text("x")),
    "raw": user(Text("x")),
}  # fmt: skip
"""The beginning of a name → the same without what is looked for."""


THINKING_ANYWAY: Final = ("gemini-3-flash-preview",)
"""Models that think without a word."""
WHOLES: Final = {"tool": "tools", "one call": "tools", "call": "tool_calls", "result": "tool_results"}
"""The beginning of a name → what is named as lost altogether where there is none of it (legacy completions)."""


@pytest.mark.parametrize(("dialect", "model"), TARGETS)
@pytest.mark.parametrize("thing", ASKED)
def test_nothing_asked_is_lost_silently(thing: str, dialect: str, model: str) -> None:
    change, marks = ASKED[thing]
    request, without = plain(), plain()
    change(request)
    before = next((BEFORE[start] for start in BEFORE if thing.startswith(start)), None)
    if before is not None:
        before(without)
    body, lost = written(dialect, model, request)
    other, known = written(dialect, model, without)
    if thing == "thinking" and model in THINKING_ANYWAY:
        return
    whole = {WHOLES[start] for start in WHOLES if thing.startswith(start)}
    named = lost - known or (dialect == "completions" and whole & lost)
    assert named or (held(body, marks) and body != other), (body[:600], sorted(lost))


# Answers

CLIENTS: Final = ("chat", "responses", "messages", "gemini")


def answered() -> Answer:
    """An answer that says almost nothing."""
    return Answer("id-1", "m", [Choice([Text("hello")], Stop("stop"))], Usage(5, 7), dialect=FROM)


def saying(*blocks: Any, **members: Any) -> Answer:
    answer = answered()
    answer.choices[0].blocks = list(blocks)
    for name, value in members.items():
        setattr(answer.choices[0], name, value)
    return answer


def telling(**members: Any) -> Answer:
    answer = answered()
    for name, value in members.items():
        setattr(answer, name, value)
    return answer


LOGPROBS: Final = {"content": [{"token": MARK, "logprob": -0.5, "bytes": None, "top_logprobs": []}]}
CITED: Final = {"type": "char_location", "cited_text": MARK, "document_index": 0}
TOLD: Final[dict[str, tuple[Answer, tuple[Any, ...]]]] = {
    "id": (telling(id=MARK), (MARK,)),
    "model": (telling(model=MARK), (MARK,)),
    "service tier": (telling(service_tier="flex"), ("flex",)),
    "extra": (telling(extra={MARK: 1}), (MARK,)),
    "choice, extra": (saying(Text("hello"), extra={MARK: 1}), (MARK,)),
    "second choice": (telling(choices=[*answered().choices, Choice([Text(MARK)], Stop("stop"))]), (MARK,)),
    "logprobs": (saying(Text("hello"), logprobs=LOGPROBS), (MARK,)),
    "text": (saying(Text(MARK)), (MARK,)),
    "texts": (saying(Text("hello"), Text(MARK)), (MARK,)),
    "text, extra": (saying(Text("hello", extra={MARK: 1})), (MARK,)),
    "text, link": (saying(Text("hello", [LINK])), (MARK,)),
    "text, cited": (saying(Text("hello", [CITED])), (MARK,)),
    "refusal": (saying(Refusal(MARK)), (MARK,)),
    "refusal, extra": (saying(Refusal("no", extra={MARK: 1})), (MARK,)),
    "picture": (saying(Text("x"), Image(Source("image/png", PNG))), (PNG,)),
    "picture, link": (saying(Text("x"), Image(Source(url=f"https://{MARK}/a.png"))), (MARK,)),
    "picture, extra": (saying(Text("x"), Image(Source("image/png", PNG), extra={MARK: 1})), (MARK,)),
    "document": (saying(Text("x"), Document(Source("application/pdf", PDF))), (PDF,)),
    "sound": (saying(Audio(Source("audio/wav", WAV), "hi", "a1")), (WAV,)),
    "sound, transcript": (saying(Audio(Source("audio/wav", WAV), MARK)), (MARK,)),
    "sound, extra": (saying(Audio(Source("audio/wav", WAV), "hi", extra={MARK: 1})), (MARK,)),
    "call": (saying(ToolCall("call_1", "f", json.dumps({"a": MARK}))), (MARK,)),
    "call, name": (saying(ToolCall("call_1", MARK, "{}")), (MARK,)),
    "call, id": (saying(ToolCall(MARK, "f", "{}")), (MARK,)),
    "call, no JSON": (saying(ToolCall("call_1", "f", MARK)), (MARK,)),
    "call, custom": (saying(ToolCall("call_1", "f", MARK, custom=True)), (MARK,)),
    "call, extra": (saying(ToolCall("call_1", "f", "{}", extra={MARK: 1})), (MARK,)),
    "thought": (saying(Reasoning(MARK, origin=FROM), Text("x")), (MARK,)),
    "thought, summary": (saying(Reasoning("", ["a", MARK], origin="responses", id="rs"), Text("x")), (MARK,)),
    "thought, extra": (saying(Reasoning("t", origin=FROM, extra={MARK: 1}), Text("x")), (MARK,)),
    "raw": (saying(Text("x"), Raw(FROM, {"type": MARK})), (MARK,)),
    "stop sequence": (saying(Text("hello"), stop=Stop("sequence", "stop_sequence", MARK)), (MARK,)),
}
BARE: Final[dict[str, Answer]] = {
    "call": saying(ToolCall("call_1", "f", "{}")),
    "thought": saying(Text("x")), "raw": saying(Text("x")), "picture": saying(Text("x")), "document": saying(Text("x")),
    "sound,": saying(Audio(Source("audio/wav", WAV), "hi")), "sound": saying(Text("hi")),
    "refusal": saying(Refusal("no")),
}  # fmt: skip


def copied(answer: Answer) -> Answer:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(answer), type=Answer)


def told_plainly(dialect: str, answer: Answer) -> tuple[str, set[str]]:
    losses = canon.Losses()
    write = importlib.import_module(f"burncloud.adaptors.{dialect}.answer").write_answer
    return write(copied(answer), losses).decode(), set(losses.names())


def told_as_a_stream(dialect: str, answer: Answer) -> tuple[str, set[str]]:
    losses = canon.Losses()
    writer = importlib.import_module(f"burncloud.adaptors.{dialect}.stream").StreamWriter("", True, losses)
    return b"".join(map(writer.write, assemble.tell(copied(answer)))).decode(), set(losses.names())


@pytest.mark.parametrize("tell", [told_plainly, told_as_a_stream])
@pytest.mark.parametrize("dialect", CLIENTS)
@pytest.mark.parametrize("thing", TOLD)
def test_nothing_told_is_lost_silently(thing: str, dialect: str, tell: Callable[..., tuple[str, set[str]]]) -> None:
    answer, marks = TOLD[thing]
    body, lost = tell(dialect, answer)
    _, known = tell(dialect, next((BARE[start] for start in BARE if thing.startswith(start)), answered()))
    assert lost - known or held(body, marks), (body[:700], sorted(lost))


@pytest.mark.parametrize("dialect", CLIENTS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_kind_of_usage_is_lost_silently(kind: str, dialect: str) -> None:
    """Read back it is the same kind; where that is named as lost, the sum is the same all the same."""
    usage = Usage(**{"input": 100, "output": 200, kind: 37})
    body, lost = told_plainly(dialect, telling(usage=usage))
    read = importlib.import_module(f"burncloud.adaptors.{dialect}.answer").read_answer(body.encode()).usage
    assert read.total() == usage.total()
    assert read == usage or lost, (body[-500:], read)
