"""burncloud event …: what a person should know."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from burncloud.cli import inputs, output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import Session, run
from burncloud.database.events import EventRow
from burncloud.service import channels, events
from burncloud.service.events import KINDS

app = typer.Typer(name="event", help="Events: keys that vendors refuse, and the like.", no_args_is_help=True)


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="At most this many.", min=1, max=10_000)] = 50,
    channel: Annotated[str | None, typer.Option(help="Only this channel's: id, name or ref.")] = None,
    since: Annotated[str | None, typer.Option(help="Only from 24h, 7d or a date (UTC) on.")] = None,
    json: AsJson = False,
) -> None:
    """Show the newest events, newest first."""

    async def work(s: Session) -> tuple[list[EventRow], dict[int, str]]:
        number = (await channels.get_channel(s.db, channel)).id if channel else 0
        found = await events.list_events(s.db, limit, number, inputs.since(since) if since else 0)
        ids = sorted({event.channel for event in found})
        return found, {row.id: row.name for row in await channels.list_channels(s.db, ids=ids)} if ids else {}

    found, names = run(work, json)
    if json:
        output.emit([as_json(event, names) for event in found])
        return
    output.table(["time", "event", "channel", "key", "detail"], [_cells(event, names) for event in found])


def as_json(event: EventRow, names: dict[int, str]) -> dict[str, Any]:
    """An event for programs."""
    return {
        "id": event.id,
        "at": event.at,
        "kind": event.kind,
        "meaning": KINDS.get(event.kind, ""),
        "node": event.node,
        "channel": event.channel or None,
        "channel_name": names.get(event.channel),
        "key": event.key or None,
        "key_hint": event.hint,
        "detail": event.detail,
    }


def _cells(event: EventRow, names: dict[int, str]) -> list[str]:
    channel = names.get(event.channel, f"id {event.channel}, deleted") if event.channel else ""
    key = f"{event.key} {event.hint}".strip() if event.key else ""
    return [output.time_text(event.at), event.kind, channel, key, event.detail]
