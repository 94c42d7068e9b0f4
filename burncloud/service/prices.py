"""The rules of prices: what was set for a model, and the complete price that workers multiply with.

A price is nano-dollars per 1M tokens of each kind.  An alias takes what was not set for it from
another model's price, and so on along the chain; what nobody in the chain set falls back to a
related kind (domain/pricing.FALLBACKS).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from burncloud import clock
from burncloud.database import prices as rows
from burncloud.database.connection import Conn
from burncloud.database.engine import Database
from burncloud.database.prices import PriceRow
from burncloud.domain.money import NANO_PER_USD, RATIO_ONE, divide_half_up
from burncloud.domain.pricing import FALLBACKS, Price
from burncloud.domain.usage import KINDS
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.service.groups import check_ratio

PRICE_NANO_MAX: Final = 1_000_000 * NANO_PER_USD
OUTPUT_TOKENS_MAX: Final = 1 << 30
MODEL_CHARS_MAX: Final = 256


class PriceView(msgspec.Struct, frozen=True):
    """A price as it was set, and as it is charged."""

    row: PriceRow
    price: Price


async def list_prices(db: Database) -> list[PriceView]:
    """All prices, by model."""
    async with db.read() as conn:
        everything = {row.model: row for row in await rows.list_prices(conn)}
    prices = {model: resolve(row, everything) for model, row in everything.items()}
    return [PriceView(everything[model], price) for model, price in prices.items() if price is not None]


async def get_price(db: Database, model: str) -> PriceView:
    """One model's price."""
    async with db.read() as conn:
        return await find(conn, model)


async def update_price(
    db: Database,
    model: str,
    kinds: Mapping[str, int | None],
    request: int | None = None,
    ratio_ppm: int | None = None,
    alias: str | None = None,
    output_tokens_max: int | None = None,
) -> PriceView:
    """Set what is given and leave the rest as it is; make the price where it is missing.

    A kind that is None is taken away, and so is "request" among them.  `alias` names the model whose price is
    shared: what was set before goes, what is given beside it stays the model's own; "" ends an alias.
    """
    _check(model, kinds, request, ratio_ppm, output_tokens_max)

    async def work(conn: Conn) -> PriceView:
        revision = await rows.next_revision(conn)
        old = await rows.get_price(conn, model)
        values: dict[str, Any] = dict(kinds) | {"revision": revision, "updated_at": clock.now_s()}
        if alias:
            await _check_alias(conn, model, alias)
            values = dict.fromkeys(KINDS) | {"request": None, "ratio_ppm": RATIO_ONE} | values
        if alias is not None:
            values["alias"] = alias or None
        given = {"request": request, "ratio_ppm": ratio_ppm, "output_tokens_max": output_tokens_max}
        values |= {name: value for name, value in given.items() if value is not None}
        await (rows.create_price(conn, model, values) if old is None else rows.update_price(conn, model, values))
        return await find(conn, model)

    return await db.run(work)


async def delete_price(db: Database, model: str) -> PriceView:
    """Forget a price that no alias needs.  What it was, is returned."""

    async def work(conn: Conn) -> PriceView:
        await rows.next_revision(conn)
        view = await find(conn, model)
        if aliases := await rows.list_aliases_of(conn, model):
            raise Refusal(
                INVALID_REQUEST, f"{', '.join(aliases)} take their price from {model!r}; change or delete those first"
            )
        await rows.delete_price(conn, model)
        return view

    return await db.run(work)


async def find(conn: Conn, model: str) -> PriceView:
    """By the model's name."""
    chain: dict[str, PriceRow] = {}
    name: str | None = model
    while name and name not in chain:
        row = await rows.get_price(conn, name)
        if row is None:
            break
        chain[name] = row
        name = row.alias
    if model not in chain:
        raise Refusal(
            NOT_FOUND,
            f"There is no price for {model!r}; set one with `burncloud price set {model} --input … --output …`",
        )
    return PriceView(chain[model], _resolved(chain[model], chain))


