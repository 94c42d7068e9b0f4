"""Through a proxy to an upstream: an HTTP CONNECT tunnel (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928, 1929).

The proxy resolves the upstream's name.  What comes back is a connected socket with nothing read beyond the proxy's
answer, so that TLS, or plain HTTP, begins on it as on any other; certificates are checked against the upstream's name.
"""

from __future__ import annotations

import asyncio
import base64
import socket
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

HEAD_BYTES_MAX: Final = 16 << 10
PORTS: Final = {"http": 8080, "socks5": 1080}


class Proxy(NamedTuple):
    """Where a proxy is, and who we are to it."""

    scheme: str
    """http · socks5."""
    host: str
    port: int
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class ProxyError(OSError):
    """The proxy does not let us through; the message says why."""


def parse_proxy(text: str) -> Proxy | None:
    """http://user:password@host:port, or socks5://…; None for "".  Raises ValueError, never quoting the password."""
    if not text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
        if not text.isascii() or not text.isprintable() or parts.path.strip("/") or parts.query or parts.fragment:
            raise ValueError
    except ValueError:
        parts, port = urlsplit(""), None
    scheme = "socks5" if parts.scheme == "socks5h" else parts.scheme
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme not in PORTS or not parts.hostname or max(len(user), len(password)) > 255:
        raise ValueError("write it like http://user:password@proxy.example:8080 or socks5://proxy.example:1080")
    return Proxy(scheme, parts.hostname, port or PORTS[scheme], user, password)


async def tunnel(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Have the proxy at the other end of `sock` connect to host:port.  Raises ProxyError, or what the socket raises."""
    await (_connect if proxy.scheme == "http" else _socks)(sock, proxy, host, port)


async def _connect(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    head = f"CONNECT {where} HTTP/1.1\r\nhost: {where}\r\n"
    if proxy.user or proxy.password:
        known = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
        head += f"proxy-authorization: Basic {known}\r\n"
    await loop.sock_sendall(sock, f"{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = await loop.sock_recv(sock, 4096)
        answer += piece
        if not piece or len(answer) > HEAD_BYTES_MAX:
            raise ProxyError(f"the proxy {proxy} does not answer CONNECT")
    status = answer.split(b"\r\n", 1)[0].split(b" ", 2)[1:2]
    if not answer.startswith(b"HTTP/1.") or status != [b"200"]:
        raise ProxyError(f"the proxy {proxy} answers CONNECT with {b''.join(status)[:3].decode('latin-1')}")
    if not answer.endswith(b"\r\n\r\n"):
        raise ProxyError(f"the proxy {proxy} speaks before it is spoken to")


async def _socks(sock: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    loop = asyncio.get_running_loop()
    method = 2 if proxy.user or proxy.password else 0
    await loop.sock_sendall(sock, bytes((5, 1, method)))
    if await _exactly(sock, 2) != bytes((5, method)):
        raise ProxyError(f"the proxy {proxy} does not take this way of signing in")
    if method:
        user, password = proxy.user.encode(), proxy.password.encode()
        await loop.sock_sendall(sock, bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if (await _exactly(sock, 2))[1]:
            raise ProxyError(f"the proxy {proxy} does not know the user, or not by this password")
    name = host.encode("idna")
    await loop.sock_sendall(sock, bytes((5, 1, 0, 3, len(name))) + name + port.to_bytes(2, "big"))
    version, failure, _, kind = await _exactly(sock, 4)
    if version != 5 or failure:
        raise ProxyError(f"the proxy {proxy} cannot connect (SOCKS5 reply {failure})")
    length = {1: 4, 4: 16}.get(kind) or (await _exactly(sock, 1))[0]
    await _exactly(sock, length + 2)


async def _exactly(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = await asyncio.get_running_loop().sock_recv(sock, count - len(data))
        if not piece:
            raise ProxyError("the proxy closed the connection")
        data += piece
    return data
