"""The event loop that children run on."""

from __future__ import annotations

import asyncio
import sys

import pytest

from burncloud.app import loop


async def which() -> str:
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__


def test_the_fast_loop_is_used_where_it_is_installed() -> None:
    assert loop.run(which()).partition(".")[0] in ("uvloop", "winloop")


def test_asyncio_s_own_serves_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    monkeypatch.setitem(sys.modules, "winloop", None)
    assert loop.run(which()).startswith("asyncio")
