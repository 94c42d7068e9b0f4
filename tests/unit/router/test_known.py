"""What requests count for, and whose limits are told."""

from __future__ import annotations

from burncloud.router.known import Known
from burncloud.wire.windows import Account


def test_who_hears_of_the_end_and_what_is_told() -> None:
    rate, tokens, places = Account("user:1", 1, 5), Account("token:1", 2, 3, 100), Account("group:g", 3, concurrency=2)
    known = Known((rate, tokens, places))
    assert known.lasting == (tokens, places)
    told = [(what, [(account.name, limit) for account, limit, _ in accounts]) for what, _, accounts in known.shown]
    assert told == [("requests", [("user:1", 5), ("token:1", 3)]), ("tokens", [("token:1", 100)])]
    assert known.shown[0][2][0][2] % (4, 60) == (
        b"x-ratelimit-limit-requests: 5\r\nx-ratelimit-remaining-requests: 4\r\nx-ratelimit-reset-requests: 60s\r\n"
    )
