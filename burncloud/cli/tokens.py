"""burncloud token …: the keys that clients send."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from burncloud.cli import inputs, limits, output
from burncloud.cli.inputs import After, AsJson, Limit, Yes
from burncloud.cli.limits import Concurrency, Daily, Monthly, Rpm, Tpm
from burncloud.cli.session import Session, run
from burncloud.database.tokens import TokenRow
from burncloud.domain.money import format_usd
from burncloud.errors import INVALID_REQUEST, Refusal
from burncloud.service import tokens
from burncloud.service.tokens import NewToken

app = typer.Typer(name="token", help="Tokens: the keys that clients send.", no_args_is_help=True)

Which = Annotated[str, typer.Argument(metavar="TOKEN", help="Id, or the key itself.", show_default=False)]
Name = Annotated[str | None, typer.Option(help="What it is for.", show_default=False)]
Quota = Annotated[
    str | None, typer.Option(help="The most to be used in all: dollars like 10.00, or unlimited.", show_default=False)
]
Expires = Annotated[
    str | None, typer.Option(help="30d, 12h, a date like 2027-01-31 (UTC), or never.", show_default=False)
]
Models = Annotated[
    str | None, typer.Option(help="The only models it may call, like gpt-4,gpt-4o; or all.", show_default=False)
]
Networks = Annotated[
    str | None, typer.Option(help="The only networks it may be used from, like 10.0.0.0/8; or any.", show_default=False)
]
Group = Annotated[
    str | None, typer.Option(help="A price group of its own instead of its user's; or user.", show_default=False)
]
ON_BREAK: Final = ("continue", "error", "default")
OnBreak = Annotated[
    str | None,
    typer.Option(help="A stream that breaks: continue, error, or default (of the model).", show_default=False),
]
Strict = Annotated[
    bool | None,
    typer.Option("--strict/--lossy", help="Refuse what cannot be translated without loss.", show_default=False),
]


@app.command("list")
def list_(
    user: Annotated[str, typer.Option(help="Only this user's: name or id.", show_default=False)] = "",
    after: After = 0,
    limit: Limit = 1000,
    json: AsJson = False,
) -> None:
    """Show all tokens, by their hints."""
    found = run(lambda s: tokens.list_tokens(s.db, user, after, limit), json)
    if json:
        output.emit([as_json(token) for token in found])
    else:
        titles = ["id", "key", "name", "user", "quota", "used", "expires", "models", "enabled"]
        output.table(titles, [_cells(token) for token in found], right=["id", "quota", "used"])
    output.more(found[-1].id if found else 0, len(found) == limit)


@app.command()
def show(token: Which, json: AsJson = False) -> None:
    """Show one token. Its key cannot be shown again."""
    _show(run(lambda s: tokens.get_token(s.db, token), json), json)


@app.command()
def create(
    user: Annotated[str, typer.Option(help="Whose it is: name or id.", show_default=False)],
    name: Name = None,
    quota: Quota = None,
    expires: Expires = None,
    models: Models = None,
    networks: Networks = None,
    group: Group = None,
    strict: Strict = None,
    on_break: OnBreak = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    budget_daily: Daily = None,
    budget_monthly: Monthly = None,
    json: AsJson = False,
) -> None:
    """Make a token and show its key, this once. Without options it is unlimited and never expires."""

    async def work(s: Session) -> NewToken:
        limited = limits.checked("token", rpm, tpm, concurrency, budget_daily, budget_monthly)
        given = {"name": "", "quota_limit": -1, "expires_at": -1, "models": None, "networks": [], "group": ""}
        made = await tokens.create_token(
            s.db,
            user,
            **given | _given(name, quota, expires, models, networks, group, strict, on_break),  # type: ignore[arg-type]
        )
        await limits.put(s, "token", made.token.id, limited)
        return made

    made = run(work, json)
    if json:
        output.emit({"key": made.key} | as_json(made.token))
        return
    output.note(f"Token {made.token.id} of {made.token.user}. Its key, shown only now:")
    output.say(made.key)


@app.command()
def update(
    token: Which,
    name: Name = None,
    quota: Quota = None,
    expires: Expires = None,
    models: Models = None,
    networks: Networks = None,
    group: Group = None,
    strict: Strict = None,
    on_break: OnBreak = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    budget_daily: Daily = None,
    budget_monthly: Monthly = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="On or off.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """Change what is given, leave the rest. The key stays the same."""

    async def work(s: Session) -> TokenRow:
        changes = _given(name, quota, expires, models, networks, group, strict, on_break)
        if enabled is not None:
            changes["enabled"] = enabled
        limited = limits.checked("token", rpm, tpm, concurrency, budget_daily, budget_monthly)
        row = await tokens.update_token(s.db, token, changes)
        await limits.put(s, "token", row.id, limited)
        return row

    _show(run(work, json), json)


@app.command()
def delete(token: Which, yes: Yes = False, json: AsJson = False) -> None:
    """Delete a token; what it used stays in the log."""
    inputs.confirm("Delete this token?", yes)
    gone = run(lambda s: tokens.delete_token(s.db, token), json)
    output.emit(as_json(gone)) if json else output.say(f"Deleted the token {gone.id} ({gone.hint}) of {gone.user}.")


def as_json(token: TokenRow) -> dict[str, Any]:
    """A token for programs."""
    return {
        "id": token.id,
        "hint": token.hint,
        "name": token.name,
        "user": token.user,
        "user_id": token.user_id,
        **output.limit("quota_limit", token.quota_limit),
        **output.money("used", token.used),
        **output.money("leased", token.leased),
        "expires_at": token.expires_at,
        "group": token.group,
        "models": token.models,
        "networks": token.networks,
        "enabled": token.enabled,
        "created_at": token.created_at,
        "options": token.options,
    }


def _given(
    name: str | None,
    quota: str | None,
    expires: str | None,
    models: str | None,
    networks: str | None,
    group: str | None,
    strict: bool | None,
    on_break: str | None,
) -> dict[str, Any]:
    """The options that were given, as the service takes them."""
    found: dict[str, Any] = {}
    if name is not None:
        found["name"] = name
    if quota is not None:
        found["quota_limit"] = inputs.quota(quota)
    if expires is not None:
        found["expires_at"] = inputs.expiry(expires)
    if models is not None:
        found["models"] = None if models.strip() in ("", "all") else inputs.names(models)
    if networks is not None:
        found["networks"] = [] if networks.strip() in ("", "any") else inputs.names(networks)
    if group is not None:
        found["group"] = "" if group in ("", "user") else group
    if strict is not None:
        found["options"] = {"strict": strict}
    if on_break is not None:
        if on_break not in ON_BREAK:
            raise Refusal(INVALID_REQUEST, f"--on-break is one of {', '.join(ON_BREAK)}")
        found.setdefault("options", {})["broken_streams"] = "" if on_break == "default" else on_break
    return found


def _cells(token: TokenRow) -> list[str]:
    return [
        str(token.id),
        token.hint,
        token.name,
        token.user,
        output.limit_text(token.quota_limit),
        format_usd(token.used),
        output.time_text(token.expires_at),
        "all" if token.models is None else ", ".join(token.models),
        output.flag(token.enabled),
    ]


def _show(token: TokenRow, json: bool) -> None:
    if json:
        output.emit(as_json(token))
        return
    output.facts(
        [
            ("token", f"{token.id} ({token.hint})"),
            ("name", token.name),
            ("user", f"{token.user} (id {token.user_id})"),
            ("quota", output.limit_text(token.quota_limit)),
            ("used", format_usd(token.used)),
            ("on lease", format_usd(token.leased)),
            ("expires", output.time_text(token.expires_at)),
            ("group", token.group or "the user's"),
            ("models", "all" if token.models is None else ", ".join(token.models)),
            ("networks", ", ".join(token.networks) or "any"),
            ("enabled", output.flag(token.enabled)),
            ("strict", output.flag(bool(token.options.get("strict")))),
            ("on break", str(token.options.get("broken_streams") or "default")),
            ("created", output.time_text(token.created_at)),
        ]
    )
