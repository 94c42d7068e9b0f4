"""burncloud channel test: cheap requests through the running server, to see what works."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Final

import typer

from burncloud import clock
from burncloud.cli import inputs, output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import FAILED, Session, run
from burncloud.cli.standing import test_json, test_text
from burncloud.database.channels import ChannelRow
from burncloud.database.probes import ASKED, DONE, ProbeRow
from burncloud.domain.names import among
from burncloud.errors import INVALID_REQUEST, SERVICE_UNAVAILABLE, Refusal
from burncloud.service import channels, probes

POLL_S: Final = 0.1
LOOK_AT: Final = 500
TAKEN_MS_MAX: Final = 5_000
"""A server that runs takes a test within a tenth of a second."""


def check(
    which: Annotated[
        list[str] | None, typer.Argument(metavar="[CHANNEL]...", help="Ids, names or refs.", show_default=False)
    ] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="All channels, the disabled ones, too.")] = False,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", help="Only this model, with every key; may be repeated.", metavar="MODEL"),
    ] = None,
    json: AsJson = False,
) -> None:
    """Test channels with cheap requests through the running server; a refused key that is good again is used again."""
    if bool(which) == all_:
        raise typer.BadParameter("name channels, or give --all")

    async def work(s: Session) -> tuple[list[ProbeRow], dict[int, str]]:
        found = await (channels.list_channels(s.db, 0, 100_000) if all_ else _named(s, which or []))
        names = {row.id: row.name for row in found}
        wanted = [name for text in model or [] for name in inputs.names(text)]
        for row, name in [] if all_ else [(row, name) for row in found for name in wanted]:
            if not among(row.models, name):
                raise Refusal(INVALID_REQUEST, f"The channel {row.name!r} has no model {name!r}")
        asked = await probes.ask(s.db, found, wanted)
        if not asked:
            raise Refusal(INVALID_REQUEST, "There is nothing to test: no channel, or one without a model or a key")
        return await _follow(s, asked, names, json), names

    found, names = run(work, json)
    failed = [row for row in found if not row.result.get("ok") and "skipped" not in row.result]
    if json:
        output.emit([{"channel_name": names[row.channel]} | test_json(row) for row in found])
    else:
        counts = Counter(
            "not tested" if "skipped" in row.result else "ok" if row.result.get("ok") else "failed" for row in found
        )
        output.say(", ".join(f"{counts[word]} {word}" for word in ("ok", "failed", "not tested") if counts[word]))
    if failed:
        raise typer.Exit(FAILED)


async def _named(s: Session, which: Sequence[str]) -> list[ChannelRow]:
    return [await channels.get_channel(s.db, one) for one in which]


async def _follow(s: Session, asked: list[ProbeRow], names: dict[int, str], json: bool) -> list[ProbeRow]:
    """Wait for all of them, and say what comes as it comes."""
    ids = [row.id for row in asked]
    begun_ms = clock.monotonic_ms()
    give_up_ms = begun_ms + TAKEN_MS_MAX + (probes.TIMEOUT_MS + 10_000) * (1 + len(ids) // probes.AT_ONCE)
    done: dict[int, ProbeRow] = {}
    waiting = ids
    while True:
        rows = await probes.look(s.db, waiting[:LOOK_AT])  # they are run in turn
        for row in rows:
            if row.state == DONE:
                done[row.id] = row
                _say(row, names, f"{len(done)}/{len(ids)}", json)
        waiting = [id_ for id_ in waiting if id_ not in done]
        if not waiting:
            return [done[id_] for id_ in ids]
        now_ms = clock.monotonic_ms()
        if all(row.state == ASKED for row in rows) and now_ms > begun_ms + TAKEN_MS_MAX:
            raise Refusal(
                SERVICE_UNAVAILABLE,
                "No server runs on this database, and a test goes through it: start it with `burncloud`",
            )
        if now_ms > give_up_ms:
            raise Refusal(SERVICE_UNAVAILABLE, f"{len(waiting)} tests have not come to an end; see the server's log")
        await asyncio.sleep(POLL_S)


def _say(row: ProbeRow, names: dict[int, str], count: str, json: bool) -> None:
    line = f"{names[row.channel]}  {row.model or 'list of models'} (key {row.key}): {test_text(row)}"
    output.note(f"{count}  {line}") if json else output.say(line)
