"""Access tokens from a token endpoint of our own, over real HTTP."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from burncloud import clock
from burncloud.database.engine import Database
from burncloud.domain import link
from burncloud.domain.snapshot import Channel
from burncloud.service import channels, credentials
from burncloud.service.credentials import Credentials, MintError, check_key, is_minted, mint, project_of
from burncloud.service.secrets import MasterKey
from burncloud.service.snapshots import Snapshots
from tests.unit.service.test_snapshots import World

PRIVATE = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PEM = PRIVATE.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()


class Endpoint:
    """Gives tokens t1, t2, …; keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.life_s = 3600
        self.failure: tuple[int, Any] | None = None
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_POST(self) -> None:
                """A token."""
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                endpoint.asked.append((self.path, {name: values[0] for name, values in form.items()}))
                said = {
                    "access_token": f"t{len(endpoint.asked)}",
                    "expires_in": endpoint.life_s,
                    "token_type": "Bearer",
                }
                status, body = endpoint.failure or (200, said)
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps(body).encode())

            def log_message(self, *arguments: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def google(self) -> str:
        """A service account's key file that is exchanged here."""
        return json.dumps({
            "type": "service_account", "project_id": "my-project", "private_key_id": "1", "private_key": PEM,
            "client_email": "me@my-project.iam.gserviceaccount.com", "token_uri": self.url + "/token",
        }, indent=2)  # fmt: skip

    @property
    def entra(self) -> str:
        """A client of Entra that is known here."""
        value = {"tenant_id": "ten ant", "client_id": "me", "client_secret": "s&cret", "authority": self.url}
        return json.dumps(value)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    made = Endpoint()
    yield made
    made.close()


def test_google(endpoint: Endpoint) -> None:
    """The assertion is signed with the account's key and asks for the cloud's scope."""
    token = mint("google", endpoint.google)
    assert token.text == "t1"
    assert 3500 < token.expires_at - clock.now_s() <= 3600
    path, form = endpoint.asked[0]
    assert (path, form["grant_type"]) == ("/token", "urn:ietf:params:oauth:grant-type:jwt-bearer")
    head, payload, signature = form["assertion"].split(".")
    raw = [base64.urlsafe_b64decode(part + "==") for part in (payload, signature)]
    PRIVATE.public_key().verify(raw[1], f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    said = json.loads(raw[0])
    assert said["scope"] == credentials.GOOGLE_SCOPE
    assert said["iss"] == "me@my-project.iam.gserviceaccount.com"


def test_entra(endpoint: Endpoint) -> None:
    endpoint.life_s = 60
    token = mint("entra", endpoint.entra)
    assert (token.text, endpoint.asked[0][0]) == ("t1", "/ten%20ant/oauth2/v2.0/token")
    assert endpoint.asked[0][1] == {
        "grant_type": "client_credentials", "client_id": "me", "client_secret": "s&cret",
        "scope": "https://cognitiveservices.azure.com/.default",
    }  # fmt: skip
    assert 50 < token.expires_at - clock.now_s() <= 60


@pytest.mark.parametrize("kind", ["google", "entra"])
def test_why_there_is_no_token(endpoint: Endpoint, kind: str) -> None:
    """The endpoint's own word, without our secret."""
    key = endpoint.google if kind == "google" else endpoint.entra
    endpoint.failure = 401, {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid secret.\r\nTrace"}
    with pytest.raises(MintError, match=r"invalid_client|AADSTS7000215") as raised:
        mint(kind, key)
    assert "s&cret" not in str(raised.value)
    with pytest.raises(MintError):
        mint(kind, key.replace(endpoint.url, "http://127.0.0.1:1"))


def test_a_proxy_is_asked_for_the_token(endpoint: Endpoint) -> None:
    key = endpoint.entra.replace(endpoint.url, "http://127.0.0.1:1")
    assert mint("entra", key, proxy=endpoint.url).text == "t1"
    assert endpoint.asked[0][0] == "http://127.0.0.1:1/ten%20ant/oauth2/v2.0/token"


def test_keys_are_kept_in_one_line(endpoint: Endpoint) -> None:
    kept = check_key("google", endpoint.google)
    assert json.loads(kept) == json.loads(endpoint.google)
    assert "\n" not in kept
    assert project_of(kept) == "my-project"
    assert check_key("entra", " key ") == check_key("", "key") == "key"
    assert project_of("key") == ""
    assert is_minted("entra", "{")
    assert not is_minted("", "{")
    for mint_, text, why in [
        ("google", "{", "like JSON"),
        ("google", '{"type":"external_account"}', "service account"),
        ("google", '{"type":"service_account","client_email":"x"}', "private_key, token_uri is missing"),
        ("entra", '{"client_id":"x"}', "tenant_id"),
        ("entra", endpoint.entra.replace("127.0.0.1", "10.0.0.1"), "https"),
    ]:
        with pytest.raises(ValueError, match=why):
            check_key(mint_, text)


class Watched:
    """Snapshots with their credentials running, and a worker's world."""

    def __init__(self, db: Database, key: MasterKey) -> None:
        self.credentials = Credentials()
        self.snapshots = Snapshots(db, key, self.credentials)
        self.world = World()
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        await self.snapshots.load()
        self.world.take(self.snapshots.frames())
        self._tasks = [
            asyncio.create_task(self.snapshots.follow(self.world.take)),
            asyncio.create_task(self.credentials.run(self.snapshots.renew_channels)),
        ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, enabled: bool, *keys: str) -> Channel:
        """The channel, once it is like that."""
        async with asyncio.timeout(10):
            while True:
                channel: Channel | None = self.world.of("channel").get(1)
                if channel is not None and (channel.enabled, tuple(key for _, key in channel.keys)) == (enabled, keys):
                    return channel
                await asyncio.sleep(0.01)


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for it."""
    for _ in range(1000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it has not come")


async def add(db: Database, key: MasterKey, vendor: str, *secrets: str, **values: Any) -> None:
    await channels.create_channel(db, key, vendor, secrets, {"m": "m"}, **values)


async def test_workers_get_tokens_and_never_what_they_are_minted_from(sqlite_db: Database, endpoint: Endpoint) -> None:
    """At first the channel cannot be chosen; then it has a token, then the next, well before that one ends."""
    key = MasterKey(os.urandom(32))
    endpoint.life_s = 4
    await add(sqlite_db, key, "vertex", endpoint.google)
    watched = Watched(sqlite_db, key)
    await watched.start()
    try:
        assert not watched.world.of("channel")[1].enabled
        first = await watched.until(True, "Bearer t1")
        assert first.options == {"project": "my-project"}
        await watched.until(True, "Bearer t2")
        late = World()
        late.take(watched.snapshots.frames())
        assert late.of("channel")[1].keys[0][1] == "Bearer t2"
        assert b"PRIVATE" not in b"".join(watched.snapshots.frames())
        assert link.Ready in {type(link.decode_to_worker.decode(frame[4:])) for frame in watched.snapshots.frames()}
    finally:
        await watched.stop()


async def test_a_failing_endpoint_leaves_the_old_token_until_it_ends(
    sqlite_db: Database, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    key = MasterKey(os.urandom(32))
    endpoint.life_s = 5
    await add(sqlite_db, key, "azure", endpoint.entra, base_url="https://res.openai.azure.com")
    watched = Watched(sqlite_db, key)
    await watched.start()
    try:
        await watched.until(True, "Bearer t1")
        endpoint.failure = 500, {}
        await until(lambda: len(endpoint.asked) > 1)
        await asyncio.sleep(0.1)
        assert watched.world.of("channel")[1].keys[0][1] == "Bearer t1"
        await watched.until(False, "")
        assert "an access token cannot be had" in caplog.text
        endpoint.failure = None
        await watched.until(True, f"Bearer t{len(endpoint.asked) + 1}")
    finally:
        await watched.stop()


async def test_another_key_is_another_token(sqlite_db: Database, endpoint: Endpoint) -> None:
    key = MasterKey(os.urandom(32))
    await add(sqlite_db, key, "azure", endpoint.entra, "plain", base_url="https://res.openai.azure.com")
    watched = Watched(sqlite_db, key)
    await watched.start()
    try:
        await watched.until(True, "Bearer t1", "plain")
        other = endpoint.entra.replace('"me"', '"you"')
        await channels.update_channel(sqlite_db, "azure", {}, key, [other])
        await watched.until(True, "Bearer t2")
        await channels.delete_channel(sqlite_db, "azure")
        await until(lambda: not watched.world.of("channel"))
        assert not watched.credentials._held
    finally:
        await watched.stop()
