"""Money is an integer count of nano-dollars (1e-9 USD); a float never touches it.

Text becomes money by `parse_usd` and money becomes text by `format_usd`; both are exact.
Every division in the house is one of the two below, so that the rounding is said aloud.
"""

from __future__ import annotations

from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Underflow
from typing import Final

NANO_PER_USD: Final = 1_000_000_000
TOKENS_PER_PRICE: Final = 1_000_000
RATIO_ONE: Final = 1_000_000
AMOUNT_NANO_MAX: Final = 1 << 62
"""No limit, price or charge exceeds this (MONEY.md §3)."""
_EXACT: Final = Context(prec=100, Emin=-999, Emax=999, traps=[InvalidOperation, Overflow, Underflow, Inexact])
"""Numbers as people type them; what would have to be rounded raises instead."""


def parse_decimal(text: str) -> Decimal:
    """A number exactly as it was typed.  Raises ValueError for what is none, or has hundreds of digits."""
    try:
        return _EXACT.create_decimal(text.strip())
    except ArithmeticError:
        raise ValueError(f"{text[:40]!r} is no number") from None


def parse_usd(text: str) -> int:
    """Dollars as text ("10.00", "0.000000001") to nano-dollars, exactly.

    Raises ValueError, saying what to write instead, for anything that is not a finite decimal
    of at most nine places inside 0 … 2^62 nano-dollars.
    """
    try:
        amount = parse_decimal(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not an amount in dollars; write it like 10.00") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{text!r} is not an amount; write a number of dollars from 0 up")
    nano = amount.scaleb(9, _EXACT)
    if nano != nano.to_integral_value(context=_EXACT):
        raise ValueError(f"{text!r} is finer than a nano-dollar; use at most nine decimal places")
    if nano > AMOUNT_NANO_MAX:
        raise ValueError(f"{text!r} is more than can be held ({format_usd(AMOUNT_NANO_MAX)})")
    return int(nano)


def format_usd(nano: int) -> str:
    """Nano-dollars to dollars as text, exact, with at least two decimal places ("0.015" → "0.015")."""
    sign = "-" if nano < 0 else ""
    whole, rest = divmod(abs(nano), NANO_PER_USD)
    fraction = f"{rest:09d}".rstrip("0")
    return f"{sign}{whole}.{fraction:0<2}"


def divide_half_up(amount: int, divisor: int) -> int:
    """`amount / divisor` for non-negative numbers, a half rounded up: the rounding of every charge."""
    return (amount + divisor // 2) // divisor


def divide_up(amount: int, divisor: int) -> int:
    """`amount / divisor` rounded up: the rounding of every reserve."""
    return -(-amount // divisor)
