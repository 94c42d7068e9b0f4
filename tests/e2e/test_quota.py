"""Five hundred requests at once on a nearly empty token: exactly as many are answered as it pays for."""

from __future__ import annotations

import asyncio
import collections
import json
from pathlib import Path

import pytest

from tests.e2e.asking import CHAT, chat
from tests.e2e.test_bill import usage
from tests.product import Product
from tests.upstream.cases import answer
from tests.upstream.running import Upstream

AT_ONCE = 500
PAID_FOR = 40
DEFAULT_RESERVE_OUTPUT = 10


async def one(port: int, key: str, body: bytes) -> int:
    """Send one request on a connection of its own; the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n%b" % (CHAT.encode(), key.encode(), len(body), body)
        )
        answer = await reader.read()
        return int(answer.split(b" ", 2)[1])
    finally:
        writer.close()


async def many(port: int, key: str, model: str, count: int = AT_ONCE) -> collections.Counter[int]:
    """Statuses of `count` requests sent at once."""
    body = json.dumps(chat(model)).encode()
    return collections.Counter(await asyncio.gather(*(one(port, key, body) for _ in range(count))))


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_500_at_once(tmp_path: Path, workers: str) -> None:
    cases = (answer("fixed", usage(3, 4), first_byte_ms=20), answer("longer", usage(10, 500), first_byte_ms=20))
    with (
        Upstream(*cases) as upstream,
        Product(tmp_path / "p", WORKERS=workers, DEFAULT_RESERVE_OUTPUT=str(DEFAULT_RESERVE_OUTPUT)) as product,
    ):
        product.add_channel("openai", f"{upstream.url}/v1", ["fixed", "longer"])
        product.set_price("fixed", "0", "0", "--request", "0.001")
        product.set_price("longer", "1", "2")
        user = product.add_user()

        # A fixed price: exactly the number that was paid for, by the token or by its user.
        made = product.cli("token", "create", "--user", user, "--quota", f"0.{PAID_FOR:03d}")
        assert await many(product.port, made["key"], "fixed") == {200: PAID_FOR, 402: AT_ONCE - PAID_FOR}
        assert len(upstream.requests) == PAID_FOR
        poor = product.add_user("--quota", f"0.{PAID_FOR:03d}")
        assert await many(product.port, product.add_token(user=poor), "fixed") == {
            200: PAID_FOR, 402: AT_ONCE - PAID_FOR,
        }  # fmt: skip
        product.wait_rows(lambda rows: len(rows) == 2 * PAID_FOR)
        token = product.cli("token", "show", str(made["id"]))
        assert token["used_nano"] == str(PAID_FOR * 1_000_000) == token["quota_limit_nano"]

        # Answers that turn out longer than the reserve foresaw: overshoot stays in the stated bound.
        dear = product.cli("token", "create", "--user", user, "--quota", "0.002")
        statuses = await many(product.port, dear["key"], "longer")
        assert statuses[200] >= 1
        assert statuses[402] == AT_ONCE - statuses[200]
        count = 2 * PAID_FOR + statuses[200]
        rows = [row for row in product.wait_rows(lambda rows: len(rows) >= count) if row["model"] == "longer"]
        assert len(rows) == statuses[200]
        used = int(product.cli("token", "show", str(dear["id"]))["used_nano"])
        over = sum(max(0, int(row["charge_nano"]) - int(row["reserve_nano"])) for row in rows)
        assert used == sum(int(row["charge_nano"]) for row in rows)
        assert used <= 2_000_000 + over
        assert product.cli("ledger", "verify")["ok"] is True
