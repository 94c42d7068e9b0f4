"""The script in a real Valkey: what it answers to single questions; tests/property/test_permits.py has schedules."""

from __future__ import annotations

from typing import Any

import msgspec

from burncloud.router.permit_script import GIVEN, JOIN, SCRIPT, WAIT
from tests.valkey import Talk, Valkey

NOW = 1_000_000
UNDER_OUR_CLOCK = SCRIPT.text.replace(b"redis.call('TIME')", b"{tonumber(ARGV[2]) / 1000, 0}").replace(
    b"clock[1] * 1000 + math.floor(clock[2] / 1000)", b"tonumber(ARGV[2])"
)


def line(
    birth: str, requests: int = 0, limit: int = 10, joins: bool = True, used: int = 0, given: int = 0, want: int = 0
) -> list[Any]:
    """A node's word about an account with a limit of requests."""
    counts = [given, used, 0, 0, 0, 0, 0, 0, 0]
    return [limit, -1, -1, birth, int(joins), *counts, requests, want or requests, 0, 0, 0, 0, 0, [], []]


class Script:
    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._sha = talk(b"SCRIPT", b"LOAD", UNDER_OUR_CLOCK)

    def __call__(self, node: str, live: int, *lines: list[Any], now_ms: int = NOW) -> list[list[int]]:
        keys = [b"p:nodes", *(b"p:%d" % number for number in range(len(lines)))]
        argument = msgspec.msgpack.encode([node, live, list(lines)])
        answer = self._talk(b"EVALSHA", self._sha, b"%d" % len(keys), *keys, argument, b"%d" % now_ms)
        return msgspec.msgpack.decode(answer, type=list[list[int]])


def test_questions(valkey: Valkey) -> None:
    with Talk(valkey) as talk:
        script = Script(talk)
        # alone, and all at once
        assert script("a", 1, line("1", 4)) == [[GIVEN, 4, 0, 0, 6, 0, 0, 0, 1]]
        assert script("a", 1, line("1", 4, joins=False, used=4, given=4)) == [[GIVEN, 8, 0, 0, 2, 0, 0, 0, 0]]
        # fetched ahead: half of what is free at most
        assert script("a", 1, line("1", 0, joins=False, used=8, given=8, want=9)) == [[GIVEN, 9, 0, 0, 1, 0, 0, 0, 0]]
        # what is not there comes when the oldest leaves; the entry of a node that nobody knows
        answer = script("a", 1, line("1", 5, joins=False, used=9, given=9), now_ms=NOW + 1000)[0]
        assert answer[:6] == [GIVEN, 10, 0, 0, 0, 0]
        assert 59_000 <= answer[6] <= 60_250
        assert script("a", 1, line("2", 1, joins=False), now_ms=NOW + 1000)[0][0] == JOIN
        # another account on the way, and a second node
        assert script("a", 2, line("1", 0, joins=False, used=9, given=10), line("9", 1), now_ms=NOW + 1000) == [
            [GIVEN, 10, 0, 0, 0, 0, 0, 0, 0], [WAIT, 0, 0, 0, 5, 0, 0, 0, 1],
        ]  # fmt: skip
        # half is set aside for the one that is not there
        assert script("b", 2, line("5", 3), now_ms=NOW + 100_000)[0][:2] == [GIVEN, 3]
        assert script("b", 2, line("5", 3, joins=False, used=3, given=3), now_ms=NOW + 100_000)[0][:2] == [GIVEN, 5]
        # a clock that goes back takes nothing away, and keeps nothing for ever
        late = script("b", 1, line("5", 9, joins=False, used=5, given=5), now_ms=NOW)[0]
        assert late[1] == 10
        fresh = script("b", 1, line("5", 9, joins=False, used=10, given=10), now_ms=NOW + 60_250)[0]
        assert fresh[1] > 10


def test_tokens_are_given_where_they_are_enough(valkey: Valkey) -> None:
    with Talk(valkey) as talk:
        script = Script(talk)

        def tokens(need: int, fewest: int, used: int, given: int, joins: bool = False) -> list[Any]:
            counts = [0, 0, 0, given, used, 0, 0, 0, 0]
            return [-1, 100, -1, "1", int(joins), *counts, 1, 1, need, need, fewest, 0, 0, [], []]

        assert script("a", 1, tokens(80, 80, 0, 0, True))[0][2] == 80
        assert script("a", 1, tokens(80, 40, 80, 80))[0][2] == 80  # 20 are left, which serve nobody
        assert script("a", 1, tokens(80, 20, 80, 80))[0][2] == 100
