"""burncloud ledger …"""

from __future__ import annotations

from pathlib import Path

import pytest

from burncloud.app import control
from burncloud.app.lock import SupervisorLock
from burncloud.cli.ledger import LOCK_FILE
from tests.unit.cli.conftest import Cli
from tests.unit.cli.test_logs import put, receipt


def test_an_exact_ledger(cli: Cli) -> None:
    cli("user", "list")
    report = cli("ledger", "verify", "--json").json
    assert (report["ok"], report["faults"], report["receipts"]) == (True, [], 0)
    assert cli("ledger", "verify").out.startswith("Every sum is exact")


def test_beside_a_running_server_it_is_one_line(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE", "here")
    cli("user", "list")
    put("journals", {"uuid": "ab" * 16, "node": "here"})
    (tmp_path / "burncloud.data").mkdir(exist_ok=True)
    assert "not yet read" in cli("ledger", "verify").out
    lock = SupervisorLock(str(tmp_path / "burncloud.data" / LOCK_FILE))
    assert cli("ledger", "verify").out == "Every sum is exact: 1 accounts, 0 receipts.\n"
    put("journals", {"uuid": "cd" * 16, "node": "there"})
    text = cli("ledger", "verify").out
    assert "cd" * 16 in text
    assert "ab" * 16 not in text
    lock.release()
    assert "ab" * 16 in cli("ledger", "verify").out


def test_the_lock_is_control_s() -> None:
    assert LOCK_FILE == control.LOCK_FILE


def test_a_mismatch_is_named_and_has_status_1(cli: Cli) -> None:
    cli("user", "list")
    put("receipts", receipt(1, charge=15_000_000, token=0))
    put("journals", {"uuid": "ab" * 16, "node": "here"})
    done = cli("ledger", "verify", "--json", status=1)
    assert done.json["ok"] is False
    faults = {(fault["what"], fault["kind"]): fault for fault in done.json["faults"]}
    used = faults["used", "user"]
    assert (used["stands"], used["should"], used["should_nano"]) == ("0.00", "0.015", "15000000")
    assert ("attempts", "receipt") in faults
    assert done.json["open_journals"][0]["uuid"] == "ab" * 16
    text = cli("ledger", "verify", status=1).out
    assert "SUMS ARE WRONG" in text
    assert "0.015" in text
    assert "ab" * 16 in text
