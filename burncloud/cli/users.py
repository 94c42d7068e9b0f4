"""burncloud user …: those who pay."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from burncloud.cli import inputs, limits, output
from burncloud.cli.inputs import After, AsJson, Limit, Yes
from burncloud.cli.limits import Concurrency, Daily, Monthly, Rpm, Tpm
from burncloud.cli.session import Session, run
from burncloud.database.users import UserRow
from burncloud.domain.money import format_usd
from burncloud.service import users
from burncloud.service.groups import DEFAULT_GROUP

app = typer.Typer(name="user", help="Users: those who pay, with a quota each.", no_args_is_help=True)

Who = Annotated[str, typer.Argument(metavar="USER", help="Name or id.", show_default=False)]
Quota = Annotated[
    str | None,
    typer.Option(help="The most to be used in all: dollars like 10.00, or unlimited.", show_default=False),
]
Group = Annotated[str | None, typer.Option(help="The price group.", show_default=False)]
Role = Annotated[str | None, typer.Option(help="admin or user.", show_default=False)]
Password = Annotated[str | None, typer.Option(help="- asks for it or reads it from the input.", show_default=False)]


@app.command("list")
def list_(after: After = 0, limit: Limit = 1000, json: AsJson = False) -> None:
    """Show all users."""
    found = run(lambda s: users.list_users(s.db, after, limit), json)
    if json:
        output.emit([as_json(user) for user in found])
    else:
        titles = ["id", "name", "role", "group", "quota", "used", "enabled"]
        output.table(titles, [_cells(user) for user in found], right=["id", "quota", "used"])
    output.more(found[-1].id if found else 0, len(found) == limit)


@app.command()
def show(user: Who, json: AsJson = False) -> None:
    """Show one user."""
    _show(run(lambda s: users.get_user(s.db, user), json), json)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Letters, digits and . _ @ + -", show_default=False)],
    password: Password = None,
    quota: Quota = None,
    group: Group = None,
    role: Role = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    budget_daily: Daily = None,
    budget_monthly: Monthly = None,
    json: AsJson = False,
) -> None:
    """Make a user. Without --quota it is unlimited; without --password nobody can log in with it."""

    async def work(s: Session) -> UserRow:
        word = inputs.secret(password, "Password", confirm=True) if password is not None else ""
        limit = users.UNLIMITED if quota is None else inputs.quota(quota)
        limited = limits.checked("user", rpm, tpm, concurrency, budget_daily, budget_monthly)
        row = await users.create_user(s.db, name, word, role or "user", group or DEFAULT_GROUP, limit)
        await limits.put(s, "user", row.id, limited)
        return row

    _show(run(work, json), json)


@app.command()
def update(
    user: Who,
    name: Annotated[str | None, typer.Option(help="A new name.", show_default=False)] = None,
    quota: Quota = None,
    group: Group = None,
    role: Role = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    budget_daily: Daily = None,
    budget_monthly: Monthly = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="On or off.", show_default=False)] = None,
    json: AsJson = False,
) -> None:
    """Change what is given, leave the rest."""

    async def work(s: Session) -> UserRow:
        given: dict[str, Any] = {"name": name, "group": group, "role": role, "enabled": enabled}
        given["quota_limit"] = None if quota is None else inputs.quota(quota)
        limited = limits.checked("user", rpm, tpm, concurrency, budget_daily, budget_monthly)
        row = await users.update_user(s.db, user, {key: v for key, v in given.items() if v is not None})
        await limits.put(s, "user", row.id, limited)
        return row

    _show(run(work, json), json)


@app.command()
def delete(user: Who, yes: Yes = False, json: AsJson = False) -> None:
    """Delete a user with all tokens; what was used stays in the log."""
    inputs.confirm(f"Delete the user {user} with all tokens?", yes)
    gone = run(lambda s: users.delete_user(s.db, user), json)
    output.emit(as_json(gone)) if json else output.say(f"Deleted the user {gone.name}.")


@app.command()
def enable(user: Who, json: AsJson = False) -> None:
    """Let a user in again."""
    _show(run(lambda s: users.update_user(s.db, user, {"enabled": True}), json), json)


@app.command()
def disable(user: Who, json: AsJson = False) -> None:
    """Refuse all tokens of a user, until enabled again."""
    _show(run(lambda s: users.update_user(s.db, user, {"enabled": False}), json), json)


@app.command()
def passwd(user: Who, password: Password = None, json: AsJson = False) -> None:
    """Set a new password: asked for, or read from the input."""

    async def work(s: Session) -> UserRow:
        found = await users.get_user(s.db, user)  # before anybody types
        return await users.set_password(s.db, str(found.id), inputs.secret(password, "New password", confirm=True))

    done = run(work, json)
    output.emit(as_json(done)) if json else output.say(f"{done.name} has a new password.")


@app.command()
def topup(
    user: Who,
    amount: Annotated[str, typer.Argument(help="Dollars like 10.00.", show_default=False)],
    json: AsJson = False,
) -> None:
    """Give a user more to use. One that was unlimited has just this much from now on."""

    async def work(s: Session) -> UserRow:
        return await users.topup_user(s.db, user, inputs.amount(amount))

    done = run(work, json)
    left = format_usd(max(0, done.quota_limit - done.used))
    output.emit(as_json(done)) if json else output.say(f"{done.name} has {left} dollars left to use.")


def as_json(user: UserRow) -> dict[str, Any]:
    """A user for programs."""
    return {
        "id": user.id,
        "name": user.name,
        "role": user.role,
        "group": user.group,
        **output.limit("quota_limit", user.quota_limit),
        **output.money("used", user.used),
        **output.money("leased", user.leased),
        "enabled": user.enabled,
        "created_at": user.created_at,
    }


def _cells(user: UserRow) -> list[str]:
    quota, used = output.limit_text(user.quota_limit), format_usd(user.used)
    return [str(user.id), user.name, user.role, user.group, quota, used, output.flag(user.enabled)]


def _show(user: UserRow, json: bool) -> None:
    if json:
        output.emit(as_json(user))
        return
    output.facts(
        [
            ("user", f"{user.name} (id {user.id}, {user.role})"),
            ("group", user.group),
            ("quota", output.limit_text(user.quota_limit)),
            ("used", format_usd(user.used)),
            ("on lease", format_usd(user.leased)),
            ("enabled", output.flag(user.enabled)),
            ("created", output.time_text(user.created_at)),
        ]
    )
