"""Limits that nodes share through a real Valkey: 200 clients, two workers, two nodes, a frozen and a killed server."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from burncloud.adaptors.estimate import prompt_tokens
from tests.e2e.asking import chat
from tests.e2e.test_bill import usage
from tests.e2e.test_limits import MAX_TOKENS, RPM, TPM, USED, Heard, fullest, one
from tests.e2e.test_quota import one as ask
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream
from tests.valkey import Valkey, make_valkey

pytestmark = pytest.mark.timeout(300)
CLIENTS = 100
"""For each of the two tokens."""
LASTS_S = 64.0


def body_of(model: str) -> bytes:
    return json.dumps(chat(model) | {"max_tokens": MAX_TOKENS}).encode()


class House:
    """One or two nodes with a limited token each for requests and for tokens, and 200 clients."""

    def __init__(self, products: Sequence[Product]) -> None:
        self.products = products
        first = products[0]
        self.by_count = first.cli("token", "create", "--user", first.add_user(), "--rpm", str(RPM))
        self.by_tokens = first.cli("token", "create", "--user", first.add_user(), "--tpm", str(TPM))
        self.counted, self.metered = Heard(), Heard()

    async def besiege(self, seconds: float) -> None:
        """All clients ask all the time, at all nodes."""
        until = time.monotonic() + seconds
        body = body_of("m")
        await asyncio.gather(
            *(
                one(self.products[number % len(self.products)].port, made["key"], body, until, heard)
                for made, heard in ((self.by_count, self.counted), (self.by_tokens, self.metered))
                for number in range(CLIENTS)
            )
        )

    def check(self) -> None:
        """Exactly the limit, in the fullest window and in the second one."""
        total = self.counted.admitted + self.metered.admitted
        rows = self.products[0].wait_rows(lambda rows: len(rows) >= total)
        times = [(int(row["time_ns"]), 1) for row in rows if row["token_id"] == self.by_count["id"]]
        assert fullest(times) == RPM
        assert len(times) == 2 * RPM
        tokens = [(int(row["time_ns"]), sum(USED)) for row in rows if row["token_id"] == self.by_tokens["id"]]
        assert TPM - MAX_TOKENS - prompt_tokens(body_of("m")) <= fullest(tokens) <= TPM
        assert self.products[0].cli("ledger", "verify")["ok"] is True


def furnish(product: Product, upstream: Upstream) -> None:
    product.add_channel("openai", f"{upstream.url}/v1", ["m"])
    product.set_price("m", "0", "0", "--request", "0.001")


AWAY, THERE = "Redis is away", "Redis is there"


async def until_said(product: Product, what: str, times: int = 1) -> None:
    """The product's log says so, for the so-many-th time."""
    deadline = time.monotonic() + 15
    while product.log().count(what) < times:
        assert time.monotonic() < deadline, f"it never said: {what}"
        await asyncio.sleep(0.05)


async def test_exact_over_workers_and_nodes(tmp_path: Path, postgres_url: str, valkey: Valkey) -> None:
    """One node whose Redis is killed in the middle; and two nodes."""
    url = postgres_url
    with (
        make_valkey() as mortal,
        Upstream(answer("m", usage(*USED), first_byte_ms=20)) as upstream,
        Product(tmp_path / "one", WORKERS="2", REDIS_URL=mortal.url) as alone,
        Product(tmp_path / "a", WORKERS="1", NODE="a", DATABASE_URL=url, REDIS_URL=valkey.url) as first,
    ):
        (tmp_path / "b" / "burncloud.data").mkdir(parents=True)
        key = (tmp_path / "a" / "burncloud.data" / "master.key").read_bytes()
        (tmp_path / "b" / "burncloud.data" / "master.key").write_bytes(key)
        (tmp_path / "b" / "burncloud.data" / "master.key").chmod(0o600)
        with Product(tmp_path / "b", WORKERS="1", NODE="b", DATABASE_URL=url, REDIS_URL=valkey.url) as second:
            for product in (alone, first):
                furnish(product, upstream)
            houses = [House([alone]), House([first, second])]
            await asyncio.sleep(2)  # both nodes know of each other

            async def accident() -> None:
                await asyncio.sleep(20)
                mortal.kill()
                await asyncio.sleep(20)
                mortal.start()

            await asyncio.gather(*(house.besiege(LASTS_S) for house in houses), accident())
            for house in houses:
                house.check()
            assert alone.log().count(AWAY) >= 2  # each of its workers


class Times:
    """Milliseconds of requests that count for limits, and of others between them."""

    def __init__(self) -> None:
        self.limited: list[float] = []
        self.free: list[float] = []

    def at(self, share: float) -> tuple[float, float]:
        """The quantile of both."""
        return tuple(sorted(some)[int((len(some) - 1) * share)] for some in (self.limited, self.free))  # type: ignore[return-value]

    def __str__(self) -> str:
        pairs = [f"{name} {self.at(share)[0]:.1f}/{self.at(share)[1]:.1f}" for name, share in SHARES]
        return f"{len(self.limited)} requests with limits/without, ms: {', '.join(pairs)}"


SHARES = (("median", 0.5), ("p90", 0.9), ("p99", 0.99), ("most", 1.0))
NOISE_MS = 3.0
"""Between two quantiles of the same on a machine that does other things."""


async def test_frozen_and_killed_nobody_waits(tmp_path: Path, valkey: Valkey) -> None:
    """No request waits for 5 ms, none is refused, and it is noticed when the server is back."""
    with (
        Upstream(answer("m", usage(*USED))) as upstream,
        Product(tmp_path / "p", WORKERS="1", REDIS_URL=valkey.url, LOG_LEVEL="info") as product,
    ):
        furnish(product, upstream)
        free = product.add_token()
        keys = [product.add_token("--rpm", "5000", "--tpm", "9000000", "--concurrency", "50") for _ in range(4)]
        fresh = iter([product.add_token("--rpm", "5000") for _ in range(8)])
        body = body_of("m")

        async def burst(seconds: float) -> Times:
            """With limits and without in turn; a token that was never seen among them every 40 requests."""
            taken = Times()
            until, number = time.monotonic() + seconds, 0
            while time.monotonic() < until:
                number += 1
                limited = next(fresh, keys[0]) if not number % 40 else keys[number % 4]
                for key, times in ((limited, taken.limited), (free, taken.free)):
                    begun = time.perf_counter()
                    assert await ask(product.port, key, body) == 200
                    times.append((time.perf_counter() - begun) * 1000)
                await asyncio.sleep(0.005)
            return taken

        await until_said(product, THERE)
        calm = await burst(3)
        valkey.freeze()
        frozen = await burst(3)
        await until_said(product, AWAY)
        valkey.thaw()
        await until_said(product, THERE, 2)
        await burst(0.5)
        valkey.kill()
        killed = await burst(3)
        await until_said(product, AWAY, 2)
        valkey.start()
        await until_said(product, THERE, 3)
        back = await burst(1)
        for name, times in (("calm", calm), ("frozen", frozen), ("killed", killed), ("back", back)):
            print(f"{name}: {times}")
        for times in (frozen, killed):
            for _, share in SHARES[:2]:
                limited, unlimited = times.at(share)
                assert limited - unlimited <= 5.0 + NOISE_MS
            assert times.at(0.5)[0] - times.at(0.5)[1] <= 1.0 + NOISE_MS
        events = [event["kind"] for event in product.cli("event", "list")]
        assert events.count("redis_away") == events.count("redis_there") == 2
