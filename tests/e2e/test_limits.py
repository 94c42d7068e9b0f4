"""Two workers, 200 clients that never rest: exactly the limit is admitted, in any window, through a worker's death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from burncloud.adaptors.estimate import prompt_tokens
from tests.e2e.asking import CHAT, chat
from tests.e2e.test_bill import usage
from tests.e2e.test_quota import many
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream

pytestmark = pytest.mark.timeout(300)
CLIENTS = 100
"""For each of the two tokens."""
RPM, TPM = 60, 10_000
USED = (20, 80)
MAX_TOKENS = 100
WINDOW_NS = 60_000_000_000
LASTS_S, LASTS_S_MAX = 64.0, 110.0
"""Into the second window, and until it is full: a busy machine needs longer."""
KILL_AT_S = 20.0
PAUSE_S = 0.7


class Heard:
    """What the clients of one token were told."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused: list[dict[str, str]] = []


async def one(port: int, key: str, body: bytes, heard: Heard, over: Callable[[], bool]) -> None:
    """Ask again and again, however often it is refused; a lost connection is made anew."""
    request = (
        b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (CHAT.encode(), key.encode(), len(body), body)
    )
    while not over():
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while not over():
                    writer.write(request)
                    head = (await reader.readuntil(b"\r\n\r\n")).decode()
                    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                    await reader.readexactly(int(fields["content-length"]))
                    status = int(head.split(" ", 2)[1])
                    assert status in (200, 429, 503), head
                    if status == 200:
                        heard.admitted += 1
                    elif status == 429:
                        heard.refused.append(fields)
                    await asyncio.sleep(PAUSE_S)
            finally:
                writer.close()


async def besiege(ports: Sequence[int], by_count: str, by_tokens: str, body: bytes) -> tuple[Heard, Heard]:
    """CLIENTS of each of two keys ask all the time, until the limit of requests is used up for the second time."""
    counted, metered = Heard(), Heard()
    begun = time.monotonic()

    def over() -> bool:
        lasts_s = time.monotonic() - begun
        return lasts_s > LASTS_S_MAX or (lasts_s > LASTS_S and counted.admitted >= 2 * RPM)

    await asyncio.gather(
        *(
            one(ports[number % len(ports)], key, body, heard, over)
            for key, heard in ((by_count, counted), (by_tokens, metered))
            for number in range(CLIENTS)
        )
    )
    return counted, metered


def fullest(rows: Sequence[dict[str, int]], amount: int) -> int:
    """The most that any window surely held: of requests that each count for this much.

    One was admitted at some time between its arrival and its end: it is in a window that both are in.
    """
    spans = [(int(row["time_ns"]), int(row["time_ns"]) + row["duration_us"] * 1000) for row in rows]
    return max(amount * sum(start <= begun and end <= start + WINDOW_NS for begun, end in spans) for start, _ in spans)


def check(product: Product, by_count: Any, by_tokens: Any, total: int, body: bytes) -> None:
    """Exactly the limit, in the fullest window and in the second one."""
    rows = product.wait_rows(lambda rows: len(rows) >= total, 30)
    requests, tokens = ([row for row in rows if row["token_id"] == made["id"]] for made in (by_count, by_tokens))
    assert fullest(requests, 1) == RPM
    assert len(requests) == 2 * RPM
    assert TPM - MAX_TOKENS - prompt_tokens(body) <= fullest(tokens, sum(USED)) <= TPM
    assert product.cli("ledger", "verify")["ok"] is True


async def test_exactly_up_to_the_limit_in_any_window(tmp_path: Path) -> None:
    with (
        Upstream(answer("m", usage(*USED), first_byte_ms=20)) as upstream,
        Product(tmp_path / "p", WORKERS="2") as product,
    ):
        product.add_channel("openai", f"{upstream.url}/v1", ["m"])
        product.set_price("m", "0", "0", "--request", "0.001")
        by_count = product.cli("token", "create", "--user", product.add_user(), "--rpm", str(RPM))
        by_tokens = product.cli("token", "create", "--user", product.add_user(), "--tpm", str(TPM))
        body = json.dumps(chat("m") | {"max_tokens": MAX_TOKENS}).encode()

        async def accident() -> None:
            await asyncio.sleep(KILL_AT_S)
            os.kill(product.pids("worker")[0], signal.SIGKILL)

        siege = besiege([product.port], by_count["key"], by_tokens["key"], body)
        (counted, metered), _ = await asyncio.gather(siege, accident())
        check(product, by_count, by_tokens, counted.admitted + metered.admitted, body)

        assert len(counted.refused) > CLIENTS
        for fields in counted.refused:
            assert 1 <= int(fields["retry-after"]) <= 61
            assert fields["x-ratelimit-limit-requests"] == str(RPM)
            assert fields["x-ratelimit-remaining-requests"] == "0"
        assert {fields["x-ratelimit-limit-tokens"] for fields in metered.refused} == {str(TPM)}


async def test_a_budget_is_spent_to_the_last_cent(tmp_path: Path) -> None:
    """Of a day, by a token; of a month, by a user; neither has any other quota."""
    with Upstream(answer("m", usage(*USED))) as upstream, Product(tmp_path / "p", WORKERS="2") as product:
        product.add_channel("openai", f"{upstream.url}/v1", ["m"])
        product.set_price("m", "0", "0", "--request", "0.001")
        user = product.add_user("--budget-monthly", "0.035")
        daily = product.cli("token", "create", "--user", user, "--budget-daily", "0.010")
        assert await many(product.port, daily["key"], "m", 50) == {200: 10, 429: 40}
        monthly = product.cli("token", "create", "--user", user)
        assert await many(product.port, monthly["key"], "m", 50) == {200: 25, 429: 25}
        product.wait_rows(lambda rows: len(rows) == 35)
        shown = product.cli("limit", "show", "token", str(daily["id"]))
        assert (shown["budget_daily"], shown["spent_daily"], shown["spent_monthly"]) == ("0.01", "0.01", "0.01")
        product.cli("token", "update", str(daily["id"]), "--budget-daily", "none")
        product.cli("user", "update", user, "--budget-monthly", "0.037")
        assert await many(product.port, daily["key"], "m", 10) == {200: 2, 429: 8}
        assert product.cli("ledger", "verify")["ok"] is True
