"""Access tokens for clouds: a channel's key that is JSON is exchanged for them, here and never in a worker.

A Google service account's key (or an authorized user's) goes through google-auth, an Entra client's through one
request.  A token is renewed when three quarters of its life are over; if that fails it stays in use until it ends,
and the failure is logged and tried again.  Workers see only what is published: the token as the channel's key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from burncloud import clock, logs

TIMEOUT_S: Final = 20
RETRY_S_MAX: Final = 300
ANSWER_BYTES_MAX: Final = 64 << 10
GOOGLE_SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
ENTRA_AUTHORITY: Final = "https://login.microsoftonline.com"
ENTRA_SCOPE: Final = "https://cognitiveservices.azure.com/.default"
NEEDED: Final[dict[str, tuple[str, ...]]] = {
    "service_account": ("client_email", "private_key", "token_uri"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "entra": ("tenant_id", "client_id", "client_secret"),
}
"""Kind of credential → its members that must be there; `token_uri`, `authority`, `scope` may say other places."""

log = logs.logger(__name__)


class Token(NamedTuple):
    """An access token."""

    text: str
    expires_at: int
    """Unix seconds."""


class MintError(Exception):
    """No token is to be had; the message says why, without secrets."""


def is_minted(mint: str, secret: str) -> bool:
    """Whether this key is exchanged for tokens."""
    return bool(mint) and secret.lstrip().startswith("{")


def check_key(mint: str, secret: str) -> str:
    """A key in the one line that it is kept in.  Raises ValueError, saying what is wrong with a JSON key."""
    if not is_minted(mint, secret):
        return secret.strip()
    try:
        value = json.loads(secret)
    except ValueError:
        raise ValueError("the key begins like JSON and is none") from None
    kind = _kind(mint, value)
    missing = [name for name in NEEDED.get(kind, ()) if not isinstance(value.get(name), str) or not value[name]]
    if kind not in NEEDED or missing:
        wanted = "a service account's key file" if mint == "google" else "tenant_id, client_id and client_secret"
        raise ValueError(
            f"the key is JSON, but not {wanted}" + (f": {', '.join(missing)} is missing" if missing else "")
        )
    for name in ("token_uri", "authority"):
        if name in value and not _is_safe(str(value[name])):
            raise ValueError(f"{name} must be an https:// address")
    return json.dumps(value, separators=(",", ":"))


def project_of(secret: str) -> str:
    """The project that a service account's key names; "" = none."""
    try:
        value = json.loads(secret)
    except ValueError:
        return ""
    return str(value.get("project_id") or "") if isinstance(value, dict) else ""


def _kind(mint: str, value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    return "entra" if mint == "entra" else str(value.get("type"))


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or local)


# Minting: blocking, in a thread


def mint(kind: str, secret: str, ca_file: str = "", proxy: str = "") -> Token:
    """Exchange a key for a token.  Raises MintError."""
    value = json.loads(secret)
    ask = _asker(ca_file, proxy)
    return _mint_entra(value, ask) if kind == "entra" else _mint_google(value, ask)


Ask = Callable[[str, bytes | None, dict[str, str], str], tuple[int, dict[str, str], bytes]]
"""(address, body, fields, method) → (status, fields, body)."""


def _asker(ca_file: str, proxy: str) -> Ask:
    import ssl  # none of this is needed by who has no cloud
    import urllib.error
    import urllib.request

    context = ssl.create_default_context()
    if ca_file:
        context.load_verify_locations(cafile=ca_file)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=context)]
    if proxy.startswith("http://"):
        handlers.append(urllib.request.ProxyHandler({"http": proxy, "https": proxy}))
    opener = urllib.request.build_opener(*handlers)

    def ask(url: str, body: bytes | None, fields: dict[str, str], method: str) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(url, body, fields, method=method)
        try:
            with opener.open(request, timeout=TIMEOUT_S) as answer:
                return answer.status, dict(answer.headers), answer.read(ANSWER_BYTES_MAX)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read(ANSWER_BYTES_MAX)

    return ask


def _mint_entra(value: dict[str, str], ask: Ask) -> Token:
    authority = value.get("authority", ENTRA_AUTHORITY).rstrip("/")
    url = f"{authority}/{quote(value['tenant_id'], safe='')}/oauth2/v2.0/token"
    form = {
        "grant_type": "client_credentials",
        "client_id": value["client_id"],
        "client_secret": value["client_secret"],
        "scope": value.get("scope", ENTRA_SCOPE),
    }
    fields = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    try:
        status, _, body = ask(url, urlencode(form).encode(), fields, "POST")
    except (OSError, ValueError) as error:
        raise MintError(_why(error)) from None
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    said = said if isinstance(said, dict) else {}
    token, life_s = said.get("access_token"), said.get("expires_in")
    if status != 200 or not isinstance(token, str) or not token:
        reason = str(said.get("error_description") or said.get("error") or "").partition("\n")[0].strip()[:300]
        raise MintError(f"the token endpoint answers {status}" + (f": {reason}" if reason else ""))
    return Token(token, clock.now_s() + (int(str(life_s)) if str(life_s).isdigit() else 3600))


