"""A real inference server behind BurnCloud: llama.cpp with a tiny model of random weights.

Random weights give odd text (broken UTF-8 among it), real timing, real usage and a server that was not
written by us.  Built once by tools/llama_server.py; without it these tests are skipped.
"""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anthropic import Anthropic
from openai import AsyncOpenAI, OpenAI

from tests.ports import free_port
from tests.product import Product
from tools.llama_server import find

FOUND = find()
pytestmark = pytest.mark.skipif(
    FOUND is None, reason="no llama-server: build it once with python3 tools/llama_server.py"
)
MESSAGES: Any = [{"role": "user", "content": "hello the fox"}]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its origin."""
    assert FOUND is not None
    server, model = FOUND
    port = free_port()
    log: Path = tmp_path_factory.mktemp("llama") / "log"
    options = ["--alias", "tiny", "--host", "127.0.0.1", "--port", str(port), "-c", "8192", "-np", "8", "-t", "1"]
    with log.open("wb") as output:
        process = subprocess.Popen([str(server), "-m", str(model), *options], stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"{url}/health", timeout=1):
                    break
            except (urllib.error.URLError, OSError):
                assert time.monotonic() < deadline, log.read_text(errors="replace")[-2000:]
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


@pytest.fixture(scope="module")
def product(llama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Product, str]]:
    with Product(tmp_path_factory.mktemp("llama-house")) as running:
        running.add_channel("openai", f"{llama}/v1", ["tiny"])
        running.add_channel("anthropic", f"{llama}/v1", ["tiny"])
        running.set_price("tiny", "1", "2")
        yield running, running.add_token("--quota", "10.00")


def test_a_chat(product: tuple[Product, str], llama: str) -> None:
    running, key = product
    texts = []
    for base_url in (f"{running.url}/v1", f"{llama}/v1"):
        with OpenAI(base_url=base_url, api_key=key) as client:
            done = client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=30, seed=1, temperature=0)
        assert done.usage is not None
        texts.append((done.choices[0].message.content, done.usage.prompt_tokens, done.usage.completion_tokens))
    assert texts[0] == texts[1]
    row = running.wait_rows(lambda rows: bool(rows))[0]
    assert sum(row["usage"].values()) == texts[0][1] + texts[0][2]


def test_a_stream_that_does_not_ask_for_usage_is_billed_all_the_same(product: tuple[Product, str]) -> None:
    running, key = product
    with OpenAI(base_url=f"{running.url}/v1", api_key=key) as client:
        raw = client.chat.completions.with_raw_response.create(
            model="tiny", messages=MESSAGES, max_tokens=40, stream=True
        )
        chunks = list(raw.parse())
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason in ("length", "stop")
    request = raw.headers["x-request-id"]
    row = running.wait_rows(lambda rows: rows[0]["request"] == request)[0]
    assert not row["estimated"]
    assert 0 < row["usage"]["output"] <= 40


def test_anthropics_messages(product: tuple[Product, str]) -> None:
    running, key = product
    with Anthropic(base_url=running.url, api_key=key) as client:
        message = client.messages.create(model="tiny", max_tokens=20, messages=MESSAGES)
    row = running.wait_rows(lambda rows: rows[0]["endpoint"] == "messages")[0]
    assert row["usage"]["output"] == message.usage.output_tokens > 0


async def test_sixteen_streams_at_once(product: tuple[Product, str]) -> None:
    import asyncio

    running, key = product

    async with AsyncOpenAI(base_url=f"{running.url}/v1", api_key=key) as client:

        async def one() -> int:
            stream = await client.chat.completions.create(
                model="tiny", messages=MESSAGES, max_tokens=64, stream=True, stream_options={"include_usage": True}
            )
            return [chunk.usage.completion_tokens async for chunk in stream if chunk.usage][-1]

        counts = await asyncio.gather(*(one() for _ in range(16)))
    rows = running.wait_rows(lambda rows: sum(row["stream"] for row in rows) >= 17)
    newest = sorted(row["usage"]["output"] + row["usage"]["reasoning"] for row in rows[:16])
    assert newest == sorted(counts)


def test_the_books_add_up(product: tuple[Product, str]) -> None:
    assert product[0].cli("ledger", "verify")["ok"] is True
