"""The child's side: ready is one byte, the supervisor's death is one call."""

from __future__ import annotations

import asyncio
import os

from burncloud.app.child import announce_ready, own_fd, watch_supervisor
from burncloud.config import Boot


def test_ready_is_one_byte_and_an_end() -> None:
    read, write = os.pipe()
    announce_ready(Boot("worker", ready_fd=write))
    assert os.read(read, 10) == b"1"
    assert os.read(read, 10) == b""
    os.close(read)


def test_without_a_supervisor_nothing_is_said_or_watched() -> None:
    announce_ready(Boot("worker"))
    watch_supervisor(Boot("worker"), lambda: None)


async def test_the_supervisors_death_is_noticed_once() -> None:
    read, write = os.pipe()
    calls: list[int] = []
    watch_supervisor(Boot("worker", alive_fd=read), lambda: calls.append(1))
    await asyncio.sleep(0.02)
    assert calls == []
    os.close(write)
    await asyncio.sleep(0.02)
    assert calls == [1]


def test_descriptors_are_not_handed_on() -> None:
    read, write = os.pipe()
    os.set_inheritable(read, True)
    assert not os.get_inheritable(own_fd(read))
    os.close(read)
    os.close(write)
