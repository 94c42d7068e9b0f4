"""Every table, once, for both engines.

Times are unix seconds unless the name says `_ns`; money is integer nano-dollars in BIGINT; ids are
AUTOINCREMENT and never reused, rows of people's making are soft-deleted (`deleted_at`).  `used` and
`leased` live in `balances`, apart from the accounts, so that booking never fires the change triggers
(shared MONEY.md §3).  No foreign key leads out of the ledger: receipts outlive what they name.

The triggers that fill `changes` stand in the first migration; a change of a table here needs a migration,
and a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
    true,
)

from burncloud.domain.money import RATIO_ONE
from burncloud.domain.usage import KINDS

metadata: Final = MetaData()

ID: Final = BigInteger().with_variant(Integer, "sqlite")
"""SQLite autoincrements INTEGER keys only; they are 64 bits wide all the same."""
JSON_OR_NULL: Final = JSON(none_as_null=True)


def _number(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text(str(default)))


def _word(name: str, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text(f"'{default}'"))


def _flag(name: str, default: bool) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=true() if default else false())


def _kinds() -> list[Column[Any]]:
    return [_number(kind) for kind in KINDS]


meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))
"""`ledger` → the uuid of this database's money; `epoch:<node>` → the number of that node's control process."""

users = Table(
    "users",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    _word("password_hash"),
    _word("role", "user"),
    _word("group", "default"),
    _number("quota_limit"),
    _flag("enabled", True),
    _number("created_at"),
    Column("deleted_at", BigInteger),
    sqlite_autoincrement=True,
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", ID, primary_key=True),
    Column("hash", LargeBinary, nullable=False, unique=True),
    _word("hint"),
    _word("name"),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False, index=True),
    _number("quota_limit", -1),
    _number("expires_at", -1),
    _word("group"),
    Column("models", JSON_OR_NULL),
    Column("networks", JSON, nullable=False, server_default=text("'[]'")),
    _flag("enabled", True),
    _number("created_at"),
    Column("deleted_at", BigInteger),
    Column("options", JSON, nullable=False, server_default=text("'{}'")),
    sqlite_autoincrement=True,
)

channels = Table(
    "channels",
    metadata,
    Column("id", ID, primary_key=True),
    Column("ref", Text, nullable=False, unique=True),
    _word("name"),
    Column("vendor", Text, nullable=False),
    _word("base_url"),
    Column("models", JSON, nullable=False, server_default=text("'{}'")),
    Column("groups", JSON, nullable=False, server_default=text("'[\"default\"]'")),
    _number("priority"),
    _number("weight", 1),
    _flag("enabled", True),
    Column("options", JSON, nullable=False, server_default=text("'{}'")),
    _number("created_at"),
    Column("deleted_at", BigInteger),
    sqlite_autoincrement=True,
)

channel_keys = Table(
    "channel_keys",
    metadata,
    Column("id", ID, primary_key=True),
    Column("channel_id", BigInteger, ForeignKey("channels.id"), nullable=False, index=True),
    Column("secret", LargeBinary, nullable=False),
    _flag("enabled", True),
    sqlite_autoincrement=True,
)

abilities = Table(
    "abilities",
    metadata,
    Column("group", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("channel_id", BigInteger, primary_key=True, autoincrement=False),
    _flag("enabled", True),
    _number("priority"),
    _number("weight", 1),
    sqlite_with_rowid=False,
)

prices = Table(
    "prices",
    metadata,
    Column("model", Text, primary_key=True),
    *(Column(kind, BigInteger) for kind in KINDS),
    Column("request", BigInteger),
    _number("ratio_ppm", RATIO_ONE),
    Column("alias", Text),
    _number("output_tokens_max"),
    _number("revision", 1),
    _number("updated_at"),
)

groups = Table("groups", metadata, Column("name", Text, primary_key=True), _number("ratio_ppm", RATIO_ONE))

settings = Table("settings", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

limits = Table(
    "limits",
    metadata,
    Column("name", Text, primary_key=True),
    _number("requests", -1),
    _number("tokens", -1),
    _number("concurrency", -1),
    _number("budget_daily", -1),
    _number("budget_monthly", -1),
)
"""`name` is "kind:id" (token:12, model:gpt-4); −1 = no limit; budgets in nano-dollars, of tokens and users only."""

policies = Table(
    "policies",
    metadata,
    Column("name", Text, primary_key=True),
    _word("scope", "*"),
    _word("models", "*"),
    _word("balance"),
    _word("affinity"),
    Column("fallbacks", JSON, nullable=False, server_default=text("'{}'")),
)
"""How channels are chosen, and what answers instead of a model; `name` is "scope models" (domain/policies.py)."""

changes = Table(
    "changes",
    metadata,
    Column("seq", ID, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("id", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Filled by triggers: user, token, channel, price, group, setting, limit, probe, policy; quota_user, quota_token."""

balances = Table(
    "balances",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    _number("used"),
    _number("leased"),
    sqlite_with_rowid=False,
)
"""kind: user, token, channel (a channel has `used` only)."""

journals = Table(
    "journals",
    metadata,
    Column("id", ID, primary_key=True),
    Column("uuid", Text, nullable=False, unique=True),
    Column("node", Text, nullable=False),
    _word("state", "open"),
    _number("acked"),
    _number("epoch"),
    _number("created_at"),
    Column("closed_at", BigInteger),
    Index("journals_open", "state", sqlite_where=text("state = 'open'"), postgresql_where=text("state = 'open'")),
    sqlite_autoincrement=True,
)
"""One per worker process ever started; never deleted.  `acked` is the watermark: records up to it are booked."""

