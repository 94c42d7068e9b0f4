"""Limits that nodes share through a real Valkey: 200 clients, two workers, two nodes, a frozen and a killed server."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.e2e.asking import chat
from tests.e2e.test_bill import usage
from tests.e2e.test_limits import MAX_TOKENS, RPM, TPM, USED, besiege, check
from tests.e2e.test_quota import one as ask
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream
from tests.valkey import Valkey, make_valkey

pytestmark = pytest.mark.timeout(300)


def body_of(model: str) -> bytes:
    return json.dumps(chat(model) | {"max_tokens": MAX_TOKENS}).encode()


class House:
    """One or two nodes with a limited token each for requests and for tokens, and 200 clients."""

    def __init__(self, products: Sequence[Product]) -> None:
        self.products = products
        first = products[0]
        self.by_count = first.cli("token", "create", "--user", first.add_user(), "--rpm", str(RPM))
        self.by_tokens = first.cli("token", "create", "--user", first.add_user(), "--tpm", str(TPM))

    async def stand(self) -> None:
        """Besieged, all that is admitted is the limit."""
        body = body_of("m")
        ports = [product.port for product in self.products]
        counted, metered = await besiege(ports, self.by_count["key"], self.by_tokens["key"], body)
        total = counted.admitted + metered.admitted
        await asyncio.to_thread(check, self.products[0], self.by_count, self.by_tokens, total, body)


def furnish(product: Product, upstream: Upstream) -> None:
    product.add_channel("openai", f"{upstream.url}/v1", ["m"])
    product.set_price("m", "0", "0", "--request", "0.001")


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

            await asyncio.gather(*(house.stand() for house in houses), accident())
            assert alone.log().count("Redis is away") >= 2  # each of its workers


class Watched:
    """A product of one worker, and what that says of itself."""

    def __init__(self, product: Product) -> None:
        self.product = product
        self.asked = 0
        self._key = product.add_token(user="admin")

    async def until(self, wanted: Callable[[dict[str, int]], bool]) -> dict[str, int]:
        """Its counters, as soon as they are so."""
        deadline = time.monotonic() + 60
        head = {"authorization": f"Bearer {self._key}"}
        while True:
            request = urllib.request.Request(f"{self.product.url}/api/v1/status", headers=head)
            with await asyncio.to_thread(urllib.request.urlopen, request, timeout=30) as answer:
                counters: dict[str, int] = json.load(answer)["workers"][0]["counters"]
            if wanted(counters):
                return counters
            assert time.monotonic() < deadline, counters
            await asyncio.sleep(0.05)

    async def here(self, is_here: bool) -> None:
        """It knows that Redis is there, or away."""
        await self.until(lambda counters: counters["redis_away"] == (not is_here))

    async def ask(self, keys: Iterator[str], seconds: float = 0.0) -> dict[str, int]:
        """At least REQUESTS requests, one after the other, all of which are answered; what they changed."""
        before = await self.until(lambda counters: counters.get("requests", 0) == self.asked)
        begun, count = time.monotonic(), 0
        while count < REQUESTS or time.monotonic() - begun < seconds:
            assert await ask(self.product.port, next(keys), body_of("m")) == 200
            count += 1
            await asyncio.sleep(0.005)
        self.asked += count
        after = await self.until(lambda counters: counters["requests"] == self.asked)
        return {name: after[name] - before[name] for name in ("redis_waits", "redis_alone")}


REQUESTS, NEW = 150, 2
WAITS_MAX = 5
"""Who has come before the server is late for the first, and waits with him."""


async def test_frozen_and_killed_nobody_waits(tmp_path: Path, valkey: Valkey) -> None:
    """None is refused; what a request may wait is a timer (test_permits.py), and next to none waits at all."""
    with (
        Upstream(answer("m", usage(*USED))) as upstream,
        Product(tmp_path / "p", WORKERS="1", REDIS_URL=valkey.url) as product,
    ):
        furnish(product, upstream)
        watched = Watched(product)
        limits = ("--rpm", "5000", "--tpm", "9000000", "--concurrency", "50")
        user = product.add_user()
        known = [product.add_token(*limits, user=user) for _ in range(2)]
        fresh = [product.add_token(*limits, user=user) for _ in range(2 * NEW)]

        def keys(new: Sequence[str] = ()) -> Iterator[str]:
            """The usual ones in turn, and every tenth time one that was never seen."""
            unseen = iter(new)
            for number in itertools.count(1):
                yield next(unseen, known[0]) if number % 10 == 0 else known[number % len(known)]

        await watched.here(True)
        calm = await watched.ask(keys())
        valkey.freeze()
        frozen = await watched.ask(keys(fresh[:NEW]), 3)
        await watched.here(False)
        valkey.thaw()
        await watched.here(True)
        valkey.kill()
        killed = await watched.ask(keys(fresh[NEW:]), 3)
        await watched.here(False)
        valkey.start()
        await watched.here(True)
        back = await watched.ask(keys())
        print(f"calm {calm}, frozen {frozen}, killed {killed}, back {back}")
        assert calm["redis_waits"]
        for gone in (frozen, killed):
            assert gone["redis_waits"] <= WAITS_MAX
            assert gone["redis_alone"] >= REQUESTS / 2
        deadline = time.monotonic() + 30
        while True:  # each is told as soon as it is known, and written a moment later
            told = [event["kind"] for event in product.cli("event", "list") if event["kind"].startswith("redis_")]
            if told and told[0] == "redis_there" and told.count("redis_away") >= 2:
                break
            assert time.monotonic() < deadline, told
        assert told.count("redis_there") >= 2
