"""A reload step by step, with small stand-ins for the children."""

from __future__ import annotations

import functools
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.unit.app.supervised import UNSET, Supervised, ask, port_of, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and descriptor passing")


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGHUP])
def test_everybody_is_replaced_one_after_the_other(tmp_path: Path, number: int) -> None:
    """The check first, then control, then workers beside the old ones, which go when the new ones serve."""
    with Supervised(tmp_path, WORKERS="2") as house:
        port = port_of(house.url_line())
        assert house.reload == {"n": 0, "state": "none", "why": ""}
        first = {who: house.pids(who) for who in ("control0", "worker0", "worker1")}
        (tmp_path / ".env").write_text("LOG_LEVEL=warning\n")
        house.reloads(number)
        assert house.reload == {"n": 1, "state": "done", "why": ""}
        until(lambda: [e["what"] for e in house.events].count("exit") == 3)
        order = [(e["who"], e["what"]) for e in house.events]
        assert order.index(("check0", "check")) < order.index(("control0", "retire"))
        again = max(n for n, event in enumerate(order) if event == ("control0", "start"))
        assert order.index(("control0", "exit")) < again < order.index(("worker2", "start"))
        assert order.index(("worker0", "retire")) > min(order.index((f"worker{n}", "start")) for n in (2, 3))
        assert len(house.pids("control0")) == 2
        assert [house.pids(who) for who in first if who != "control0"] == [first["worker0"], first["worker1"]]
        assert {str(e["level"]) for e in house.events if e["who"] in ("worker2", "worker3")} == {"warning"}
        assert {ask(port) for _ in range(20)} <= {b"worker2", b"worker3"}
        house.reloads(number)
        assert {ask(port) for _ in range(5)} <= {b"worker0", b"worker1"}, "their places are free again"
        assert house.end()[0] == 0


def test_a_door_is_always_open(tmp_path: Path) -> None:
    with Supervised(tmp_path, DRAIN_S_worker0="0.3") as house:
        port = port_of(house.url_line())
        for _ in range(3):
            house.process.send_signal(signal.SIGHUP)
            for _ in range(60):
                assert ask(port).startswith(b"worker")
        until(lambda: house.reload.get("state") == "done")
        assert house.end()[0] == 0


def test_a_bad_setting_is_refused_and_all_stays(tmp_path: Path) -> None:
    with Supervised(tmp_path) as house:
        port = port_of(house.url_line())
        for text, why in [
            ("WORKERS=many", "WORKERS is 'many', but must be a whole number from 1 to 63."),
            ("DATA_DIR=elsewhere", "DATA_DIR has changed, which takes a restart."),
            ("LOG_LEVEL=" + "x" * 3000, ("LOG_LEVEL is '" + "x" * 3000)[:500]),
            ("no assignment", ".env line 1 is no assignment; write NAME=value."),
        ]:
            (tmp_path / ".env").write_text(text)
            house.reloads()
            assert (house.reload["state"], house.reload["why"]) == ("refused", why)
        [before] = house.pids("worker0")
        (tmp_path / ".env").write_text("WORKERS=many")
        os.kill(before, signal.SIGKILL)
        until(functools.partial(house.started_again, "worker0"))
        until(lambda: ask(port) == b"worker0")
        assert len(house.pids("control0")) == 1
        status, output = house.end()
        assert status == 0
        assert "nothing is reloaded, what runs goes on: WORKERS is" in output


def test_what_the_check_finds_is_said(tmp_path: Path) -> None:
    (tmp_path / "refuse").touch()
    with Supervised(tmp_path) as house:
        house.url_line()
        house.reloads()
        assert (house.reload["state"], house.reload["why"]) == ("refused", "it would not do")
        (tmp_path / "refuse").unlink()
        house.reloads()
        assert house.reload["state"] == "done"
        assert house.end()[0] == 0


def test_a_worker_that_does_not_start_takes_nobodys_place(tmp_path: Path) -> None:
    with Supervised(tmp_path, WORKERS="2") as house:
        port = port_of(house.url_line())
        (tmp_path / "broken_worker").touch()
        house.reloads()
        assert house.reload["why"] == "a new worker does not start (see above)"
        assert {ask(port) for _ in range(20)} <= {b"worker0", b"worker1"}
        (tmp_path / "broken_worker").unlink()
        house.reloads()
        assert house.reload["state"] == "done"
        assert {ask(port) for _ in range(20)} <= {b"worker2", b"worker3"}
        status, output = house.end()
        assert status == 0
        assert re.search(r"worker [23] ended with status 3\W*$", output, re.MULTILINE)


def test_a_control_process_that_does_not_start(tmp_path: Path) -> None:
    """The old settings come back with the next one."""
    with Supervised(tmp_path, LOG_LEVEL="info") as house:
        house.url_line()
        (tmp_path / "broken_control").touch()
        house.reloads()
        assert house.reload["why"] == "the control process does not start (see above)"
        (tmp_path / "broken_control").unlink()
        count = len(house.pids("control0"))
        until(lambda: len(house.pids("control0")) > count)
        assert not house.said("worker0", "retire")
        assert house.end()[0] == 0


def test_the_number_of_workers_and_the_address(tmp_path: Path) -> None:
    """More, then fewer, then another port: the old one closes when its workers go."""
    with Supervised(tmp_path) as house:
        port = port_of(house.url_line())
        (tmp_path / ".env").write_text("WORKERS=3\n")
        house.reloads()
        until(lambda: len({ask(port) for _ in range(30)}) > 1)
        (tmp_path / ".env").write_text("WORKERS=1\n")
        house.reloads()
        until(lambda: len({ask(port) for _ in range(10)}) == 1)
        assert [len(house.pids(f"worker{n}")) for n in range(5)] == [2, 1, 1, 1, 0]
        assert house.end()[0] == 0


def test_another_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    (tmp_path / ".env").write_text(f"PORT={free}\n")
    with Supervised(tmp_path, PORT=UNSET) as house:
        assert port_of(house.url_line()) == free
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            (tmp_path / ".env").write_text(f"PORT={taken}\n")
            house.reloads()
            assert "is taken by another program" in str(house.reload["why"])
            assert ask(free)
        house.reloads()
        assert house.reload["state"] == "done"
        assert ask(taken)
        with pytest.raises(ConnectionRefusedError):
            ask(free)
        assert house.end()[0] == 0


def test_a_stop_in_the_middle_is_a_stop(tmp_path: Path) -> None:
    with Supervised(tmp_path, START_S_worker1="30", DRAIN_S_worker0="0.2") as house:
        house.url_line()
        house.process.send_signal(signal.SIGHUP)
        until(lambda: house.said("worker1", "start"))
        begun = time.monotonic()
        assert house.end()[0] == 0
        assert time.monotonic() - begun < 5


def test_a_terminal_that_hangs_up_is_a_stop(tmp_path: Path) -> None:
    """The signal is the same as for a reload."""
    import pty

    master, slave = pty.openpty()

    class Attached(Supervised):
        stdin = slave

    with Attached(tmp_path) as house:
        house.url_line()
        os.close(slave)
        os.close(master)
        assert house.end(signal.SIGHUP)[0] == 0
        assert house.said("control0", "term")
        assert not house.said("check0", "check")
