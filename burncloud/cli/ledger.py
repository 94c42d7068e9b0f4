"""burncloud ledger …: is the bill exact?"""

from __future__ import annotations

from typing import Any

import typer

from burncloud.cli import output
from burncloud.cli.inputs import AsJson
from burncloud.cli.session import FAILED, run
from burncloud.domain.money import format_usd
from burncloud.service import billing
from burncloud.service.billing import Report

app = typer.Typer(name="ledger", help="The ledger: proof that every bill adds up.")


@app.callback()
def ledger() -> None:
    """Keep `verify` a command of its own: Typer would melt a single one into the group."""


@app.command()
def verify(json: AsJson = False) -> None:
    """Add everything up again; exit status 1 where a sum is not what it should be."""
    report = run(lambda s: billing.verify(s.db), json)
    if json:
        output.emit(as_json(report))
    else:
        _show(report)
    if not report.ok:
        raise typer.Exit(FAILED)


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


def _show(report: Report) -> None:
    verdict = "Every sum is exact" if report.ok else f"{len(report.faults)} SUMS ARE WRONG"
    output.say(f"{verdict}: {report.accounts} accounts, {report.receipts} receipts.")
    if report.faults:
        rows = [[f.what, f.kind, f.id, format_usd(f.stands), format_usd(f.should)] for f in report.faults]
        output.table(["what", "of", "id", "stands", "should be"], rows, right=["stands", "should be"])
    if report.open_journals:
        output.say("Journals not yet read to their end (of running workers, or waiting for the server):")
        rows = [[str(j.id), j.uuid, j.node, str(j.acked)] for j in report.open_journals]
        output.table(["number", "journal", "node", "booked up to"], rows, right=["number", "booked up to"])
    if report.put_aside:
        output.say(f"{report.put_aside} records could not be booked and stand in the table `quarantine`.")