def merge(row: PriceRow, everything: Mapping[str, PriceRow]) -> PriceRow:
    """The row with what its chain of aliases sets for it, nearest first.

    The ratios along the chain multiply (rounded half up to a millionth); the revision is the newest of the chain,
    so that it counts up whoever changed.
    """
    merged = row
    seen = {row.model}
    while merged.alias and merged.alias not in seen and merged.alias in everything:
        source = everything[merged.alias]
        seen.add(source.model)
        merged = msgspec.structs.replace(
            merged,
            kinds=source.kinds | merged.kinds,
            request=source.request if merged.request is None else merged.request,
            ratio_ppm=divide_half_up(merged.ratio_ppm * source.ratio_ppm, RATIO_ONE),
            revision=max(merged.revision, source.revision),
            output_tokens_max=merged.output_tokens_max or source.output_tokens_max,
            alias=source.alias,
        )
    return merged


def missing_kinds(merged: PriceRow) -> list[str]:
    """What a merged row lacks to be a price: it says what input and output cost, or only what a request costs."""
    if merged.request is not None and not merged.kinds:
        return []
    return [kind for kind in ("input", "output") if kind not in merged.kinds]


def resolve(row: PriceRow, everything: Mapping[str, PriceRow]) -> Price | None:
    """The complete price: aliases followed, then fallbacks filled in; None where its chain has no price at its end."""
    merged = merge(row, everything)
    if missing_kinds(merged):
        return None
    kinds = dict(merged.kinds)
    for kind, source in FALLBACKS.items():
        if kind not in kinds and source in kinds:
            kinds[kind] = kinds[source]
    return Price(
        model=row.model,
        revision=merged.revision,
        request=merged.request or 0,
        ratio_ppm=merged.ratio_ppm,
        output_tokens_max=merged.output_tokens_max,
        **{kind: kinds.get(kind, 0) for kind in KINDS},
    )


def dependents(changed: set[str], everything: Mapping[str, PriceRow]) -> set[str]:
    """The changed models and all that take their price from them, directly or not."""
    found = set(changed)
    while True:
        more = {row.model for row in everything.values() if row.alias in found} - found
        if not more:
            return found
        found |= more


def _resolved(row: PriceRow, chain: Mapping[str, PriceRow]) -> Price:
    price = resolve(row, chain)
    if price is None:
        options = " and ".join(f"--{kind}" for kind in missing_kinds(merge(row, chain)))
        raise Refusal(INVALID_REQUEST, f"The price of {row.model!r} needs {options} (0 if it is free), or an --alias")
    return price


async def _check_alias(conn: Conn, model: str, alias: str) -> None:
    """Refuse an alias of nothing and one that would come back to its own model."""
    path = [model]
    name: str | None = alias
    while name:
        path.append(name)
        if name == model:
            raise Refusal(INVALID_REQUEST, f"An alias cannot lead back to itself: {' → '.join(path)}")
        row = await rows.get_price(conn, name)
        if row is None:
            raise Refusal(INVALID_REQUEST, f"There is no price for {name!r} yet; set it first")
        name = row.alias


def check_model(model: str) -> None:
    """Refuse what cannot be a model's public name."""
    if not model or len(model) > MODEL_CHARS_MAX or not model.isprintable() or model != model.strip():
        shown = repr(model if len(model) <= 40 else f"{model[:40]}…")
        raise Refusal(
            INVALID_REQUEST,
            f"{shown} cannot be a model's name; use up to {MODEL_CHARS_MAX} printable characters, no blank at an end",
        )


def _check(
    model: str, kinds: Mapping[str, int | None], request: int | None, ratio_ppm: int | None, output_max: int | None
) -> None:
    check_model(model)
    if unknown := set(kinds) - {*KINDS, "request"}:
        raise Refusal(INVALID_REQUEST, f"{', '.join(sorted(unknown))}: no such kind; use one of {', '.join(KINDS)}")
    if any(amount is not None and not 0 <= amount <= PRICE_NANO_MAX for amount in (*kinds.values(), request)):
        raise Refusal(INVALID_REQUEST, "A price is between 0 and 1000000 dollars")
    if ratio_ppm is not None:
        check_ratio(ratio_ppm)
    if output_max is not None and not 0 <= output_max <= OUTPUT_TOKENS_MAX:
        raise Refusal(INVALID_REQUEST, f"--max-output is between 0 (unknown) and {OUTPUT_TOKENS_MAX} tokens")