def _mint_google(value: dict[str, str], ask: Ask) -> Token:
    import google.auth.exceptions
    import google.auth.transport
    import google.oauth2.credentials
    import google.oauth2.service_account

    broken: Any = google.auth.exceptions.TransportError

    class Answer(google.auth.transport.Response):
        """What google-auth reads of an answer."""

        def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self._parts = status, headers, data

        status = property(lambda self: self._parts[0])
        headers = property(lambda self: self._parts[1])
        data = property(lambda self: self._parts[2])

    class Transport(google.auth.transport.Request):
        """google-auth's requests through the standard library."""

        def __call__(
            self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **more: Any
        ) -> Answer:
            raw = body.encode() if isinstance(body, str) else body
            try:
                return Answer(*ask(url, raw, dict(headers or {}), method))
            except (OSError, ValueError) as error:
                raise broken(_why(error)) from None

    try:
        people: Any = google.oauth2.credentials.Credentials
        services: Any = google.oauth2.service_account.Credentials
        is_service = value["type"] == "service_account"
        make = services.from_service_account_info if is_service else people.from_authorized_user_info
        credentials = make(value, scopes=[GOOGLE_SCOPE])
        credentials.refresh(Transport())
    except (google.auth.exceptions.GoogleAuthError, ValueError, KeyError) as error:
        raise MintError(_why(error)) from None
    expiry = credentials.expiry
    lasts = int(expiry.replace(tzinfo=UTC).timestamp()) if expiry is not None else clock.now_s() + 3600
    return Token(credentials.token, lasts)


def _why(error: BaseException) -> str:
    reason = getattr(error, "reason", None) or (error.args[0] if error.args else "") or type(error).__name__
    return str(reason).partition("\n")[0][:300]


# Keeping


class _Held:
    """One key and its token."""

    def __init__(self, channel: int, kind: str, secret: str, proxy: str) -> None:
        self.channel = channel
        self.wanted = kind, secret, proxy
        self.token = Token("", 0)
        self.due_at = 0.0
        """Unix seconds of the next try."""
        self.failures = 0
        self.busy = False


class Credentials:
    """The tokens of all channels."""

    def __init__(self, ca_file: str = "") -> None:
        self._ca_file = ca_file
        self._held: dict[tuple[int, int], _Held] = {}
        self._wake = asyncio.Event()

    def token(self, channel: int, key: int, kind: str, secret: str, proxy: str = "") -> str:
        """The token of a key as it is now, "" = there is none (yet); from here on it is kept fresh."""
        held = self._held.get((channel, key))
        if held is None or held.wanted != (kind, secret, proxy):
            held = self._held[channel, key] = _Held(channel, kind, secret, proxy)
            self._wake.set()
        return held.token.text if held.token.expires_at > clock.now_s() else ""

    def keep(self, channel: int, keys: Collection[int]) -> None:
        """A channel has these keys and no others."""
        for known in [known for known in self._held if known[0] == channel and known[1] not in keys]:
            del self._held[known]

    async def run(self, changed: Callable[[list[int]], Awaitable[None]]) -> None:
        """Mint what is wanted and what is due; `changed` is told the channels.  Ends only by cancellation."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                self._wake.clear()
                now = clock.now_s()
                for name, held in self._held.items():
                    if held.due_at <= now and not held.busy:
                        held.busy = True
                        task = asyncio.create_task(self._renew(name, held, changed))
                        tasks.add(task)
                        task.add_done_callback(tasks.discard)
                due = min((held.due_at for held in self._held.values() if not held.busy), default=now + 3600)
                try:
                    async with asyncio.timeout(max(0.05, min(due - clock.now_s(), 60))):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in tasks:
                task.cancel()

    async def _renew(self, name: tuple[int, int], held: _Held, changed: Callable[[list[int]], Awaitable[None]]) -> None:
        kind, secret, proxy = held.wanted
        had = held.token
        try:
            held.token = await asyncio.to_thread(mint, kind, secret, self._ca_file, proxy)
        except Exception as error:
            reason = str(error) if isinstance(error, MintError) else type(error).__name__
            held.failures += 1
            now = clock.now_s()
            left_s = held.token.expires_at - now
            wait_s = min(2**held.failures, RETRY_S_MAX)
            held.due_at = now + (min(wait_s, left_s) if 0 < left_s < wait_s else wait_s)
            said = {"channel_id": held.channel, "reason": reason, "valid_s": max(0, left_s)}
            log.error("an access token cannot be had", extra=said)
            if left_s <= 0:
                held.token = Token("", 0)
        else:
            held.failures = 0
            now = clock.now_s()
            held.due_at = now + max(1, (held.token.expires_at - now) * 3 // 4)
        finally:
            held.busy = False
            self._wake.set()
        if held.token.text != had.text and self._held.get(name) is held:
            await changed([held.channel])
