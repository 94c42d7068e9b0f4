"""OpenAI Chat Completions, as OpenAI and everybody who copies it answers.

Usage stands in `usage` of the plain answer, in a stream in the last chunk that has one (often one
with empty `choices`; some send running totals with every chunk), at Groq also in `x_groq.usage`.
`prompt_tokens` includes cached, audio and image input, `completion_tokens` includes reasoning,
unless the numbers themselves say otherwise (`disjoint`).
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from burncloud.adaptors.reading import TOKENS_MAX, Count, Reader, Tally, parts_size, text_size, whole
from burncloud.domain.usage import Usage

PATHS: Final = ("usage", "x_groq.usage")


class Details(msgspec.Struct, gc=False):
    """prompt_tokens_details or completion_tokens_details."""

    cached_tokens: Count = None
    cache_write_tokens: Count = None
    audio_tokens: Count = None
    image_tokens: Count = None
    text_tokens: Count = None
    reasoning_tokens: Count = None


class CacheCreation(msgspec.Struct, gc=False):
    """Anthropic's split of written cache, passed on by some OpenAI-shaped gateways."""

    ephemeral_5m_input_tokens: Count = None
    ephemeral_1h_input_tokens: Count = None


class ChatUsage(msgspec.Struct, gc=False):
    """The usage object with the names that providers add to it."""

    prompt_tokens: Count = None
    completion_tokens: Count = None
    total_tokens: Count = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    prompt_cache_hit_tokens: Count = None
    """DeepSeek."""
    cached_tokens: Count = None
    """Together, Moonshot."""
    num_cached_tokens: Count = None
    """Mistral."""
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    """Databricks, Vercel, Doubleword: Anthropic's names beside OpenAI's."""
    cache_creation: CacheCreation | None = None
    reasoning_tokens: Count = None
    """Copilot, Perplexity."""


def disjoint(
    prompt: int,
    completion: int,
    total: int,
    cached: int = 0,
    cache_write: int = 0,
    cache_write_1h: int = 0,
    audio_input: int = 0,
    image_input: int = 0,
    reasoning: int = 0,
    audio_output: int = 0,
    image_output: int = 0,
) -> Usage:
    """Disjoint kinds from OpenAI-shaped numbers, where the details are parts of prompt and completion.

    Three providers put a detail beside its whole, and their numbers show it:
    * total > prompt + completion: the rest was generated unseen, so it is reasoning (xAI; Gemini's
      OpenAI door does not even name it), or audio input that fits the gap (Mistral);
    * reasoning > completion: it cannot be a part, so it stands beside (Vercel's gateway with Gemini;
      its `cost` proves it).
    Any other part that is larger than what is left of its whole is cut to that (Azure's Grok reports
    more cached tokens than prompt tokens), so that the kinds never add up to more than was counted.
    A total that is too large by just the cached tokens counts them a second time, or beside the prompt
    if they cannot be in it.
    """
    gap = max(0, total - prompt - completion)
    if gap and gap == cached + cache_write:
        prompt += gap if gap > prompt else 0
        gap = 0
    elif audio_input > prompt and 0 < audio_input <= gap:
        prompt += audio_input
        gap -= audio_input
    rest = prompt
    cached = min(cached, rest)
    rest -= cached
    cache_write_1h = min(cache_write_1h, rest)
    cache_write = min(max(0, cache_write - cache_write_1h), rest - cache_write_1h)
    rest -= cache_write + cache_write_1h
    audio_input = min(audio_input, rest)
    rest -= audio_input
    image_input = min(image_input, rest)
    plain_input = rest - image_input
    if gap:
        completion += gap
        reasoning = max(reasoning, gap)
    elif reasoning > completion:
        completion += reasoning
    reasoning = min(reasoning, completion)
    rest = completion - reasoning
    audio_output = min(audio_output, rest)
    rest -= audio_output
    image_output = min(image_output, rest)
    return Usage(
        plain_input, rest - image_output, cached, cache_write, cache_write_1h, reasoning,
        audio_input, audio_output, image_input, image_output,
    )  # fmt: skip


