"""The supervisor: doors, start, restart, drain, the lock, and what its children are given."""

from __future__ import annotations

import functools
import itertools
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.unit.app.supervised import ROOT, Supervised, ask, port_of, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptor passing")


def test_it_announces_its_address_when_all_are_ready_and_stops_cleanly(tmp_path: Path) -> None:
    with Supervised(tmp_path, WORKERS="2") as house:
        line = house.url_line()
        assert "2 workers" in line
        assert ask(port_of(line)).startswith(b"worker")
        assert house.end() == (0, "")
        for who in ("control0", "worker0", "worker1"):
            assert house.said(who, "exit"), who


def test_children_get_a_boot_record_private_folder_and_malloc_settings(tmp_path: Path) -> None:
    with Supervised(tmp_path, WORKERS="2") as house:
        house.url_line()
        by_name = {str(event["who"]): event for event in house.events}
        boot = by_name["worker1"]["boot"]
        assert isinstance(boot, dict)
        assert (boot["role"], boot["index"], boot["workers"]) == ("worker", 1, 2)
        assert by_name["control0"]["malloc"] is None
        assert by_name["worker0"]["malloc"] == str(4 << 20)
        assert stat.S_IMODE(os.stat(boot["run_dir"]).st_mode) == 0o700
        house.end()
        assert not os.path.exists(boot["run_dir"])


