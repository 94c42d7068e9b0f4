"""burncloud policy …: which channel is chosen, where a conversation stays, which model stands in for another."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from burncloud.cli import inputs, output
from burncloud.cli.inputs import AsJson, Yes
from burncloud.cli.session import Session, run
from burncloud.database.policies import PolicyRow
from burncloud.domain.policies import ALL, BALANCES, CONTEXT, FILTER, UNAVAILABLE
from burncloud.service import policies

app = typer.Typer(
    name="policy", help="Policies: how channels are chosen, what stands in for a model.", no_args_is_help=True
)

WORDS: Final[dict[str, list[str] | None]] = {"default": None, "none": []}
"""Instead of models: say nothing of it, or that there are none."""


def _balances(incomplete: str) -> list[str]:
    return [name for name in BALANCES if name.startswith(incomplete)]


Models = Annotated[str, typer.Argument(help="A public name, perhaps with a star: gpt-4o, claude-*, *.")]
Group = Annotated[str, typer.Option(help="Only for this group.", show_default=False)]
Token = Annotated[str, typer.Option(help="Only for this token: id, or the key itself.", show_default=False)]


@app.command("list")
def list_(json: AsJson = False) -> None:
    """Show all policies."""
    found = run(lambda s: policies.list_policies(s.db), json)
    if json:
        output.emit([as_json(row) for row in found])
        return
    titles = ["models", "for", "balance", "affinity", "fallbacks"]
    output.table(titles, [[row.models, _whom(row), row.balance, row.affinity, _fallbacks(row)] for row in found])


@app.command()
def show(models: Models = ALL, group: Group = "", token: Token = "", json: AsJson = False) -> None:
    """Show one policy."""
    _show(run(lambda s: policies.get_policy(s.db, models, group, token), json), json)


@app.command("set")
def set_(
    models: Models = ALL,
    group: Group = "",
    token: Token = "",
    balance: Annotated[
        str | None,
        typer.Option(help=f"{', '.join(BALANCES)}, or default.", autocompletion=_balances, show_default=False),
    ] = None,
    affinity: Annotated[
        str | None, typer.Option(help="Conversations stay at their channel: on, off or default.", show_default=False)
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(help="Models that answer where no channel can: a,b; none; or default.", show_default=False),
    ] = None,
    fallback_context: Annotated[
        str | None, typer.Option(help="The same where the prompt is too long.", show_default=False)
    ] = None,
    fallback_filter: Annotated[
        str | None, typer.Option(help="The same where a content filter refuses.", show_default=False)
    ] = None,
    json: AsJson = False,
) -> None:
    """Set what is given, leave the rest. It is in force at once."""
    changes: dict[str, Any] = {
        name: "" if text == "default" else text
        for name, text in (("balance", balance), ("affinity", affinity))
        if text is not None
    }
    given = {UNAVAILABLE: fallback, CONTEXT: fallback_context, FILTER: fallback_filter}
    fallbacks = {when: _models(text) for when, text in given.items() if text is not None}
    if fallbacks:
        changes["fallbacks"] = fallbacks
    if not changes:
        raise typer.BadParameter("give --balance, --affinity or a --fallback")

    async def work(s: Session) -> PolicyRow:
        return await policies.update_policy(s.db, changes, models, group, token)

    _show(run(work, json), json)


@app.command()
def delete(models: Models = ALL, group: Group = "", token: Token = "", yes: Yes = False, json: AsJson = False) -> None:
    """Delete a policy."""
    inputs.confirm(f"Delete the policy of {models}?", yes)
    gone = run(lambda s: policies.delete_policy(s.db, models, group, token), json)
    output.emit(as_json(gone)) if json else output.say(f"Deleted the policy of {gone.models} for {_whom(gone)}.")


def as_json(row: PolicyRow) -> dict[str, Any]:
    """A policy for programs; null = it says nothing of it."""
    kind, _, name = row.scope.partition(":")
    return {
        "models": row.models,
        "group": name if kind == "group" else None,
        "token": int(name) if kind == "token" else None,
        "balance": row.balance or None,
        "affinity": row.affinity or None,
        "fallbacks": row.fallbacks,
    }


def _models(text: str) -> list[str] | None:
    return WORDS[text] if text in WORDS else inputs.names(text)


def _whom(row: PolicyRow) -> str:
    return "all" if row.scope == ALL else row.scope.replace(":", " ")


def _fallbacks(row: PolicyRow) -> str:
    return "; ".join(f"{when}: {', '.join(names) or 'none'}" for when, names in row.fallbacks.items())


def _show(row: PolicyRow, json: bool) -> None:
    if json:
        output.emit(as_json(row))
        return
    output.facts(
        [
            ("models", row.models),
            ("for", _whom(row)),
            ("balance", row.balance or "not said"),
            ("affinity", row.affinity or "not said"),
            ("fallbacks", _fallbacks(row) or "not said"),
        ]
    )
