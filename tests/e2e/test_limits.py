"""Two workers, 200 clients that never rest: exactly the limit is admitted, in any window, through a worker's death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path

from burncloud.adaptors.estimate import prompt_tokens
from tests.e2e.asking import CHAT, chat
from tests.e2e.test_bill import usage
from tests.e2e.test_quota import many
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream

CLIENTS = 100
"""For each of the two tokens."""
RPM, TPM = 60, 10_000
USED = (20, 80)
MAX_TOKENS = 100
WINDOW_NS = 60_000_000_000
JITTER_NS = 50_000_000
"""A row's time is the request's arrival; it was admitted a moment later."""
LASTS_S = 66.0
KILL_AT_S = 20.0
PAUSE_S = 0.7


class Heard:
    """What the clients of one token were told."""

    def __init__(self) -> None:
        self.admitted = 0
        self.refused: list[dict[str, str]] = []


async def one(port: int, key: str, body: bytes, until: float, heard: Heard) -> None:
    """Ask again and again, however often it is refused; a lost connection is made anew."""
    request = (
        b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (CHAT.encode(), key.encode(), len(body), body)
    )
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while time.monotonic() < until:
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


def fullest(amounts: list[tuple[int, int]]) -> int:
    """The most that any window holds; (when, how much)."""
    amounts.sort()
    most = first = inside = 0
    for at, amount in amounts:
        inside += amount
        while amounts[first][0] < at - WINDOW_NS + JITTER_NS:
            inside -= amounts[first][1]
            first += 1
        most = max(most, inside)
    return most


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
        counted, metered = Heard(), Heard()
        until = time.monotonic() + LASTS_S
        clients = [
            asyncio.create_task(one(product.port, made["key"], body, until, heard))
            for made, heard in ((by_count, counted), (by_tokens, metered))
            for _ in range(CLIENTS)
        ]
        await asyncio.sleep(KILL_AT_S)
        os.kill(product.pids("worker")[0], signal.SIGKILL)
        await asyncio.gather(*clients)

        total = counted.admitted + metered.admitted
        rows = product.wait_rows(lambda rows: len(rows) >= total)
        times = [(int(row["time_ns"]), 1) for row in rows if row["token_id"] == by_count["id"]]
        assert fullest(times) == RPM
        assert len(times) == 2 * RPM  # the second window's, too, and as soon as it began
        tokens = [(int(row["time_ns"]), sum(USED)) for row in rows if row["token_id"] == by_tokens["id"]]
        reserve_max = MAX_TOKENS + prompt_tokens(body)
        assert TPM - reserve_max <= fullest(tokens) <= TPM

        assert len(counted.refused) > CLIENTS
        for fields in counted.refused:
            assert 1 <= int(fields["retry-after"]) <= 61
            assert fields["x-ratelimit-limit-requests"] == str(RPM)
            assert fields["x-ratelimit-remaining-requests"] == "0"
        assert {fields["x-ratelimit-limit-tokens"] for fields in metered.refused} == {str(TPM)}
        assert product.cli("ledger", "verify")["ok"] is True


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
