"""Every setting, in one table; the only file that reads the environment.

A setting is one attribute of `Settings`, declared with its default, its unit and its meaning; its
name in the environment is the attribute's in capitals.  `load()` reads `.env` in the working
directory, then the environment (which wins), and answers a bad value with one clear sentence.
`SETTINGS` is the same table as rows, from which docs/settings.md is made.  A child process finds
what its supervisor gave it with `boot()`.  Nothing heavy is imported here: every process starts
with this file.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, NamedTuple

LOG_LEVELS: Final[dict[str, str]] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "off": "critical",
    "critical": "critical",
}
"""Spellings of a log level (Rust's, too, since RUST_LOG is an alias) to Python's."""

DATABASE_SCHEMES: Final = ("sqlite:", "postgres://", "postgresql://")
SLOTS: Final = 64
"""Places for workers in the load map and in shared limits."""
WORKERS_MAX: Final = SLOTS - 1
"""One place stays free, so that a reload can put the next worker beside the one that goes."""
REDIS_SCHEMES: Final = ("redis://", "rediss://", "valkey://", "valkeys://", "unix://")
BOOT_VARIABLE: Final = "BURNCLOUD_BOOT"
EXIT_HOPELESS: Final = 78
"""A child exits with this (sysexits' EX_CONFIG) when starting it again cannot help, like a database that it
may not open; at start-up the supervisor then gives up instead of trying for ever."""


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one sentence for the person who set it."""


class Setting(NamedTuple):
    """One row of the table of settings."""

    name: str
    """As in the environment."""
    default: str
    unit: str
    """ms, bytes, tokens, … or "" where it has none."""
    meaning: str
    secret: bool = False
    """Never shown as it is."""


def _parse_text(name: str, text: str) -> str:
    return text


def _whole(low: int, high: int) -> Callable[[str, str], int]:
    def parse(name: str, text: str) -> int:
        plain = text.isascii() and text.removeprefix("-").isdigit() and len(text) < 20
        value = int(text) if plain else low - 1
        if not low <= value <= high:
            raise ConfigError(f"{name} is {text[:40]!r}, but must be a whole number from {low} to {high}.")
        return value

    return parse


def _one_of(*choices: str) -> Callable[[str, str], str]:
    def parse(name: str, text: str) -> str:
        if text.lower() not in choices:
            raise ConfigError(f"{name} is {text!r}, but must be one of: {', '.join(choices)}.")
        return text.lower()

    return parse


def _parse_log_level(name: str, text: str) -> str:
    """A level, or Rust's list of directives ("info,hyper=warn"), of which the bare one counts."""
    parts = [part.strip().lower() for part in text.split(",")]
    bare = [part for part in parts if "=" not in part] or [part.split("=")[-1] for part in parts]
    if bare[0] not in LOG_LEVELS:
        raise ConfigError(f"{name} is {text!r}, but must be one of: {', '.join(LOG_LEVELS)}.")
    return LOG_LEVELS[bare[0]]


def _parse_database_url(name: str, text: str) -> str:
    if not text.startswith(DATABASE_SCHEMES):
        raise ConfigError(
            f"{name} must begin with one of {', '.join(DATABASE_SCHEMES)} (like sqlite:burncloud.db); "
            f"it begins with {text.split(':')[0]!r}."
        )
    return text


def _parse_redis_url(name: str, text: str) -> str:
    """What the URL says beyond its scheme is not repeated: there may be a password in it."""
    from urllib.parse import urlsplit

    if not text.startswith(REDIS_SCHEMES):
        raise ConfigError(
            f"{name} must begin with one of {', '.join(REDIS_SCHEMES)} (like redis://cache:6379/0); "
            f"it begins with {text.split(':')[0][:20]!r}."
        )
    try:
        parts = urlsplit(text)
        database = parts.path.strip("/")
        numbered = parts.port != 0 and (not database or (database.isascii() and database.isdigit()))
        sound = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and numbered
    except ValueError:
        sound = False
    if not sound:
        raise ConfigError(f"{name} must look like redis://:PASSWORD@HOST:6379/0 or unix:///PATH.")
    return text


def _parse_networks(name: str, text: str) -> tuple[str, ...]:
    import ipaddress

    networks = tuple(part.strip() for part in text.split(",") if part.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise ConfigError(
                f"{name} holds {network!r}, which is no network; write networks like 10.0.0.0/8, comma between."
            ) from None
    return networks


def _setting(
    default: object,
    unit: str,
    meaning: str,
    parse: Callable[[str, str], object] = _parse_text,
    alias: str = "",
    secret: bool = False,
) -> Any:
    """A field of Settings: `parse` turns (name, text) into its value; `alias` is read where the name is not set;
    a `secret` is shown nowhere, in repr() neither."""
    metadata = {"unit": unit, "meaning": meaning, "parse": parse, "alias": alias, "secret": secret}
    return field(default=default, repr=not secret, metadata=metadata)


_MS = _whole(1, 1 << 40)
_BYTES = _whole(1, 1 << 50)


@dataclass(frozen=True)
class Settings:
    """What the house was told; frozen, made by `load()`.  Each default is a working one."""

    host: str = _setting("0.0.0.0", "", "Address to listen on; several with a comma between; [::] or :: for IPv6.")
    port: int = _setting(3000, "", "Port to listen on; 0 takes a free one.", _whole(0, 65535))
    database_url: str = _setting(
        "sqlite:burncloud.db",
        "",
        "sqlite:PATH or postgresql://USER:PASSWORD@HOST/NAME.",
        _parse_database_url,
        secret=True,
    )
    database_wait_ms: int = _setting(
        30_000, "ms", "At the start, a database that does not answer is waited for this long.", _MS
    )
    data_dir: str = _setting("burncloud.data", "", "Folder of journals, locks and the master key; on a local disk.")
    log_level: str = _setting(
        "info",
        "",
        "debug, info, warning, error or critical. RUST_LOG is read as an alias.",
        _parse_log_level,
        "RUST_LOG",
    )
    workers: int = _setting(1, "", "Worker processes; one for each core that shall serve.", _whole(1, WORKERS_MAX))
    master_key: str = _setting(
        "", "", "Key that encrypts upstream keys; empty: the file DATA_DIR/master.key.", secret=True
    )
    node: str = _setting("", "", "Name of this node in the ledger; empty: the host's name.")
    connect_timeout_ms: int = _setting(10_000, "ms", "Longest wait for a connection to an upstream.", _MS)
    first_byte_timeout_ms: int = _setting(300_000, "ms", "Longest wait for an upstream's first byte.", _MS)
    stall_timeout_ms: int = _setting(120_000, "ms", "Longest silence inside an upstream's answer.", _MS)
    first_content_timeout_ms: int = _setting(
        300_000, "ms", "Longest wait for the first content of a stream, from the request on.", _MS
    )
    total_timeout_ms: int = _setting(3_600_000, "ms", "Longest time for a whole exchange.", _MS)
    client_idle_timeout_ms: int = _setting(120_000, "ms", "An idle client connection is closed after this.", _MS)
    client_stall_timeout_ms: int = _setting(60_000, "ms", "A client that takes nothing this long is cut off.", _MS)
    head_timeout_ms: int = _setting(30_000, "ms", "Longest time for a request's head to arrive.", _MS)
    body_bytes_max: int = _setting(64 << 20, "bytes", "Longest request body.", _BYTES)
    body_memory_bytes: int = _setting(128 << 20, "bytes", "Memory for request bodies, each worker.", _BYTES)
    spool_bytes: int = _setting(4 << 30, "bytes", "Disk for large request bodies, each worker.", _BYTES)
    unsent_bytes_max: int = _setting(128 << 20, "bytes", "Bytes held or waiting for slow clients, each worker.", _BYTES)
    drain_timeout_ms: int = _setting(30_000, "ms", "At a stop, open streams get this long to finish.", _MS)
    journal_bytes_max: int = _setting(1 << 30, "bytes", "Longest journal of a worker; above it 503.", _BYTES)
    journal_sync_ms: int = _setting(50, "ms", "Longest time until a receipt is safe from a loss of power.", _MS)
    interrupted_charge: str = _setting(
        "prompt",
        "",
        "What a request that a crash interrupted is charged: none, prompt or reserved.",
        _one_of("none", "prompt", "reserved"),
    )
    unpriced: str = _setting(
        "refuse", "", "A model without a price: refuse it, or pass it for free.", _one_of("refuse", "free")
    )
    default_reserve_output: int = _setting(
        4096, "tokens", "Output reserved where a request states no maximum.", _whole(0, 1 << 30)
    )
    trusted_proxies: tuple[str, ...] = _setting(
        (), "", "Networks whose X-Forwarded-For is believed, comma between.", _parse_networks
    )
    upstream_ca_file: str = _setting("", "", "File with further certificate authorities for upstreams.")
    upstream_deny: tuple[str, ...] = _setting(
        ("169.254.0.0/16", "fe80::/10"), "", "Networks that no upstream may lie in, comma between.", _parse_networks
    )
    attempts_max: int = _setting(3, "", "Most attempts at upstreams for one request.", _whole(1, 100))
    attempts_timeout_ms: int = _setting(120_000, "ms", "No further attempt begins after this.", _MS)
    retry_same_ms: int = _setting(
        500,
        "ms",
        "Pause before a channel that failed is asked once more, where no other is left; 0 = never.",
        _whole(0, 1 << 40),
    )
    broken_streams: str = _setting(
        "continue",
        "",
        "A stream that breaks: continue it at another channel, or tell the client the error. "
        "NAME:MODEL is that of one model; a token's option of this name wins.",
        _one_of("continue", "error"),
    )
    hedge_after_ms: int = _setting(
        0,
        "ms",
        "Another channel is asked, too, where the first has not begun to answer after this; 0 = never. "
        "NAME:MODEL is that of one model.",
        _whole(0, 1 << 40),
    )
    queue_max: int = _setting(
        1000,
        "",
        "Most requests that wait, in each worker, while all channels of their model are at their limits; 0 = none.",
        _whole(0, 1_000_000),
    )
    queue_wait_ms: int = _setting(10_000, "ms", "Longest such wait; then 429.", _MS)
    redis_url: str = _setting(
        "",
        "",
        "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE] of a Redis or Valkey, with which limits hold across nodes; "
        "rediss:// with TLS, unix:///PATH; empty: nodes divide the limits.",
        _parse_redis_url,
        secret=True,
    )
    affinity: str = _setting(
        "on",
        "",
        "Whether a conversation stays at its channel, as far as the shares allow it: on or off (balancing.md).",
        _one_of("on", "off"),
    )
    probe_every_s: int = _setting(
        0,
        "s",
        "All enabled channels are tested this often with cheap requests, which cost a little; 0 = only when asked to.",
        _whole(0, 1 << 30),
    )
    pool_connections_max: int = _setting(
        10_000,
        "",
        "Most connections of a worker to one upstream; who finds all in use waits in turn, at most CONNECT_TIMEOUT_MS.",
        _whole(1, 1 << 20),
    )
    pool_idle_ms: int = _setting(60_000, "ms", "An idle connection to an upstream is closed after this.", _MS)


LIVE: Final = (
    "unpriced", "interrupted_charge", "default_reserve_output", "attempts_max", "broken_streams",
    "hedge_after_ms", "affinity",
)  # fmt: skip
"""Attributes of Settings that may also stand in the database, where they win, and change while the house runs."""


PER_MODEL: Final = ("broken_streams", "hedge_after_ms")
"""Those of them that may also be said of one model: NAME:MODEL."""


def tuned(settings: Settings, values: Mapping[str, str]) -> Settings:
    """The settings with the live ones among `values` (the Snapshot's); what cannot be used is left out."""
    fitting: dict[str, Any] = {}
    for f in fields(Settings):
        if f.name in LIVE and f.name in values:
            try:
                fitting[f.name] = f.metadata["parse"](f.name.upper(), values[f.name])
            except ConfigError:
                continue
    return replace(settings, **fitting)


def _as_text(value: object) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


SETTINGS: Final[tuple[Setting, ...]] = tuple(
    Setting(f.name.upper(), _as_text(f.default), f.metadata["unit"], f.metadata["meaning"], f.metadata["secret"])
    for f in fields(Settings)
)
"""The table of settings, in the order of documentation."""


def parse_env_file(text: str) -> dict[str, str]:
    """The assignments in a `.env` file: NAME=value lines, optional `export`, quotes and # comments."""
    found: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, equals, value = line.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name.isidentifier():
            raise ConfigError(f".env line {number} is no assignment; write NAME=value.")
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            if end < 0:
                raise ConfigError(f".env line {number}: the quote before the value of {name} is never closed.")
            value = value[1:end]
        else:
            value = value.split(" #")[0].rstrip()
        found[name] = value
    return found


def environment() -> dict[str, str]:
    """The environment with the settings of `.env` below it: what the supervisor reads, and hands to all its children.

    A child finds all in its environment: one that is started again knows what the others know, whatever stands in the
    file by then; that counts from the next reload on.  Raises ConfigError for a file that cannot be read.
    """
    names = {name for f in fields(Settings) for name in (f.name.upper(), f.metadata["alias"])}
    return {name: value for name, value in _environment().items() if name in names} | os.environ


def _environment() -> dict[str, str]:
    """`.env` below the environment."""
    if BOOT_VARIABLE in os.environ:
        return dict(os.environ)
    try:
        with open(".env", encoding="utf-8-sig") as file:  # Windows editors begin a file with a mark
            return parse_env_file(file.read()) | os.environ
    except FileNotFoundError:
        return dict(os.environ)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f".env cannot be read: {error}.") from None


def load(env: Mapping[str, str] | None = None) -> Settings:
    """The settings: from `env` if given, else from `.env` and the environment.

    An empty variable counts as not set.  Raises ConfigError with one sentence for a bad value.
    """
    source = _environment() if env is None else env
    values: dict[str, Any] = {}
    for f in fields(Settings):
        for name in (f.name.upper(), f.metadata["alias"]):
            text = source.get(name, "").strip() if name else ""
            if text:
                values[f.name] = f.metadata["parse"](name, text)
                break
    if not values.get("node"):
        values["node"] = socket.gethostname()
    return Settings(**values)


@dataclass(frozen=True)
class Boot:
    """What a child process gets from its supervisor (see app/supervisor.py)."""

    role: str
    """"control", "worker" or "check"."""
    index: int = 0
    """A worker's number, from 0: its slot in the load map; after a reload these are other ones."""
    workers: int = 1
    listen_fds: tuple[int, ...] = ()
    """Listening sockets, shared by all workers; empty: the worker binds HOST:PORT itself (Windows)."""
    alive_fd: int = -1
    """Read end of a pipe: EOF means that the supervisor is gone or says stop; then drain and exit."""
    load_fd: int = -1
    """Shared map of 64 u32, open connections by worker, 0xFFFFFFFF where none accepts; -1: no map (one worker)."""
    ready_fd: int = -1
    """Write end of a pipe: one byte, written once, says that this process serves (`app.child.announce_ready`)."""
    run_dir: str = ""
    """Private folder of the two local sockets."""
    link_port: int = 0
    """Loopback port of the link where there are no Unix sockets, else 0."""
    http_port: int = 0
    """Loopback port of control's HTTP where there are no Unix sockets, else 0."""
    secret: str = ""
    """What a worker must show on a loopback link; "" on a Unix socket."""

    @property
    def link_path(self) -> str:
        """The Unix socket of the link (Snapshot, leases)."""
        return os.path.join(self.run_dir, "link.sock")

    @property
    def http_path(self) -> str:
        """The Unix socket of control's HTTP server."""
        return os.path.join(self.run_dir, "http.sock")


def boot(env: Mapping[str, str] | None = None) -> Boot:
    """The boot record of this child process.  Raises ConfigError where there is none."""
    text = (os.environ if env is None else env).get(BOOT_VARIABLE, "")
    try:
        record = json.loads(text)
        return Boot(**record | {"listen_fds": tuple(record.get("listen_fds", ()))})
    except (ValueError, TypeError, AttributeError):
        raise ConfigError(f"{BOOT_VARIABLE} holds no boot record: this process is started by `burncloud`.") from None


def child_environment(record: Boot, extra: Mapping[str, str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child: the one given (ours), `extra`, and its boot record."""
    return {**(os.environ if given is None else given), **extra, BOOT_VARIABLE: json.dumps(asdict(record))}


def crash_at() -> str:
    """CRASH_AT=point:n, a switch for tests (crash.py); "" in real life."""
    return os.environ.get("CRASH_AT", "")


def clock_offset_ms() -> int:
    """CLOCK_OFFSET_MS, a switch for tests: the wall clock is off by this much (clock.py); 0 in real life."""
    return int(os.environ.get("CLOCK_OFFSET_MS", "0"))
