"""A lease is arithmetic: what is free was granted and is neither drawn, returned nor held."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from burncloud.domain.leases import Lease


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 80)), max_size=30))
def test_nothing_is_held_twice(steps: list[tuple[int, int]]) -> None:
    """Draws never exceed holds, and all that was granted is somewhere."""
    lease = Lease("token", 1, granted=500)
    for hold, charge in steps:
        if lease.hold(hold):
            assert lease.settle(hold, charge) == min(hold, charge)
        assert lease.free >= 0
    returned = lease.give_back()
    assert lease.free == 0
    assert lease.drawn + returned == 500


def test_a_hold_needs_room() -> None:
    """Nor does a refused one change anything."""
    lease = Lease("user", 1, granted=5)
    assert not lease.hold(6)
    assert (lease.free, lease.held) == (5, 0)
