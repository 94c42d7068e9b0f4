"""burncloud limit …: how much may be asked at once, in a minute, and spent in a day or month."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from burncloud.cli import inputs, output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import Session, run
from burncloud.service import limits
from burncloud.service.limits import Limits

app = typer.Typer(name="limit", help="Limits of tokens, users, groups, channels and models.", no_args_is_help=True)

Rpm = Annotated[str | None, typer.Option(help="Requests in any 60 seconds, or none.", show_default=False)]
Tpm = Annotated[str | None, typer.Option(help="Tokens in any 60 seconds, or none.", show_default=False)]
Concurrency = Annotated[str | None, typer.Option(help="Requests at the same time, or none.", show_default=False)]
Daily = Annotated[
    str | None,
    typer.Option("--budget-daily", help="Dollars a day (UTC) like 5.00, or none.", show_default=False),
]
Monthly = Annotated[
    str | None,
    typer.Option("--budget-monthly", help="Dollars a month (UTC) like 50, or none.", show_default=False),
]
Kind = Annotated[str, typer.Argument(help="token, user, group, channel or model.", show_default=False)]
Name = Annotated[str, typer.Argument(help="Its id or name.", show_default=False)]


@app.command("list")
def list_(
    kind: Annotated[str, typer.Option(help="Only these: token, user, …", show_default=False)] = "",
    json: AsJson = False,
) -> None:
    """Show all that is limited."""
    found = run(lambda s: limits.list_limits(s.db, kind), json)
    if json:
        output.emit([as_json(one) for one in found])
        return
    titles = ["kind", "name", "rpm", "tpm", "concurrency", "daily", "monthly"]
    rows = [[one.kind, one.name, *(text for _, text in facts(one))] for one in found]
    output.table(titles, rows, right=titles[2:])


@app.command()
def show(kind: Kind, name: Name, json: AsJson = False) -> None:
    """Show the limits of one thing, and how far its budgets are used."""
    _show(run(lambda s: limits.get_limits(s.db, kind, name), json), json)


@app.command("set")
def set_(
    kind: Kind,
    name: Name,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    budget_daily: Daily = None,
    budget_monthly: Monthly = None,
    json: AsJson = False,
) -> None:
    """Set what is given, leave the rest. It is in force at once."""

    async def work(s: Session) -> Limits:
        changes = given(rpm, tpm, concurrency, budget_daily, budget_monthly)
        return await limits.update_limits(s.db, kind, name, changes)

    _show(run(work, json), json)


def given(
    rpm: str | None,
    tpm: str | None,
    concurrency: str | None,
    budget_daily: str | None = None,
    budget_monthly: str | None = None,
) -> dict[str, int]:
    """The limits that were given, as the service takes them."""
    rates = {"requests": rpm, "tokens": tpm, "concurrency": concurrency}
    budgets = {"budget_daily": budget_daily, "budget_monthly": budget_monthly}
    found = {name: inputs.rate(text) for name, text in rates.items() if text is not None}
    return found | {name: inputs.quota(text) for name, text in budgets.items() if text is not None}


def checked(kind: str, *options: str | None) -> dict[str, int]:
    """The same for a thing of this kind.  Raises Refusal before anything is made."""
    changes = given(*options)
    limits.check(kind, changes)
    return changes


async def put(s: Session, kind: str, name: int | str, changes: dict[str, int]) -> None:
    """Set what was given."""
    if changes:
        await limits.update_limits(s.db, kind, str(name), changes)


def facts(found: Limits) -> list[tuple[str, str]]:
    """Name and value of each limit, for people."""
    row = found.row
    rates = (("rpm", row.requests), ("tpm", row.tokens), ("concurrency", row.concurrency))
    budgets = (("budget a day", row.budget_daily), ("budget a month", row.budget_monthly))
    return [(name, "none" if value < 0 else str(value)) for name, value in rates] + [
        (name, "none" if value < 0 else output.limit_text(value)) for name, value in budgets
    ]


def as_json(found: Limits) -> dict[str, Any]:
    """Limits for programs; null = none."""
    row = found.row
    rates = {"rpm": row.requests, "tpm": row.tokens, "concurrency": row.concurrency}
    return {
        "kind": found.kind,
        "name": found.name,
        **{name: None if value < 0 else value for name, value in rates.items()},
        **output.money("budget_daily", None if row.budget_daily < 0 else row.budget_daily),
        **output.money("budget_monthly", None if row.budget_monthly < 0 else row.budget_monthly),
        **output.money("spent_daily", found.spent_daily),
        **output.money("spent_monthly", found.spent_monthly),
    }


def _show(found: Limits, json: bool) -> None:
    if json:
        output.emit(as_json(found))
        return
    output.facts(
        [
            (found.kind, found.name),
            *facts(found),
            ("spent today", output.limit_text(found.spent_daily)),
            ("spent this month", output.limit_text(found.spent_monthly)),
        ]
    )
