"""Balancing through the whole product: shares, policies, names with a star, affinity, stand-ins for a model."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.e2e.asking import CHAT, Answer, ask, chat
from tests.e2e.test_bill import usage
from tests.product import Product
from tests.upstream.cases import Case, answer
from tests.upstream.running import Upstream

CONNECTIONS = 40
LONG = "The quick brown fox jumps over the lazy dog. " * 120


@dataclass
class House:
    """A product with two workers, and channels that can be told apart by their ref."""

    product: Product
    upstream: Upstream
    key: str
    refs: dict[str, str] = field(default_factory=dict)

    def channel(self, name: str, models: str, *options: str) -> None:
        """`name` stands in the models' upstream names, too, so that each channel has answers of its own."""
        made = self.product.cli(
            "channel", "add", "--type", "openai", "--name", name, "--key", f"sk-{name}",
            "--base-url", f"{self.upstream.url}/v1", "--models", models, *options,
        )  # fmt: skip
        self.refs[made["ref"]] = name

    def asked(self, got: Answer) -> str:
        """The channel that answered."""
        assert got.status == 200, got
        return self.refs[got.headers["x-burncloud-channel"]]

    def spread(self, model: str, count: int) -> Counter[str]:
        """How many of so many requests each channel answers; none may fail."""
        found = asyncio.run(self._spread(model, count))
        assert found.total() == count
        return Counter({self.refs[ref]: number for ref, number in found.items()})

    async def _spread(self, model: str, count: int) -> Counter[str]:
        body = json.dumps(chat(model, max_tokens=5)).encode()
        request = (
            b"POST %b HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (CHAT.encode(), self.key.encode(), len(body), body)
        )
        left = iter(range(count))
        found: Counter[str] = Counter()

        async def client() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.product.port)
            for _ in left:
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:-2])
                content = await reader.readexactly(int(fields["content-length"]))
                assert head.startswith("HTTP/1.1 200"), head + content.decode()
                found[fields["x-burncloud-channel"]] += 1
            writer.close()

        await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        return found


def chi_square(found: Counter[str], weights: dict[str, int]) -> float:
    """How far from the weights; chance alone exceeds 3.84 (two channels) or 5.99 (three) one time in twenty."""
    total = sum(weights.values())
    return sum(
        (found[name] - found.total() * w / total) ** 2 / (found.total() * w / total) for name, w in weights.items()
    )


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with (
        Upstream() as upstream,
        Product(tmp_path_factory.mktemp("balancing"), WORKERS="2", UNPRICED="free", ATTEMPTS_MAX="8") as product,
    ):
        yield House(product, upstream, product.add_token())


def soon(wanted: Any, timeout_s: float = 1.0) -> None:
    """It must come true within a second: that is the promise of live changes."""
    deadline = time.monotonic() + timeout_s
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def failing(name: str, count: int, seed: int) -> list[Case]:
    """Answers, of which about one in forty fails; never so close together that a breaker opens.

    (Each of two channels is asked at most twice: with one in twenty, chance alone let one run in sixteen fail.)
    """
    chance, since = Random(seed), 0
    found: list[Case] = []
    for _ in range(count):
        since += 1
        bad = since > 8 and chance.random() < 1 / 32
        since = 0 if bad else since
        found.append(Case(name, b'{"error":{"message":"no"}}', status=503) if bad else answer(name, usage(1, 1)))
    return found


@pytest.mark.parametrize(
    ("weights", "count"),
    [({"a": 80, "b": 20}, 10_000), ({"a": 50, "b": 30, "c": 20}, 3_000), ({"a": 0, "b": 0, "c": 0}, 3_000)],
)
def test_shares(house: House, weights: dict[str, int], count: int) -> None:
    """80/20 within one percent over 10,000 requests at two workers, both channels failing 2.5 % of them at random."""
    model = "shares-" + "-".join(map(str, weights.values()))
    for n, (name, weight) in enumerate(weights.items()):
        house.channel(f"{model}-{name}", f"{model}={model}-{name}", "--weight", str(weight))
        house.upstream.book.script(f"{model}-{name}", failing(f"{model}-{name}", count + 1, n))
    found = house.spread(model, count)
    expected = {f"{model}-{name}": weight or 1 for name, weight in weights.items()}
    for name, weight in expected.items():
        assert abs(found[name] / count - weight / sum(expected.values())) <= 0.01, found
    assert chi_square(found, expected) < 3.84
    sent = Counter(json.loads(seen.body)["model"] for seen in house.upstream.requests)
    failed = sum(sent[name] for name in expected) - count
    assert failed > 0.01 * count  # they did fail, and nobody heard of it


