"""What the requests of one token for one model count for, and what their answers say of it: worked out once."""

from __future__ import annotations

from burncloud.wire.windows import REQUEST_LIMIT, REQUESTS, TOKEN_LIMIT, TOKENS, Account


class Known:
    """What the requests of one token for one model count for, worked out once."""

    __slots__ = ("accounts", "lasting", "shown")

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        self.accounts = accounts
        self.lasting = tuple(one for one in accounts if one.tokens >= 0 or one.concurrency >= 0)
        """Those that must hear of its end."""
        rates = (
            (REQUEST_LIMIT, REQUESTS, [(account, account.requests) for account in accounts]),
            (TOKEN_LIMIT, TOKENS, [(account, account.tokens) for account in accounts]),
        )
        self.shown = [
            (what, total, [(account, limit, _template(what, limit)) for account, limit in limited if limit >= 0])
            for what, total, limited in rates
            if any(limit >= 0 for _, limit in limited)
        ]
        """(what, where it is counted, (account, limit, header fields) of those that limit it)."""


def _template(what: str, limit: int) -> bytes:
    """The header fields, but for what is left and the seconds until all is."""
    return (
        f"x-ratelimit-limit-{what}: {limit}\r\nx-ratelimit-remaining-{what}: %d\r\nx-ratelimit-reset-{what}: %ds\r\n"
    ).encode()
