"""The worker's side: a real process, its death, and one that does not answer."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest

from burncloud.adaptors.translation import Done, Job, work
from burncloud.app import translating
from burncloud.app.translating import Translating
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.wire.body import Body

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="descriptors cannot be sent here")
JOB = Job("messages", "chat", "public", "up", False)


def request_of(size: int) -> bytes:
    return msgspec.json.encode({"model": "public", "messages": [{"role": "user", "content": "x" * size}]})


@pytest.fixture
async def translator() -> AsyncIterator[Translating]:
    made = Translating()
    yield made
    made.stop()


async def submitted(translator: Translating, body: bytes) -> tuple[Body, Done] | Refusal:
    held = Body()
    for at in range(0, len(body), 300_000):
        held.add(body[at : at + 300_000])
    future: asyncio.Future[tuple[Body, Done] | Refusal] = asyncio.get_running_loop().create_future()
    translator.submit(JOB, held, future.set_result)
    held.close()  # the client may have left by now
    return await asyncio.wait_for(future, 20)


@pytest.mark.parametrize("size", [10, 3_000_000])
async def test_the_same_as_here(translator: Translating, size: int) -> None:
    """Small results come in memory, large ones in a file."""
    result = await submitted(translator, request_of(size))
    assert not isinstance(result, Refusal)
    body, done = result
    assert body.everything() == work(JOB, request_of(size))[0]
    assert done.asked.model == "public"
    body.close()


async def test_many_at_once(translator: Translating) -> None:
    results = await asyncio.gather(*(submitted(translator, request_of(n)) for n in range(50)))
    for n, result in enumerate(results):
        assert not isinstance(result, Refusal)
        assert result[0].whole() == work(JOB, request_of(n))[0]


async def test_refusals(translator: Translating) -> None:
    result = await submitted(translator, b"{}")
    assert isinstance(result, Refusal)
    assert result.row is INVALID_REQUEST


async def test_a_translator_that_dies_is_replaced(translator: Translating) -> None:
    """Who waits is told to try again; the next job has a new process."""
    await submitted(translator, request_of(1))
    process = translator._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    waiting = asyncio.ensure_future(submitted(translator, request_of(2)))
    await asyncio.sleep(0.05)
    process.kill()
    result = await waiting
    assert isinstance(result, Refusal)
    assert result.row is SERVICE_UNAVAILABLE
    assert not isinstance(await submitted(translator, request_of(3)), Refusal)


async def test_one_that_does_not_answer(translator: Translating, monkeypatch: pytest.MonkeyPatch) -> None:
    await submitted(translator, request_of(1))
    monkeypatch.setattr(translating, "TIMEOUT_S", 0.1)
    assert translator._process is not None
    translator._process.send_signal(signal.SIGSTOP)
    assert isinstance(await submitted(translator, request_of(2)), Refusal)
    assert translator._process is None
