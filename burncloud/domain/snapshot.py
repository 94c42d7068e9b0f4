"""What a worker knows of the world: the records of the Snapshot.

The control process publishes these over the link, all at the start and single ones as they
change; a worker looks them up and never asks the database.  Amounts of quota are not here:
they live in the database and reach a worker only as leases (domain/leases.py).
Records travel as msgpack arrays, so a field may only ever be added at the end, with a default.
"""

from __future__ import annotations

import msgspec

from burncloud.domain.money import RATIO_ONE
from burncloud.domain.pricing import Price


class User(msgspec.Struct, array_like=True, gc=False):
    """A payer."""

    id: int
    enabled: bool = True
    group: str = "default"
    limited: bool = False
    """True where the user's quota is finite or it has a budget: its requests reserve on a lease."""


class Token(msgspec.Struct, array_like=True, gc=False):
    """A client's key, known here only by the SHA-256 of its text."""

    id: int
    hash: bytes
    """32 bytes: SHA-256 of the key as the client sends it, UTF-8, with its prefix ("sk-…")."""
    user: int
    enabled: bool = True
    limited: bool = False
    """The same for the token's own."""
    expires_at: int = -1
    """Unix seconds; −1 never."""
    group: str = ""
    """Overrides the user's group unless empty."""
    models: tuple[str, ...] | None = None
    """The models it may call; None = all of its group."""
    networks: tuple[str, ...] = ()
    """CIDR blocks it may be used from; empty = any."""
    options: dict[str, object] = {}
    """"strict": requests that cannot be translated without loss are refused."""


class Channel(msgspec.Struct, array_like=True, gc=False):
    """One way to reach one vendor, with the models it serves there."""

    id: int
    ref: str
    """Opaque public id ("ch_…"), sent to clients as x-burncloud-channel."""
    vendor: str
    """Name of a row in adaptors/vendors.py ("openai", "anthropic", "gemini", …)."""
    base_url: str
    """Empty = the vendor's own."""
    keys: tuple[tuple[int, str], ...]
    """(key id, secret in the clear), at least one."""
    models: dict[str, str]
    """Public model name → the name to send upstream (often the same)."""
    groups: tuple[str, ...] = ("default",)
    enabled: bool = True
    priority: int = 0
    """Higher is tried first."""
    weight: int = 1
    """Share inside its priority tier; see router/choose.py for what 0 means."""
    options: dict[str, object] = {}
    """Per-channel settings: "ca_file", "verify_tls", … (docs/channels.md)."""


class Group(msgspec.Struct, array_like=True, gc=False):
    """A price group of users and tokens."""

    name: str
    ratio_ppm: int = RATIO_ONE


class Setting(msgspec.Struct, array_like=True, gc=False):
    """A setting kept in the database rather than in the environment."""

    name: str
    value: str


class Limit(msgspec.Struct, array_like=True, gc=False):
    """How much of a thing may be asked at once and in a minute; −1 = as much as comes."""

    name: str
    """"kind:id": token:12, user:3, group:default, channel:7, model:gpt-4."""
    requests: int = -1
    """In any 60 seconds, as are the tokens."""
    tokens: int = -1
    concurrency: int = -1
    whole: tuple[int, int, int] | None = None
    """The three for all nodes together, where those above are this node's part."""
    nodes: int = 1
    """How many are live."""


class Policy(msgspec.Struct, array_like=True, gc=False):
    """How some models are served (domain/policies.py); what it does not say, another one may."""

    name: str
    scope: str
    """For whom: "*" all · "group:vip" · "token:12"."""
    models: str
    """A public name, perhaps with a star."""
    balance: str = ""
    affinity: str = ""
    """on · off."""
    fallbacks: dict[str, tuple[str, ...]] = {}
    """When → the models that answer instead, in their order."""


Record = User | Token | Channel | Group | Price | Setting | Limit | Policy
RECORD_TYPES: dict[str, type[Record]] = {
    "user": User,
    "token": Token,
    "channel": Channel,
    "group": Group,
    "price": Price,
    "setting": Setting,
    "limit": Limit,
    "policy": Policy,
}
"""Kind on the link → record type.  The first full load comes in this order."""
