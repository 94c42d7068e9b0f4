"""From measurements to a table: the best of the rounds, ratios to nginx, verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.rows import Row

YARDSTICK = "nginx"
ALIKE = ("burncloud2", "burncloud_full")
ALIKE_BOUND = 1.05
"""Two workers, or a large installation, must cost a request no more than this times what one worker and a few
tokens cost."""
BUNCHED = 1.15
"""Rounds whose events came down in larger bunches than this are left out (where all did, all but the best): a
gateway that was not given the processor in time relays several events at the price of one."""


@dataclass(frozen=True)
class Cell:
    """One measurement."""

    units: int
    """Requests, or events of a stream."""
    per_second: float
    cpu_us: Mapping[str, float]
    """Role → CPU µs a unit."""
    p50_us: float
    p99_us: float
    events_per_read: float
    """How many events the load found in one read: 1 = nothing was bunched on the way."""

    @classmethod
    def of(cls, figures: Mapping[str, int], cpu_ns: Mapping[str, int], stream: bool) -> Cell:
        """From the load's figures and the CPU time used meanwhile."""
        units = figures["events"] if stream else figures["requests"]
        kind = "first" if stream else "latency"  # a stream's own length says nothing about the gateway
        return cls(
            units,
            units / figures["ran_ns"] * 1e9,
            {role: ns / 1000 / units for role, ns in cpu_ns.items()},
            figures[f"{kind}_p50_ns"] / 1000,
            figures[f"{kind}_p99_ns"] / 1000,
            figures["events"] / max(1, figures["reads"]),
        )


@dataclass(frozen=True)
class Figure:
    """The best of a row's rounds on one gateway; µs."""

    worker: float
    """CPU of what handles the request: the figure that the bounds are about."""
    whole: float
    """CPU of all its processes, the bookkeeping too."""
    per_second: float
    p50: float
    p99: float
    events_per_read: float


@dataclass
class Result:
    """All measurements of a run."""

    rows: list[Row]
    about: dict[str, str]
    cells: dict[tuple[str, str], list[Cell]] = field(default_factory=dict)
    rss: dict[str, dict[str, float]] = field(default_factory=dict)
    """Gateway → role → resident MB after the run."""
    failures: list[str] = field(default_factory=list)
    """Measurements that gave no figure, and why."""

    def add(self, row: Row, gateway: str, cell: Cell) -> None:
        """One more round."""
        self.cells.setdefault((row.name, gateway), []).append(cell)

    def gateways(self, row: Row) -> list[str]:
        """What was measured for a row, in the order of measuring."""
        return [gateway for name, gateway in self.cells if name == row.name]

    def figure(self, row: Row, gateway: str) -> Figure | None:
        """The best of the rounds: noise on a shared machine only ever adds."""
        cells = self.cells.get((row.name, gateway))
        if not cells:
            return None
        apart = [cell for cell in cells if cell.events_per_read <= BUNCHED]
        cells = apart or [min(cells, key=lambda cell: cell.events_per_read)]
        return Figure(
            min(cell.cpu_us.get("worker", 0) for cell in cells),
            min(sum(cell.cpu_us.values()) for cell in cells),
            max(cell.per_second for cell in cells),
            min(cell.p50_us for cell in cells),
            min(cell.p99_us for cell in cells),
            min(cell.events_per_read for cell in cells),
        )

    def value(self, row: Row, gateway: str) -> float | None:
        """The one number of a row that its bound is about, µs."""
        figure, direct = self.figure(row, gateway), self.figure(row, "direct")
        if figure is None:
            return None
        if row.measure == "added":
            return None if direct is None else figure.p50 - direct.p50
        return figure.p50 if row.measure == "total" else figure.worker

    def ratio(self, row: Row, gateway: str) -> float | None:
        """`value` in units of nginx's."""
        ours, theirs = self.value(row, gateway), self.value(row, YARDSTICK)
        return ours / theirs if ours and theirs else None

    def verdict(self, row: Row, gateway: str) -> str:
        """ "ok", "MISSED", or "" where there is nothing to judge."""
        if gateway in ALIKE:
            value, plain = self.value(row, gateway), self.value(row, "burncloud")
            if not value or not plain or row.measure != "cpu_request":
                return ""
            return f"{'ok' if value <= ALIKE_BOUND * plain else 'MISSED'} ({value / plain:.2f} x burncloud)"
        ratio = self.ratio(row, gateway)
        if ratio is None or not row.bound or not gateway.startswith(("burncloud", "compiled")):
            return ""
        return "ok" if ratio <= row.bound else "MISSED"

    def passed(self) -> bool:
        """No bound was missed, and nothing failed."""
        return not self.failures and all(
            "MISSED" not in self.verdict(row, gateway) for row in self.rows for gateway in self.gateways(row)
        )

    def plain(self) -> dict[str, Any]:
        """Everything, for JSON."""
        return {
            "about": self.about,
            "rss_mb": self.rss,
            "failures": self.failures,
            "rows": [
                {
                    **asdict(row),
                    "gateways": {
                        gateway: {
                            "best": asdict(figure),
                            "value_us": self.value(row, gateway),
                            "ratio": self.ratio(row, gateway),
                            "verdict": self.verdict(row, gateway),
                            "rounds": [asdict(cell) for cell in self.cells[row.name, gateway]],
                        }
                        for gateway in self.gateways(row)
                        if (figure := self.figure(row, gateway))
                    },
                }
                for row in self.rows
            ],
        }


