"""One running product with the replaying upstream behind it, shared by the e2e tests."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.sdk_cases import ANTHROPIC_CASES, GEMINI_CASES, OPENAI_CASES, models
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
