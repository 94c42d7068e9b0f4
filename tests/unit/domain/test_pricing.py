"""Multiply first, divide once, half up; a reserve never below the charge."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from burncloud.domain.money import RATIO_ONE
from burncloud.domain.pricing import FALLBACKS, INPUT_KINDS, OUTPUT_KINDS, Price, Tariff, charge
from burncloud.domain.usage import KINDS, Usage

USD = 10**9
RATES = st.integers(0, 1000 * USD)
TOKENS = st.integers(0, 2_000_000)


def test_the_example_bill() -> None:
    """100 prompt and 200 completion tokens at 30/60 dollars per million are 0.015 dollars."""
    price = Price("gpt-4", 1, *[30 * USD if kind == "input" else 60 * USD for kind in KINDS])
    assert charge(price, Usage(input=100, output=200)) == 15_000_000


@given(st.lists(RATES, min_size=10, max_size=10), st.lists(TOKENS, min_size=10, max_size=10), RATES)
def test_a_charge_is_the_sum_of_its_kinds(rates: list[int], tokens: list[int], request: int) -> None:
    """Against plain arithmetic."""
    price = msgspec.structs.replace(Price("m", 1, *rates), request=request)
    exact = sum(rate * count for rate, count in zip(rates, _by_price(tokens), strict=True)) + request * 10**6
    assert charge(price, Usage(*tokens)) == (2 * exact + 10**6) // (2 * 10**6)


def _by_price(tokens: list[int]) -> list[int]:
    usage = Usage(*tokens)
    return [getattr(usage, name) for name in Price.__struct_fields__ if name in KINDS]


@given(RATES, RATES, TOKENS, TOKENS, st.integers(1, 3 * RATIO_ONE), st.integers(1, 3 * RATIO_ONE))
def test_a_reserve_covers_its_charge(
    input_: int, output: int, prompt: int, answer: int, model_ppm: int, group_ppm: int
) -> None:
    """Whatever the ratios, if the counts hold."""
    price = Price(
        "m", 1, **{k: output if "output" in k or k == "reasoning" else input_ for k in KINDS}, ratio_ppm=model_ppm
    )
    assert Tariff(price).quote(prompt, answer, 0, group_ppm)[0] >= charge(price, Usage(prompt, answer), group_ppm)


@given(st.lists(RATES, min_size=10, max_size=10), st.sampled_from(INPUT_KINDS), st.sampled_from(OUTPUT_KINDS))
def test_a_reserve_covers_every_kind(rates: list[int], prompt: str, answer: str) -> None:
    """Audio or images may be far dearer than text; what can cost is never reserved with nothing."""
    price = Price("m", 1, *rates)
    most, alone = Tariff(price).quote(1000, 100, 1000)
    assert most >= charge(price, Usage(**{prompt: 1000, answer: 100}))
    assert alone == -(-1000 * price.input // 10**6)  # nobody knows what it was: plain text


def test_every_kind_but_the_two_has_a_fallback() -> None:
    """A price says input and output; the rest follows."""
    assert set(FALLBACKS) == set(KINDS) - {"input", "output"}
