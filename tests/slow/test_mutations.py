"""The loop notices what it must: a rule is taken out, and it turns red (all of them: KILL_LONG=1, or mutate.py)."""

from __future__ import annotations

import asyncio

import pytest

from tests.slow.conftest import long_only
from tests.slow.mutate import WAYS, run
from tests.slow.shim.rules import MUTATIONS

QUICK = ("end_before_last_bytes",)
ROUNDS = 15


def test_every_mutation_knows_where_it_hurts() -> None:
    assert set(WAYS) == set(MUTATIONS)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=long_only) for name in sorted(MUTATIONS)]
)
def test_without_a_rule_it_turns_red(name: str) -> None:
    assert asyncio.run(run(name, "", 1, ROUNDS, WAYS[name])).violations