def usage_of(usage: ChatUsage) -> Usage | None:
    """Disjoint kinds; None if the object states no count."""
    prompt, completion, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
    if prompt is None and completion is None:
        return None if total is None else Usage(whole(total))  # some embeddings and reranks: a total, which is input
    if type(prompt) is not int or not 0 <= prompt <= TOKENS_MAX:
        prompt = whole(prompt)
    if type(completion) is not int or not 0 <= completion <= TOKENS_MAX:
        completion = whole(completion)
    if type(total) is not int or not 0 <= total <= TOKENS_MAX:
        total = whole(total)
    inner, outer = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = usage.prompt_cache_hit_tokens or usage.cached_tokens or usage.num_cached_tokens
    cached = cached or usage.cache_read_input_tokens
    written, reasoning = usage.cache_creation_input_tokens, usage.reasoning_tokens
    if (
        total <= prompt + completion
        and not (cached or written or reasoning)
        and (inner is None or not (inner.cached_tokens or _any_input(inner)))
        and (outer is None or not (outer.reasoning_tokens or outer.audio_tokens or outer.image_tokens))
    ):
        return Usage(prompt, completion)  # the usual answer: nothing to take apart
    if inner is None:
        inner = _NONE
    if outer is None:
        outer = _NONE
    split = usage.cache_creation
    return disjoint(
        prompt,
        completion,
        total,
        max(whole(cached), whole(inner.cached_tokens)),
        max(whole(written), whole(inner.cache_write_tokens)),
        whole(split.ephemeral_1h_input_tokens) if split is not None else 0,
        whole(inner.audio_tokens),
        whole(inner.image_tokens),
        max(whole(reasoning), whole(outer.reasoning_tokens)),
        whole(outer.audio_tokens),
        whole(outer.image_tokens),
    )


def _any_input(inner: Details) -> bool:
    return bool(inner.audio_tokens or inner.image_tokens or inner.cache_write_tokens)


_NONE: Final = Details()


class Function(msgspec.Struct, gc=False):
    """The part of a tool call that is text."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct, gc=False):
    """A tool call or a piece of one."""

    function: Function | None = None


class Message(msgspec.Struct, gc=False):
    """A message of a plain answer or the delta of a chunk."""

    content: str | list[Any] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    audio: Any = None
    images: Any = None


class Choice(msgspec.Struct, gc=False):
    """One choice; `message` in a plain answer, `delta` in a chunk (some send a message there, too)."""

    delta: Message | None = None
    message: Message | None = None
    finish_reason: str | None = None


class XGroq(msgspec.Struct, gc=False):
    """Groq's own corner."""

    usage: ChatUsage | None = None


class Chunk(msgspec.Struct, gc=False):
    """A chunk or a whole answer."""

    choices: list[Choice] | None = None
    usage: ChatUsage | None = None
    x_groq: XGroq | None = None
    error: Any = None
    object: str | None = None


class FinishOnly(msgspec.Struct, gc=False):
    """A choice without its message."""

    finish_reason: str | None = None


class Body(msgspec.Struct, gc=False):
    """A plain answer, of which only the end of each choice matters."""

    choices: list[FinishOnly] | None = None
    usage: ChatUsage | None = None
    error: Any = None
    object: str | None = None


def message_size(message: Message) -> int:
    """UTF-8 bytes of all text in a message or delta; a list of parts counts its strings."""
    size = 0
    content = message.content
    if content:
        size = text_size(content) if type(content) is str else parts_size(content)
    if message.reasoning_content:
        size += text_size(message.reasoning_content)
    elif message.reasoning:
        size += text_size(message.reasoning)
    if message.refusal:
        size += text_size(message.refusal)
    for call in message.tool_calls or ():
        if call.function is not None:
            size += text_size(call.function.name) + text_size(call.function.arguments)
    if message.function_call is not None:
        size += text_size(message.function_call.name) + text_size(message.function_call.arguments)
    return size


def absorb_chunk(chunk: Chunk, tally: Tally) -> None:
    """Add one chunk of a stream."""
    if chunk.error or chunk.object == "error":  # the second: Mistral, vLLM
        tally.error = True
    for choice in chunk.choices or ():
        delta = choice.delta if choice.delta is not None else choice.message
        if delta is not None:
            size = message_size(delta)
            if size or delta.audio or delta.images:
                tally.content = True
                tally.text_bytes += size
        if choice.finish_reason:
            tally.finish = choice.finish_reason
            tally.terminal = tally.content = True
            if choice.finish_reason == "error":
                tally.error = True
    stated = chunk.usage
    if stated is None and chunk.x_groq is not None:
        stated = chunk.x_groq.usage
    if stated is not None:
        usage = usage_of(stated)
        if usage is not None:
            tally.usage = usage


def absorb_body(body: Body, tally: Tally) -> None:
    """Add a plain answer."""
    if body.error or body.object == "error":
        tally.error = True
    for choice in body.choices or ():
        if choice.finish_reason:
            tally.finish = choice.finish_reason
    tally.terminal = tally.content = True
    if body.usage is not None:
        tally.usage = usage_of(body.usage)


READER: Final = Reader(Chunk, absorb_chunk, Body, absorb_body, frozenset({"usage", "error"}), done=True)
