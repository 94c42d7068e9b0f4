"""Names to addresses: remembered, renewed on the side, kept on error, and never where no channel may go."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from burncloud import clock
from burncloud.wire.resolver import FORGET_MS, LEFT_MS, REFRESH_MS, STALE_MS, Resolver

Found = list[tuple[int, int, int, str, tuple[str, int]]]


class Names:
    """A name service that the test answers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[str] | Exception] = {}
        self.now_ms = 1000
        self.gate: asyncio.Event | None = None
        monkeypatch.setattr(clock, "monotonic_ms", lambda: self.now_ms)

    async def getaddrinfo(self, host: str, port: int, **hints: Any) -> Found:
        """As the loop's."""
        self.asked.append(host)
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.get(host, socket.gaierror(-2, "Name or service not known"))
        if isinstance(answer, Exception):
            raise answer
        return [(socket.AF_INET6 if ":" in a else socket.AF_INET, 1, 6, "", (a, port)) for a in answer]


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Names that only the test knows."""
    made = Names(monkeypatch)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", made.getaddrinfo)
    return made


async def settle() -> None:
    """Let tasks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_asked_once(names: Names) -> None:
    """All addresses in the system's order, remembered by host and port."""
    names.answers["a.test"] = ["192.0.2.1", "2001:db8::1"]
    resolver = Resolver()
    for _ in range(3):
        assert await resolver.addresses("a.test", 443) == [
            (socket.AF_INET, "192.0.2.1", 443), (socket.AF_INET6, "2001:db8::1", 443),
        ]  # fmt: skip
    assert names.asked == ["a.test"]
    await resolver.addresses("a.test", 80)
    assert names.asked == ["a.test"] * 2


async def test_many_wait_for_one_answer(names: Names) -> None:
    """A burst of first requests asks once."""
    names.answers["a.test"] = ["192.0.2.1"]
    resolver = Resolver()
    found = await asyncio.gather(*(resolver.addresses("a.test", 1) for _ in range(50)))
    assert len(names.asked) == 1
    assert all(answer == found[0] for answer in found)


async def test_who_gives_up_takes_nothing_from_the_others(names: Names) -> None:
    """A connect time-out of one request leaves the question standing for the rest."""
    names.answers["a.test"] = ["192.0.2.1"]
    names.gate = asyncio.Event()
    resolver = Resolver()
    first, second = (asyncio.create_task(resolver.addresses("a.test", 1)) for _ in range(2))
    await settle()
    first.cancel()
    await settle()
    names.gate.set()
    assert await second == [(socket.AF_INET, "192.0.2.1", 1)]
    assert first.cancelled()
    assert len(names.asked) == 1


async def test_renewed_on_the_side(names: Names) -> None:
    """An old answer is used at once; the next one is newer."""
    names.answers["a.test"] = ["192.0.2.1"]
    resolver = Resolver()
    await resolver.addresses("a.test", 1)
    names.answers["a.test"] = ["192.0.2.2"]
    names.now_ms += REFRESH_MS + 1
    assert (await resolver.addresses("a.test", 1))[0][1] == "192.0.2.1"
    await settle()
    assert (await resolver.addresses("a.test", 1))[0][1] == "192.0.2.2"
    assert len(names.asked) == 2


async def test_kept_on_error(names: Names) -> None:
    """A name service that is away takes nobody's upstream away; it is asked again."""
    names.answers["a.test"] = ["192.0.2.1"]
    resolver = Resolver()
    await resolver.addresses("a.test", 1)
    del names.answers["a.test"]
    for _ in range(3):
        names.now_ms += REFRESH_MS + 1
        assert (await resolver.addresses("a.test", 1))[0][1] == "192.0.2.1"
        await settle()
    assert len(names.asked) == 4


async def test_unknown(names: Names) -> None:
    """An error each time: nothing is remembered of it."""
    resolver = Resolver()
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.addresses("b.test", 1)
    assert len(names.asked) == 2


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "10.1.2.3"]
)
async def test_denied(names: Names, address: str) -> None:
    """The metadata service of a cloud and its like, in every spelling; checked is the address, not the name."""
    names.answers["innocent.test"] = [address]
    resolver = Resolver(("169.254.0.0/16", "fe80::/10", "10.0.0.0/8"))
    with pytest.raises(OSError, match="no allowed address"):
        await resolver.addresses("innocent.test", 80)


async def test_denied_in_part(names: Names) -> None:
    """The allowed addresses remain."""
    names.answers["a.test"] = ["169.254.169.254", "192.0.2.1"]
    resolver = Resolver(("169.254.0.0/16",))
    assert [address for _, address, _ in await resolver.addresses("a.test", 80)] == ["192.0.2.1"]


async def test_literal_addresses() -> None:
    """They go through the same check."""
    resolver = Resolver(("127.0.0.0/8",))
    with pytest.raises(OSError, match="no allowed address"):
        await resolver.addresses("127.0.0.1", 80)
    assert (await Resolver().addresses("::1", 80))[0][1] == "::1"


async def test_an_answer_that_nobody_wanted_for_long_is_not_trusted(names: Names) -> None:
    """The new one is waited for; the old one serves where there is none."""
    names.answers["a.test"] = ["192.0.2.1"]
    resolver = Resolver()
    await resolver.addresses("a.test", 1)
    names.answers["a.test"] = ["192.0.2.2"]
    names.now_ms += STALE_MS + 1
    assert (await resolver.addresses("a.test", 1))[0][1] == "192.0.2.2"
    del names.answers["a.test"]
    names.now_ms += STALE_MS + 1
    assert (await resolver.addresses("a.test", 1))[0][1] == "192.0.2.2"


async def test_what_has_left_for_good(names: Names) -> None:
    """Not what one answer leaves out, and not for an answer that does not come."""
    names.answers["a.test"] = ["192.0.2.1", "192.0.2.2"]
    resolver = Resolver()
    assert resolver.left("a.test", 1) == frozenset()
    resolver.look("a.test", 1)
    assert names.asked == [], "nobody is connected there"
    await resolver.addresses("a.test", 1)

    async def later(seconds: float) -> frozenset[str]:
        names.now_ms += int(seconds * 1000)
        resolver.look("a.test", 1)
        await settle()
        return resolver.left("a.test", 1)

    assert await later(10) == frozenset()
    assert len(names.asked) == 1
    names.answers["a.test"] = ["192.0.2.2"]
    assert await later(LEFT_MS / 1000 - 11) == frozenset()
    names.answers["a.test"] = OSError("away")
    assert await later(1000) == frozenset()
    names.answers["a.test"] = ["192.0.2.2", "192.0.2.3"]
    assert await later(31) == {"192.0.2.1"}
    names.answers["a.test"] = ["192.0.2.1", "192.0.2.2"]
    assert await later(31) == frozenset()
    assert await later(31) == {"192.0.2.3"}
    assert await later(FORGET_MS / 1000 + 1) == {"192.0.2.3"}
    assert await later(31) == frozenset(), "forgotten"
