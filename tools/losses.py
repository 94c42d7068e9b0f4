"""What gets lost between two dialects, found out by translating: the rows of docs/losses.md.

A request that says one thing more than a plain one is written in the client's dialect, read as the gateway reads it,
and written for the upstream; the names of the losses are what the client would find in x-burncloud-lossy.  The same
with answers, the other way.  What a dialect has no word for is no row of its table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from burncloud.adaptors import canon, translation
from burncloud.adaptors.canon import DIALECTS, INBOUND, Answer, Choice, Request, Source, Stop, Text, Turn
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.domain.usage import Usage
from burncloud.errors import Refusal

MODELS: Final[dict[str, tuple[str, ...]]] = {
    "chat": ("gpt-4o", "gpt-5.2", "deepseek-chat", "qwen3-max", "mistral-large", "anthropic/claude-sonnet-4.5"),
    "responses": ("gpt-5.2", "gpt-4o"),
    "messages": ("claude-sonnet-4-5", "claude-opus-4-8", "claude-3-5-haiku-latest"),
    "gemini": ("gemini-2.5-pro", "gemini-3-flash-preview", "gemini-2.0-flash"),
    "converse": (
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0",
        "mistral.mistral-large-3-675b-instruct", "openai.gpt-oss-120b-1:0",
    ),
    "completions": ("gpt-3.5-turbo-instruct",),
}  # fmt: skip
"""Upstream dialect → models asked: their families differ in what they take."""

PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA: Final[dict[str, Any]] = {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False,
}  # fmt: skip
SERVER_TOOLS: Final[dict[str, dict[str, Any]]] = {
    "responses": {"type": "web_search"},
    "messages": {"type": "web_search_20250305", "name": "web_search"},
    "gemini": {"googleSearch": {}},
}
MARK: Final[canon.Cache] = {"type": "ephemeral"}

Change = Callable[[Request, str], None]
"""Makes a plain request say one thing more, as a client of a dialect would."""


def _set(**members: Any) -> Change:
    def change(request: Request, dialect: str) -> None:
        for name, value in members.items():
            setattr(request, name, value)

    return change


def _say(*blocks: canon.Block) -> Change:
    """More in the user's message."""
    return lambda request, dialect: request.turns[0].blocks.extend(blocks)


def _tool(**members: Any) -> Change:
    """A tool."""
    tool = canon.Tool("weather", "tells the weather", SCHEMA, **members)
    return lambda request, dialect: request.tools.append(tool)


def _choose(choice: canon.ToolChoice) -> Change:
    def change(request: Request, dialect: str) -> None:
        _tool()(request, dialect)
        request.tool_choice = choice

    return change


def _loop(*results: canon.Block, is_error: bool = False, before: tuple[canon.Block, ...] = ()) -> Change:
    """A call of a tool and its result."""

    def change(request: Request, dialect: str) -> None:
        _tool()(request, dialect)
        call = canon.ToolCall("call_1", "weather", '{"city":"Rome"}')
        result = canon.ToolResult("call_1", list(results or (Text("21 degrees"),)), is_error, "weather")
        request.turns += [Turn("assistant", [*before, call]), Turn("user", [result])]

    return change


def _history(*blocks: canon.Block) -> Change:
    """An answer of before, and a further question."""

    def change(request: Request, dialect: str) -> None:
        own = [
            msgspec.structs.replace(block, origin=dialect) if isinstance(block, canon.Reasoning) else block
            for block in blocks
        ]
        request.turns += [Turn("assistant", own), Turn("user", [Text("and then?")])]

    return change


def _server_tool(request: Request, dialect: str) -> None:
    if dialect in SERVER_TOOLS:
        request.tools.append(canon.ServerTool(dialect, SERVER_TOOLS[dialect]))


