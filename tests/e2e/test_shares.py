"""Shares through the real gateway with two workers: exact over 10,000 requests, and again after a channel was dead.

Each worker deals out its own requests exactly, to within one pick a channel; so over all workers a channel is off its
share by as many picks as there are workers, however the requests fall to them.  What fails and goes to another channel
comes on top.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.product import Product
from tests.slow.flaky import counts_of, upstreams

pytestmark = pytest.mark.timeout(300)
WORKERS = 2
REQUESTS = 10_000
CONNECTIONS = 48
CHI_SQUARE_MAX = 1.0
"""Random picks have 2 on average with three channels, and more than 6 one time in twenty: these are not random."""
FAILING_PERCENT = 2.0
BACK_S_MAX = 45.0


async def ask(port: int, key: str, model: str, numbers: itertools.count[int], until: int) -> int:
    """On one connection; how many were answered with 200."""
    good = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while (number := next(numbers)) < until:
            body = json.dumps({"model": model, "messages": [{"role": "user", "content": f"say {number}"}]}).encode()
            writer.write(
                b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
            )
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
            good += head.split(" ", 2)[1] == "200"
    finally:
        writer.close()
    return good


def ask_all(product: Product, key: str, model: str, count: int = REQUESTS) -> None:
    """So many requests, all of which are answered."""

    async def run() -> int:
        numbers = itertools.count()
        everybody = (ask(product.port, key, model, numbers, count) for _ in range(CONNECTIONS))
        return sum(await asyncio.gather(*everybody))

    assert asyncio.run(run()) == count


def chi_square(counts: Sequence[int], weights: Sequence[int]) -> float:
    """How far the counts are from the weights."""
    shares = [weight / sum(weights) for weight in weights]
    expected = [share * sum(counts) for share in shares]
    return sum((count - wanted) ** 2 / wanted for count, wanted in zip(counts, expected, strict=True))


def requests_of(ports: Sequence[int]) -> list[int]:
    """How many each upstream got."""
    return [counts_of(port).get("requests", 0) for port in ports]


@pytest.mark.parametrize("weights", [(80, 20), (0, 0, 0)], ids=["80-20", "all zero"])
def test_shares_are_exact(tmp_path: Path, weights: tuple[int, ...]) -> None:
    with (
        upstreams(len(weights), "--percent", "0", "--plain-ms", "0") as ports,
        Product(tmp_path / "p", WORKERS=str(WORKERS), UNPRICED="free") as product,
    ):
        for port, weight in zip(ports, weights, strict=True):
            product.add_channel("openai", f"http://127.0.0.1:{port}/v1", ["m"], "--weight", str(weight))
        ask_all(product, product.add_token(), "m")
        counts = requests_of(ports)
        even = weights if any(weights) else [1] * len(weights)
        print(f"{weights}: {counts}, chi-square {chi_square(counts, even):.5f}")
        assert sum(counts) == REQUESTS
        assert chi_square(counts, even) < CHI_SQUARE_MAX
        for count, weight in zip(counts, even, strict=True):
            assert abs(count - REQUESTS * weight / sum(even)) <= WORKERS + 1


def test_shares_return_when_a_channel_does(tmp_path: Path) -> None:
    """50/30/20, of which the 30 dies and comes back, while the 20 fails one time in fifty all along.

    With resets and 500s: one that says 429 wants to be left alone for a second, and is.
    """
    weights = (50, 30, 20)
    with (
        upstreams(len(weights), "--percent", "0", "--plain-ms", "0", "--faults", "reset", "500") as ports,
        Product(tmp_path / "p", WORKERS=str(WORKERS), UNPRICED="free", LOG_LEVEL="error") as product,
    ):
        for port, weight in zip(ports, weights, strict=True):
            product.add_channel("openai", f"http://127.0.0.1:{port}/v1", ["m"], "--weight", str(weight))
        key = product.add_token()
        counts_of(ports[2], f"percent/{FAILING_PERCENT}")
        ask_all(product, key, "m")
        before = requests_of(ports)
        assert_shares(before, weights)

        counts_of(ports[1], "percent/100")
        ask_all(product, key, "m", 2_000)
        dead = [after - was for after, was in zip(requests_of(ports), before, strict=True)]
        assert dead[1] < 100  # it is left alone
        assert dead[0] > 2 * dead[2]

        counts_of(ports[1], "percent/0")
        deadline = time.monotonic() + BACK_S_MAX
        asked = requests_of(ports)
        while True:  # until both workers send it its share again
            assert time.monotonic() < deadline, "the channel did not come back"
            ask_all(product, key, "m", 400)
            now = requests_of(ports)
            if now[1] - asked[1] >= 0.25 * (sum(now) - sum(asked)):
                break
            asked = now
            time.sleep(0.5)

        ask_all(product, key, "m")
        after = [later - was for later, was in zip(requests_of(ports), now, strict=True)]
        print(f"before {before}, dead {dead}, after {after}")
        assert_shares(after, weights)


def assert_shares(counts: Sequence[int], weights: Sequence[int]) -> None:
    """To one percent, what failed and was asked again elsewhere included."""
    for count, weight in zip(counts, weights, strict=True):
        assert abs(100 * count / sum(counts) - 100 * weight / sum(weights)) <= 1
    assert chi_square(counts, weights) < 6.0, counts
