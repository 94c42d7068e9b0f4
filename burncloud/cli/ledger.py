"""burncloud ledger …: is the bill exact?"""

from __future__ import annotations

import os
from typing import Any, Final

import typer

from burncloud.app.lock import Held, SupervisorLock
from burncloud.cli import output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import FAILED, Session, run
from burncloud.domain.money import format_usd
from burncloud.service import billing
from burncloud.service.billing import Report

LOCK_FILE: Final = "control.lock"
"""As in app/control.py, which is too heavy to be asked."""

app = typer.Typer(name="ledger", help="The ledger: proof that every bill adds up.")


@app.callback()
def ledger() -> None:
    """Keep `verify` a command of its own: Typer would melt a single one into the group."""


@app.command()
def verify(json: AsJson = False) -> None:
    """Add everything up again; exit status 1 where a sum is not what it should be."""

    async def work(s: Session) -> tuple[Report, str]:
        return await billing.verify(s.db), s.settings.node if server_runs(s.settings.data_dir) else ""

    report, written_by = run(work, json)
    if json:
        output.emit(as_json(report))
    else:
        _show(report, written_by)
    if not report.ok:
        raise typer.Exit(FAILED)


def server_runs(data_dir: str) -> bool:
    """Whether a control process keeps the books of this data directory.  (It bears that its lock is tried.)"""
    path = os.path.join(data_dir, LOCK_FILE)
    if not os.path.exists(path):
        return False
    try:
        SupervisorLock(path).release()
    except (Held, OSError):
        return True
    return False


def as_json(report: Report) -> dict[str, Any]:
    """A report for programs."""
    return {
        "ok": report.ok,
        "accounts": report.accounts,
        "receipts": report.receipts,
        "faults": [
            {"what": fault.what, "kind": fault.kind, "id": fault.id}
            | output.money("stands", fault.stands)
            | output.money("should", fault.should)
            for fault in report.faults
        ],
        "open_journals": [journal._asdict() for journal in report.open_journals],
        "quarantined": report.put_aside,
    }


def _show(report: Report, written_by: str) -> None:
    """`written_by`: the node whose server runs here; that its workers' journals are open is as it should be."""
    verdict = "Every sum is exact" if report.ok else f"{len(report.faults)} SUMS ARE WRONG"
    output.say(f"{verdict}: {report.accounts} accounts, {report.receipts} receipts.")
    if report.faults:
        rows = [[f.what, f.kind, f.id, format_usd(f.stands), format_usd(f.should)] for f in report.faults]
        output.table(["what", "of", "id", "stands", "should be"], rows, right=["stands", "should be"])
    waiting = [journal for journal in report.open_journals if journal.node != written_by]
    if waiting:
        output.say("Journals not yet read to their end (of other nodes, or waiting for the server):")
        rows = [[str(j.id), j.uuid, j.node, str(j.acked)] for j in waiting]
        output.table(["number", "journal", "node", "booked up to"], rows, right=["number", "booked up to"])
    if report.put_aside:
        output.say(f"{report.put_aside} records could not be booked and stand in the table `quarantine`.")
