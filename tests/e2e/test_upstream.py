"""The test upstream does what its cases say: else every proof that stands on it is worth nothing."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.product import ROOT
from tests.upstream.cases import Case, answer, events
from tests.upstream.requests import read_log
from tests.upstream.running import Upstream

BODY = b'{"model":"m","messages":[]}'


def ask(upstream: Upstream, case: str, body: bytes = BODY, head: bytes = b"") -> socket.socket:
    """Send one request on a new connection."""
    connection = socket.create_connection(("127.0.0.1", upstream.port), timeout=5)
    again(connection, case, body, head)
    return connection


def again(connection: socket.socket, case: str, body: bytes = BODY, head: bytes = b"") -> None:
    """Send one more."""
    connection.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nx-upstream-case: %b\r\n%bContent-Length: %d\r\n\r\n%b"
        % (case.encode(), head, len(body), body)
    )


def read_all(connection: socket.socket) -> bytes:
    """Everything up to the end; a reset raises."""
    got = b""
    while piece := connection.recv(65536):
        got += piece
    return got


def read_to_error(connection: socket.socket, expected: type[OSError]) -> bytes:
    """Everything up to this error, which must come."""
    got = b""
    try:
        while piece := connection.recv(65536):
            got += piece
    except expected:
        return got
    raise AssertionError(f"the connection ended politely after {got!r}")


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Everything up to and with `end`."""
    got = b""
    while end not in got:
        piece = connection.recv(65536)
        assert piece, got
        got += piece
    return got


@pytest.fixture
def upstream() -> Upstream:
    return Upstream(
        answer("plain", {"a": 1}),
        events("stream", [{"n": 1}, {"n": 2}]),
        Case("close", b"to the end", framing="close"),
        Case("slow", b"abc", first_byte_ms=100, pieces=1, delay_ms=10),
        Case("error", b"<html>", 503, (("content-type", "text/html"), ("retry-after", "7"))),
        Case("empty", b""),
        *(Case(name, b"0123456789" * 10, fault=name, fault_at=25) for name in (
            "reset", "eof", "silent", "stale", "head", "cut", "cut_eof", "stall", "extra", "early", "refuse_body",
        )),
    )  # fmt: skip


def test_framings(upstream: Upstream) -> None:
    with upstream:
        with ask(upstream, "plain") as connection:
            text = read_until(connection, b'{"a": 1}')
            assert text.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n")
            again(connection, "stream")
            text = read_until(connection, b"0\r\n\r\n")
            assert (
                b'\r\n\r\nf\r\ndata: {"n":1}\n\n\r\nf\r\ndata: {"n":2}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n'
                in text
            )
            again(connection, "close")
            assert read_all(connection).endswith(b"\r\n\r\nto the end")
        with ask(upstream, "slow", head=b"Connection: close\r\n") as connection:
            assert read_all(connection).endswith(b"\r\n\r\nabc")
        assert [(seen.connection, seen.nth, seen.end) for seen in upstream.requests] == [
            (1, 1, "answered"), (1, 2, "answered"), (1, 3, "answered"), (2, 1, "answered"),
        ]  # fmt: skip
        assert upstream.requests[3].ended_at - upstream.requests[3].started_at >= 0.12


def test_status_and_headers(upstream: Upstream) -> None:
    with upstream, ask(upstream, "error", head=b"Connection: close\r\n") as connection:
        text = read_all(connection)
        assert text.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert b"retry-after: 7\r\n" in text


@pytest.mark.parametrize("fault", ["reset", "head", "cut"])
def test_faults_that_reset(upstream: Upstream, fault: str) -> None:
    with upstream, ask(upstream, fault) as connection:
        got = read_to_error(connection, ConnectionResetError)
        assert got.endswith(b"\r\n\r\n0123456789012345678901234") == (fault == "cut")
        assert (got == b"") == (fault == "reset")
        upstream.wait(lambda up: up.requests[0].end == "fault")


def test_faults_that_end_politely(upstream: Upstream) -> None:
    with upstream:
        with ask(upstream, "eof") as connection:
            assert read_all(connection) == b""
        with ask(upstream, "cut_eof") as connection:
            assert read_all(connection).endswith(b"\r\n\r\n0123456789012345678901234")


