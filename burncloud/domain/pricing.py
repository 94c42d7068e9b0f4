"""From usage and a price to a charge: multiply first, divide once, round half up.

A `Price` in the Snapshot is complete: aliases are followed and kinds without a price of their
own have taken their fallback's (FALLBACKS) when it was published, so the worker only multiplies.
"""

from __future__ import annotations

from typing import Final

import msgspec

from burncloud.domain.money import RATIO_ONE, TOKENS_PER_PRICE, divide_half_up, divide_up
from burncloud.domain.usage import KINDS, Usage

FALLBACKS: Final[dict[str, str]] = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "reasoning": "output",
    "audio_input": "input",
    "audio_output": "output",
    "image_input": "input",
    "image_output": "output",
}
"""A kind whose price is not set is charged at the price of this kind (followed in this order)."""


OUTPUT_KINDS: Final = ("output", "reasoning", "audio_output", "image_output")
INPUT_KINDS: Final = tuple(kind for kind in KINDS if kind not in OUTPUT_KINDS)


class Price(msgspec.Struct, array_like=True, gc=False):
    """Nano-dollars per 1M tokens of each kind, in the order of `usage.KINDS`, and per request."""

    model: str
    revision: int
    """Counts up with every change of this model's price; stands in the receipt."""
    input: int
    output: int
    cache_read: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int
    image_input: int
    image_output: int
    request: int = 0
    """Nano-dollars for each answered request, whatever its tokens."""
    ratio_ppm: int = RATIO_ONE
    """The model ratio in millionths: 1_500_000 charges 1.5 x."""
    output_tokens_max: int = 0
    """The most this model can answer; 0 = unknown.  Bounds the reserve of requests that state no maximum."""


def gross(price: Price, usage: Usage) -> int:
    """Σ tokens x price plus the price per request, before ratios, in nano-dollars x 1e6."""
    amount = usage.input * price.input + usage.output * price.output
    if price.request:
        amount += price.request * TOKENS_PER_PRICE
    if usage.cache_read:
        amount += usage.cache_read * price.cache_read
    if usage.cache_write:
        amount += usage.cache_write * price.cache_write
    if usage.cache_write_1h:
        amount += usage.cache_write_1h * price.cache_write_1h
    if usage.reasoning:
        amount += usage.reasoning * price.reasoning
    if usage.audio_input or usage.audio_output:
        amount += usage.audio_input * price.audio_input + usage.audio_output * price.audio_output
    if usage.image_input or usage.image_output:
        amount += usage.image_input * price.image_input + usage.image_output * price.image_output
    return amount


def charge(price: Price, usage: Usage, group_ratio_ppm: int = RATIO_ONE) -> int:
    """What the exchange costs its payer, in nano-dollars, rounded half up once."""
    amount = gross(price, usage)
    if price.ratio_ppm == RATIO_ONE == group_ratio_ppm:
        return (amount + TOKENS_PER_PRICE // 2) // TOKENS_PER_PRICE  # divide_half_up
    return divide_half_up(amount * price.ratio_ppm * group_ratio_ppm, TOKENS_PER_PRICE * RATIO_ONE * RATIO_ONE)


class Tariff:
    """A price with what every quote of it needs, worked out once.

    Each prompt token is reserved at the dearest input kind and each output token at the dearest output kind, so
    that no cache write, reasoning, audio or image overruns the reserve, and nothing that can cost reserves nothing.
    """

    __slots__ = ("input_nano", "output_nano", "price", "prompt_nano", "ratio_ppm", "request_nano")

    def __init__(self, price: Price) -> None:
        self.price = price
        self.input_nano = max(getattr(price, kind) for kind in INPUT_KINDS)
        self.output_nano = max(getattr(price, kind) for kind in OUTPUT_KINDS)
        self.prompt_nano = price.input
        self.request_nano = price.request * TOKENS_PER_PRICE
        self.ratio_ppm = price.ratio_ppm

    def quote(self, prompt: int, output: int, prompt_billed: int, group_ratio_ppm: int = RATIO_ONE) -> tuple[int, int]:
        """(the most that so many tokens can cost, what the plain prompt alone costs), in nano-dollars, rounded up."""
        most = prompt * self.input_nano + output * self.output_nano + self.request_nano
        alone = prompt_billed * self.prompt_nano + self.request_nano
        if self.ratio_ppm == RATIO_ONE == group_ratio_ppm:
            return -(-most // TOKENS_PER_PRICE), -(-alone // TOKENS_PER_PRICE)
        ratio, divisor = self.ratio_ppm * group_ratio_ppm, TOKENS_PER_PRICE * RATIO_ONE * RATIO_ONE
        return divide_up(most * ratio, divisor), divide_up(alone * ratio, divisor)
