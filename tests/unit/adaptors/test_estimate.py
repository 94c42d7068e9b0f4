"""Estimates: cheap, flat for media, and in a sane range."""

from __future__ import annotations

import base64
import json
import random

import pytest

from burncloud.adaptors import estimate
from burncloud.adaptors.estimate import (
    FLAT_TOKENS,
    REQUEST_TOKENS,
    TOOLS_TOKENS,
    Weigher,
    form_tokens,
    output_tokens,
    prompt_both,
    prompt_tokens,
    prompt_tokens_billed,
)

BLOB = base64.b64encode(random.Random(7).randbytes(600_000)).decode()


def body(text: str, **more: object) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": text}]} | more, ensure_ascii=False
    ).encode()


def test_text_by_its_bytes() -> None:
    english = body("The quick brown fox jumps over the lazy dog. " * 200)
    assert len(english) // 4 < prompt_tokens(english) < len(english) // 2
    assert len(english) // 6 < prompt_tokens_billed(english) < len(english) // 4
    chinese = body("你好世界这是一个测试" * 500)
    assert 5_000 < prompt_tokens(chinese) < 9_000
    assert 4_000 < prompt_tokens_billed(chinese) < 6_000
    assert prompt_both(chinese) == (prompt_tokens(chinese), prompt_tokens_billed(chinese))
    assert prompt_tokens(body("你好")) > REQUEST_TOKENS


def test_base64_is_flat() -> None:
    for encoded in (body("What is this? data:image/png;base64," + BLOB), body(BLOB[:40_000])):
        assert FLAT_TOKENS <= prompt_tokens(encoded) <= FLAT_TOKENS + 3_000 < len(encoded) // 8
        assert prompt_tokens_billed(encoded) >= FLAT_TOKENS


def test_what_the_body_does_not_show_is_reserved() -> None:
    plain = prompt_tokens(body("hi"))
    assert prompt_tokens(body("hi", tools=[])) > plain + TOOLS_TOKENS
    assert prompt_tokens(body("hi", tools=[{"type": "web_search"}])) > plain + estimate.SEARCH_TOKENS
    assert prompt_tokens(body("hi", image_url={"url": "https://example.com/a.png"})) > plain + FLAT_TOKENS
    assert prompt_tokens_billed(body("hi", tools=[])) < plain


@pytest.mark.parametrize("size", [70, 1000, 65536])
def test_slices_weigh_about_the_same(size: int) -> None:
    text = body("Some words, and more words. " * 4000)
    weigher = Weigher()
    for start in range(0, len(text), size):
        weigher.feed(text[start : start + size])
    assert abs(weigher.prompt_tokens_billed() - prompt_tokens_billed(text)) < 100
    assert weigher.prompt_tokens() >= weigher.prompt_tokens_billed()


def test_output_and_forms() -> None:
    assert [output_tokens(size) for size in (0, 1, 4, 5, 400)] == [0, 1, 1, 2, 100]
    assert form_tokens(100, 0, 0) < 200
    assert form_tokens(100, 1, 5_000) > FLAT_TOKENS
    assert form_tokens(0, 1, 25_000_000) < 60_000


def test_nothing_is_something() -> None:
    assert prompt_tokens(b"") >= 0
    assert prompt_tokens_billed(b"") == 0