def _late_system(request: Request, dialect: str) -> None:
    _history(Text("yes"))(request, dialect)
    request.turns.insert(2, Turn("system", [Text("be brief")]))
    request.turns[2], request.turns[3] = request.turns[3], request.turns[2]
    request.turns.append(Turn("user", [Text("go on")]))


def _one_at_a_time(request: Request, dialect: str) -> None:
    _tool()(request, dialect)
    request.parallel_tools = False


def _name(request: Request, dialect: str) -> None:
    request.turns[0].name = "ada"


def _prefill(request: Request, dialect: str) -> None:
    request.turns.append(Turn("assistant", [Text("The answer is")]))


def _picture(detail: str = "") -> canon.Image:
    return canon.Image(Source("image/png", PIXEL), detail)


def _thought(text: str, signature: str = "") -> canon.Reasoning:
    return canon.Reasoning(text, signature=signature)


def _format(kind: Any, **members: Any) -> Change:
    return _set(output=canon.OutputFormat(kind, **members))


def _think(**members: Any) -> Change:
    return _set(thinking=canon.Thinking(**members), max_tokens=20_000)


_CITED: Final[dict[str, Any]] = {
    "type": "url_citation", "url": "https://example.com/", "title": "t", "start_index": 0, "end_index": 3,
}  # fmt: skip

REQUESTS: Final[dict[str, Change]] = {
    "system prompt": _set(system=[Text("be kind")]),
    "system message in mid-conversation": _late_system,
    "name of a message's author": _name,
    "answer begun by the client (prefill)": _prefill,
    "image, Base64": _say(_picture()),
    "image, URL": _say(canon.Image(Source("image/png", url="https://example.com/a.png"))),
    "image, id of an uploaded file": _say(canon.Image(Source("image/png", file_id="file-1"))),
    "image's detail": _say(_picture("low")),
    "PDF, Base64": _say(canon.Document(Source("application/pdf", "JVBERi0xLjQK"), "a.pdf")),
    "PDF, URL": _say(canon.Document(Source("application/pdf", url="https://example.com/a.pdf"), "a.pdf")),
    "document, plain text": _say(canon.Document(Source("text/plain", text="once upon a time"), "a.txt")),
    "audio": _say(canon.Audio(Source("audio/wav", "UklGRg=="))),
    "tools": _tool(),
    "strict tools": _tool(strict=True),
    "custom tools": lambda request, dialect: request.tools.append(canon.Tool("sql", "runs SQL", custom={})),
    "tools the vendor runs (web search)": _server_tool,
    "tool choice: none": _choose(canon.ToolChoice("none")),
    "tool choice: required": _choose(canon.ToolChoice("required")),
    "tool choice: this one": _choose(canon.ToolChoice("tool", "weather")),
    "tool choice: one of these": _choose(canon.ToolChoice("allowed", names=["weather"], mode="required")),
    "one tool at a time": _one_at_a_time,
    "tool call and result": _loop(),
    "tool result that is an error": _loop(is_error=True),
    "tool result with an image": _loop(_picture()),
    "tool result with a PDF": _loop(canon.Document(Source("application/pdf", "JVBERi0xLjQK"), "a.pdf")),
    "JSON mode": _format("json"),
    "JSON schema": _format("schema", name="answer", schema=SCHEMA, strict=True),
    "thinking on": _think(enabled=True),
    "thinking off": _set(thinking=canon.Thinking(enabled=False)),
    "thinking effort": _think(enabled=True, effort="high"),
    "thinking budget": _think(enabled=True, budget_tokens=5000),
    "earlier answer": _history(Text("yes")),
    "earlier thinking, text": _history(_thought("hmm"), Text("yes")),
    "earlier thinking, signed": _history(_thought("hmm", "c2lnbmVk"), Text("yes")),
    "earlier citations": _history(Text("yes", [_CITED])),
    "earlier refusal": _history(canon.Refusal("no")),
    "max_tokens": _set(max_tokens=100),
    "temperature": _set(temperature=0.5),
    "top_p": _set(top_p=0.5),
    "top_k": _set(top_k=5),
    "min_p": _set(min_p=0.1),
    "frequency_penalty": _set(frequency_penalty=0.5),
    "presence_penalty": _set(presence_penalty=0.5),
    "seed": _set(seed=7),
    "stop sequences": _set(stop=["END"]),
    "six stop sequences": _set(stop=["A", "B", "C", "D", "E", "F"]),
    "n": _set(n=2),
    "logprobs": _set(logprobs=True),
    "top_logprobs": _set(logprobs=True, top_logprobs=3),
    "logit_bias": _set(logit_bias={"50256": -100}),
    "spoken answers": _set(modalities=["text", "audio"], audio={"voice": "alloy", "format": "wav"}),
    "pictures as answers": _set(modalities=["text", "image"]),
    "verbosity": _set(verbosity="low"),
    "service_tier": _set(service_tier="priority"),
    "user": _set(user="u-1"),
    "metadata": _set(metadata={"team": "a"}),
    "store": _set(store=True),
    "prompt_cache_key": _set(cache_key="k"),
    "cache mark in the system prompt": _set(system=[Text("be kind", cache=MARK)]),
    "cache mark in a message": _say(Text("and this", cache=MARK)),
    "cache mark on a tool": _tool(cache=MARK),
    "safety settings": _set(safety=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]),
    "a member nobody knows": _set(extra={"x_unknown": 1}),
}
"""What a request may say beyond a plain one."""
BASES: Final[dict[str, str]] = {
    **dict.fromkeys((name for name in REQUESTS if name.startswith("tool choice")), "tools"),
    **dict.fromkeys(("one tool at a time", "strict tools", "cache mark on a tool"), "tools"),
    **dict.fromkeys((name for name in REQUESTS if name.startswith("tool result")), "tool call and result"),
    **dict.fromkeys(("earlier thinking, text", "earlier citations", "earlier refusal"), "earlier answer"),
    "earlier thinking, signed": "earlier thinking, text",
    "image's detail": "image, Base64",
    "thinking effort": "thinking on",
    "thinking budget": "thinking on",
    "top_logprobs": "logprobs",
    "cache mark in the system prompt": "system prompt",
}
"""Rows that say something more than another row, not than a plain request."""
SAME: Final = frozenset(("thinking off", "end: stop sequence"))
"""Rows that may leave no trace: nothing thinks there anyway; Converse does not say which sequence it was."""
UNSAID: Final = frozenset((("gemini", "thinking, hidden"),))
"""What an upstream has no word for though its writer names no loss: it writes no answers of other models."""


