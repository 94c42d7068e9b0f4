"""A held answer: in memory or in a file, its room given back however it ends."""

from __future__ import annotations

import gc
import os

from burncloud.router.held import Held
from burncloud.wire.body import SPOOL_FROM, Body, Budget
from burncloud.wire.heads import AnswerHead

MOST = 3 * SPOOL_FROM


def test_room_is_taken_where_it_needs_a_file() -> None:
    files = Budget(10 * SPOOL_FROM)
    held = Held(AnswerHead(), False, files)
    assert held.add(b"x" * SPOOL_FROM, MOST)
    assert files.free == files.total
    assert held.add(b"x", MOST)
    assert files.total - files.free == MOST
    assert not held.add(b"x" * MOST, MOST)
    held.close()
    held.close()
    assert files.free == files.total


def test_there_is_no_room() -> None:
    files = Budget(SPOOL_FROM)
    held = Held(AnswerHead(), False, files)
    assert not held.add(b"x" * (SPOOL_FROM + 1), MOST)
    held.close()
    assert files.free == files.total


def test_nobody_has_it_any_more() -> None:
    """File and room go with it."""
    files = Budget(10 * SPOOL_FROM)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    held = Held(AnswerHead(), False, files)
    held.add(b"x" * (SPOOL_FROM + 1), MOST)
    del held
    gc.collect()
    assert files.free == files.total
    assert not before or len(os.listdir("/proc/self/fd")) == before


def test_what_goes_in_the_place_of_what_came() -> None:
    held = Held(AnswerHead(), False, Budget(1))
    held.add(b"came", 10)
    held.replace(Body(b"goes"))
    assert held.body.whole() == b"goes"
