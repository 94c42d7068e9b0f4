"""Dollars as text and nano-dollars as integers are the same thing, exactly."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.domain.money import AMOUNT_NANO_MAX, divide_half_up, divide_up, format_usd, parse_usd


@given(st.integers(0, AMOUNT_NANO_MAX))
def test_there_and_back(nano: int) -> None:
    """Every amount survives being written and read."""
    assert parse_usd(format_usd(nano)) == nano


@pytest.mark.parametrize(
    ("nano", "text"), [(0, "0.00"), (15_000_000, "0.015"), (1, "0.000000001"), (-1_500_000_000, "-1.50")]
)
def test_as_people_write_it(nano: int, text: str) -> None:
    """At least two places, no more than needed."""
    assert format_usd(nano) == text


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf", "0.0000000001", "99999999999999"])
def test_what_is_no_amount(text: str) -> None:
    """A sentence says what to write instead."""
    with pytest.raises(ValueError, match=r"is not an amount|is finer|is more than"):
        parse_usd(text)


@given(st.integers(0, 1 << 80), st.integers(1, 1 << 40))
def test_rounding_is_said_aloud(amount: int, divisor: int) -> None:
    """Half up is at most half a unit off, up is never below."""
    assert abs(2 * divide_half_up(amount, divisor) * divisor - 2 * amount) <= divisor
    assert 0 <= divide_up(amount, divisor) * divisor - amount < divisor