@pytest.mark.parametrize("fault", ["silent", "stall"])
def test_faults_that_wait(upstream: Upstream, fault: str) -> None:
    with upstream:
        with ask(upstream, fault) as connection:
            connection.settimeout(0.3)
            got = read_to_error(connection, TimeoutError)
            assert got.endswith(b"01234") == (fault == "stall")
        upstream.wait(lambda up: up.requests[0].end == "gone")
        upstream.wait(lambda up: up.open_connections == 0)


def test_a_stale_connection_dies_on_its_second_request(upstream: Upstream) -> None:
    with upstream, ask(upstream, "stale") as connection:
        read_until(connection, b"0123456789" * 10)
        again(connection, "stale")
        assert read_all(connection) == b""
        assert [seen.end for seen in upstream.requests] == ["answered", "fault"]


def test_early_answer_and_extra_bytes(upstream: Upstream) -> None:
    with upstream:
        connection = socket.create_connection(("127.0.0.1", upstream.port), timeout=5)
        with connection:
            connection.sendall(
                b"POST /v1/x HTTP/1.1\r\nHost: x\r\nx-upstream-case: early\r\nContent-Length: 999\r\n\r\n{"
            )
            assert read_until(connection, b"0123456789" * 10)
        with ask(upstream, "extra") as connection:
            assert read_until(connection, b"evil").count(b"HTTP/1.1 200") == 2


def test_cases_are_found_by_model_and_path_and_scripts_run_in_order(upstream: Upstream) -> None:
    with upstream:
        upstream.book.script("gpt", [answer("first", 1), answer("second", 2)])
        upstream.add(answer("models", "by path"), answer("gem", "by url"), answer("form", "by form"))

        def get(path: str, body: bytes | None = None) -> object:
            with urllib.request.urlopen(upstream.url + path, body, timeout=5) as response:
                return json.load(response)

        body = b'{"messages":[],"model":"gpt"}'
        assert [get("/v1/chat/completions", body) for _ in range(3)] == [1, 2, 2]
        assert get("/v1/models") == "by path"
        assert get("/v1beta/models/gem:generateContent?alt=sse", b"{}") == "by url"
        assert get("/~gem/v1/chat/completions", b"{}") == "by url"
        assert get("/v1/x", b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nform\r\n--b--') == "by form"
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            get("/nothing")
        missing.value.close()


def test_tls_is_verifiable(tmp_path: Path) -> None:
    with Upstream(answer("default", {"ok": True}), tls=True) as upstream:
        context = ssl.create_default_context(cafile=str(upstream.ca_file))
        with urllib.request.urlopen(f"{upstream.tls_url}/v1/x", b"{}", timeout=5, context=context) as response:
            assert json.load(response) == {"ok": True}


def test_malformed_requests_are_reported() -> None:
    upstream = Upstream(answer("default", 1))
    upstream.__enter__()
    with socket.create_connection(("127.0.0.1", upstream.port), timeout=5) as connection:
        connection.sendall(b"POST /v1/x HTTP/1.1\nHost: x\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 400")
    with pytest.raises(AssertionError, match="malformed"):
        upstream.__exit__(None, None, None)


def test_the_process_logs_every_request_before_it_answers(tmp_path: Path) -> None:
    (tmp_path / "cases").mkdir()
    case = {"response": {"status": 200, "headers": {"content-type": "text/plain"}, "body_text": "hé"},
            "upstream": {"pieces": 1}}  # fmt: skip
    (tmp_path / "cases" / "default.json").write_text(json.dumps(case))
    command = [sys.executable, "-m", "tests.upstream", "--log", str(tmp_path / "log")]
    command += ["--dir", str(tmp_path / "cases")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdout is not None
    with process.stdout:
        port = int(process.stdout.readline().split()[1])
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/x", b"{}", {"x-test-id": "one"})
        with urllib.request.urlopen(request, timeout=5) as response:
            assert response.read().decode() == "hé"
            events_seen = [(line["event"], line["id"]) for line in read_log(tmp_path / "log")]
            assert events_seen[:2] == [("head", "one"), ("request", "one")]
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
