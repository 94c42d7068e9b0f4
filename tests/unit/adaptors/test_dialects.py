"""Every endpoint finds its reader."""

from __future__ import annotations

import pytest

from burncloud.adaptors import gemini_generate, openai_chat, openai_other
from burncloud.adaptors.dialects import READERS, SPEAKING, reader_of
from tests.unit.adaptors.own_cases import FILES


def test_reader_of() -> None:
    assert reader_of("openai", "chat.completions") is openai_chat.READER
    assert reader_of("openai", "anything") is openai_other.READER
    assert reader_of("gemini", "streamGenerateContent") is gemini_generate.READER
    with pytest.raises(KeyError):
        reader_of("nobody", "converse")


def test_every_dialect_has_a_reader_for_the_unnamed_and_cases_of_its_own() -> None:
    assert all("" in table for table in READERS.values())
    assert {"chat.completions", "messages", "generateContent"} <= SPEAKING
    assert {"openai_chat", "anthropic_messages", "gemini_generate"} <= set(FILES)