leases = Table(
    "leases",
    metadata,
    Column("journal", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, primary_key=True),
    Column("account", BigInteger, primary_key=True, autoincrement=False),
    _number("granted"),
    _number("drawn"),
    _number("returned"),
    Index("leases_account", "kind", "account"),
    sqlite_with_rowid=False,
)
"""Cumulative; Σ(granted − drawn − returned) of an account = its balances.leased."""

receipts = Table(
    "receipts",
    metadata,
    Column("journal", BigInteger, primary_key=True, autoincrement=False),
    Column("x", BigInteger, primary_key=True, autoincrement=False),
    Column("time_ns", BigInteger, nullable=False),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    _word("request"),
    _word("client_request"),
    _number("user"),
    _number("token"),
    _number("channel"),
    _number("key"),
    _word("model"),
    _word("upstream_model"),
    _word("endpoint"),
    _word("group"),
    _flag("stream", False),
    _number("price_revision"),
    _number("model_ratio_ppm", RATIO_ONE),
    _number("group_ratio_ppm", RATIO_ONE),
    _number("reserve"),
    _number("hold_user"),
    _number("hold_token"),
    _number("draw_user"),
    _number("draw_token"),
    _number("charge"),
    *_kinds(),
    _flag("estimated", False),
    _word("state", "done"),
    _number("status"),
    _number("duration_us"),
    _number("first_byte_us"),
    _number("bytes_up"),
    _number("bytes_down"),
    _word("client"),
    _word("upstream_request"),
    _flag("late", False),
    _word("lossy"),
    _word("requested"),
    Index("receipts_time", "time_ns"),
    Index("receipts_user", "user", "time_ns"),
    Index("receipts_token", "token", "time_ns"),
)
"""One row per exchange: the fields of domain End in their order, Usage spread into its kinds.

With a rowid on SQLite, unlike its siblings: rows so long are appended cheaper that way, and its indexes are smaller.
"""

attempts = Table(
    "attempts",
    metadata,
    Column("journal", BigInteger, primary_key=True, autoincrement=False),
    Column("x", BigInteger, primary_key=True, autoincrement=False),
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("day", BigInteger, nullable=False),
    _number("channel"),
    _number("key"),
    _word("reason", "first"),
    _number("sent", 1),
    _number("status"),
    _number("charge"),
    _number("duration_us"),
    _number("cost"),
    sqlite_with_rowid=False,
)
"""One row per send: the fields of domain Attempt in their order."""

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("user", BigInteger, primary_key=True, autoincrement=False),
    Column("token", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    _number("requests"),
    *_kinds(),
    _number("charge"),
    sqlite_with_rowid=False,
)
"""Sums by hour (unix seconds of its start), kept up inside the booking transaction."""

spend = Table(
    "spend",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("day", BigInteger, primary_key=True, autoincrement=False),
    _number("amount"),
    sqlite_with_rowid=False,
)
"""What users and tokens were charged by UTC day (of the receipts' `day`), kept up inside the booking transaction."""

ledger_carry = Table(
    "ledger_carry",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    _number("amount"),
    sqlite_with_rowid=False,
)
"""What rows that retention removed had added to `used`; `kind` as in balances."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("journal", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    _number("x"),
    Column("payload", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    _number("at"),
    UniqueConstraint("journal", "seq", name="quarantine_record"),
)
"""Records that could not be booked, as they stood in the journal (`x` = their exchange, 0 = unknown)."""

states = Table(
    "states",
    metadata,
    Column("node", Text, primary_key=True),
    Column("channel", BigInteger, primary_key=True, autoincrement=False),
    Column("key", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    _word("state"),
    _word("reason"),
    _number("status"),
    _number("since"),
    _number("until"),
    _number("step_ms"),
    sqlite_with_rowid=False,
)
"""How each part of a channel stood on a node a second ago: a key (`model` is "") or a model (`key` is 0)."""

speeds = Table(
    "speeds",
    metadata,
    Column("node", Text, primary_key=True),
    Column("channel", BigInteger, primary_key=True, autoincrement=False),
    Column("model", Text, primary_key=True),
    _number("first_us"),
    _number("at"),
    sqlite_with_rowid=False,
)
"""How quick a model at a channel is, as the workers of a node compare them: the mean of their running means."""

events = Table(
    "events",
    metadata,
    Column("id", ID, primary_key=True),
    _number("at"),
    _word("kind"),
    _word("node"),
    _number("channel"),
    _number("key"),
    _word("hint"),
    _word("detail"),
    sqlite_autoincrement=True,
)
"""What a person should know: key_off, key_ready, …; the newest are kept."""

probes = Table(
    "probes",
    metadata,
    Column("id", ID, primary_key=True),
    _number("asked_at"),
    _number("channel"),
    _number("key"),
    _word("model"),
    _word("kind"),
    _word("node"),
    _word("state", "asked"),
    Column("result", JSON, nullable=False, server_default=text("'{}'")),
    Index("probes_channel", "channel"),
    Index("probes_open", "id", sqlite_where=text("state = 'asked'"), postgresql_where=text("state = 'asked'")),
    sqlite_autoincrement=True,
)
"""Tests of channels: asked, running (at `node`), done; the change trigger tells the server of those that are asked."""
