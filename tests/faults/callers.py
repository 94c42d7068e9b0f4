"""The official SDKs as callers, changed in nothing but address and key, and what each of them saw."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import anthropic
import httpx
import openai
from anthropic import AsyncAnthropic
from google import genai
from google.genai import errors as gemini_errors
from google.genai import types
from openai import AsyncOpenAI

from tests.faults.voices import PROMPT, TEXT

PATIENCE_S: Final = 40.0
"""The callers' own time-out: that it is never reached is part of what is shown."""
MAX_TOKENS: Final = 200


@dataclass
class Heard:
    """What one caller saw of one request."""

    id: str = field(default_factory=lambda: f"call-{uuid.uuid4().hex[:12]}")
    """Its own name for it; the ledger's row is found by it."""
    text: str = ""
    finish: str = ""
    answerers: list[str] = field(default_factory=list)
    """Ids of answers: one stream has one."""
    models: list[str] = field(default_factory=list)
    usage: tuple[int, int] | None = None
    error: str = ""
    """The SDK's exception."""
    status: int = 0
    """Of the error's answer; 0 = it came in the midst of a stream, or none came at all."""
    code: str = ""
    message: str = ""
    retry_after: str = ""
    seconds: float = 0.0
    first_s: float = 0.0
    """Until the first text."""
    left_at: float = 0.0
    """When it hung up, on its own accord (monotonic)."""
    odd: list[str] = field(default_factory=list)
    """What no good stream does."""
    beside: bool = False
    """Not one of those that the row expects something of."""

    def note(self, answer: str | None, model: str | None) -> None:
        """Who says he answers."""
        if answer and answer not in self.answerers:
            self.answerers.append(answer)
        if model and model not in self.models:
            self.models.append(model)

    def take(self, text: str | None) -> None:
        """A piece of the answer."""
        if text:
            if self.finish:
                self.odd.append("text after the finish")
            self.text += text

    def finished(self, how: str | None) -> None:
        """The answer's own end."""
        if how:
            if self.finish:
                self.odd.append(f"finished twice: {self.finish}, {how}")
            self.finish = str(how)

    def used(self, given: int | None, made: int | None) -> None:
        """The usage, as last told."""
        self.usage = (given or 0, made or 0)

    @property
    def told(self) -> str:
        """In a few words."""
        if self.error:
            where = str(self.status) if self.status else "in mid-stream" if self.text else "no answer"
            return f"{self.error} {where} {self.code} {len(self.text) // 4}/{len(TEXT) // 4}".replace("  ", " ")
        share = "whole text" if self.text == TEXT else f"{len(self.text) // 4}/{len(TEXT) // 4}"
        if self.text and not TEXT.startswith(self.text):
            share = "WRONG TEXT"
        return "left" if self.left_at else f"{share}, {self.finish or 'no finish'}"


class Left(Exception):
    """The caller has heard enough."""


