"""The doors: addresses, one port for all of them, and clear words when they cannot be had."""

from __future__ import annotations

import contextlib
import socket

import pytest

from burncloud import clock
from burncloud.app import listening
from burncloud.app.listening import CannotListen, open_listening


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


@contextlib.contextmanager
def opened(host: str, port: int = 0):  # type: ignore[no-untyped-def]
    sockets = open_listening(host, port)
    try:
        yield sockets
    finally:
        for sock in sockets:
            sock.close()


def test_a_free_port_is_taken_and_told() -> None:
    with opened("127.0.0.1") as [sock]:
        port = sock.getsockname()[1]
        assert not sock.getblocking()
        assert listening.url([sock]) == f"http://127.0.0.1:{port}"
        socket.create_connection(("127.0.0.1", port)).close()


def test_all_addresses_are_reached_by_localhost() -> None:
    with opened("0.0.0.0") as [sock]:
        assert listening.url([sock]) == f"http://localhost:{sock.getsockname()[1]}"


@needs_ipv6
@pytest.mark.parametrize(("host", "count"), [("::", 1), ("[::]", 1), ("0.0.0.0,::", 2), ("127.0.0.1, ::1", 2)])
def test_both_families_are_served_on_one_port(host: str, count: int) -> None:
    with opened(host) as sockets:
        assert len(sockets) == count
        port = sockets[0].getsockname()[1]
        for address in ("127.0.0.1", "::1"):
            socket.create_connection((address, port)).close()


@needs_ipv6
def test_an_ipv6_address_stands_in_brackets() -> None:
    with opened("::1") as [sock]:
        assert listening.url([sock]) == f"http://[::1]:{sock.getsockname()[1]}"


def test_a_taken_port_is_tried_again_then_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[int] = []
    monkeypatch.setattr(clock, "monotonic_ms", lambda: sum(slept))
    with opened("127.0.0.1") as [other]:
        port = other.getsockname()[1]
        monkeypatch.setattr(clock, "sleep_ms", slept.append)
        with pytest.raises(CannotListen, match=f"port {port} is taken .* PORT={port + 1}"):
            open_listening("127.0.0.1", port)
        assert sum(slept) > listening.TAKEN_RETRY_MS


def test_a_port_that_becomes_free_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    [other] = open_listening("127.0.0.1", 0)
    port = other.getsockname()[1]
    monkeypatch.setattr(clock, "sleep_ms", lambda _: other.close())
    with opened("127.0.0.1", port) as [sock]:
        assert sock.getsockname()[1] == port


@pytest.mark.parametrize(
    ("host", "words"), [("192.0.2.1", "192.0.2.1 is no address of this machine"), ("no such host", "HOST names")]
)
def test_a_bad_host_is_said_clearly(host: str, words: str) -> None:
    with pytest.raises(CannotListen, match=words):
        open_listening(host, 0)


def test_an_unresolvable_second_host_leaves_nothing_open() -> None:
    with pytest.raises(CannotListen):
        open_listening("127.0.0.1,192.0.2.1", 0)
