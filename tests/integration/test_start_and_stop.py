"""The product's start and stop as the person at the terminal sees them: what is printed, when, and the exit status."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.product import ROOT, Product

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
PATIENCE_S = 30


@contextmanager
def started(folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """`burncloud` in a process group, a folder and a place for temporary files of its own."""
    (folder / "tmp").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": "0", "TMPDIR": str(folder / "tmp")}
    process = subprocess.Popen(
        [sys.executable, "-m", "burncloud"],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT), **settings},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    try:
        yield process
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)  # no child is left
        assert not list((folder / "tmp").iterdir())
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("after_s", [0.12, 0.4, 0.8])
def test_ctrl_c_in_the_first_second_ends_it_without_a_trace(tmp_path: Path, after_s: float) -> None:
    with started(tmp_path) as process:
        time.sleep(after_s)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert "Traceback" not in output
        assert "KeyboardInterrupt" not in output
        assert process.returncode in (0, 130) if "BurnCloud is ready" in output else process.returncode == 130, output


def test_ready_is_said_last(tmp_path: Path) -> None:
    with started(tmp_path, WORKERS="2") as process:
        assert process.stdout
        lines: list[str] = []
        while "BurnCloud is ready" not in (line := process.stdout.readline()):
            assert line, lines
            lines.append(line)
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        said = "".join(lines)
        assert all(f"{who} serves" in said for who in ("control", "worker 0", "worker 1")), said
        assert " serves" not in rest


def test_a_drain_is_explained_and_a_second_ctrl_c_cuts_it_short(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, Product(tmp_path, UNPRICED="free") as product:
        product.add_channel("openai", f"http://127.0.0.1:{silent.getsockname()[1]}/v1", ["m"])
        key = product.add_token()
        with socket.create_connection(("127.0.0.1", product.port)), product_request(product.port, key):
            upstream, _ = silent.accept()
            os.kill(product.pid, signal.SIGINT)
            deadline = time.monotonic() + PATIENCE_S
            while "waiting for 1 open stream (at most 30 s); press Ctrl-C again to stop at once" not in product.log():
                assert time.monotonic() < deadline, product.log()
                time.sleep(0.02)
            begun = time.monotonic()
            os.kill(product.pid, signal.SIGINT)
            assert product.wait() == 130
            assert time.monotonic() - begun < 2
            upstream.close()


def product_request(port: int, key: str) -> socket.socket:
    """A client that waits for an answer."""
    client = socket.create_connection(("127.0.0.1", port))
    body = b'{"model": "m", "messages": []}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {key}\r\n"
    client.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    return client


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"DATABASE_URL": "sqlite:/nonexist/dir/x.db"}, "the folder /nonexist/dir of the database x.db does not exist"),
        (
            {"DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "DATABASE_WAIT_MS": "1000"},
            "is it running, and is DATABASE_URL right?",
        ),
    ],
)
def test_a_database_that_cannot_be_had_is_said_once(tmp_path: Path, settings: dict[str, str], sentence: str) -> None:
    with started(tmp_path, **settings) as process:
        output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2
        assert output.count(sentence) == 1
        assert "Traceback" not in output
        assert "started again" not in output
        assert not list(tmp_path.glob("*.db"))
