"""The rules of policies: for whom, for which models, and what they may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from burncloud.database import policies as rows
from burncloud.database.connection import Conn, row_id
from burncloud.database.engine import Database
from burncloud.database.policies import PolicyRow
from burncloud.domain.names import STAR
from burncloud.domain.policies import ALL, BALANCES, TRIGGERS, name_of
from burncloud.errors import INVALID_REQUEST, NOT_FOUND, Refusal
from burncloud.service import groups, tokens
from burncloud.service.prices import check_model

FALLBACKS_MAX: Final = 8
"""Models that stand in for one, one after the other: a request must come to an end."""


async def list_policies(db: Database) -> list[PolicyRow]:
    """All, by name."""
    async with db.read() as conn:
        return await rows.list_policies(conn)


async def get_policy(db: Database, models: str = ALL, group: str = "", token: str = "") -> PolicyRow:
    """One of them."""
    async with db.read() as conn:
        return await _find(conn, models, group, token)


async def update_policy(
    db: Database, changes: Mapping[str, Any], models: str = ALL, group: str = "", token: str = ""
) -> PolicyRow:
    """Set what `changes` holds of balance, affinity and fallbacks ("" = say nothing), leave the rest.

    Of the fallbacks, too, only those change that are given; None = say nothing, [] = there are none.
    """
    check_pattern(models)
    _check(changes, bool(token))
    if any(models in (names or ()) for names in changes.get("fallbacks", {}).values()):
        raise Refusal(INVALID_REQUEST, f"{models!r} cannot stand in for itself; name another model")

    async def work(conn: Conn) -> PolicyRow:
        scope = await _scope(conn, group, token)
        before = await rows.get_policy(conn, name_of(scope, models)) or PolicyRow(name_of(scope, models), scope, models)
        said = dict(changes)
        if "fallbacks" in said:
            merged = before.fallbacks | said["fallbacks"]
            said["fallbacks"] = {when: list(names) for when, names in merged.items() if names is not None}
        after = msgspec.structs.replace(before, **said)
        if not (after.balance or after.affinity or after.fallbacks):
            await rows.delete_policy(conn, after.name)
        elif after != before:
            await rows.update_policy(conn, after)
        return after

    return await db.run(work)


async def delete_policy(db: Database, models: str = ALL, group: str = "", token: str = "") -> PolicyRow:
    """Forget it.  What it was, is returned."""

    async def work(conn: Conn) -> PolicyRow:
        row = await _find(conn, models, group, token)
        await rows.delete_policy(conn, row.name)
        return row

    return await db.run(work)


def check_pattern(name: str) -> None:
    """A model's name with one star at most."""
    check_model(name)
    if name.count(STAR) > 1:
        raise Refusal(INVALID_REQUEST, f"{name!r} has more than one star; write it like claude-* or *")


def _check(changes: Mapping[str, Any], of_token: bool) -> None:
    balance, affinity = changes.get("balance", ""), changes.get("affinity", "")
    if balance and balance not in BALANCES:
        raise Refusal(INVALID_REQUEST, f"{balance!r} is no way to choose; use one of: {', '.join(BALANCES)}")
    if affinity not in ("", "on", "off"):
        raise Refusal(INVALID_REQUEST, f"{affinity!r} is neither on nor off")
    if of_token and (balance or affinity):
        raise Refusal(INVALID_REQUEST, "All tokens of a group share its channels; name the group, or all")
    for when, models in changes.get("fallbacks", {}).items():
        _check_fallbacks(when, models or ())


def _check_fallbacks(when: str, models: Sequence[str]) -> None:
    if when not in TRIGGERS:
        raise Refusal(INVALID_REQUEST, f"{when!r} is no reason to fall back; use one of: {', '.join(TRIGGERS)}")
    if len(models) > FALLBACKS_MAX:
        raise Refusal(INVALID_REQUEST, f"At most {FALLBACKS_MAX} models can stand in for one")
    for model in models:
        check_model(model)
        if STAR in model:
            raise Refusal(INVALID_REQUEST, f"{model!r} cannot stand in for a model: name one without a star")


async def _scope(conn: Conn, group: str, token: str) -> str:
    if group and token:
        raise Refusal(INVALID_REQUEST, "A policy is for a group or for a token, not for both")
    if token:
        return f"token:{(await tokens.find(conn, token)).id}"
    if group:
        return f"group:{(await groups.find(conn, group)).name}"
    return ALL


async def _find(conn: Conn, models: str, group: str, token: str) -> PolicyRow:
    id_ = None if group else row_id(token)
    gone = f"token:{id_}" if id_ is not None else f"group:{group}" if group and not token else ""
    name = name_of(gone or await _scope(conn, group, token), models)  # whatever it is of may be gone
    row = await rows.get_policy(conn, name)
    if row is None:
        raise Refusal(NOT_FOUND, "There is no such policy; `burncloud policy list` shows them all")
    return row
