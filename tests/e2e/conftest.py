"""One running product with the replaying upstream behind it, shared by the e2e tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.sdk_cases import ANTHROPIC_CASES, GEMINI_CASES, OPENAI_CASES, models
from tests.e2e.vendor_scripts import Step, said
from tests.product import Product
from tests.upstream.running import Upstream


@dataclass
class House:
    """A product, what stands behind it, and a key that may do everything."""

    product: Product
    upstream: Upstream
    key: str


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Channels of all three dialects; two models have a price (1 and 2 dollars per 1M tokens), the others are free."""
    folder: Path = tmp_path_factory.mktemp("house")
    with (
        Upstream(*OPENAI_CASES, *ANTHROPIC_CASES, *GEMINI_CASES) as upstream,
        Product(folder, UNPRICED="free") as product,
    ):
        product.add_channel("openai", f"{upstream.url}/v1", models(OPENAI_CASES), key="sk-openai")
        product.add_channel("anthropic", f"{upstream.url}/v1", models(ANTHROPIC_CASES), key="sk-anthropic")
        product.add_channel("gemini", f"{upstream.url}/v1beta", models(GEMINI_CASES), key="sk-gemini")
        product.set_price("text", "1.00", "2.00")
        product.set_price("text-stream", "1.00", "2.00")
        yield House(product, upstream, product.add_token("--quota", "1000.00"))


UPSTREAM_MODELS = {
    "chat": "deepseek-chat",
    "responses": "gpt-5.2",
    "messages": "claude-sonnet-4-5",
    "gemini": "gemini-3-flash-preview",
    "converse": "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
}
"""Dialect → the model that stands for it; clients know it as "on-DIALECT"."""


class Stage:
    """A product whose channels each speak one dialect, and an upstream that says what it is told to."""

    def __init__(self, product: Product, upstream: Upstream, key: str) -> None:
        self.product, self.upstream, self.key = product, upstream, key

    def script(self, dialect: str, *answers: list[Step], stream: bool) -> None:
        """What the dialect's model says, request by request, from now on."""
        name = UPSTREAM_MODELS[dialect]
        if dialect == "converse":  # its model stands in the path
            name = f"model/{quote(name, safe='')}/converse" + ("-stream" if stream else "")
        self.upstream.book.script(name, [said(dialect, name, steps, stream) for steps in answers])
        self.upstream.requests.clear()

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The requests that reached the upstream since then."""
        return [json.loads(seen.body) for seen in self.upstream.requests]


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A channel for each of the five dialects that hold conversations."""
    folder: Path = tmp_path_factory.mktemp("stage")
    with Upstream() as upstream, Product(folder, UNPRICED="free") as product:
        channels = {
            "chat": ("openai-compatible", f"{upstream.url}/v1", ()),
            "responses": ("openai", f"{upstream.url}/v1", ("--option", 'speaks=["responses"]')),
            "messages": ("anthropic", upstream.url, ()),
            "gemini": ("gemini", upstream.url, ()),
            "converse": (
                "bedrock",
                upstream.url,
                ("--option", "region=eu-central-1", "--option", 'speaks=["converse"]'),
            ),
        }
        for dialect, (vendor, url, options) in channels.items():
            key = "AKIDEXAMPLE:wJalrXUtnFEMI" if dialect == "converse" else "sk-upstream"
            product.add_channel(vendor, url, [f"on-{dialect}={UPSTREAM_MODELS[dialect]}"], *options, key=key)
        yield Stage(product, upstream, product.add_token())
