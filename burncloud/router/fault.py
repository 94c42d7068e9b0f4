"""Why an attempt is given up, and what an answer's head alone says of that.

What is the client's own fault is passed on with the upstream's words; everything else that is no answer is the
channel's, and the next one is asked (health.py, failover.py).
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud.domain.parts import FORBIDDEN, REFUSED
from burncloud.router import verdict
from burncloud.router.breaker import RETRY_AFTER_S_MAX
from burncloud.router.exchange import Exchange
from burncloud.wire.upstream import Upstream

REFUSALS: Final = {401: REFUSED, 402: REFUSED, 403: FORBIDDEN}
"""The vendor does not take the channel's key: no word of it reaches the client."""
CLIENT_FAULTS: Final = frozenset(
    (400, 404, 405, 406, 409, 410, 411, 412, 413, 414, 415, 416, 417, 422, 424, 426, 428, 431, 451)
)
"""Statuses that say that the client asked wrongly: passed on with the upstream's body, no channel is blamed."""


class Fault(msgspec.Struct):
    """Why an attempt is given up."""

    kind: str
    """connect · lost · stale · busy · refused · forbidden · broken · timeout · empty (health.BLAMED).

    Nobody's fault: too_long · filtered · absent (complaints.py); unfit · diverged (rescue.py).
    """
    status: int = 0
    """The upstream's, if one came."""
    retry_after_s: int = 0


def fault_of(x: Exchange, up: Upstream) -> Fault | None:
    """What a head alone says of the channel; None = it may be an answer, or the client's own fault."""
    status, head = x.status, up.head
    if x.is_rival and status in CLIENT_FAULTS:
        return Fault("unfit", status)  # the first may take what this one does not
    if x.rescue is not None:
        streams = x.translation is not None and head.content_type.startswith(x.translation.upstream.stream_type)
        if status in CLIENT_FAULTS or (status == 200 and not streams):
            return Fault("unfit", status)
    elif status == 403 and b"json" in head.content_type and not (x.is_rival or head.encoding or head.retry_after_s):
        return None  # of the key or of the prompt: its body tells (judge.py)
    if status != 200 and status not in CLIENT_FAULTS:
        kind = "busy" if status == 429 else REFUSALS.get(status, "broken")
        return Fault(kind, status, min(head.retry_after_s, int(RETRY_AFTER_S_MAX)))
    return Fault("broken", status) if status == 200 and verdict.is_page(head.content_type) else None
