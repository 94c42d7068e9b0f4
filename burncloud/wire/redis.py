"""A connection to Redis or Valkey that never keeps anybody waiting: calls go out, answers come to callbacks.

It speaks the little of RESP 2 that one script needs (EVALSHA, its sum, an array or a string back), over TCP, TLS or a
Unix socket, and makes the connection anew for as long as it lives.  A worker has one of its own: control is not asked,
since it may be busy for longer than a request may wait (docs/decisions/0120-limits-across-nodes.md).
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from burncloud import logs

AWAY_S: Final = 0.25
"""A server whose answer is out for longer counts as away."""
GIVE_UP_S: Final = 5.0
"""A connection on which nothing came for so long is made anew."""
CONNECT_S_MAX: Final = 2.0
LASTING_S: Final = 5.0
RETRY_S: Final = (0.05, 0.25, 0.5, 1.0)
BUFFER_MAX: Final = 16 << 20
SCHEMES: Final = {"redis": False, "valkey": False, "rediss": True, "valkeys": True, "unix": False}
"""Scheme → whether it is TLS."""

_log = logs.logger(__name__)


class RedisError(Exception):
    """What the server said instead of an answer."""


@dataclass(frozen=True)
class Address:
    """Where the server is, and what it wants to hear first."""

    host: str
    port: int = 6379
    path: str = ""
    """Of a Unix socket; then there is no host."""
    tls: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    database: int = 0

    @property
    def name(self) -> str:
        """Fit for a log."""
        return self.path or f"{self.host}:{self.port}"


def parse_url(url: str) -> Address:
    """redis://[user:password@]host[:port][/database], rediss:// for TLS, unix:///path.

    Raises ValueError, whose text does not hold the URL: there may be a password in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ValueError(f"must begin with one of {', '.join(f'{name}://' for name in SCHEMES)}")
    try:
        port = parts.port or 6379
    except ValueError:
        raise ValueError("has a port that is no number") from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("names no socket")
        return Address("", 0, unquote(parts.path), user=user, password=password)
    database = parts.path.strip("/")
    if not parts.hostname or (database and not (database.isascii() and database.isdigit())):
        raise ValueError("must look like redis://host:6379/0")
    return Address(parts.hostname, port, "", SCHEMES[parts.scheme], user, password, int(database or 0))


class Script:
    """A Lua script and the name that the server knows it by."""

    def __init__(self, text: str) -> None:
        self.text = text.encode()
        self.sha = hashlib.sha1(self.text, usedforsecurity=False).hexdigest().encode()


Done = Callable[[Any], object]
"""What came: bytes, an int, None or a list of such; or a RedisError, also where the connection ended first."""


class Wire(asyncio.Protocol):
    """One connection: bytes out, whole replies in."""

    def __init__(self, on_reply: Callable[[Any], object]) -> None:
        self._on_reply = on_reply
        self._buffer = b""
        self.transport: asyncio.Transport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self.transport = transport  # type: ignore[assignment]  # one that writes

    def data_received(self, data: bytes) -> None:
        """Replies, split anywhere."""
        buffer = self._buffer + data if self._buffer else data
        at = 0
        try:
            while at < len(buffer):
                found = parse(buffer, at)
                if found is None:
                    break
                reply, at = found
                self._on_reply(reply)
        except ValueError:
            self.abort()
            return
        self._buffer = buffer[at:]
        if len(self._buffer) > BUFFER_MAX:
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self.lost.set()

    def abort(self) -> None:
        """End it now."""
        if self.transport is not None:
            self.transport.abort()


