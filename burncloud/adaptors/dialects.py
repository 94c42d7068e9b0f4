"""Which file reads which answer: (dialect, endpoint) → Reader.

Endpoint names are those of the recordings: chat.completions, completions, responses, responses.compact, embeddings,
images, audio, moderations, rerank; messages, count_tokens; generateContent, streamGenerateContent,
countTokens, embedContent, batchEmbedContents; converse, invoke (Claude's answers as InvokeModel gives them).
"""

from __future__ import annotations

from typing import Any, Final

from burncloud.adaptors import (
    anthropic_messages,
    bedrock_converse,
    gemini_generate,
    openai_chat,
    openai_completions,
    openai_embeddings,
    openai_other,
    openai_responses,
)
from burncloud.adaptors.reading import Reader

READERS: Final[dict[str, dict[str, Reader[Any, Any]]]] = {
    "openai": {
        "chat.completions": openai_chat.READER,
        "completions": openai_completions.READER,
        "responses": openai_responses.READER,
        "responses.compact": openai_responses.READER,
        "embeddings": openai_embeddings.READER,
        "images": openai_other.IMAGES,
        "": openai_other.READER,
    },
    "anthropic": {"": anthropic_messages.READER},
    "gemini": {"predict": gemini_generate.PREDICT, "": gemini_generate.READER},
    "bedrock": {
        "invoke": anthropic_messages.READER,
        "embeddings": openai_embeddings.READER,
        "": bedrock_converse.READER,
    },
}
"""The reader under "" is for every endpoint that is not named."""

SPEAKING: Final = frozenset({
    "chat.completions", "completions", "responses", "responses.compact", "messages",
    "generateContent", "streamGenerateContent", "converse", "invoke",
})  # fmt: skip
"""Endpoints whose answer is text, so that its length estimates the output."""


def reader_of(dialect: str, endpoint: str) -> Reader[Any, Any]:
    """The reader of an endpoint; KeyError for an unknown dialect."""
    table = READERS[dialect]
    return table.get(endpoint) or table[""]
