"""burncloud price …: what a model's tokens cost, in dollars per 1M."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from burncloud.cli import inputs, output
from burncloud.cli.inputs import AsJson, Yes
from burncloud.cli.session import Session, run
from burncloud.domain.money import format_usd
from burncloud.domain.usage import KINDS
from burncloud.service import prices
from burncloud.service.prices import PriceView

app = typer.Typer(name="price", help="Prices: dollars per 1M tokens.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="The model's public name.", show_default=False)]


def _kind(*names: str, what: str) -> Any:
    return typer.Option(*names, help=f"{what}, per 1M tokens; none takes it away.", metavar="USD", show_default=False)


@app.command("list")
def list_(json: AsJson = False) -> None:
    """Show all prices, as they are charged."""
    found = run(lambda s: prices.list_prices(s.db), json)
    if json:
        output.emit([as_json(view) for view in found])
        return
    titles = ["model", "input", "output", "cache read", "cache write", "request", "ratio", "alias of"]
    output.table(titles, [_cells(view) for view in found], right=titles[1:-1])


@app.command()
def get(model: Model, json: AsJson = False) -> None:
    """Show one model's price."""
    _show(run(lambda s: prices.get_price(s.db, model), json), json)


@app.command("set")
def set_(
    model: Model,
    input_: Annotated[str | None, _kind("--input", what="Input")] = None,
    output_: Annotated[str | None, _kind("--output", what="Output")] = None,
    cache_read: Annotated[str | None, _kind("--cache-read", what="Input read from a cache")] = None,
    cache_write: Annotated[str | None, _kind("--cache-write", what="Input written to a cache")] = None,
    cache_write_1h: Annotated[str | None, _kind("--cache-write-1h", what="The same for one hour")] = None,
    reasoning: Annotated[str | None, _kind("--reasoning", what="Reasoning")] = None,
    audio_input: Annotated[str | None, _kind("--audio-input", "--audio", what="Audio in")] = None,
    audio_output: Annotated[str | None, _kind("--audio-output", what="Audio out")] = None,
    image_input: Annotated[str | None, _kind("--image-input", "--image", what="Images in")] = None,
    image_output: Annotated[str | None, _kind("--image-output", what="Images out")] = None,
    request: Annotated[
        str | None,
        typer.Option(metavar="USD", help="For each answered request besides; none takes it away.", show_default=False),
    ] = None,
    ratio: Annotated[str | None, typer.Option(help="Multiplies the whole price: 1.5.", show_default=False)] = None,
    alias: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Share this model's price; none ends that.", show_default=False),
    ] = None,
    max_output: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="The longest answer it can give.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Set what is given, leave the rest; a new price needs --input and --output, or --alias alone."""
    values = (
        input_, output_, cache_read, cache_write, cache_write_1h, reasoning,
        audio_input, audio_output, image_input, image_output,
    )  # fmt: skip

    async def work(s: Session) -> PriceView:
        given = {kind: inputs.price(text) for kind, text in zip(KINDS, values, strict=True) if text is not None}
        if request is not None:
            given["request"] = inputs.price(request)
        return await prices.update_price(
            s.db,
            model,
            given,
            ratio_ppm=None if ratio is None else inputs.ratio(ratio),
            alias="" if alias == "none" else alias,
            output_tokens_max=max_output,
        )

    _show(run(work, json), json)


@app.command()
def delete(model: Model, yes: Yes = False, json: AsJson = False) -> None:
    """Delete a price; requests for the model are refused then."""
    inputs.confirm(f"Delete the price of {model}?", yes)
    gone = run(lambda s: prices.delete_price(s.db, model), json)
    output.emit(as_json(gone)) if json else output.say(f"Deleted the price of {model}.")


def as_json(view: PriceView) -> dict[str, Any]:
    """A price for programs, as it is charged; in `set` what was set for this model itself."""
    row, price = view.row, view.price
    found: dict[str, Any] = {"model": row.model, "alias": row.alias}
    for kind in (*KINDS, "request"):
        found |= output.money(kind, getattr(price, kind))
    own = row.kinds if row.request is None else row.kinds | {"request": row.request}
    return found | {
        "ratio": output.ratio_text(price.ratio_ppm),
        "max_output": price.output_tokens_max,
        "set": {kind: format_usd(amount) for kind, amount in own.items()},
        "revision": price.revision,
        "updated_at": row.updated_at,
    }


def _cells(view: PriceView) -> list[str]:
    price = view.price
    amounts = (price.input, price.output, price.cache_read, price.cache_write, price.request)
    cells = [format_usd(amount) for amount in amounts]
    return [price.model, *cells, output.ratio_text(price.ratio_ppm), view.row.alias or ""]


def _show(view: PriceView, json: bool) -> None:
    if json:
        output.emit(as_json(view))
        return
    price = view.price
    own = set(view.row.kinds)
    lines = [("model", price.model)]
    if view.row.alias:
        lines.append(("alias of", view.row.alias))
    for kind in KINDS:
        amount = format_usd(getattr(price, kind))
        lines.append((kind.replace("_", " "), amount if kind in own else f"{amount} (not set: taken over)"))
    lines.append(("request", format_usd(price.request)))
    lines.append(("ratio", output.ratio_text(price.ratio_ppm)))
    lines.append(("max output", f"{price.output_tokens_max} tokens" if price.output_tokens_max else "unknown"))
    output.facts(lines)
