"""The worker's side: a real process, its death, and one that does not answer."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from burncloud.adaptors.canon import Losses, Request, Unreadable
from burncloud.adaptors.prefill import KINDS, Sequel
from burncloud.adaptors.spoken import SPOKEN, Asked
from burncloud.adaptors.translation import Done, Job, Translation, Whole, work
from burncloud.app import translating
from burncloud.app.translating import Translating
from burncloud.domain.usage import Usage
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.wire.body import Body
from tests.speech import completion, delta

pytestmark = pytest.mark.skipif(not hasattr(socket, "send_fds"), reason="descriptors cannot be sent here")
JOB = Job("messages", "chat", "public", "up", False)


def request_of(size: int) -> bytes:
    return msgspec.json.encode({"model": "public", "messages": [{"role": "user", "content": "x" * size}]})


@pytest.fixture
async def translator() -> AsyncIterator[Translating]:
    made = Translating()
    yield made
    made.stop()


async def submitted(translator: Translating, body: bytes, job: Job = JOB) -> tuple[Body, Done] | Refusal:
    held = Body()
    for at in range(0, len(body), 300_000):
        held.add(body[at : at + 300_000])
    future: asyncio.Future[tuple[Body, Done] | Refusal] = asyncio.get_running_loop().create_future()
    translator.submit(job, held, future.set_result)
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


async def test_a_request_that_goes_on(translator: Translating) -> None:
    """A stream broke off: the same request, with the beginning of its answer."""
    job = Sequel("messages", "chat", "public", "up", True, given="The quick", how=KINDS["prefix"], left=7)
    result = await submitted(translator, request_of(10), job)
    assert not isinstance(result, Refusal)
    told = msgspec.json.decode(result[0].everything())
    assert told["messages"][-1] == {"role": "assistant", "content": "The quick", "prefix": True}
    assert result[1].asked.conversation.turns == []


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
    """Nobody notices: what it was at is done by the next one, and so is what waited behind it."""
    await submitted(translator, request_of(1))
    process = translator._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    waiting = [asyncio.ensure_future(submitted(translator, request_of(n))) for n in range(20)]
    await asyncio.sleep(0.05)
    process.kill()
    for n, result in enumerate(await asyncio.gather(*waiting)):
        assert not isinstance(result, Refusal)
        assert result[0].whole() == work(JOB, request_of(n))[0]
    assert translator._process is not process


DYING = [sys.executable, "-c", "import os, socket; socket.socket(fileno=os.dup(0)).recv(1)"]
"""A process that ends with its first job."""


async def test_a_body_that_ends_the_translator_twice_is_refused(
    translator: Translating, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those behind it are served."""
    commands = iter([DYING] * translating.TRIES_MAX)
    command = translating.command
    monkeypatch.setattr(translating, "command", lambda: next(commands, None) or command())
    first, *others = await asyncio.gather(*(submitted(translator, request_of(n)) for n in range(3)))
    assert isinstance(first, Refusal)
    assert first.row is SERVICE_UNAVAILABLE
    assert not any(isinstance(result, Refusal) for result in others)


async def test_one_that_does_not_answer(translator: Translating, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended when its time is over, and the job given to another."""
    await submitted(translator, request_of(1))
    process = translator._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(translating, "TIMEOUT_S", 0.1)
        waiting = asyncio.ensure_future(submitted(translator, request_of(2)))
        await asyncio.sleep(0.01)
    assert not isinstance(await waiting, Refusal)
    assert translator._process is not process


async def test_no_translator_can_be_started(translator: Translating, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody is told, and the loop is not kept busy."""

    monkeypatch.setattr(translating, "command", lambda: ["/nowhere/python"])
    results = await asyncio.gather(*(submitted(translator, request_of(n)) for n in range(5)))
    assert all(isinstance(result, Refusal) and result.row is SERVICE_UNAVAILABLE for result in results)


async def test_the_queue_is_bounded(translator: Translating, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests beyond it are refused at once; answers, which are paid for, are not."""
    monkeypatch.setattr(translating, "REQUESTS_MAX", 3)
    monkeypatch.setattr(translating, "SENT_MAX", 2)
    waiting = [submitted(translator, request_of(n)) for n in range(10)] + [told(translator, 5) for _ in range(5)]
    results = await asyncio.gather(*waiting)
    refused = [isinstance(result, Refusal) for result in results]
    assert refused[:5] == [False] * 5
    assert all(refused[5:10])
    assert not any(refused[10:])


async def test_its_memory_is_given_back(translator: Translating, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a large body the process ends as soon as nothing waits."""
    monkeypatch.setattr(translating, "LARGE_BYTES", 1000)
    await submitted(translator, request_of(10))
    assert translator._process is not None
    await submitted(translator, request_of(2000))
    assert translator._process is None


async def told(translator: Translating, words: int) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asked = Asked(Request("public", [], dialect="messages"), "public")
    job = Whole("messages", "chat", asked, 200, False, "", [])
    translator.tell(job, Body(completion("word " * words)), future.set_result)
    return await asyncio.wait_for(future, 20)


async def test_answers(translator: Translating) -> None:
    """Small ones come in memory, large ones in a file."""
    for words in (5, 400_000):
        body, rendered = await told(translator, words)
        assert body.spooled is (words > 5)
        assert msgspec.json.decode(body.everything())["content"][0]["text"] == "word " * words
        assert rendered.reading.usage == Usage(10, 20)
        body.close()


async def test_a_part_of_a_stream(translator: Translating) -> None:
    """The translation comes back as it stands behind it."""
    asked = Asked(Request("public", [], stream=True, dialect="messages"), "public")
    way, same = [Translation(SPOKEN["messages"], SPOKEN["chat"], asked, Losses()) for _ in range(2)]
    parts = [
        delta("a", role="assistant"),
        delta("b" * 300_000) + delta("c")[:20],
        delta("c")[20:],
        delta(finish="stop"),
    ]
    written = [way.strip(parts[0])]
    for part in parts[1:3]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        translator.visit(way.away(), Body(part), future.set_result)
        body, visited = await asyncio.wait_for(future, 20)
        way.back(visited)
        written.append(body.whole())
    written += [way.strip(parts[3]), way.finish()]
    assert b"".join(written) == b"".join(same.strip(part) for part in parts) + same.finish()
    assert way.content


async def test_what_is_no_answer(translator: Translating) -> None:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    asked = Asked(Request("public", [], dialect="messages"), "public")
    translator.tell(Whole("messages", "chat", asked, 200, False, "", []), Body(b"<html>"), future.set_result)
    assert isinstance(await asyncio.wait_for(future, 20), Unreadable)
