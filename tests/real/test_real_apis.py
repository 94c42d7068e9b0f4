"""Every vendor whose key is given answers every scenario, through the product, in every client's dialect."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from burncloud.adaptors.vendors import VENDORS
from tests.product import Product
from tests.real.recorder import Recorder
from tests.real.scenarios import SCENARIOS
from tests.real.vendors import Real, vendors

RECORD = os.environ.get("BURNCLOUD_RECORD", "")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, str]]:
    """A product with a channel for every vendor whose key is given; and a token for it."""
    with ExitStack() as stack:
        running = stack.enter_context(Product(tmp_path_factory.mktemp("real"), UNPRICED="free"))
        for real in vendors():
            if not real.key:
                continue
            base = real.base_url
            if RECORD and VENDORS[real.vendor].base_url.startswith("http"):
                origin = base or VENDORS[real.vendor].base_url
                recorder = stack.enter_context(Recorder(real.vendor, origin, Path(RECORD)))
                base = recorder.url + origin.split("/", 3)[3:][0] if origin.count("/") > 2 else recorder.url
            options = [word for name, value in real.options.items() for word in ("--option", f"{name}={value}")]
            words = ["--base-url", base] if base else []
            models = f"{name_of(real)}={real.model}"
            running.cli(
                "channel", "add", "--type", real.vendor, "--key", real.key, "--models", models, *words, *options
            )
        yield running, running.add_token()


def name_of(real: Real) -> str:
    """The public name of a vendor's model here."""
    return f"real-{real.vendor}"


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("real", vendors(), ids=lambda real: real.vendor)
def test_scenario(request: pytest.FixtureRequest, real: Real, scenario: str) -> None:
    if not real.key:
        pytest.skip(f"{real.variable} is not set: {real.vendor} is not asked for {scenario}")
    product, key = request.getfixturevalue("product")
    SCENARIOS[scenario](product.url, key, name_of(real))
