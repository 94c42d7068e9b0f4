"""The connection to Redis: replies split anywhere, passwords, TLS, and a server that freezes, dies and comes back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from burncloud import clock
from burncloud.wire import redis
from burncloud.wire.redis import Address, Redis, RedisError, Script, Wire, command, parse, parse_url
from tests.valkey import Talk, Valkey, make_valkey

ECHO = Script("return {KEYS[1], ARGV[1], 7}")
REPLIES = b"+OK\r\n:42\r\n$-1\r\n$5\r\na\r\nbc\r\n*2\r\n:-1\r\n*1\r\n$0\r\n\r\n-ERR no\r\n"
SECRET = "s3cr%t/x"


@pytest.mark.parametrize("size", range(1, len(REPLIES) + 1))
def test_replies_split_anywhere(size: int) -> None:
    heard: list[Any] = []
    wire = Wire(heard.append)
    for at in range(0, len(REPLIES), size):
        wire.data_received(REPLIES[at : at + size])
    assert heard[:-1] == [b"OK", 42, None, b"a\r\nbc", [-1, [b""]]]
    assert isinstance(heard[-1], RedisError)


def test_what_is_no_reply() -> None:
    with pytest.raises(ValueError, match="no RESP"):
        parse(b"HTTP/1.1 400 Bad Request\r\n", 0)
    assert command((b"GET", b"a b")) == b"*2\r\n$3\r\nGET\r\n$3\r\na b\r\n"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", Address("cache")),
        ("valkey://cache:7000/3", Address("cache", 7000, database=3)),
        ("rediss://u:p%40ss@[::1]:1/", Address("::1", 1, tls=True, user="u", password="p@ss")),
        ("redis://:pw@cache", Address("cache", password="pw")),
        ("unix:///run/redis.sock", Address("", 0, "/run/redis.sock")),
    ],
)
def test_urls(url: str, address: Address) -> None:
    assert parse_url(url) == address


@pytest.mark.parametrize(
    "url", ["http://:hush@x", "redis://:hush@", "redis://:hush@x:port", "redis://:hush@x/db", "unix://"]
)
def test_a_bad_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_url(url)
    assert "hush" not in str(caught.value)


def test_the_password_is_not_shown() -> None:
    assert "hush" not in repr(parse_url("redis://:hush@x"))


class Client:
    """A Redis of the running loop, and what it says of itself."""

    def __init__(self, address: Address, ca_file: str = "") -> None:
        self.said: list[str] = []
        self.redis = Redis(asyncio.get_running_loop(), address, ECHO, self.said.append, ca_file)

    async def until(self, wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not wanted():
                self.redis.look()
                await asyncio.sleep(0.005)

    async def ask(self, argument: bytes = b"x") -> Any:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        assert self.redis.run([b"k"], argument, answer.set_result)
        return await asyncio.wait_for(answer, 5)


@contextlib.asynccontextmanager
async def connected(address: Address, ca_file: str = "") -> AsyncIterator[Client]:
    client = Client(address, ca_file)
    client.redis.start()
    try:
        yield client
    finally:
        client.redis.close()
        await asyncio.sleep(0)


async def test_a_script_is_run(valkey: Valkey) -> None:
    async with connected(parse_url(valkey.url)) as client:
        await client.until(lambda: client.redis.here)
        assert await client.ask() == [b"k", b"x", 7]
        answers = await asyncio.gather(*(client.ask(b"%d" % n) for n in range(50)))
        assert [answer[1] for answer in answers] == [b"%d" % n for n in range(50)]
        assert client.said == [""]
        assert not client.redis.late


async def test_it_is_not_away_when_it_was_we_who_were_busy(valkey: Valkey) -> None:
    """The loop stood still for longer than AWAY_S, and the answer lies there unread when somebody looks."""
    async with connected(parse_url(valkey.url)) as client:
        await client.until(lambda: client.redis.here)
        for _ in range(3):
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            assert client.redis.run([b"k"], b"x", answer.set_result)
            clock.sleep_ms(int(redis.AWAY_S * 1000) + 50)
            client.redis.look()
            await asyncio.wait_for(answer, 10)
        assert client.said == [""]


async def test_frozen_then_thawed(valkey: Valkey) -> None:
    async with connected(parse_url(valkey.url)) as client:
        await client.until(lambda: client.redis.here)
        valkey.freeze()
        heard: list[Any] = []
        assert client.redis.run([b"k"], b"late", heard.append)
        await client.until(lambda: client.redis.late)
        assert client.redis.here
        await client.until(lambda: not client.redis.here)
        assert not client.redis.run([b"k"], b"x", heard.append)
        valkey.thaw()
        await client.until(lambda: client.redis.here)
        assert heard == [[b"k", b"late", 7]]
        assert client.said[0] == client.said[2] == ""
        assert "has not answered" in client.said[1]


async def test_killed_and_started_again(valkey: Valkey) -> None:
    async with connected(parse_url(valkey.url)) as client:
        await client.until(lambda: client.redis.here)
        valkey.freeze()
        heard: list[Any] = []
        client.redis.run([b"k"], b"x", heard.append)
        valkey.kill()
        await client.until(lambda: not client.redis.here)
        assert isinstance(heard[0], RedisError)
        await asyncio.sleep(0.1)  # it goes on trying
        valkey.start()
        await client.until(lambda: client.redis.here)
        assert await client.ask() == [b"k", b"x", 7]  # the script was brought again


async def test_nobody_there_then_somebody(valkey: Valkey) -> None:
    valkey.kill()
    async with connected(parse_url(valkey.url)) as client:
        await asyncio.sleep(0.1)
        assert not client.redis.here
        assert client.redis.refusal.startswith("it cannot be reached")
        valkey.start()
        await client.until(lambda: client.redis.here)
        assert len(client.said) == 2  # it was told once, however often it was tried
        assert client.said[0].startswith("it cannot be reached")


async def test_passwords(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with make_valkey(SECRET) as valkey:
        async with connected(Address("127.0.0.1", valkey.port, user="default", password=SECRET)) as client:
            await client.until(lambda: client.redis.here)
        async with connected(Address("127.0.0.1", valkey.port, password="wrong-" + SECRET)) as client:
            await client.until(lambda: "WRONGPASS" in client.redis.refusal)
            assert not client.redis.here
        async with connected(Address("127.0.0.1", valkey.port)) as client:
            await client.until(lambda: "NOAUTH" in client.redis.refusal)
        assert SECRET not in caplog.text + str(client.said)


async def test_an_error_in_the_middle_is_no_end(valkey: Valkey) -> None:
    """Like a server that became a replica, or runs out of memory."""
    async with connected(parse_url(valkey.url)) as client:
        await client.until(lambda: client.redis.here)
        async with connected(parse_url(valkey.url)) as other:
            await other.until(lambda: other.redis.here)
            flushed: list[Any] = []
            other.redis._send(other.redis._wire, (b"SCRIPT", b"FLUSH"), flushed.append)  # type: ignore[arg-type]
            await other.until(lambda: bool(flushed))
        assert isinstance(await client.ask(), RedisError)
        assert client.said[-1] == "it says NOSCRIPT"
        await client.until(lambda: client.redis.here)
        assert await client.ask() == [b"k", b"x", 7]


async def test_one_that_fails_at_every_call_is_tried_less_often(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "RETRY_S", (0.0, 0.1, 0.1, 30.0))
    broken = Script("return redis.call('GET', KEYS[1] .. nil)")
    said: list[str] = []
    client = Redis(asyncio.get_running_loop(), parse_url(valkey.url), broken, said.append)
    client.start()
    deadline = asyncio.get_running_loop().time() + 1.0
    while asyncio.get_running_loop().time() < deadline:
        client.run([b"k"], b"x", lambda reply: None)
        await asyncio.sleep(0.002)
    client.close()
    await asyncio.sleep(0)
    assert 2 <= said.count("") <= 4


async def test_one_that_is_there_but_takes_nothing_is_away_until_it_does(valkey: Valkey) -> None:
    async with connected(parse_url(valkey.url)) as client:
        client.redis.hello = lambda: ([b"there"], b"")
        client.redis._script = Script("return redis.call('SET', KEYS[1], 1)")
        await client.until(lambda: client.redis.here)
        with Talk(valkey) as talk:
            talk(b"CONFIG", b"SET", b"maxmemory", b"1")
            assert client.redis.run([b"a"], b"", lambda reply: None)
            await client.until(lambda: not client.redis.here)
            await asyncio.sleep(0.5)  # it connects again and again
            assert client.said == ["", "it says OOM"]
            talk(b"CONFIG", b"SET", b"maxmemory", b"0")
        await client.until(lambda: client.redis.here)
        assert client.said == ["", "it says OOM", ""]


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "v.sock"
    with make_valkey("", "--unixsocket", str(path)):
        async with connected(parse_url(f"unix://{path}")) as client:
            await client.until(lambda: client.redis.here)
            assert await client.ask() == [b"k", b"x", 7]


async def test_tls_and_a_certificate_that_nobody_signed(valkey: Valkey, tmp_path: Path) -> None:
    """Valkey behind a TLS relay: the wheel's server has none built in."""
    authority, context = trustme.CA(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", valkey.port)

        async def pass_on(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    sink.write(data)
            sink.close()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=context)
    async with server:
        url = f"rediss://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with connected(parse_url(url), str(tmp_path / "ca.pem")) as client:
            await client.until(lambda: client.redis.here)
            assert await client.ask() == [b"k", b"x", 7]
        async with connected(parse_url(url)) as client:
            await client.until(
                lambda: "cannot be reached" in client.redis.refusal and "yet" not in client.redis.refusal
            )
            assert not client.redis.here
        await asyncio.sleep(0.05)


def test_a_request_waits_less_than_it_takes_to_be_late() -> None:
    assert redis.AWAY_S / 50 <= 0.005