def plain() -> Request:
    """A plain request."""
    return Request("model", [Turn("user", [Text("hello")])])


def asked_by(inbound: str, change: Change, less: Change | None = None) -> tuple[Request, Request] | None:
    """The request as the gateway reads it from a client, and the one with `less`; None if there is no word for it."""
    for own in (False, True):
        for model in MODELS[inbound]:
            both = [_read(inbound, model, own, one) for one in (change, less)]
            asked, base = both
            if asked is not None and base is not None and value_of(asked) != value_of(base):
                return asked, base
    return None


def _read(inbound: str, model: str, own: bool, change: Change | None) -> Request | None:
    """Written in the client's dialect, with the reserve for strangers or as its own, and read; None with a loss."""
    request = plain()
    if change is not None:
        change(request, inbound)
    request.dialect = inbound if own or request.extra else ""
    losses = canon.Losses()
    try:
        body = translation.write(inbound, request, model, losses)
        return None if losses else translation.read(inbound, body, "model", False)
    except Refusal:
        return None


def value_of(value: Any) -> Any:
    """A request or an answer as JSON, to be compared."""
    return msgspec.to_builtins(value)


def silent(upstream: str, written: bytes, model: str, losses: canon.Losses, without: Request) -> bool:
    """Nothing is named, and the body is the one that it would be without the change."""
    return not losses and written == translation.write(upstream, without, model, canon.Losses())


