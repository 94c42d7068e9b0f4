"""Which policy speaks: the nearest that says something to the question."""

from __future__ import annotations

import pytest

from burncloud.domain import policies
from burncloud.domain.snapshot import Policy


def policy(scope: str, models: str, **said: object) -> Policy:
    """A policy by whom and what it speaks of."""
    return Policy(policies.name_of(scope, models), scope, models, **said)  # type: ignore[arg-type]


ALL = policy("*", "*", balance="round-robin", fallbacks={"unavailable": ("spare",)})
EXACT = policy("*", "gpt-4", balance="cheapest")
VIP = policy("group:vip", "gpt-*", affinity="on")
TOKEN = policy("token:7", "*", fallbacks={"unavailable": (), "context": ("long", "longer")})
KNOWN = [ALL, EXACT, VIP, TOKEN]


def test_the_nearest_first() -> None:
    scopes = policies.scopes_of(7, "vip")
    assert policies.nearest(KNOWN, scopes, "gpt-4") == [TOKEN, VIP, EXACT, ALL]
    assert policies.nearest(KNOWN, scopes, "claude") == [TOKEN, ALL]
    assert policies.nearest(KNOWN, policies.scopes_of(8, "default"), "gpt-4") == [EXACT, ALL]


def test_each_question_is_answered_by_itself() -> None:
    found = policies.nearest(KNOWN, policies.scopes_of(7, "vip"), "gpt-4")
    assert policies.balance(found) == "cheapest"
    assert policies.affinity(found, False)
    assert policies.fallbacks(found, "context") == ("long", "longer")
    assert policies.fallbacks(found, "unavailable") == ()  # the token's says none
    assert policies.fallbacks(found[1:], "unavailable") == ("spare",)
    assert policies.fallbacks(found, "filter") == ()


def test_what_nobody_says() -> None:
    assert policies.balance([]) == "weighted"
    assert policies.affinity([], True)
    assert not policies.affinity([policy("*", "*", affinity="off")], True)


@pytest.mark.parametrize(
    ("option", "ppm"),
    [
        (None, 1_000_000), ("0.7", 700_000), ("0.5", 500_000), (0.25, 250_000), ("0", 0), ("much", 1_000_000),
        ({"gpt-4*": "0.7", "*": "0.9"}, 700_000), ({"claude": "0.7"}, 1_000_000),
        ({"gpt-4": 2, "gpt-4*": 1}, 2_000_000),
    ],
)  # fmt: skip
def test_what_a_channel_takes(option: object, ppm: int) -> None:
    assert policies.cost_ppm({} if option is None else {"cost": option}, "gpt-4") == ppm
