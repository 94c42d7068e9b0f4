"""How a channel's keys and models stand, and what came of its last tests, in words and for programs."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import msgspec

from burncloud import clock
from burncloud.cli import output
from burncloud.cli.session import Session
from burncloud.database import channels as channel_rows
from burncloud.database import probes as probe_rows
from burncloud.database.channels import ChannelRow
from burncloud.database.engine import Database
from burncloud.database.probes import ProbeRow
from burncloud.database.states import SpeedRow, StateRow
from burncloud.domain.parts import OFF, READY
from burncloud.service import states
from burncloud.service.probes import CAUSES
from burncloud.service.secrets import KeyMismatch, MasterKey


class Standing(msgspec.Struct):
    """Of one channel."""

    keys: dict[int, str] = {}
    """Id → its end."""
    parts: dict[tuple[int, str], StateRow] = {}
    """(key, model) → its state, where it was not ready once."""
    models: list[str] = []
    tests: list[ProbeRow] = []
    speeds: dict[str, SpeedRow] = {}
    """Model → how quick it is, where a policy compares that."""

    @property
    def worst(self) -> str:
        """The state that says most against it."""
        return states.worst(self.parts.values())

    def summary(self) -> str:
        """In one cell: what is not ready."""
        said = [f"{_part(row)} {row.state}" for row in self.parts.values() if row.state != READY]
        return ", ".join(said) or READY

    def facts(self) -> list[tuple[str, str]]:
        """A line for each key and model, and for each last test."""
        lines = [
            (f"key {key}", f"{hint}  {_said(self.parts.get((key, '')))}".strip()) for key, hint in self.keys.items()
        ]
        lines += [
            (f"model {model}", _said(self.parts.get((0, model))) + speed_text(self.speeds.get(model)))
            for model in self.models
        ]
        return lines + [(f"test {row.model or row.kind}", f"{test_text(row)}  {_when(row)}") for row in self.tests]

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        keys = [{"id": key, "hint": hint, **_fields(self.parts.get((key, "")))} for key, hint in self.keys.items()]
        models = [
            {"model": model, **_fields(self.parts.get((0, model))), **speed_json(self.speeds.get(model))}
            for model in self.models
        ]
        return {
            "state": self.worst,
            "keys": keys,
            "model_states": models,
            "tests": [test_json(row) for row in self.tests],
        }


NOTHING: Final = Standing()


async def of_all(db: Database) -> dict[int, Standing]:
    """Of all channels that have anything to say."""
    found: dict[int, Standing] = {}
    for (channel, key, model), row in (await states.list_states(db)).items():
        found.setdefault(channel, Standing(parts={})).parts[key, model] = row
    return found


async def of_channel(s: Session, row: ChannelRow) -> Standing:
    """Of one, with its keys."""
    parts = {(key, model): state for (_, key, model), state in (await states.list_states(s.db, row.id)).items()}
    master: MasterKey | None = None
    with contextlib.suppress(KeyMismatch, OSError):  # then their ends cannot be shown
        master = await s.master_key()
    async with s.db.read() as conn:
        keys = {key.id: states.hint_of_key(master, key) for key in await channel_rows.list_keys(conn, row.id, row.id)}
        tests = await probe_rows.newest_probes(conn, row.id)
    speeds = await states.speeds(s.db, row.id)
    heard = dict.fromkeys([*(model for _, model in parts), *speeds])
    told = [model for model in heard if model and model not in row.models]
    fresh = [test for test in tests if test.key in keys and (not test.model or test.model in [*row.models, *told])]
    return Standing(keys, {name: state for name, state in parts.items() if not name[0] or name[0] in keys},
                    [*row.models, *told], fresh, speeds)  # fmt: skip


def speed_text(row: SpeedRow | None) -> str:
    """ ", first byte after 230 ms (a running mean, 4 s ago)"; "" = nothing is known."""
    if row is None:
        return ""
    return f", first byte after {row.first_us // 1000} ms (a running mean, {max(0, clock.now_s() - row.at)} s ago)"


def speed_json(row: SpeedRow | None) -> dict[str, Any]:
    """The same for programs."""
    first_ms, at = (None, None) if row is None else (row.first_us / 1000, row.at)
    return {"first_byte_ms": first_ms, "first_byte_at": at}


def test_text(row: ProbeRow) -> str:
    """What came of a test, in one line."""
    result = row.result
    if result.get("skipped"):
        return f"not tested: {result['skipped']}"
    if not result.get("ok"):
        return f"failed: {result.get('error', '')}"
    if row.kind == "models":
        return _models_text(result)
    said = [f"ok, {result['duration_ms']} ms"]
    if result.get("first_byte_ms"):
        said.append(f"first byte {result['first_byte_ms']} ms")
    if result.get("tokens_per_s"):
        said.append(f"{result['tokens_per_s']} tokens/s")
    return ", ".join(said)


def _models_text(result: dict[str, Any]) -> str:
    missing, count = result.get("missing", []), result.get("count", 0)
    said = f"{count} models there"
    return f"{said}; NOT THERE: {', '.join(missing)}" if missing else f"{said}, all of the channel's among them"


def test_json(row: ProbeRow) -> dict[str, Any]:
    """The same for programs."""
    return {"id": row.id, "channel": row.channel, "key": row.key, "model": row.model or None, "kind": row.kind,
            "asked_at": row.asked_at, "node": row.node, **row.result}  # fmt: skip


def _part(row: StateRow) -> str:
    return row.model or f"key {row.key}"


def _fields(row: StateRow | None) -> dict[str, Any]:
    if row is None:
        return {"state": READY, "reason": None, "status": None, "since": None, "until": None}
    return {"state": row.state, "reason": row.reason or None, "status": row.status or None,
            "since": row.since, "until": row.until or None}  # fmt: skip


def _said(row: StateRow | None) -> str:
    """ "cooling for 12 s: a bad answer (status 500)"."""
    if row is None:
        return READY
    status = f" (status {row.status})" if row.status else ""
    why = f"{CAUSES.get(row.reason, row.reason)}{status}"
    left = max(0, row.until - clock.now_s())
    if row.state == READY:
        return f"ready; the last fault: {why}" if row.reason else READY
    if row.state == OFF:
        return (
            f"off since {output.time_text(row.since)}: {why}; tried again in {left} s, or by `burncloud channel test`"
        )
    return f"{row.state}{f' for {left} s' if left else ''}: {why}"


def _when(row: ProbeRow) -> str:
    return f"({output.time_text(row.asked_at)})"