class Caller:
    """One SDK with one key, against one address."""

    def __init__(self, url: str, key: str) -> None:
        self._openai = AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S)
        self._anthropic = AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=PATIENCE_S)
        options = types.HttpOptions(base_url=url, timeout=int(PATIENCE_S * 1000))
        self._new_gemini = functools.partial(genai.Client, api_key=key, http_options=options)
        self._gemini: genai.Client = self._new_gemini()

    async def close(self) -> None:
        """Hang up."""
        await self._openai.close()
        await self._anthropic.close()
        await self._gemini.aio.aclose()

    async def ask(
        self, dialect: str, model: str, stream: bool, leave_after: int = 0, patience_s: float = PATIENCE_S
    ) -> Heard:
        """One request; `leave_after`: hang up after so many tokens; `patience_s`: or after this time."""
        heard = Heard()
        started = time.monotonic()

        def more(text: str | None) -> None:
            if text and not heard.first_s:
                heard.first_s = time.monotonic() - started
            heard.take(text)
            if leave_after and len(heard.text) >= 4 * leave_after:
                raise Left

        try:
            async with asyncio.timeout(patience_s):
                await CALLS[dialect, stream](self, model, heard, more)
        except (Left, TimeoutError):
            heard.left_at = time.monotonic()
        except Exception as error:
            _note_error(heard, error)
        heard.seconds = time.monotonic() - started
        return heard

    # Chat

    async def _chat(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        answer = await self._openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": PROMPT}], extra_headers=_named(heard)
        )
        heard.note(answer.id, answer.model)
        more(answer.choices[0].message.content)
        heard.finished(answer.choices[0].finish_reason)
        if answer.usage:
            heard.used(answer.usage.prompt_tokens, answer.usage.completion_tokens)

    async def _chat_stream(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        stream = await self._openai.chat.completions.create(
            model=model, messages=[{"role": "user", "content": PROMPT}], stream=True,
            stream_options={"include_usage": True}, extra_headers=_named(heard),
        )  # fmt: skip
        async with stream:
            async for chunk in stream:
                heard.note(chunk.id, chunk.model)
                for choice in chunk.choices:
                    more(choice.delta.content)
                    heard.finished(choice.finish_reason)
                if chunk.usage:
                    if heard.usage and heard.finish and not chunk.choices and heard.usage[1] == len(TEXT) // 4:
                        heard.odd.append("usage twice")
                    heard.used(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)

    # Responses

    async def _responses(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        answer = await self._openai.responses.create(model=model, input=PROMPT, extra_headers=_named(heard))
        heard.note(answer.id, answer.model)
        more(answer.output_text)
        heard.finished(answer.status)
        if answer.usage:
            heard.used(answer.usage.input_tokens, answer.usage.output_tokens)

    async def _responses_stream(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        stream = await self._openai.responses.create(
            model=model, input=PROMPT, stream=True, extra_headers=_named(heard)
        )
        number = -1
        items: set[str] = set()
        async with stream:
            async for event in stream:
                if (event.sequence_number or 0) <= number:
                    heard.odd.append(f"{event.type}: sequence number {event.sequence_number} after {number}")
                number = event.sequence_number or number
                if event.type == "response.output_text.delta":
                    items.add(event.item_id)
                    more(event.delta)
                elif event.type == "response.output_text.done" and event.text != heard.text:
                    heard.odd.append("output_text.done differs from the pieces")
                elif event.type in ("response.created", "response.in_progress"):
                    heard.note(event.response.id, event.response.model)
                elif event.type in ("response.completed", "response.incomplete", "response.failed"):
                    _ended_response(heard, event.response)
                elif event.type == "error":
                    heard.error, heard.code, heard.message = "error event", event.code or "", event.message
        if len(items) > 1:
            heard.odd.append(f"text in {len(items)} items")

    # Messages

    async def _messages(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        answer = await self._anthropic.messages.create(
            model=model, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": PROMPT}],
            extra_headers=_named(heard),
        )  # fmt: skip
        heard.note(answer.id, answer.model)
        more("".join(block.text for block in answer.content if block.type == "text"))
        heard.finished(answer.stop_reason)
        heard.used(answer.usage.input_tokens, answer.usage.output_tokens)

    async def _messages_stream(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        blocks = 0
        async with self._anthropic.messages.stream(
            model=model, max_tokens=MAX_TOKENS, messages=[{"role": "user", "content": PROMPT}],
            extra_headers=_named(heard),
        ) as stream:  # fmt: skip
            async for event in stream:
                if event.type == "message_start":
                    heard.note(event.message.id, event.message.model)
                elif event.type == "content_block_start":
                    blocks += 1
                elif event.type == "content_block_delta" and event.delta.type == "text_delta":
                    more(event.delta.text)
            final = await stream.get_final_message()
        if blocks > 1:
            heard.odd.append(f"text in {blocks} blocks")
        if "".join(block.text for block in final.content if block.type == "text") != heard.text:
            heard.odd.append("the final message differs from the pieces")
        heard.finished(final.stop_reason)
        heard.used(final.usage.input_tokens, final.usage.output_tokens)

    # Gemini

    async def _gemini_plain(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        config = types.GenerateContentConfig(http_options=types.HttpOptions(headers=_named(heard)))
        answer = await self._gemini.aio.models.generate_content(model=model, contents=PROMPT, config=config)
        _gemini_piece(heard, answer, more)

    async def _gemini_stream(self, model: str, heard: Heard, more: Callable[[str | None], None]) -> None:
        config = types.GenerateContentConfig(http_options=types.HttpOptions(headers=_named(heard)))
        client: Any = self._new_gemini().aio  # one of its own: it hangs up on a stream only with everything else
        try:
            async for piece in await client.models.generate_content_stream(model=model, contents=PROMPT, config=config):
                _gemini_piece(heard, piece, more)
        finally:
            await client.aclose()


def _named(heard: Heard) -> dict[str, str]:
    return {"x-client-request-id": heard.id}


def _ended_response(heard: Heard, response: Any) -> None:
    heard.note(response.id, response.model)
    heard.finished(response.status)
    if response.output_text != heard.text and response.status != "failed":
        heard.odd.append("the completed response differs from the pieces")
    if response.usage:
        heard.used(response.usage.input_tokens, response.usage.output_tokens)
    if response.status == "failed":
        heard.error, heard.code = "failed event", str(getattr(response.error, "code", ""))
        heard.message = str(getattr(response.error, "message", ""))


def _gemini_piece(heard: Heard, piece: Any, more: Callable[[str | None], None]) -> None:
    heard.note(piece.response_id, piece.model_version)
    if piece.usage_metadata:
        heard.used(piece.usage_metadata.prompt_token_count, piece.usage_metadata.candidates_token_count)
    for candidate in piece.candidates or []:
        parts = candidate.content.parts if candidate.content and candidate.content.parts else []
        more("".join(part.text or "" for part in parts))
        heard.finished(candidate.finish_reason and candidate.finish_reason.value)


def _note_error(heard: Heard, error: Exception) -> None:
    """What the SDK raised."""
    heard.error = type(error).__name__
    heard.message = str(error)[:300]
    if isinstance(error, openai.APIStatusError | anthropic.APIStatusError):
        heard.status = 0 if heard.text else error.status_code
        heard.retry_after = error.response.headers.get("retry-after", "")
        body = error.body if isinstance(error.body, dict) else {}
        inner: Any = body.get("error") if isinstance(body.get("error"), dict) else body
        heard.code = str(inner.get("code") or inner.get("type") or "")
    elif isinstance(error, openai.APIError):
        heard.code = str(error.code or error.type or "")
    elif isinstance(error, gemini_errors.APIError):
        heard.status = 0 if heard.text else error.code
        heard.code = str(error.status or "")
        heard.retry_after = str(getattr(error.response, "headers", {}).get("retry-after", "")) if error.response else ""
    elif isinstance(error, httpx.HTTPError):
        heard.code = "transport"


Call = Callable[[Caller, str, Heard, Callable[[str | None], None]], Awaitable[None]]
CALLS: Final[dict[tuple[str, bool], Call]] = {
    ("chat", False): Caller._chat,
    ("chat", True): Caller._chat_stream,
    ("responses", False): Caller._responses,
    ("responses", True): Caller._responses_stream,
    ("messages", False): Caller._messages,
    ("messages", True): Caller._messages_stream,
    ("gemini", False): Caller._gemini_plain,
    ("gemini", True): Caller._gemini_stream,
}
