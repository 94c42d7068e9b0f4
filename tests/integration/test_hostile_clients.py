"""Clients on real sockets that read slowly, leave, trickle and crowd: the worker serves on, and its books add up."""

from __future__ import annotations

import hashlib
import socket
import time
from pathlib import Path

import pytest

from tests.rig import Conn, Rig, hear, until
from tests.speech import (
    DONE,
    LAST,
    answer,
    chat,
    chunk,
    chunked,
    completion,
    delta,
    get,
    post,
    stream_head,
    usage_chunk,
)

MIB = 1 << 20
BIG = delta("x" * 32_000)


def plain(conn: Conn) -> None:
    """Answers every request with the hash of its body."""
    while True:
        request = conn.read()
        conn.send(answer(completion(hashlib.sha256(request.body).hexdigest())))


def endless(conn: Conn) -> None:
    """Streams until the worker leaves."""
    conn.read()
    conn.send(stream_head())
    while True:
        conn.send(chunk(BIG))


def long_stream(conn: Conn) -> None:
    """Streams 20 MB, then ends properly."""
    conn.read()
    conn.send(stream_head())
    for _ in range(600):
        conn.send(chunk(BIG))
    conn.send(chunk(delta("", finish="stop") + usage_chunk() + DONE) + LAST)


def test_a_slow_reader_gets_everything_and_costs_little(tmp_path: Path) -> None:
    """20 MB through a client that stops for two seconds: identical, with little in the worker's memory meanwhile."""
    with Rig(tmp_path, long_stream) as rig, rig.connect(65536) as client:
        before = rig.memory_bytes()
        client.sendall(post(chat(stream=True)))
        time.sleep(2)
        assert rig.memory_bytes() - before < 8 * MIB
        [heard] = hear(client)
        assert heard.body == BIG * 600 + delta("", finish="stop") + DONE
        assert [end.state for end in rig.wait_receipts(1)] == ["done"]


def test_many_readers_that_stand_still(tmp_path: Path) -> None:
    """Fifty of them: bounded memory, cut off in time, the upstream's connections with them; others are served."""
    with Rig(tmp_path, endless, client_stall_timeout_ms="4000") as rig:
        before = rig.memory_bytes()
        clients = [rig.connect(4096) for _ in range(50)]
        for client in clients:
            client.sendall(post(chat(stream=True)))
        time.sleep(2)
        assert rig.memory_bytes() - before < 50 * MIB
        assert rig.ask(get("/v1/models"))[0].status == 200
        ends = rig.wait_receipts(50)
        assert {end.state for end in ends} == {"gone"}
        until(lambda: rig.control.stats.get("live") == 0, "nothing is live")
        for client in clients:
            client.close()


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_client_that_leaves_frees_its_upstream_at_once(tmp_path: Path, how: str) -> None:
    """The upstream's connection is cut within a moment, in the middle of a stream, with data under way both ways."""
    left: list[float] = []

    def script(conn: Conn) -> None:
        conn.read()
        conn.send(stream_head() + chunk(delta("Hello ")))
        assert conn.gone()
        left.append(time.monotonic())

    with Rig(tmp_path, script) as rig:
        client = rig.connect()
        client.sendall(post(chat(stream=True)))
        assert b"Hello" in client.recv(65536)
        if how == "RST":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        started = time.monotonic()
        until(lambda: bool(left), "the upstream is free")
        assert left[0] - started < 1
        [end] = rig.wait_receipts(1)
        assert (end.state, end.estimated, end.charge > 0) == ("gone", True, True)


def test_a_crowd_that_trickles(tmp_path: Path) -> None:
    """300 heads that never end: others are served meanwhile, the crowd is told 408 and closed."""
    with Rig(tmp_path, plain, head_timeout_ms="2000") as rig:
        crowd = [rig.connect() for _ in range(300)]
        for client in crowd:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nX-A: ")
        started = time.monotonic()
        assert rig.ask(post(chat()))[0].status == 200
        assert time.monotonic() - started < 1
        for client in crowd:
            with client:
                assert [a.status for a in hear(client)] == [408]
        until(lambda: rig.control.stats.get("connections") == 0, "all are closed")


