"""The rules of prices, on both engines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burncloud.database.engine import Database
from burncloud.database.prices import PriceRow
from burncloud.domain.money import RATIO_ONE
from burncloud.domain.pricing import FALLBACKS, charge
from burncloud.domain.usage import KINDS, Usage
from burncloud.errors import Refusal
from burncloud.service import prices
from burncloud.service.prices import PRICE_NANO_MAX

USD = 1_000_000_000


def row(model: str, alias: str | None = None, ratio_ppm: int = RATIO_ONE, **values: int) -> PriceRow:
    kinds = {kind: amount for kind, amount in values.items() if kind in KINDS}
    rest: dict[str, Any] = {"request": values.get("request"), "output_tokens_max": values.get("output_tokens_max", 0)}
    return PriceRow(
        model, kinds, ratio_ppm=ratio_ppm, alias=alias, revision=values.get("revision", 1), updated_at=0, **rest
    )


async def test_the_example_of_the_promise(db: Database) -> None:
    view = await prices.update_price(db, "gpt-4", {"input": 30 * USD, "output": 60 * USD})
    assert charge(view.price, Usage(input=100, output=200)) == 15_000_000  # 0.015 dollars
    await prices.update_price(db, "gpt-4-turbo", {}, alias="gpt-4")
    turbo = await prices.get_price(db, "gpt-4-turbo")
    assert charge(turbo.price, Usage(input=100, output=200)) == 15_000_000
    assert [found.row.model for found in await prices.list_prices(db)] == ["gpt-4", "gpt-4-turbo"]


async def test_set_changes_only_what_is_given(db: Database) -> None:
    await prices.update_price(db, "m", {"input": 3, "output": 4, "cache_read": 1}, request=7, output_tokens_max=99)
    view = await prices.update_price(db, "m", {"output": 5, "cache_read": None}, ratio_ppm=1_500_000)
    assert view.row.kinds == {"input": 3, "output": 5}
    assert (view.row.request, view.row.ratio_ppm, view.row.output_tokens_max) == (7, 1_500_000, 99)
    assert (view.price.cache_read, view.price.reasoning, view.price.request) == (3, 5, 7)


@pytest.mark.parametrize(
    ("kinds", "more", "sentence"),
    [
        ({}, {}, "needs --input and --output"),
        ({"input": 1}, {}, "needs --output"),
        ({"output": 1}, {}, "needs --input"),
        ({"audio_input": 1}, {}, "needs --input and --output"),
        ({"input": 1}, {"request": 1}, "needs --output"),
        ({"input": -1, "output": 1}, {}, "between 0"),
        ({"input": PRICE_NANO_MAX + 1, "output": 1}, {}, "between 0"),
        ({"nonsense": 1}, {}, "no such kind"),
        ({"input": 1, "output": 1}, {"ratio_ppm": -1}, "ratio is between"),
        ({"input": 1, "output": 1}, {"output_tokens_max": -1}, "max-output"),
        ({}, {"alias": "nothing"}, "no price for 'nothing' yet"),
        ({}, {"alias": "m"}, "back to itself: m → m"),
    ],
)
async def test_what_no_price_can_be(
    sqlite_db: Database, kinds: dict[str, int], more: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(Refusal, match=sentence):
        await prices.update_price(sqlite_db, "m", kinds, **more)
    assert await prices.list_prices(sqlite_db) == []


@pytest.mark.parametrize("model", ["", " gpt", "a\nb", "x" * 257])
async def test_what_no_model_can_be_called(sqlite_db: Database, model: str) -> None:
    with pytest.raises(Refusal, match="model's name"):
        await prices.update_price(sqlite_db, model, {"input": 1, "output": 1})


async def test_a_price_by_request_alone(db: Database) -> None:
    view = await prices.update_price(db, "tts", {}, request=5)
    assert (view.price.request, view.price.input, view.price.output) == (5, 0, 0)


async def test_an_alias_starts_anew_and_can_end(db: Database) -> None:
    await prices.update_price(db, "gpt-4", {"input": 30, "output": 60, "cache_read": 3})
    await prices.update_price(db, "mine", {"input": 1, "output": 2}, ratio_ppm=2 * RATIO_ONE)
    view = await prices.update_price(db, "mine", {}, alias="gpt-4")
    assert view.row.kinds == {}
    assert (view.price.input, view.price.output, view.price.cache_read, view.price.ratio_ppm) == (30, 60, 3, RATIO_ONE)
    view = await prices.update_price(db, "mine", {"output": 50})  # its own beside the other's
    assert (view.price.input, view.price.output, view.price.cache_read) == (30, 50, 3)
    with pytest.raises(Refusal, match="needs --input"):
        await prices.update_price(db, "mine", {}, alias="")
    view = await prices.update_price(db, "mine", {"input": 1}, alias="")
    assert (view.row.alias, view.price.input, view.price.cache_read) == (None, 1, 1)


async def test_an_alias_with_prices_of_its_own_keeps_them(db: Database) -> None:
    await prices.update_price(db, "gpt-4", {"input": 30, "output": 60, "cache_read": 3})
    view = await prices.update_price(db, "turbo", {"input": 10, "output": 20}, alias="gpt-4")
    assert (view.price.input, view.price.output, view.price.cache_read) == (10, 20, 3)


async def test_no_alias_leads_back(db: Database) -> None:
    await prices.update_price(db, "a", {"input": 1, "output": 1})
    await prices.update_price(db, "b", {}, alias="a")
    await prices.update_price(db, "c", {}, alias="b")
    with pytest.raises(Refusal, match="a → c → b → a"):
        await prices.update_price(db, "a", {}, alias="c")
    with pytest.raises(Refusal, match="b take their price from 'a'"):
        await prices.delete_price(db, "a")
    for model in ("c", "b", "a"):
        await prices.delete_price(db, model)
    assert await prices.list_prices(db) == []


async def test_revisions_count_up_for_whoever_is_charged_differently(db: Database) -> None:
    await prices.update_price(db, "a", {"input": 1, "output": 1})
    before = (await prices.update_price(db, "b", {}, alias="a")).price.revision
    await prices.update_price(db, "a", {"input": 2})
    after = (await prices.get_price(db, "b")).price.revision
    assert after > before
    await prices.delete_price(db, "b")
    assert (await prices.update_price(db, "b", {}, alias="a")).price.revision > after


async def test_unknown_prices(db: Database) -> None:
    for work in (prices.get_price(db, "m"), prices.delete_price(db, "m")):
        with pytest.raises(Refusal, match="no price for 'm'"):
            await work


def test_ratios_along_a_chain_multiply() -> None:
    everything = {
        "a": row("a", input=1, output=2, output_tokens_max=10, ratio_ppm=1_500_000),
        "b": row("b", alias="a", ratio_ppm=2_000_000),
    }
    price = prices.resolve(everything["b"], everything)
    assert price is not None
    assert (price.ratio_ppm, price.output_tokens_max) == (3_000_000, 10)


def test_a_chain_that_ends_in_nothing_is_no_price() -> None:
    """Were it one, its model would be free."""
    everything = {"b": row("b", alias="gone"), "c": row("c", alias="d"), "d": row("d", alias="c")}
    for broken in everything.values():
        assert prices.resolve(broken, everything) is None


@given(st.dictionaries(st.sampled_from(KINDS), st.integers(0, 1000)))
def test_every_kind_has_the_price_set_for_it_or_its_fallbacks(kinds: dict[str, int]) -> None:
    kinds |= {"input": 7, "output": 9}
    price = prices.resolve(PriceRow("m", kinds, None, RATIO_ONE, None, 0, 1, 0), {})
    assert price is not None
    for kind in KINDS:
        source = kind
        while source not in kinds:
            source = FALLBACKS[source]
        assert getattr(price, kind) == kinds[source]


def test_dependents_are_found_through_chains() -> None:
    rows = [row("a", input=1, output=1), row("b", alias="a"), row("c", alias="b"), row("d", input=1, output=1)]
    everything = {each.model: each for each in rows}
    assert prices.dependents({"a"}, everything) == {"a", "b", "c"}
    assert prices.dependents({"c", "gone"}, everything) == {"c", "gone"}
