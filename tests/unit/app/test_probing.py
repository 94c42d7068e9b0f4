"""Probes through a real worker: the way of a client's request, at nobody's expense."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from burncloud.app.probing import without
from burncloud.domain import link
from burncloud.domain.journal import End
from burncloud.domain.link import Probe, Probed
from tests.unit.app.test_worker import House, opened

BODY = json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 16}).encode()
CHAT = "/v1/chat/completions"


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """A house whose worker serves."""
    async with opened(tmp_path, monkeypatch) as made:
        made.load()
        await made.until(lambda: made.worker._listener)
        yield made


async def probe(house: House, message: Probe) -> Probed:
    house.tell(message)
    await house.until(lambda: any(isinstance(m, Probed) and m.n == message.n for m in house.heard))
    [done] = [m for m in house.heard if isinstance(m, Probed) and m.n == message.n]
    return done


def told(house: House) -> list[tuple[int, str, str]]:
    """What the other workers hear."""
    return [(p.key, p.model, p.state) for m in house.heard if isinstance(m, link.Learned) for p in m.parts]


async def test_it_is_an_attempt_and_costs_nobody_anything(house: House) -> None:
    done = await probe(house, Probe(1, 1, 10, "gpt-4", CHAT, BODY))
    assert (done.status, done.reason) == (200, "")
    assert 0 < done.first_us <= done.duration_us
    assert b"completion" in done.body
    [end] = [record for record in house.written() if isinstance(record, End)]
    assert (end.user, end.token, end.charge, end.channel, end.key, len(end.attempts)) == (0, 0, 0, 1, 10, 1)
    world = house.worker.gateway.world
    assert set(world._members) == {("default", "gpt-4")}
    assert len(world.tokens) == 1
    await house.until(lambda: not house.worker.gateway.live and not house.worker.gateway.clients)
    assert not house.worker.gateway.health.resting


async def test_a_refused_key_that_is_good_again_is_ready_everywhere(house: House) -> None:
    """Whatever its state is, it is asked."""
    house.tell(link.Learned([link.Part(1, 10, "", "off", "refused", 401, 60_000, 60_000)]))
    outlet = house.worker.gateway.world.outlets[1]
    await house.until(lambda: not outlet.available)
    assert (await probe(house, Probe(1, 1, 10, "gpt-4", CHAT, BODY))).status == 200
    assert outlet.available
    assert outlet.abilities["gpt-4"].available
    await house.until(lambda: told(house) == [(10, "", "ready")])


async def test_what_fails_says_why_and_counts(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    channel = house.worker.gateway.world.outlets[1].channel
    channel.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    house.worker.gateway.world.put(link.Put("channel", [msgspec.Raw(link.encode(channel))]))
    done = await probe(house, Probe(1, 1, 10, "gpt-4", CHAT, BODY))
    assert (done.reason, done.upstream_status) == ("refused", 401)
    await house.until(lambda: told(house) == [(10, "", "off")])
    assert not house.worker.gateway.world.outlets[1].available
    server.close()


async def test_a_key_that_the_upstream_repeats_is_taken_out(house: House) -> None:
    said = b'{"error":{"message":"Invalid credentials gsk_One/Two"}}'

    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%b" % (len(said), said))
        writer.close()

    server = await asyncio.start_server(repeat, "127.0.0.1", 0)
    channel = house.worker.gateway.world.outlets[1].channel
    channel.keys = ((10, "gsk_One/Two"),)
    channel.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    house.worker.gateway.world.put(link.Put("channel", [msgspec.Raw(link.encode(channel))]))
    for asked in (Probe(1, 1, 10, "gpt-4", CHAT, BODY), Probe(2, 1, 10, "", "/v1/models")):
        done = await probe(house, asked)
        assert (done.status, b"Invalid credentials" in done.body, b"gsk_" in done.body) == (400, True, False)
    server.close()


@pytest.mark.parametrize(
    ("secret", "said", "left"),
    [
        ("Bearer ya29.token", b"no ya29.token here", "no … here"),
        ("AKIAEXAMPLE1:se/cret+key", b'{"of":"se\\/cret+key", "by":"AKIAEXAMPLE1"}', '{"of":"…", "by":"…"}'),
        ("short", b"short", "…"),
        ("", b"said", "said"),
    ],
)
def test_a_key_in_parts(secret: str, said: bytes, left: str) -> None:
    assert without(secret, said).decode() == left


async def test_what_is_not_there(house: House) -> None:
    for wrong in (Probe(1, 9, 10, "gpt-4", CHAT), Probe(2, 1, 99, "gpt-4", CHAT), Probe(3, 1, 10, "other", CHAT)):
        assert (await probe(house, wrong)).reason == "unknown"
    assert (await probe(house, Probe(4, 9, 10, "", "/v1/models"))).reason == "unknown"


async def test_a_silent_upstream_is_given_up(house: House) -> None:
    house.hold.clear()
    done = await probe(house, Probe(1, 1, 10, "gpt-4", CHAT, BODY, 100))
    assert (done.status, done.reason) == (0, "timeout")
    assert house.worker.gateway.world.outlets[1].abilities["gpt-4"].breaker.troubled
    await house.until(lambda: not house.worker.gateway.live)


async def test_a_list_that_never_comes_leaves_no_connection(house: House) -> None:
    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()

    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    channel = house.worker.gateway.world.outlets[1].channel
    channel.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    house.worker.gateway.world.put(link.Put("channel", [msgspec.Raw(link.encode(channel))]))
    done = await probe(house, Probe(1, 1, 10, "", "/v1/models", b"", 100))
    assert (done.status, done.reason) == (0, "timeout")
    origin = house.worker._prober._pool.origin(house.worker.gateway.world.outlets[1].origin.key)
    await house.until(lambda: not origin.open)
    server.close()


async def test_the_list_of_models(house: House) -> None:
    """Asked with the key, behind the base URL; in the ledger it is nothing."""
    heads: list[bytes] = []
    said: dict[str, Any] = {"body": b'{"data":[{"id":"m"}]}'}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(said["body"]), said["body"]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    channel = house.worker.gateway.world.outlets[1].channel
    channel.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    house.worker.gateway.world.put(link.Put("channel", [msgspec.Raw(link.encode(channel))]))
    done = await probe(house, Probe(1, 1, 10, "", "/v1/models"))
    assert (done.status, done.body) == (200, said["body"])
    assert heads[0].startswith(b"GET /v1/models HTTP/1.1\r\n")
    assert b"authorization: Bearer sk-up" in heads[0]
    server.close()
    await server.wait_closed()
    assert (await probe(house, Probe(2, 1, 10, "", "/v1/models"))).reason == "connect"
    assert not [record for record in house.written() if isinstance(record, End)]
