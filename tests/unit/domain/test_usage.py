"""Kinds of tokens are disjoint, so their sum is what was used."""

from __future__ import annotations

from burncloud.domain.usage import KINDS, Usage


def test_the_total_is_the_sum_of_the_kinds() -> None:
    """Each kind counts once."""
    assert Usage(*range(1, len(KINDS) + 1)).total() == sum(range(1, len(KINDS) + 1))
    assert Usage().total() == 0


def test_the_order_of_the_kinds_is_fixed() -> None:
    """It is that of the ledger's columns and of the journal's arrays."""
    assert KINDS[:3] == ("input", "output", "cache_read")
    assert len(KINDS) == 10