def test_a_dead_child_is_started_again_within_a_second(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        port = port_of(house.url_line())
        for who in ("worker0", "control0"):
            [first] = house.pids(who)
            os.kill(first, signal.SIGKILL)
            killed = time.monotonic()
            until(functools.partial(house.started_again, who))
            assert time.monotonic() - killed < 1
        assert ask(port) == b"worker0"
        status, output = house.end()
        assert status == 0
        assert "worker 0 was ended by signal 9" in output


def test_a_crash_loop_slows_down_but_goes_on(tmp_path: Path) -> None:
    with Supervised(tmp_path, EXIT_worker0="3") as house:
        until(lambda: len(house.pids("worker0")) >= 4)
        times = [float(str(e["time"])) for e in house.events if e["who"] == "worker0" and e["what"] == "start"]
        gaps = [after - before for before, after in itertools.pairwise(times)]
        assert gaps[0] < 0.5
        assert gaps[2] > 0.35, gaps
        assert house.end()[0] == 0


def test_a_child_that_says_it_is_hopeless_ends_the_start(tmp_path: Path) -> None:
    with Supervised(tmp_path, EXIT_control0="78") as house:
        output, _ = house.process.communicate(timeout=10)
        assert house.process.returncode == 2
        assert "control cannot start" in output


def test_a_stop_while_children_still_start_is_clean(tmp_path: Path) -> None:
    with Supervised(tmp_path, START_S_worker0="30", READY_LATE_worker0="1", DRAIN_S_worker0="0.2") as house:
        until(lambda: house.said("worker0", "start") and house.said("control0", "start"))
        assert house.end() == (0, "")


def test_control_is_stopped_only_after_the_workers_are_gone(tmp_path: Path) -> None:
    with Supervised(tmp_path, DRAIN_S_worker0="0.3") as house:
        house.url_line()
        assert house.end()[0] == 0
        order = [(e["who"], e["what"]) for e in house.events if e["what"] in ("term", "exit")]
        assert order == [("worker0", "term"), ("worker0", "exit"), ("control0", "term"), ("control0", "exit")]


def test_a_worker_that_does_not_drain_is_killed_and_the_stop_still_clean(tmp_path: Path) -> None:
    with Supervised(tmp_path, DRAIN_S_worker0="60", DRAIN_TIMEOUT_MS="100") as house:
        house.url_line()
        begun = time.monotonic()
        status, output = house.end()
        assert status == 0
        assert 1 < time.monotonic() - begun < 3
        assert "worker 0 did not stop in time" in output
        assert house.said("control0", "exit")


def test_a_second_interrupt_is_immediate(tmp_path: Path) -> None:
    with Supervised(tmp_path, DRAIN_S_worker0="60") as house:
        house.url_line()
        house.process.send_signal(signal.SIGINT)
        until(lambda: house.said("worker0", "term"))
        begun = time.monotonic()
        status, _ = house.end(signal.SIGINT)
        assert status == 128 + signal.SIGINT
        assert time.monotonic() - begun < 1


def test_a_drain_that_takes_longer_says_what_it_waits_for(tmp_path: Path) -> None:
    streams = {"STREAMS_worker0": "2", "STREAMS_worker1": "1", "DRAIN_S_worker0": "0.6", "DRAIN_S_worker1": "0.6"}
    with Supervised(tmp_path, WORKERS="3", DRAIN_TIMEOUT_MS="7000", **streams) as house:
        house.url_line()
        line = "waiting for 3 open streams (at most 7 s); press Ctrl-C again to stop at once\n"
        assert house.end(signal.SIGINT) == (0, line)


def test_an_interrupt_before_all_are_ready_says_so_in_its_status(tmp_path: Path) -> None:
    with Supervised(tmp_path, START_S_worker0="30", TMPDIR=str(tmp_path)) as house:
        until(lambda: house.said("worker0", "start") and house.said("control0", "start"))
        assert house.end(signal.SIGINT) == (128 + signal.SIGINT, "")
        assert not list(tmp_path.glob("burncloud-*"))


def test_an_interrupt_of_the_whole_terminal_reaches_only_the_supervisor(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        house.url_line()
        os.killpg(house.process.pid, signal.SIGINT)
        output, _ = house.process.communicate(timeout=10)
        assert (house.process.returncode, output) == (0, "")
        assert house.said("worker0", "exit")


def test_no_new_connection_is_taken_while_draining(tmp_path: Path) -> None:
    with Supervised(tmp_path, DRAIN_S_worker0="0.2") as house:
        port = port_of(house.url_line())
        house.process.send_signal(signal.SIGTERM)
        house.process.wait(timeout=10)
        with pytest.raises(ConnectionRefusedError):
            ask(port)


def test_children_notice_the_death_of_the_supervisor_and_the_next_one_starts(tmp_path: Path) -> None:
    with Supervised(tmp_path, PORT="0") as house:
        port = port_of(house.url_line())
        run_dir = str(house.events[0]["boot"]["run_dir"])  # type: ignore[index]
        assert os.path.isdir(run_dir)
        house.process.kill()
        house.process.wait()
        until(lambda: house.said("worker0", "orphaned") and house.said("control0", "orphaned"))
    with Supervised(tmp_path, PORT=str(port)) as house:
        assert port_of(house.url_line()) == port
        assert not os.path.exists(run_dir)
        assert house.end()[0] == 0


def test_a_second_supervisor_of_the_same_data_directory_is_refused(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        house.url_line()
        with Supervised(tmp_path) as second:
            output, _ = second.process.communicate(timeout=10)
            assert second.process.returncode == 1
            assert f"already running with the data directory burncloud.data (process {house.process.pid})" in output
        assert house.end()[0] == 0


def test_a_second_supervisor_waits_for_one_that_drains(tmp_path: Path) -> None:
    with Supervised(tmp_path, DRAIN_S_worker0="0.5") as house:
        house.url_line()
        house.process.send_signal(signal.SIGTERM)
        until(lambda: house.said("worker0", "term"))
        with Supervised(tmp_path) as second:
            assert "waiting for process" in second.url_line()
            assert "ready" in second.url_line()
            assert house.process.wait(timeout=10) == 0
            assert second.end()[0] == 0


def test_a_taken_port_is_said_clearly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with Supervised(tmp_path, PORT=str(port)) as house:
            output, _ = house.process.communicate(timeout=10)
            assert house.process.returncode == 1
            assert f"port {port} is taken by another program" in output


def test_a_bad_setting_is_said_in_one_sentence(tmp_path: Path) -> None:
    with Supervised(tmp_path, WORKERS="many") as house:
        output, _ = house.process.communicate(timeout=10)
        assert house.process.returncode == 2
        assert output == "burncloud: WORKERS is 'many', but must be a whole number from 1 to 63.\n"


def test_the_supervisor_imports_nothing_heavy() -> None:
    heavy = ["asyncio", "typer", "msgspec", "uvloop", "sqlalchemy", "fastapi", "email", "ssl", "ipaddress"]
    code = f"import sys, burncloud.app.supervisor; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