def test_shares_return_after_a_death(house: House) -> None:
    """Dead: all goes to the other, no client hears of it.  Back: within seconds the shares are what they were."""
    for name, weight in (("dying", "80"), ("living", "20")):
        house.channel(name, f"mortal={name}", "--weight", weight)
        house.upstream.add(answer(name, usage(1, 1)))
    assert chi_square(house.spread("mortal", 500), {"dying": 80, "living": 20}) < 3.84
    house.upstream.add(Case("dying", b"{}", status=503))
    house.spread("mortal", 100)
    found = house.spread("mortal", 200)
    assert found["living"] >= 195, found
    house.upstream.add(answer("dying", usage(1, 1)))
    soon(lambda: house.spread("mortal", 50)["dying"] >= 35, 40)
    assert chi_square(house.spread("mortal", 1_000), {"dying": 80, "living": 20}) < 3.84


def quickness(product: Product, channel: str) -> float:
    """Its running mean, in ms, as the workers compare it; 0 = nothing is known."""
    return product.cli("channel", "show", channel)["model_states"][0]["first_byte_ms"] or 0.0


def test_policies_are_live(house: House) -> None:
    """Each within a second of its command."""
    product = house.product
    for name, cost, delay in (("dear-quick", "1.0", 0), ("cheap-slow", "0.6", 150), ("same-slow", "0.60", 150)):
        house.channel(name, f"pol={name}", "--option", f"cost={cost}")
        house.upstream.add(answer(name, usage(1, 1), first_byte_ms=delay))
    assert set(house.spread("pol", 60)) == {"dear-quick", "cheap-slow", "same-slow"}
    product.cli("policy", "set", "pol", "--balance", "cheapest")
    soon(lambda: house.asked(ask(product, house.key, chat("pol"))) != "dear-quick")
    found = house.spread("pol", 80)
    assert (found["cheap-slow"], found["dear-quick"]) == (40, 0)
    product.cli("policy", "set", "po*", "--balance", "least-busy")
    product.cli("policy", "set", "pol", "--balance", "lowest-latency")
    soon(lambda: house.spread("pol", 40)["dear-quick"] >= 20, 5)
    assert house.spread("pol", 400)["dear-quick"] >= 360  # 384 and more, where the machine has time
    soon(lambda: quickness(product, "dear-quick") and quickness(product, "cheap-slow"), 15)
    assert quickness(product, "dear-quick") < 150 <= quickness(product, "cheap-slow")
    product.cli("policy", "delete", "pol")  # what is left is the less exact one
    soon(lambda: house.spread("pol", 40)["dear-quick"] < 40, 5)
    found = house.spread("pol", 400)
    assert found["dear-quick"] > found["cheap-slow"] > 0, found  # slow ones are busy longer
    product.cli("policy", "delete", "po*")


def test_names_with_a_star(house: House) -> None:
    """The most exact wins; the star is carried over; the price is that of the name that was asked for."""
    product, key = house.product, house.key
    house.channel("all-of-it", "*=any/*")
    house.channel("claudes", "claude-*=anthropic/claude-*")
    for name in ("any/foo", "anthropic/claude-9", "any/claude-9"):
        house.upstream.add(answer(name, usage(10, 20)))
    product.set_price("claude-9", "1", "2")
    assert house.asked(ask(product, key, chat("claude-9"))) == "claudes"
    assert house.asked(ask(product, key, chat("foo"))) == "all-of-it"
    house.upstream.add(Case("anthropic/claude-9", b"{}", status=503))
    assert house.asked(ask(product, key, chat("claude-9"))) == "all-of-it"
    rows = product.wait_rows(lambda rows: sum(row["model"] == "claude-9" for row in rows) == 2)
    mine = [row for row in rows if row["model"] == "claude-9"]
    assert {row["charge_nano"] for row in mine} == {str(10 * 1_000 + 20 * 2_000)}
    assert {row["upstream_model"] for row in mine} == {"anthropic/claude-9", "any/claude-9"}
    listed = [row["id"] for row in json.loads(ask(product, key, b"", "/v1/models", method="GET").body)["data"]]
    assert "claude-9" in listed
    assert not [name for name in listed if "*" in name]
    scoped = product.add_token("--models", "claude-*")
    assert ask(product, scoped, chat("claude-9")).status == 200
    assert ask(product, scoped, chat("foo")).status == 403
    listed = [row["id"] for row in json.loads(ask(product, scoped, b"", "/v1/models", method="GET").body)["data"]]
    assert listed == ["claude-9"]
    for name in ("all-of-it", "claudes"):  # or the others would have a channel more
        product.cli("channel", "delete", name, "--yes")


def test_a_name_that_only_begins_alike_has_no_price(tmp_path: Path) -> None:
    """`gpt-4-pro` is not billed as `gpt-4`: it is refused."""
    with Upstream(answer("default", usage(1, 1))) as upstream, Product(tmp_path / "p") as product:
        product.add_channel("openai", f"{upstream.url}/v1", ["gpt-4*"])
        product.set_price("gpt-4", "1", "2")
        key = product.add_token()
        assert ask(product, key, chat("gpt-4")).status == 200
        got = ask(product, key, chat("gpt-4-pro"))
        assert (got.status, "no price" in got.error["message"]) == (400, True)
        assert len(upstream.requests) == 1


