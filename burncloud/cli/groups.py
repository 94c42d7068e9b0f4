"""burncloud group …: price groups of users, tokens and channels."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from burncloud.cli import inputs, limits, output
from burncloud.cli.inputs import AsJson, Yes
from burncloud.cli.limits import Concurrency, Rpm, Tpm
from burncloud.cli.session import Session, run
from burncloud.database.groups import GroupRow
from burncloud.service import groups

app = typer.Typer(name="group", help="Groups: who is served by which channels, at which ratio.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="GROUP", help="The group's name.", show_default=False)]


@app.command("list")
def list_(json: AsJson = False) -> None:
    """Show all groups."""
    found = run(lambda s: groups.list_groups(s.db), json)
    if json:
        output.emit([as_json(group) for group in found])
        return
    output.table(["group", "ratio"], [[g.name, output.ratio_text(g.ratio_ppm)] for g in found], right=["ratio"])


@app.command("set")
def set_(
    group: Name,
    ratio: Annotated[
        str | None, typer.Option(help="Multiplies every price: 0.8 is a fifth off.", show_default=False)
    ] = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    concurrency: Concurrency = None,
    json: AsJson = False,
) -> None:
    """Set a group's ratio or limits; a new name makes a new group."""

    async def work(s: Session) -> GroupRow:
        limited = limits.checked("group", rpm, tpm, concurrency)
        if ratio is None and not limited:
            raise typer.BadParameter("give --ratio, or a limit like --rpm 600")
        row = await groups.update_group(s.db, group, None if ratio is None else inputs.ratio(ratio))
        await limits.put(s, "group", group, limited)
        return row

    done = run(work, json)
    output.emit(as_json(done)) if json else output.say(f"{done.name} pays {output.ratio_text(done.ratio_ppm)} x.")


@app.command()
def delete(group: Name, yes: Yes = False, json: AsJson = False) -> None:
    """Delete a group that nobody is in."""
    inputs.confirm(f"Delete the group {group}?", yes)
    gone = run(lambda s: groups.delete_group(s.db, group), json)
    output.emit(as_json(gone)) if json else output.say(f"Deleted the group {gone.name}.")


def as_json(group: GroupRow) -> dict[str, Any]:
    """A group for programs."""
    return {"name": group.name, "ratio": output.ratio_text(group.ratio_ppm), "ratio_ppm": group.ratio_ppm}