class Lost:
    """One field of a table: which names, with which models; models where the change left no trace."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lossy: list[str] = []
        self.whole: list[str] = []
        self.refused: list[str] = []
        self.silent: list[str] = []

    def __str__(self) -> str:
        """ "" if nothing is lost."""
        words = ", ".join(f"`{name}`" for name in sorted(self.names))
        if words and self.whole:
            few = len(self.lossy) <= len(self.whole)
            words += f" ({', '.join(self.lossy)})" if few else f" (not {', '.join(self.whole)})"
        if self.refused:
            words += (", " if words else "") + "refused"
        return words


def of_request(inbound: str, upstream: str, name: str) -> Lost | None:
    """What one pair loses of a row of REQUESTS; None if the client has no word for it."""
    both = asked_by(inbound, REQUESTS[name], REQUESTS[BASES[name]] if name in BASES else None)
    if both is None:
        return None
    asked, base = both
    found = Lost()
    for model in MODELS[upstream]:
        losses = canon.Losses()
        try:
            written = translation.write(upstream, asked, model, losses)
        except Refusal:
            found.refused.append(model)
            continue
        found.names.update(losses.names())
        (found.lossy if losses else found.whole).append(model)
        if silent(upstream, written, model, losses, base):
            found.silent.append(model)
    return found


# Answers

_USED: Final = Usage(input=7, output=5)
_LOGPROBS: Final[dict[str, Any]] = {"content": [{"token": "yes", "logprob": -0.1, "bytes": None, "top_logprobs": []}]}
_DAY: Final[dict[str, Any]] = {
    "type": "char_location", "cited_text": "day", "document_index": 0, "document_title": "a", "start_char_index": 0,
    "end_char_index": 3,
}  # fmt: skip


def _answer(*blocks: canon.Block, stop: Stop | None = None, **members: Any) -> Callable[[str], Answer]:
    def make(dialect: str) -> Answer:
        own = [
            msgspec.structs.replace(block, origin=dialect) if isinstance(block, canon.Reasoning) else block
            for block in blocks or (Text("yes"),)
        ]
        choice = Choice(own, stop or Stop("stop"), members.get("logprobs"))
        more = {name: value for name, value in members.items() if name != "logprobs"}
        return Answer("id-1", "model", [choice], more.pop("usage", _USED), 1_700_000_000, **more)

    return make


def _two(dialect: str) -> Answer:
    answer = _answer()(dialect)
    return msgspec.structs.replace(answer, choices=[*answer.choices, Choice([Text("no")], Stop("stop"))])


ANSWERS: Final[dict[str, Callable[[str], Answer]]] = {
    "tool call": _answer(canon.ToolCall("call_1", "weather", '{"city":"Rome"}'), stop=Stop("tool")),
    "tool call whose arguments are no JSON": _answer(canon.ToolCall("call_1", "weather", "{Rome"), stop=Stop("tool")),
    "custom tool call": _answer(canon.ToolCall("call_1", "sql", "select 1", custom=True), stop=Stop("tool")),
    "thinking": _answer(canon.Reasoning("hmm"), Text("yes")),
    "thinking, signed": _answer(canon.Reasoning("hmm", signature="c2lnbmVk"), Text("yes")),
    "thinking, hidden": _answer(canon.Reasoning(encrypted="ZW5j", id="rs_1"), Text("yes")),
    "refusal": _answer(canon.Refusal("no")),
    "citation of a URL": _answer(Text("yes", [_CITED])),
    "citation of a document": _answer(Text("yes", [_DAY])),
    "picture": _answer(canon.Image(Source("image/png", PIXEL))),
    "sound": _answer(canon.Audio(Source("audio/wav", "UklGRg=="), "yes", "audio_1")),
    "several choices": _two,
    "logprobs": _answer(logprobs=_LOGPROBS),
    "end: length": _answer(stop=Stop("length")),
    "end: filter": _answer(stop=Stop("filter")),
    "end: refusal": _answer(stop=Stop("refusal")),
    "end: pause": _answer(stop=Stop("pause")),
    "end: stop sequence": _answer(stop=Stop("sequence", sequence="END")),
    "service tier": _answer(service_tier="priority"),
    "usage: cache read": _answer(usage=Usage(input=7, cache_read=3, output=5)),
    "usage: cache write": _answer(usage=Usage(input=7, cache_write=3, output=5)),
    "usage: reasoning": _answer(usage=Usage(input=7, output=5, reasoning=4)),
    "usage: audio": _answer(usage=Usage(input=7, audio_input=3, output=5, audio_output=2)),
}
"""What an answer may say beyond a plain one."""


def said_by(upstream: str, make: Callable[[str], Answer] | None) -> Answer | None:
    """The answer as the gateway reads it from an upstream; None if the dialect has no word for it."""
    answer = (make or _answer())(upstream)
    losses = canon.Losses()
    body = SPOKEN[upstream].write_answer(answer, Asked(plain(), "model"), losses)
    return None if losses else SPOKEN[upstream].read_answer(body, Asked(plain(), "model"))


def of_answer(upstream: str, inbound: str, name: str) -> Lost | None:
    """What one pair loses of a row of ANSWERS; None if the upstream has no word for it."""
    make = ANSWERS[name]
    said, base = said_by(upstream, make), said_by(upstream, None)
    if said is None or value_of(said) == value_of(base) or (upstream, name) in UNSAID:
        return None
    found, losses = Lost(), canon.Losses()
    written = SPOKEN[inbound].write_answer(said, Asked(plain(), "model"), losses)
    found.names.update(losses.names())
    (found.lossy if losses else found.whole).append("")
    assert base is not None
    if not losses and written == SPOKEN[inbound].write_answer(base, Asked(plain(), "model"), canon.Losses()):
        found.silent.append(upstream)
    return found


# The page

TEXT: Final = f"""# What gets lost in translation

