"""The bench measures what it says: verdicts from given figures, and one short run of everything."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.chart import chart
from bench.rows import ROWS, Row
from bench.table import Cell, Result, table
from tests.product import ROOT

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin"
TOOLS = [tool for tool in ("nginx", "cc", "taskset") if shutil.which(tool, path=PATH) is None]
PLAIN = next(row for row in ROWS if row.name == "plain_small")
STREAM = next(row for row in ROWS if row.name == "stream")
LATENCY = next(row for row in ROWS if row.name == "latency_1")


def cell(worker: float, control: float = 0, p50: float = 0, bunched: float = 1) -> Cell:
    return Cell(1000, 1000, {"worker": worker, "control": control}, p50, 2 * p50, bunched)


def result(row: Row, **gateways: list[Cell]) -> Result:
    made = Result([row], {"machine": "m", "rounds": "r", "time": "t"})
    for gateway, cells in gateways.items():
        for one in cells:
            made.add(row, gateway, one)
    return made


def test_the_best_round_counts_and_the_bound_is_about_the_worker() -> None:
    made = result(PLAIN, nginx=[cell(20), cell(10)], burncloud=[cell(40, 30), cell(29, 40)])
    figure = made.figure(PLAIN, "burncloud")
    assert figure is not None
    assert (figure.worker, figure.whole) == (29, 69)
    assert made.ratio(PLAIN, "burncloud") == 2.9
    assert made.verdict(PLAIN, "burncloud") == "ok"
    assert made.passed()
    missed = result(PLAIN, nginx=[cell(10)], burncloud=[cell(31)])
    assert missed.verdict(PLAIN, "burncloud") == "MISSED"
    assert not missed.passed()
    assert "MISSED" in table(missed)


def test_bunched_rounds_are_left_out() -> None:
    made = result(STREAM, nginx=[cell(10)], burncloud=[cell(5, bunched=3), cell(15), cell(4, bunched=1.2)])
    assert made.value(STREAM, "burncloud") == 15
    only = result(STREAM, nginx=[cell(10)], burncloud=[cell(5, bunched=3), cell(8, bunched=1.5)])
    assert only.value(STREAM, "burncloud") == 8
    assert "bunched 1.5" in table(only)


def test_added_latency_is_over_the_direct_one() -> None:
    made = result(LATENCY, direct=[cell(0, p50=20)], nginx=[cell(9, p50=50)], burncloud=[cell(9, p50=95)])
    assert made.value(LATENCY, "burncloud") == 75
    assert made.ratio(LATENCY, "burncloud") == 2.5
    assert made.verdict(LATENCY, "burncloud") == "MISSED"


def test_two_workers_are_held_against_one() -> None:
    made = result(PLAIN, burncloud=[cell(30)], burncloud2=[cell(31)], burncloud_full=[cell(33)])
    assert made.verdict(PLAIN, "burncloud2").startswith("ok")
    assert made.verdict(PLAIN, "burncloud_full").startswith("MISSED")


def test_the_chart_shows_every_bar() -> None:
    picture = chart(result(PLAIN, nginx=[cell(10)], burncloud=[cell(25)]))
    assert picture.startswith("<svg ")
    assert picture.count("<rect ") == 2
    assert "25.0 µs = 2.50 x" in picture


@pytest.mark.skipif(bool(TOOLS), reason=f"not installed: {', '.join(TOOLS)}")
def test_a_short_run(tmp_path: Path) -> None:
    words = ["--quick", "--rounds", "1", "--only", "plain_small,tls_small,stream,latency_1", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, ROOT / "bench" / "run.py", *words], capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode in (0, 1), done.stderr[-3000:]  # 1: a bound was missed, which one noisy round may well
    found = json.loads((tmp_path / "results.json").read_text())
    for row in found["rows"]:
        for gateway in ("nginx", "burncloud"):
            assert row["gateways"][gateway]["value_us"] > 1, (row["name"], gateway)
    assert found["failures"] == []
    assert found["rss_mb"]["burncloud"]["worker"] > 10
    assert "CPU per request, 0.3 KB" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.svg").read_text().startswith("<svg ")