def test_more_clients_than_descriptors(tmp_path: Path) -> None:
    """Above the bound: 503 and close, never silence; room again when some have left."""
    with Rig(tmp_path, plain, files_max=700) as rig:
        bound = (700 - 512) // 2
        crowd = [rig.connect() for _ in range(bound)]
        until(lambda: rig.control.stats.get("connections") == bound, "all are in")
        assert [a.status for a in rig.ask(post(chat()))] == [503]
        for client in crowd:
            client.close()
        until(lambda: rig.control.stats.get("connections") == 0, "all are out")
        assert rig.ask(post(chat()))[0].status == 200


def test_pipelines(tmp_path: Path) -> None:
    """Eight at a time, a hundred times over, in order."""
    with Rig(tmp_path, plain) as rig, rig.connect() as client:
        for turn in range(100):
            bodies = [chat(user=f"{turn}-{n}") for n in range(8)]
            client.sendall(b"".join(post(body) for body in bodies))
            heard = hear(client, 8)
            for body, got in zip(bodies, heard, strict=True):
                sent = post(body).partition(b"\r\n\r\n")[2]
                assert got.json["choices"][0]["message"]["content"] == hashlib.sha256(sent).hexdigest()
        assert len(rig.wait_receipts(800)) == 800


@pytest.mark.parametrize("coded", [False, True], ids=["declared", "chunked"])
def test_large_bodies(tmp_path: Path, coded: bool) -> None:
    """30 MB up, byte-identical, with little of it in memory; four at once."""
    with Rig(tmp_path, plain) as rig:
        rig.ask(post(chat()))
        before = rig.memory_bytes()
        body = chat(user="u" * (30 * MIB))
        message = chunked(body, sizes=(70_000,)) if coded else post(body)
        expected = hashlib.sha256(post(body).partition(b"\r\n\r\n")[2]).hexdigest()
        clients = [rig.connect() for _ in range(4)]
        half = len(message) // 2
        for client in clients:
            client.sendall(message[:half])
        for client in clients:
            client.sendall(message[half:])
        assert rig.memory_bytes() - before < 24 * MIB
        for client in clients:
            with client:
                [heard] = hear(client)
                assert heard.json["choices"][0]["message"]["content"] == expected
        assert rig.memory_bytes() - before < 24 * MIB


def test_a_refused_upload_hears_why(tmp_path: Path) -> None:
    """413 for a client that sends on regardless: it reads the answer, it is not reset before."""
    with Rig(tmp_path, plain, body_bytes_max="100000") as rig:
        for _ in range(20):
            with rig.connect() as client:
                client.sendall(post(b"", length=50 * MIB))
                sent = 0
                try:
                    while sent < 3 * MIB:
                        client.sendall(b"x" * 65536)
                        sent += 65536
                except OSError:
                    pytest.fail(f"reset after {sent} bytes")
                [heard] = hear(client)
                assert heard.status == 413


def test_http_1_0(tmp_path: Path) -> None:
    """A stream ends with the connection."""
    with Rig(tmp_path, long_stream) as rig, rig.connect() as client:
        client.sendall(post(chat(stream=True)).replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        [heard] = hear(client)
        assert len(heard.body) == len(BIG * 600 + delta("", finish="stop") + DONE)
        assert heard.closing


def test_nothing_leaks(tmp_path: Path) -> None:
    """A few hundred clients of every kind later there are as many descriptors as before."""
    short = {"pool_idle_ms": "500", "client_idle_timeout_ms": "500", "head_timeout_ms": "500"}
    with Rig(tmp_path, plain, **short) as rig:  # type: ignore[arg-type]
        rig.ask(post(chat()))
        time.sleep(1.5)
        before = rig.descriptors()
        for n in range(60):
            with rig.connect() as client:
                client.sendall([b"GARBAGE\r\n\r\n", post(chat())[:50], post(chat()), b""][n % 4])
                if n % 3 == 0 and n % 4 != 3:
                    hear(client)
            with rig.connect() as client:
                client.sendall(post(chat(user="u" * (2 * MIB)))[: -1 if n % 2 else None])
                if n % 2 == 0:
                    hear(client)
        until(lambda: rig.descriptors() <= before, "descriptors are closed")
        until(lambda: rig.control.stats.get("live") == 0, "nothing is live")
