"""What differs on the way to a channel from the ordinary one: places of its own, options of the operator, a signature.

Made once for each channel whose vendor or options ask for it; an ordinary channel has none, and its requests pay
nothing for this.  All that can be known before a request comes is ready bytes here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote

import msgspec

from burncloud import clock
from burncloud.adaptors.overrides import NOTHING, Overrides, overrides
from burncloud.adaptors.sigv4 import Credentials, signature_headers
from burncloud.adaptors.vendors import Place, Vendor, option_values
from burncloud.domain.snapshot import Channel

PATHS_MAX: Final = 1000
AUTH_FIELDS: Final[dict[str, str]] = {
    "bearer": "authorization: Bearer {}\r\n",
    "x-api-key": "x-api-key: {}\r\n",
    "x-goog-api-key": "x-goog-api-key: {}\r\n",
    "api-key": "api-key: {}\r\n",
    "aws": "authorization: Bearer {}\r\n",
}
BEARER: Final = "Bearer "
"""Begins a key that is an access token, at vendors that take their keys elsewhere (Azure with Entra)."""


def auth_field(vendor: Vendor, secret: str, replaced: Iterable[str] = ()) -> str:
    """The line of the head with the credential; "" where each request is signed, or an option sets that field."""
    if vendor.auth == "aws" and credentials_of(secret) is not None:
        return ""
    line = f"authorization: {secret}\r\n" if secret.startswith(BEARER) else AUTH_FIELDS[vendor.auth].format(secret)
    return "" if line.partition(":")[0] in replaced else line


def credentials_of(secret: str) -> Credentials | None:
    """ACCESS_KEY_ID:SECRET[:SESSION_TOKEN]; None for a Bedrock API key, which has no colon."""
    parts = secret.split(":")
    return Credentials(*parts) if len(parts) in (2, 3) and all(parts) else None


class Reach:
    """The way to one channel."""

    __slots__ = (
        "_headers",
        "_params",
        "_paths",
        "_places",
        "_removed",
        "_service",
        "_values",
        "fields",
        "host",
        "query",
    )

    def __init__(self, vendor: Vendor, channel: Channel, host: str) -> None:
        """Raises ValueError for options that cannot be used."""
        options = channel.options
        self.host = host
        self._places: Mapping[str, Place] = vendor.places
        self._values = option_values(vendor, options) if vendor.places or vendor.auth == "aws" else {}
        self._service = vendor.service if vendor.auth == "aws" else ""
        self._params = overrides(_mapping(options, "params"))
        headers = _mapping(options, "headers")
        self._headers = {str(name).lower(): str(value) for name, value in _mapping(headers, "set").items()}
        """To set."""
        removed = headers.get("remove", ())
        dropped = [str(name).lower() for name in removed] if isinstance(removed, list | tuple) else []
        self._removed = tuple(f"{name}:".encode("latin-1") for name in (*dropped, *self._headers))
        self.fields = "".join(f"{name}: {value}\r\n" for name, value in self._headers.items())
        if "\n" in self.fields.replace("\r\n", ""):
            raise ValueError("a header to set has a line break")
        query = {str(name): str(value) for name, value in _mapping(options, "query").items()}
        version = options.get("api_version")
        if version and "api_version" not in self._values:
            query.setdefault("api-version", str(version))
        self.query = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query.items()
        ).encode()
        self._paths: dict[tuple[str, str, bool, bytes], bytes] = {}

    @property
    def replaced(self) -> Iterable[str]:
        """Names of the fields that are set here, in lower case."""
        return self._headers.keys()

    def place(self, api: str) -> Place | None:
        """Where the vendor takes this API, if that is not behind the base URL."""
        places = self._places
        return places.get(api) or places.get("")

    def is_invoke(self, api: str) -> bool:
        """Whether this API is Bedrock's InvokeModel of Claude."""
        place = self.place(api)
        return place is not None and place.invoke

    def path(self, api: str, model: str, stream: bool, client_path: bytes) -> bytes | None:
        """Path and query to ask for; None = as it is behind the base URL."""
        key = api, model, stream, client_path if api not in self._places else b""
        path = self._paths.get(key)
        if path is None:
            place = self.place(api)
            if place is None:
                return None
            path = place.path(model, stream, client_path.decode("latin-1"), self._values).encode("latin-1")
            if len(self._paths) < PATHS_MAX:
                self._paths[key] = path
        return path

    def with_query(self, path: bytes, query: bytes) -> bytes:
        """Path, its own query, the client's (with its "?" or empty) and the option's as one."""
        more = [part for part in (query[1:], self.query) if part]
        return path + (b"&" if b"?" in path else b"?") + b"&".join(more) if more else path

    def edits(self, api: str, head: bytes) -> Overrides:
        """What is done to the body: what the operator wants, then what the vendor needs."""
        place = self.place(api)
        if place is None or not (place.body or place.invoke):
            return self._params
        added = dict(place.body.set)
        if place.invoke and (names := betas(head)):
            added["anthropic_beta"] = msgspec.json.encode(names)
        mine = self._params
        if mine is NOTHING:
            return Overrides(added, place.body.default, place.body.remove)
        return Overrides(
            mine.set | added,
            {name: value for name, value in mine.default.items() if name not in place.body.remove},
            (*(name for name in mine.remove if name not in added), *place.body.remove),
        )

    def head(self, head: bytes, api: str) -> bytes:
        """The client's fields without those that are set or removed here, and those that AWS would take for its own."""
        removed = self._removed
        if self._service:
            removed = (*removed, b"x-amz-")
        if self.is_invoke(api):
            removed = (*removed, b"anthropic-", b"accept:")
        if not removed:
            return head
        kept = [line for line in head.split(b"\r\n") if line and not line.lower().startswith(removed)]
        return b"\r\n".join([*kept, b""])

    def signs(self, secret: str) -> bool:
        """Whether a request with this key is signed, its body included."""
        return bool(self._service) and credentials_of(secret) is not None

    def signature(self, secret: str, method: bytes, target: bytes, body: Iterable[bytes], sha256: str = "") -> bytes:
        """The fields that sign a request, where the vendor wants that.

        `target`: path and query; `sha256`: the body's, hex, where it is known already.
        """
        credentials = credentials_of(secret) if self._service else None
        if credentials is None:
            return b""
        if not sha256:
            digest = hashlib.sha256()
            for piece in body:
                digest.update(piece)
            sha256 = digest.hexdigest()
        path, _, query = target.decode("latin-1").partition("?")
        signed = signature_headers(
            method.decode(), path, query, [("host", self.host)], sha256,
            credentials, self._values["region"], self._service, clock.now_ns() // 1_000_000_000,
        )  # fmt: skip
        return "".join(f"{name}: {value}\r\n" for name, value in signed).encode("latin-1")


def reach_of(vendor: Vendor, channel: Channel, host: str) -> Reach | None:
    """The way to a channel; None for an ordinary one."""
    special = channel.options.keys() & {"headers", "params", "query", "api_version"}
    if not (special or vendor.places or vendor.auth == "aws"):
        return None
    return Reach(vendor, channel, host)


def betas(head: bytes) -> list[str]:
    """The names in a client's anthropic-beta."""
    lines = [line.partition(b":")[2] for line in head.split(b"\r\n") if line[:15].lower() == b"anthropic-beta:"]
    names = [name.strip().decode("latin-1") for line in lines for name in line.split(b",")]
    return list(dict.fromkeys(name for name in names if name))


def _mapping(options: Mapping[str, object], name: str) -> dict[str, object]:
    value = options.get(name)
    return value if isinstance(value, dict) else {}
