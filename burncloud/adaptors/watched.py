"""The types that the watched values of a request may have.

They stand apart from adaptors/peek.py because mypyc erases the annotations by which msgspec decodes; a
module with such Structs stays interpreted.
"""

from __future__ import annotations

import msgspec

Count = int | float | None


class StreamOptions(msgspec.Struct, gc=False):
    """What stream_options says of usage."""

    include_usage: bool | None = None


class OpenAIWatched(msgspec.Struct, gc=False):
    """OpenAI's watched values."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Count = None
    max_completion_tokens: Count = None
    max_output_tokens: Count = None
    n: Count = None
    best_of: Count = None


class AnthropicWatched(msgspec.Struct, gc=False):
    """Anthropic's watched values."""

    model: str
    stream: bool | None = None
    max_tokens: Count = None


class GenerationConfig(msgspec.Struct, gc=False):
    """Google takes the names in camel and in snake case."""

    maxOutputTokens: Count = None
    max_output_tokens: Count = None
    candidateCount: Count = None
    candidate_count: Count = None


class GeminiWatched(msgspec.Struct, gc=False):
    """Gemini's watched values."""

    generationConfig: GenerationConfig | None = None
    generation_config: GenerationConfig | None = None
