"""The bill, to the nano-dollar, from the price that was set to the row that `log list` shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.asking import ask, chat
from tests.e2e.sdk_cases import chunk, streams
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream


def usage(prompt: int, completion: int, cached: int = 0, reasoning: int = 0) -> dict[str, Any]:
    """A chat answer that states these numbers."""
    return {
        "id": "x", "object": "chat.completion", "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion,
                  "prompt_tokens_details": {"cached_tokens": cached},
                  "completion_tokens_details": {"reasoning_tokens": reasoning}},
    }  # fmt: skip


CASES = [
    answer("gpt-4", usage(100, 200)),
    answer("gpt-4-turbo", usage(100, 200)),
    answer("cached", usage(1000, 10, cached=600)),
    answer("thinking", usage(10, 100, reasoning=90)),
    answer("tiny", usage(1, 0)),
    answer("flat", usage(7, 8)),
    *streams("stream", [chunk("stream", {"role": "assistant", "content": "hi"}), chunk("stream", {}, "stop")]),
    answer("silent", {**usage(0, 0), "usage": None}),
]
"""What each model answers; the prices are set in `shop`."""
BILLS = {
    "gpt-4": 100 * 30_000 + 200 * 60_000,  # the promised example: 0.015 USD
    "gpt-4-turbo": 15_000_000,  # an alias shares the price
    "cached": 400 * 10_000 + 600 * 1_000 + 10 * 20_000,
    "thinking": 10 * 1_000 + 10 * 2_000 + 90 * 5_000,
    "tiny": 1,  # 1 token at 0.0005 USD per 1M = 0.5 nano: half up
    "flat": 2_000_000 + 7 * 1_000 + 8 * 1_000,
    "stream": 24 * 1_000 + 12 * 2_000,
}


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Upstream(*CASES) as upstream, Product(tmp_path_factory.mktemp("bill")) as running:
        names = [case.name for case in CASES if "+" not in case.name]
        running.add_channel("openai", f"{upstream.url}/v1", names)
        running.set_price("gpt-4", "30.0", "60.0")
        running.cli("price", "set", "gpt-4-turbo", "--alias", "gpt-4")
        running.set_price("cached", "10", "20", "--cache-read", "1")
        running.set_price("thinking", "1", "2", "--reasoning", "5")
        running.set_price("tiny", "0.0005", "0")
        running.set_price("flat", "1", "1", "--request", "0.002")
        running.set_price("stream", "1", "2")
        running.set_price("silent", "1", "1")
        yield running


@pytest.fixture(scope="module")
def user(product: Product) -> str:
    return product.add_user("--quota", "100.00")


@pytest.mark.parametrize("model", BILLS)
def test_the_bill(product: Product, user: str, model: str) -> None:
    made = product.cli("token", "create", "--user", user, "--quota", "10.00")
    got = ask(product, made["key"], chat(model, stream=model == "stream", max_tokens=100))
    assert got.status == 200
    request = got.headers["x-request-id"]
    rows = product.wait_rows(lambda rows: any(row["request"] == request for row in rows))
    row = next(row for row in rows if row["request"] == request)
    assert int(row["charge_nano"]) == BILLS[model]
    assert sum(int(attempt["charge_nano"]) for attempt in row["attempts"]) == BILLS[model]
    assert (row["state"], row["status"], row["estimated"]) == ("done", 200, False)
    assert product.cli("token", "show", str(made["id"]))["used_nano"] == str(BILLS[model])


def test_the_promised_example_reads_as_promised(product: Product, user: str) -> None:
    """100 prompt and 200 completion tokens at 30 and 60 dollars per 1M are 0.015 dollars."""
    key = product.add_token(user=user)
    request = ask(product, key, chat("gpt-4")).headers["x-request-id"]
    rows = product.wait_rows(lambda rows: rows[0]["request"] == request)
    assert (rows[0]["charge"], rows[0]["charge_nano"]) == ("0.015", "15000000")
    assert {kind: count for kind, count in rows[0]["usage"].items() if count} == {"input": 100, "output": 200}


def test_an_answer_without_usage_is_estimated_and_says_so(product: Product, user: str) -> None:
    request = ask(product, product.add_token(user=user), chat("silent")).headers["x-request-id"]
    row = product.wait_rows(lambda rows: rows[0]["request"] == request)[0]
    assert row["estimated"]
    assert row["usage"]["input"] > 0
    assert row["usage"]["output"] > 0
    assert int(row["charge_nano"]) > 0


def test_a_price_change_is_live_within_a_second_and_leaves_old_rows_alone(product: Product, user: str) -> None:
    import time

    key = product.add_token(user=user)
    product.set_price("flat", "1", "1", "--request", "0.003")
    time.sleep(1)
    request = ask(product, key, chat("flat")).headers["x-request-id"]
    rows = product.wait_rows(lambda rows: rows[0]["request"] == request)
    assert int(rows[0]["charge_nano"]) == 3_000_000 + 15_000
    product.set_price("flat", "1", "1", "--request", "0.002")


def test_the_books_add_up(product: Product, user: str) -> None:
    report = product.cli("ledger", "verify")
    assert report["ok"] is True
    total = sum(int(row["charge_nano"]) for row in product.rows() if row["user"] == user)
    assert int(product.cli("user", "show", user)["used_nano"]) == total > 0