HEADINGS = ("figure", "", "µs", "x nginx", "bound", "", "with control", "a second", "p50 µs", "p99 µs")


def _line(result: Result, row: Row, gateway: str, first: bool) -> list[str]:
    figure, value, ratio = result.figure(row, gateway), result.value(row, gateway), result.ratio(row, gateway)
    assert figure is not None
    yardstick = result.figure(row, YARDSTICK)
    cpu = row.measure.startswith("cpu")
    whole = ""
    if cpu and figure.whole > figure.worker * 1.001:
        whole = f"{figure.whole:.1f}" + (f" = {figure.whole / yardstick.whole:.2f} x" if yardstick else "")
    judged = result.verdict(row, gateway)
    if row.stream and figure.events_per_read > BUNCHED:
        judged += f" (bunched {figure.events_per_read:.1f})"
    return [
        row.title if first else "",
        gateway,
        "" if value is None or (cpu and gateway == "direct") else f"{value:.1f}",
        "" if ratio is None or gateway == YARDSTICK else f"{ratio:.2f}",
        f"≤ {row.bound:g} x" if row.bound and gateway != YARDSTICK and gateway != "direct" else "",
        judged,
        whole,
        f"{figure.per_second:,.0f}",
        f"{figure.p50:,.0f}" if figure.p50 else "",
        f"{figure.p99:,.0f}" if figure.p99 else "",
    ]


def table(result: Result) -> str:
    """The result as a Markdown table that is readable as it stands."""
    lines: list[list[str]] = [list(HEADINGS)]
    for row in result.rows:
        for index, gateway in enumerate(result.gateways(row)):
            lines.append(_line(result, row, gateway, index == 0))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    text = [
        "| " + " | ".join(cell.ljust(width) if column < 2 else cell.rjust(width)
                          for column, (cell, width) in enumerate(zip(line, widths, strict=True))) + " |"
        for line in lines
    ]  # fmt: skip
    text.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    memory = [
        f"resident MB: {gateway}: " + ", ".join(f"{role} {mb:.0f}" for role, mb in roles.items())
        for gateway, roles in result.rss.items()
        if roles
    ]
    facts = [f"{name}: {fact}" for name, fact in result.about.items()]
    return "\n".join([*text, "", *memory, *(f"FAILED: {failure}" for failure in result.failures), *facts])