class Redis:
    """The server, as one worker uses it."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        address: Address,
        script: Script,
        on_change: Callable[[str], object] = lambda why: None,
        ca_file: str = "",
    ) -> None:
        """`on_change`: called with "" when the server is there (again), and with the reason when it is not."""
        self._loop = loop
        self._address = address
        self._script = script
        self._on_change = on_change
        self._ca_file = ca_file
        self._wire: Wire | None = None
        self._calls: deque[tuple[float, Done]] = deque()
        """Sent, in order: (loop time, who wants to know)."""
        self._heard = 0.0
        self._task: asyncio.Task[None] | None = None
        self.here = False
        """It answers, as far as we know."""
        self._told = False
        """Somebody knows how it stands."""
        self._doubted = False
        self.refusal = "there is no connection yet"
        self.hello: Callable[[], tuple[Sequence[bytes], bytes]] | None = None
        """Keys and argument of a call that does no harm: a server that refuses it (it is full, a replica) is away."""

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._task = self._loop.create_task(self._live(), name="redis")

    def close(self) -> None:
        """End the connection for good."""
        if self._task is not None:
            self._task.cancel()
        if self._wire is not None:
            self._wire.abort()

    @property
    def late(self) -> bool:
        """It is away, or a call waits longer than a request may wait."""
        return not self.here or (bool(self._calls) and self._loop.time() - self._calls[0][0] > AWAY_S / 50)

    def run(self, keys: Sequence[bytes], argument: bytes, done: Done) -> bool:
        """Run the script; False where there is nobody to ask: then `done` is not called."""
        wire = self._wire
        if wire is None or not self.here:
            return False
        self._send(wire, self._words(keys, argument), done)
        return True

    def _words(self, keys: Sequence[bytes], argument: bytes) -> tuple[bytes, ...]:
        return b"EVALSHA", self._script.sha, b"%d" % len(keys), *keys, argument

    def look(self) -> None:
        """To be called now and then: a server that says nothing is away."""
        if not self._calls:
            return
        silent = self._silent_s()
        if silent > AWAY_S and self.here and not self._doubted:
            self._doubted = True
            # its answer may lie there unread, if it was we who were busy: first the loop reads what has come
            self._loop.call_soon(self._loop.call_soon, self._look_again)
        if silent > GIVE_UP_S and self._wire is not None:
            self._wire.abort()

    def _look_again(self) -> None:
        self._doubted = False
        silent = self._silent_s()
        if silent > AWAY_S and self.here:
            self._gone(f"it has not answered for {silent * 1000:.0f} ms")

    def _silent_s(self) -> float:
        return self._loop.time() - max(self._calls[0][0], self._heard) if self._calls else 0.0

    def _send(self, wire: Wire, words: Sequence[bytes], done: Done) -> None:
        assert wire.transport is not None
        self._calls.append((self._loop.time(), done))
        wire.transport.write(command(words))

    def _reply(self, reply: Any) -> None:
        if not self._calls:
            raise ValueError("a reply to nothing")
        self._heard = self._loop.time()
        _, done = self._calls.popleft()
        if isinstance(reply, RedisError):
            self._gone(_safe(reply))
            if self._wire is not None:
                self._wire.abort()  # the next connection says everything anew, the script, too
        elif not self.here and self._wire is not None and not self._calls:
            self._back()
        done(reply)

    def _gone(self, why: str) -> None:
        self.refusal = why
        if self.here or not self._told:
            self.here, self._told = False, True
            self._on_change(why)

    def _back(self) -> None:
        self.here, self._told, self.refusal = True, True, ""
        self._on_change("")

    # The connection

    async def _live(self) -> None:
        tries = 0
        while True:
            wire = Wire(self._reply)
            greeting = False
            try:
                async with asyncio.timeout(CONNECT_S_MAX):
                    await self._connect(wire)
                    greeting = True
                    await self._greet(wire)
                stood = self._loop.time()
                await wire.lost.wait()
                if self._loop.time() - stood > LASTING_S:  # not one that fails at the first call, again and again
                    tries = 0
                self._gone("the connection was lost")
            except TimeoutError:
                self._gone("it does not answer" if greeting else "it cannot be reached in time")
            except RedisError as error:
                self._gone(_safe(error))
            except (OSError, ValueError, NotImplementedError) as error:
                self._gone(f"it cannot be reached: {getattr(error, 'strerror', None) or type(error).__name__}")
            finally:
                self._wire = None
                wire.abort()
                calls, self._calls = self._calls, deque()
                for _, done in calls:
                    done(RedisError("the connection was lost"))
            await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
            tries += 1

    async def _connect(self, wire: Wire) -> None:
        address = self._address
        if address.path:
            await self._loop.create_unix_connection(lambda: wire, address.path)
            return
        context = None
        if address.tls:
            context = ssl.create_default_context()
            if self._ca_file:
                context.load_verify_locations(self._ca_file)
        await self._loop.create_connection(lambda: wire, address.host, address.port, ssl=context)

    async def _greet(self, wire: Wire) -> None:
        """Who we are, which database, the script, and whether it can be run."""
        address = self._address
        words: list[tuple[bytes, ...]] = []
        if address.password:
            words.append((b"AUTH", *([address.user.encode()] if address.user else []), address.password.encode()))
        if address.database:
            words.append((b"SELECT", b"%d" % address.database))
        words.append((b"SCRIPT", b"LOAD", self._script.text))
        if self.hello is not None:
            words.append(self._words(*self.hello()))
        for word in words:
            answer: asyncio.Future[Any] = self._loop.create_future()

            def done(reply: Any, answer: asyncio.Future[Any] = answer) -> None:
                if not answer.done():
                    answer.set_result(reply)

            self._send(wire, word, done)
            lost = asyncio.ensure_future(wire.lost.wait())
            await asyncio.wait((answer, lost), return_when=asyncio.FIRST_COMPLETED)
            lost.cancel()
            if not answer.done():
                raise ConnectionResetError
            if isinstance(answer.result(), RedisError):
                raise answer.result()
        self._wire = wire
        self._back()


def _safe(error: RedisError) -> str:
    """What the server said: its first word, which names the fault (it may repeat what we sent)."""
    word = str(error).partition(" ")[0]
    return f"it says {word}" if word.isalpha() else "it refuses"


def command(words: Sequence[bytes]) -> bytes:
    """A command on the wire."""
    return b"*%d\r\n%b" % (len(words), b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))


def parse(data: bytes, at: int) -> tuple[Any, int] | None:
    """The reply that begins there, and where the next one does; None = it is not all here.  Raises ValueError."""
    end = data.find(b"\r\n", at)
    if end < 0:
        return None
    kind, text, after = data[at : at + 1], data[at + 1 : end], end + 2
    if kind == b"+":
        return text, after
    if kind == b"-":
        return RedisError(text.decode("utf-8", "replace")), after
    if kind == b":":
        return int(text), after
    if kind == b"$":
        length = int(text)
        if length < 0:
            return None, after
        if len(data) < after + length + 2:
            return None
        return data[after : after + length], after + length + 2
    if kind == b"*":
        items: list[Any] = []
        for _ in range(max(0, int(text))):
            found = parse(data, after)
            if found is None:
                return None
            item, after = found
            items.append(item)
        return items, after
    raise ValueError("no RESP")
