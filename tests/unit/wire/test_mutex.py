"""A lock between processes, opened by the death of its holder."""

from __future__ import annotations

import mmap
import os
import signal
import sys

import pytest

from burncloud.wire.mutex import MUTEX_BYTES, Mutex

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="one worker serves there")


def shared() -> tuple[int, mmap.mmap]:
    fd = os.memfd_create("mutex")
    os.ftruncate(fd, 4096)
    return fd, mmap.mmap(fd, 4096)


def mutex(fd: int, memory: mmap.mmap, fresh: bool) -> Mutex:
    return Mutex(fd, memory, lambda: fresh)


@pytest.mark.skipif(sys.platform != "linux", reason="memfd_create")
def test_only_one_is_inside() -> None:
    fd, memory = shared()
    mine = mutex(fd, memory, True)
    children = []
    rounds = 3_000
    for _ in range(3):
        child = os.fork()
        if not child:
            theirs = mutex(fd, memory, False)
            for _ in range(rounds):
                theirs.take()
                count = int.from_bytes(memory[MUTEX_BYTES : MUTEX_BYTES + 8], "little")
                memory[MUTEX_BYTES : MUTEX_BYTES + 8] = (count + 1).to_bytes(8, "little")
                theirs.give()
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    assert not mine.take()
    assert int.from_bytes(memory[MUTEX_BYTES : MUTEX_BYTES + 8], "little") == 3 * rounds
    mine.give()


@pytest.mark.skipif(sys.platform != "linux", reason="robust mutexes")
def test_the_death_of_its_holder_opens_it() -> None:
    fd, memory = shared()
    mine = mutex(fd, memory, True)
    child = os.fork()
    if not child:
        mutex(fd, memory, False).take()
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert mine.take(), "the holder died: things may be half done"
    mine.give()
    assert not mine.take()
    mine.give()


def test_alone_there_is_none() -> None:
    alone = Mutex(-1, None, lambda: True)
    assert not alone.take()
    assert not alone.take()
    alone.give()
