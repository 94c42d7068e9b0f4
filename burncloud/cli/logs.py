"""burncloud log …: what was asked, what it used, what it cost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from burncloud.cli import inputs, output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import Session, run
from burncloud.database.logs import AttemptRow, LogRow, UsageRow
from burncloud.domain.money import format_usd
from burncloud.domain.usage import KINDS
from burncloud.service import logs

app = typer.Typer(name="log", help="The log: each request with its bill, and sums.", no_args_is_help=True)

User = Annotated[str, typer.Option(help="Only this user's: name or id.", show_default=False)]
Token = Annotated[str, typer.Option(help="Only this token's: id.", show_default=False)]
Model = Annotated[str, typer.Option(help="Only this model's.", show_default=False)]
TEST = "test"
Since = Annotated[str, typer.Option(help="Only from 24h, 7d or a date (UTC) on.", show_default=False)]


@app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="At most this many.")] = 50,
    before: Annotated[str, typer.Option(metavar="CURSOR", help="The page before this one.", show_default=False)] = "",
    user: User = "",
    token: Token = "",
    model: Model = "",
    since: Since = "",
    json: AsJson = False,
) -> None:
    """Show the newest requests, newest first."""

    async def work(s: Session) -> list[LogRow]:
        return await logs.list_log(s.db, user, token, model, inputs.since(since), before, limit)

    found = run(work, json)
    if json:
        output.emit([as_json(row) for row in found])
    else:
        titles = [
            "time (UTC)",
            "user",
            "token",
            "model",
            "channel",
            "input",
            "output",
            "charge",
            "state",
            "status",
            "ms",
        ]
        output.table(titles, [_cells(row) for row in found], right=["input", "output", "charge", "status", "ms"])
    if len(found) == limit:
        output.note(f"More: --before {logs.cursor(found[-1])}")


@app.command()
def usage(
    user: User = "",
    token: Token = "",
    model: Model = "",
    since: Since = "",
    limit: Annotated[int, typer.Option(help="At most this many rows.")] = 1000,
    json: AsJson = False,
) -> None:
    """Show sums by user, token and model, the dearest first."""

    async def work(s: Session) -> list[UsageRow]:
        return await logs.sum_usage(s.db, user, token, model, inputs.since(since), limit)

    found = run(work, json)
    if json:
        output.emit([usage_as_json(row) for row in found])
        return
    titles = ["user", "token", "model", "requests", "input", "output", "charge"]
    total = format_usd(sum(row.charge for row in found))
    cells = [_usage_cells(row) for row in found]
    if cells:
        cells.append(["all", "", "", str(sum(row.requests for row in found)), "", "", total])
    output.table(titles, cells, right=["requests", "input", "output", "charge"])


def as_json(row: LogRow) -> dict[str, Any]:
    """A row of the log for programs."""
    found: dict[str, Any] = {"cursor": logs.cursor(row), "time": _time(row.time_ns)}
    for name, value in msgspec.structs.asdict(row).items():
        if name in ("reserve", "charge"):
            found |= output.money(name, value)
        elif name == "usage":
            found["usage"] = {kind: value.get(kind, 0) for kind in KINDS}
        elif name == "attempts":
            found["attempts"] = [_attempt_as_json(attempt) for attempt in value]
        elif name == "time_ns":
            found["time_ns"] = str(value)
        else:
            found[name] = value
    return found


def usage_as_json(row: UsageRow) -> dict[str, Any]:
    """A sum for programs."""
    found = msgspec.structs.asdict(row)
    return found | output.money("charge", row.charge) | {"usage": {kind: row.usage.get(kind, 0) for kind in KINDS}}


def _attempt_as_json(attempt: AttemptRow) -> dict[str, Any]:
    found = msgspec.structs.asdict(attempt)
    return found | output.money("charge", attempt.charge) | output.money("cost", attempt.cost)


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="milliseconds")


def _of(usage: dict[str, int], *kinds: str) -> str:
    return str(sum(usage.get(kind, 0) for kind in kinds))


_INPUT = tuple(kind for kind in KINDS if kind.startswith("cache") or "input" in kind)
_OUTPUT = tuple(kind for kind in KINDS if kind not in _INPUT)


def _whose(row: LogRow | UsageRow) -> tuple[str, str]:
    """User and token; a channel's test is nobody's (app/probing.py)."""
    return row.user or str(row.user_id or TEST), row.token or str(row.token_id or TEST)


def _cells(row: LogRow) -> list[str]:
    return [
        datetime.fromtimestamp(row.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        *_whose(row),
        f"{row.model} for {row.requested}" if row.requested else row.model,
        row.channel or "",
        _of(row.usage, *_INPUT),
        _of(row.usage, *_OUTPUT),
        ("~" if row.estimated else "") + format_usd(row.charge),
        row.state,
        str(row.status),
        str(row.duration_us // 1000),
    ]


def _usage_cells(row: UsageRow) -> list[str]:
    user, token = _whose(row)
    used_in, used_out = _of(row.usage, *_INPUT), _of(row.usage, *_OUTPUT)
    return [user, token, row.model, str(row.requests), used_in, used_out, format_usd(row.charge)]