<!-- Made by `python3 run.py docs` by translating (tools/losses.py); not to be edited. -->

A client's request goes to a channel of another dialect, and the answer comes back, translated. What the other side
has no word for is left out or said another way, and named: in the answer's header `x-burncloud-lossy` and in the log
row. With the header `x-burncloud-strict: true` such a request is refused instead, with the names (only what the
request loses: an answer is not there yet). In the same dialect everything passes as it is.

A dot: nothing is lost. A model in brackets: with it, or with those like it. What a client's dialect has no word for is
no row of its table. A member that nobody here knows is lost under its own name, as in the last row of each.

* `roles`: a conversation is told as a transcript
* `first_turn`: a user's turn was put ahead, because the upstream's conversations begin with one
* `thinking_signature`: what only its own vendor can read
* `tool_result_media`: what a tool showed stands in a user's message beside its result

The models asked:

{chr(10).join(f"* {dialect}: {', '.join(models)}" for dialect, models in MODELS.items())}
"""


def _grid(head: str, rows: dict[str, list[Lost | None]], columns: list[str]) -> str:
    """A table of Markdown, without rows that no column has a word for."""
    lines = [f"| {head} | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for name, found in rows.items():
        if any(found):
            cells = ["" if one is None else str(one) or "·" for one in found]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def losses_page() -> str:
    """docs/losses.md."""
    parts = [TEXT]
    for inbound in INBOUND:
        columns = [upstream for upstream in DIALECTS if upstream != inbound]
        asked = {name: [of_request(inbound, upstream, name) for upstream in columns] for name in REQUESTS}
        said = {name: [of_answer(upstream, inbound, name) for upstream in columns] for name in ANSWERS}
        parts.append(f"\n## {inbound} clients\n\n" + _grid("the request, written for", asked, columns))
        parts.append("\n" + _grid("the answer, read from", said, columns))
    return "".join(parts)
