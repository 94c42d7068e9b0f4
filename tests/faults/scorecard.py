"""The scorecard: a line a row with green or red, and below it what was seen; the same as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.faults.house import Case
from tests.faults.judge import judge, told

COLOURS = {"green": "\x1b[32m", "red": "\x1b[31m", "": ""}


def as_json(cases: Sequence[Case], ledger: str, seconds: float) -> dict[str, Any]:
    """For programs."""
    found = []
    for case in cases:
        caller, upstreams, billed = told(case)
        complaints = judge(case)
        found.append(
            {"row": case.row.name, "title": case.row.title, "way": case.way, "green": not complaints,
             "caller": caller, "upstreams": upstreams, "billed": billed, "complaints": complaints, "notes": case.notes}
        )  # fmt: skip
    green = sum(1 for line in found if line["green"])
    return {"green": green, "red": len(found) - green, "ledger": ledger or "adds up", "seconds": round(seconds, 1),
            "cases": found}  # fmt: skip


def as_text(card: dict[str, Any], colour: bool, detailed: bool = True) -> str:
    """For people."""
    lines = []
    titles: set[str] = set()
    for line in card["cases"]:
        if line["row"] not in titles:
            titles.add(line["row"])
            lines.append(f"\n{line['row']}: {line['title']}")
        mark = "green" if line["green"] else "red"
        shown = f"{COLOURS[mark]}{mark.upper() if mark == 'red' else mark:<5}\x1b[0m" if colour else (
            mark.upper() if mark == "red" else mark).ljust(5)  # fmt: skip
        if detailed:
            lines.append(f"  {shown} {line['way']:<24} {line['caller']}")
            lines.append(f"{'':33}{line['upstreams']}")
            lines.append(f"{'':33}{line['billed']}")
        else:
            lines.append(f"  {shown} {line['way']}")
        lines += [f"{'':33}! {complaint}" for complaint in line["complaints"]]
        lines += [f"{'':33}{note}" for note in line["notes"]]
    rows = {line["row"] for line in card["cases"]}
    bad = {line["row"] for line in card["cases"] if not line["green"]}
    total = card["green"] + card["red"]
    lines.append(
        f"\n{card['green']} of {total} cases green, {len(rows) - len(bad)} of {len(rows)} rows; "
        f"the ledger: {card['ledger']}; {card['seconds']} s"
    )
    if bad:
        lines.append("red: " + ", ".join(sorted(bad)))
    return "\n".join(lines).lstrip("\n")
