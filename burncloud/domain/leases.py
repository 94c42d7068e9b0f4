"""A worker's side of a lease: four cumulative numbers and what is on hold.

The database granted `granted` in all; `drawn` was charged by receipts and `returned` was given back by
journal records, both in the order of the journal; `held` is reserved by exchanges in flight.  All are
totals since the journal began, so a lost or repeated grant reply changes nothing.  Shared MONEY.md §4.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Lease:
    """One account (a user's or a token's) as one worker holds it; amounts in nano-dollars."""

    kind: str
    """"user" or "token"."""
    account: int
    granted: int = 0
    drawn: int = 0
    returned: int = 0
    held: int = 0
    used_at_ms: int = 0
    """Loop time of the last hold: an idle lease goes back."""
    denied_until_ms: int = 0
    """The database said no; believed until this loop time or a quota event."""
    denied_need: int = 0
    """How much more than was free it said no to."""
    denied_retry_s: int = 0
    """It is a budget that is used up; its next period begins in so many seconds (0 = it is the quota)."""
    tight: bool = False
    """Little is left of the account: what a settled request did not use goes back at once."""
    refill_below: int = 0
    """More is asked for when less than this is free (0 = not now)."""
    refill_holds: int = 0
    """The last time it was asked for as many requests' reserve, …"""
    refilled_at_ms: int = 0
    """… at this loop time."""

    @property
    def free(self) -> int:
        """What can be held right now."""
        return self.granted - self.drawn - self.returned - self.held

    def hold(self, amount: int) -> bool:
        """Reserve `amount` if it is free."""
        if self.free < amount:
            return False
        self.held += amount
        return True

    def settle(self, hold: int, charge: int) -> int:
        """End a hold with a charge; the draw (≤ hold) that goes into the receipt."""
        draw = min(hold, charge)
        self.held -= hold
        self.drawn += draw
        return draw

    def give_back(self) -> int:
        """Take all that is free out of the lease; the amount for a Return record (0 = nothing)."""
        amount = max(0, self.free)
        self.returned += amount
        return amount
