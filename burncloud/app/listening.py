"""The listening sockets: opened once, by the supervisor, so that workers come and go without a lost connection."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Sequence

from burncloud import clock

BACKLOG = 4096
TAKEN_RETRY_MS = 3000
"""How long a taken port is tried again: the workers of a killed supervisor need a moment to let go of it."""
ANY_ADDRESS = ("0.0.0.0", "::")


class CannotListen(Exception):
    """The address cannot be had; the message says what to do.  `taken`: another program has the port."""

    def __init__(self, message: str, taken: bool = False) -> None:
        super().__init__(message)
        self.taken = taken


def _reason(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another program; stop that one, or choose another port with PORT={port + 1}"
    if error.errno == errno.EACCES:
        return f"this user may not open port {port}; choose one above 1023 with PORT=…"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is no address of this machine; correct HOST"
    return f"cannot listen on {host} port {port}: {error.strerror or error}"


def _open(family: int, address: tuple[str, int], only_v6: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # where it would let a second program take the port
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(only_v6))
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _addresses(hosts: Sequence[str], port: int) -> list[tuple[int, str]]:
    """(family, address) of each host name, each once.  Raises CannotListen for a name that does not resolve."""
    found: list[tuple[int, str]] = []
    for host in hosts:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        except (socket.gaierror, UnicodeError) as error:
            raise CannotListen(f"HOST names {host!r}, which is no address: {error}") from None
        found += [(int(family), str(address[0])) for family, _, _, _, address in answers]
    return list(dict.fromkeys(found))


def _open_all(addresses: Sequence[tuple[int, str]], port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    # "::" alone serves IPv4, too; beside an IPv4 address it must not, or the two collide.
    only_v6 = any(family == socket.AF_INET for family, _ in addresses)
    for family, host in addresses:
        try:
            sockets.append(_open(family, (host, port), only_v6))
        except OSError as error:
            if error.errno == errno.EAFNOSUPPORT and len(addresses) > 1:
                continue  # "localhost" on a machine without IPv6
            for sock in sockets:
                sock.close()
            raise CannotListen(_reason(error, host, port), error.errno == errno.EADDRINUSE) from None
        port = sockets[0].getsockname()[1]
    return sockets


def open_listening(host: str, port: int) -> list[socket.socket]:
    """Listening, non-blocking sockets on each address of `host` (a comma between several).

    Port 0 takes a free one, the same for all.  A taken port is tried again for TAKEN_RETRY_MS.
    Raises CannotListen with a sentence for the person who set it.
    """
    hosts = [part.strip().strip("[]") for part in host.split(",") if part.strip()]
    addresses = _addresses(hosts, port)
    give_up_ms = clock.monotonic_ms() + TAKEN_RETRY_MS
    while True:
        try:
            return _open_all(addresses, port)
        except CannotListen as error:
            if not error.taken or clock.monotonic_ms() > give_up_ms:
                raise
        clock.sleep_ms(50)


def url(sockets: Sequence[socket.socket]) -> str:
    """Where a person on this machine finds us."""
    host, port = sockets[0].getsockname()[:2]
    if host in ANY_ADDRESS:
        return f"http://localhost:{port}"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
