"""burncloud setting …: what the house was told."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from burncloud.cli import output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import run
from burncloud.service import settings
from burncloud.service.settings import SettingView

app = typer.Typer(name="setting", help="Settings: seen here; some can be changed while it runs.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, in any case.", show_default=False)]


@app.command("list")
def list_(json: AsJson = False) -> None:
    """Show all settings, and where each value comes from."""
    found = run(lambda s: settings.list_settings(s.db, s.settings), json)
    if json:
        output.emit([as_json(view) for view in found])
        return
    rows = [[v.name, v.value, v.unit, v.source, output.flag(v.live)] for v in found]
    output.table(["name", "value", "unit", "from", "live"], rows)


@app.command()
def get(name: Name, json: AsJson = False) -> None:
    """Show one setting."""
    _show(run(lambda s: settings.get_setting(s.db, s.settings, name), json), json)


@app.command("set")
def set_(
    name: Name,
    value: Annotated[str, typer.Argument(help="The value, or default.", show_default=False)],
    json: AsJson = False,
) -> None:
    """Change a live setting; running workers follow at once."""
    _show(run(lambda s: settings.update_setting(s.db, s.settings, name, value), json), json)


def as_json(view: SettingView) -> dict[str, Any]:
    """A setting for programs."""
    return msgspec.structs.asdict(view)


def _show(view: SettingView, json: bool) -> None:
    if json:
        output.emit(as_json(view))
        return
    value = f"{view.value} {view.unit}".strip()
    live = "with `burncloud setting set`" if view.live else "in .env, then `burncloud reload`"
    output.facts(
        [("name", view.name), ("value", value), ("from", view.source), ("meaning", view.meaning), ("change", live)]
    )