def test_affinity(house: House) -> None:
    """A conversation stays at one channel at whatever worker; what goes on from a response goes to its maker."""
    product, key = house.product, house.key
    names = [f"aff-{n}" for n in range(4)]
    for name in names:
        house.channel(name, f"aff={name}")
        spent = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        response = {"id": f"resp_{name}", "object": "response", "status": "completed", "output": [], "usage": spent}
        house.upstream.add(answer(name, response))
    body = {"model": "aff", "input": "Hi"}
    for _ in range(8):
        made = ask(product, key, body, "/v1/responses")
        for _ in range(4):
            more = ask(product, key, body | {"previous_response_id": json.loads(made.body)["id"]}, "/v1/responses")
            assert house.asked(more) == house.asked(made)
    for n in range(3):
        long = chat("aff", messages=[{"role": "user", "content": f"{n} {LONG}"}])
        for name in names:
            house.upstream.add(answer(name, usage(2_000, 1)))
        assert len({house.asked(ask(product, key, long)) for _ in range(12)}) == 1
    product.cli("setting", "set", "affinity", "off")
    soon(lambda: len({house.asked(ask(product, key, long)) for _ in range(8)}) > 1)
    product.cli("setting", "set", "affinity", "default")


def test_another_model_answers(house: House) -> None:
    """Nothing available, a prompt too long: who answered is named, billed as itself, and stands in the log."""
    product, key = house.product, house.key
    house.channel("first", "wanted=first,tight=tight")
    house.channel("second", "standby=second")
    too_long = {"error": {"message": "This model's maximum context length is 8 tokens", "type": "invalid_request_error",
                          "code": "context_length_exceeded"}}  # fmt: skip
    house.upstream.add(
        Case("first", b"{}", status=500), answer("second", usage(10, 20)), answer("tight", too_long, status=400)
    )
    for model in ("wanted", "tight"):
        product.set_price(model, "1", "1")
    product.set_price("standby", "3", "5")
    limited = product.add_token("--quota", "1.00", user=product.add_user("--quota", "1.00"))
    assert ask(product, key, chat("tight")).error["code"] == "context_length_exceeded"
    product.cli("policy", "set", "wanted", "--fallback", "nobody,standby")
    product.cli("policy", "set", "tight", "--fallback-context", "standby")
    soon(lambda: ask(product, key, chat("tight", max_tokens=5)).status == 200)
    for model, reasons in (("wanted", ["first", "fallback"]), ("tight", ["first", "fallback"])):
        got = ask(product, limited, chat(model, max_tokens=30))
        assert house.asked(got) == "second"
        assert got.headers["x-burncloud-model"] == "standby"
        request = got.headers["x-request-id"]
        rows = product.wait_rows(lambda rows, request=request: rows[0]["request"] == request)  # type: ignore[misc]
        row = rows[0]
        assert (row["model"], row["requested"], row["charge_nano"]) == ("standby", model, str(10 * 3_000 + 20 * 5_000))
        assert [attempt["reason"] for attempt in row["attempts"]][-2:] == reasons
    report = product.cli("ledger", "verify")
    assert report["ok"] is True


def test_a_crash_after_the_stand_in_was_asked(tmp_path: Path) -> None:
    """The worker dies between send and answer: the row is the stand-in's, at its price, and the books add up."""
    cases = (Case("first", b"{}", status=500), answer("second", usage(10, 20), first_byte_ms=300))
    with (
        Upstream(*cases) as upstream,
        Product(tmp_path / "p", CRASH_AT="worker.after_send:2", INTERRUPTED_CHARGE="reserved") as product,
    ):
        product.add_channel("openai", f"{upstream.url}/v1", ["wanted=first"])
        product.add_channel("openai", f"{upstream.url}/v1", ["standby=second"])
        product.set_price("wanted", "0", "1")
        product.set_price("standby", "0", "5")
        product.cli("policy", "set", "wanted", "--fallback", "standby")
        key = product.add_token("--quota", "1.00", user=product.add_user("--quota", "1.00"))
        with pytest.raises((http.client.HTTPException, OSError)):
            ask(product, key, chat("wanted", max_tokens=100))
        row = product.wait_rows(lambda rows: bool(rows), timeout_s=20)[0]
        assert (row["state"], row["model"], row["requested"]) == ("interrupted", "standby", "wanted")
        assert row["charge_nano"] == row["reserve_nano"] == str(100 * 5_000)
        assert [(attempt["reason"], attempt["charge_nano"]) for attempt in row["attempts"]] == [
            ("first", "0"), ("fallback", "500000"),
        ]  # fmt: skip
        assert len(upstream.requests) == 2
        assert product.cli("ledger", "verify")["ok"] is True
        assert product.cli("token", "list")[0]["used_nano"] == "500000"
