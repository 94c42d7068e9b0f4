"""The first schema, with the triggers that fill `changes`.

Frozen: it says what was made then; later migrations change it, schema.py says what is now.
"""

from __future__ import annotations

import uuid
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
KINDS = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "audio_input",
    "audio_output",
    "image_input",
    "image_output",
)

WATCHED = (
    ("users", "user", "id"),
    ("tokens", "token", "id"),
    ("channels", "channel", "id"),
    ("channel_keys", "channel", "channel_id"),
    ("prices", "price", "model"),
    ("groups", "group", "name"),
    ("settings", "setting", "name"),
)
"""Table, kind of change, column that says which."""
QUOTAS = (("users", "quota_user"), ("tokens", "quota_token"))

POSTGRES_FUNCTION = """
CREATE FUNCTION burncloud_changed() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  before text;
  after text;
BEGIN
  IF TG_OP <> 'INSERT' THEN
    EXECUTE format('SELECT ($1).%I::text', TG_ARGV[1]) INTO before USING OLD;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    EXECUTE format('SELECT ($1).%I::text', TG_ARGV[1]) INTO after USING NEW;
  END IF;
  -- Numbers must become visible in their order: who draws one holds this until it commits.
  PERFORM pg_advisory_xact_lock(7094717171206127618);
  IF TG_OP = 'UPDATE' AND before IS DISTINCT FROM after THEN
    INSERT INTO changes (kind, id) VALUES (TG_ARGV[0], before);
  END IF;
  INSERT INTO changes (kind, id) VALUES (TG_ARGV[0], coalesce(after, before));
  PERFORM pg_notify('burncloud_changes', '');
  RETURN NULL;
END $$
"""


def _number(name: str, default: int = 0) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), server_default=sa.text(str(default)), nullable=False)


def _word(name: str, default: str = "") -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default=sa.text(f"'{default}'"), nullable=False)


def _flag(name: str, default: bool) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean(), server_default=sa.true() if default else sa.false(), nullable=False)


def _key(name: str, type_: Any = None) -> sa.Column[Any]:
    return sa.Column(name, type_ or sa.BigInteger(), primary_key=True, autoincrement=False)


def _id(name: str = "id") -> sa.Column[Any]:
    return sa.Column(name, ID, primary_key=True)


def _text(name: str, **options: Any) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), nullable=False, **options)


def _json(name: str, default: str) -> sa.Column[Any]:
    return sa.Column(name, sa.JSON(), server_default=sa.text(f"'{default}'"), nullable=False)


def _accounts() -> None:
    op.create_table("meta", _key("key", sa.Text()), _text("value"))
    op.create_table(
        "users",
        _id(),
        _text("name", unique=True),
        _word("password_hash"),
        _word("role", "user"),
        _word("group", "default"),
        _number("quota_limit"),
        _flag("enabled", True),
        _number("created_at"),
        sa.Column("deleted_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tokens",
        _id(),
        sa.Column("hash", sa.LargeBinary(), nullable=False, unique=True),
        _word("hint"),
        _word("name"),
        sa.Column("user_id", sa.BigInteger(), sa.ForeignKey("users.id"), nullable=False, index=True),
        _number("quota_limit", -1),
        _number("expires_at", -1),
        _word("group"),
        sa.Column("models", sa.JSON(none_as_null=True)),
        _json("networks", "[]"),
        _flag("enabled", True),
        _number("created_at"),
        sa.Column("deleted_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )


def _routes() -> None:
    op.create_table(
        "channels",
        _id(),
        _text("ref", unique=True),
        _word("name"),
        _text("vendor"),
        _word("base_url"),
        _json("models", "{}"),
        _json("groups", '["default"]'),
        _number("priority"),
        _number("weight", 1),
        _flag("enabled", True),
        _json("options", "{}"),
        _number("created_at"),
        sa.Column("deleted_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "channel_keys",
        _id(),
        sa.Column("channel_id", sa.BigInteger(), sa.ForeignKey("channels.id"), nullable=False, index=True),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        _flag("enabled", True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "abilities",
        _key("group", sa.Text()),
        _key("model", sa.Text()),
        _key("channel_id"),
        _flag("enabled", True),
        _number("priority"),
        _number("weight", 1),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "prices",
        _key("model", sa.Text()),
        *(sa.Column(kind, sa.BigInteger()) for kind in KINDS),
        sa.Column("request", sa.BigInteger()),
        _number("ratio_ppm", 1_000_000),
        sa.Column("alias", sa.Text()),
        _number("output_tokens_max"),
        _number("revision", 1),
        _number("updated_at"),
    )
    op.create_table("groups", _key("name", sa.Text()), _number("ratio_ppm", 1_000_000))
    op.create_table("settings", _key("name", sa.Text()), _text("value"))
    op.create_table("changes", _id("seq"), _text("kind"), _text("id"), sqlite_autoincrement=True)


def _receipts() -> None:
    op.create_table(
        "receipts",
        _key("journal"),
        _key("x"),
        sa.Column("time_ns", sa.BigInteger(), nullable=False),
        _key("day"),
        _word("request"),
        _word("client_request"),
        *map(_number, ("user", "token", "channel", "key")),
        *map(_word, ("model", "upstream_model", "endpoint", "group")),
        _flag("stream", False),
        _number("price_revision"),
        _number("model_ratio_ppm", 1_000_000),
        _number("group_ratio_ppm", 1_000_000),
        *map(_number, ("reserve", "hold_user", "hold_token", "draw_user", "draw_token", "charge", *KINDS)),
        _flag("estimated", False),
        _word("state", "done"),
        *map(_number, ("status", "duration_us", "first_byte_us", "bytes_up", "bytes_down")),
        *map(_word, ("client", "upstream_request")),
        _flag("late", False),
    )
    op.create_index("receipts_time", "receipts", ["time_ns"])
    op.create_index("receipts_user", "receipts", ["user", "time_ns"])
    op.create_index("receipts_token", "receipts", ["token", "time_ns"])
    op.create_table(
        "attempts",
        *map(_key, ("journal", "x", "n")),
        sa.Column("day", sa.BigInteger(), nullable=False),
        *map(_number, ("channel", "key")),
        _word("reason", "first"),
        _number("sent", 1),
        *map(_number, ("status", "charge", "duration_us")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage_hourly",
        *map(_key, ("hour", "user", "token", "channel")),
        _key("model", sa.Text()),
        *map(_number, ("requests", *KINDS, "charge")),
        sqlite_with_rowid=False,
    )


def _ledger() -> None:
    op.create_table(
        "balances", _key("kind", sa.Text()), _key("id"), _number("used"), _number("leased"), sqlite_with_rowid=False
    )
    op.create_table(
        "journals",
        _id(),
        _text("uuid", unique=True),
        _text("node"),
        _word("state", "open"),
        *map(_number, ("acked", "epoch", "created_at")),
        sa.Column("closed_at", sa.BigInteger()),
        sqlite_autoincrement=True,
    )
    is_open = sa.text("state = 'open'")
    op.create_index("journals_open", "journals", ["state"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_table(
        "leases",
        _key("journal"),
        _key("kind", sa.Text()),
        _key("account"),
        *map(_number, ("granted", "drawn", "returned")),
        sqlite_with_rowid=False,
    )
    op.create_index("leases_account", "leases", ["kind", "account"])
    op.create_table("ledger_carry", _key("kind", sa.Text()), _key("id"), _number("amount"), sqlite_with_rowid=False)
    op.create_table(
        "quarantine",
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("journal", "seq")),
        _number("x"),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        _text("reason"),
        _number("at"),
        sa.UniqueConstraint("journal", "seq", name="quarantine_record"),
    )


def _watch_postgres() -> None:
    op.execute(POSTGRES_FUNCTION)
    for table, kind, column in WATCHED:
        op.execute(
            f"CREATE TRIGGER {table}_changed AFTER INSERT OR UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION burncloud_changed('{kind}', '{column}')"
        )
    for table, kind in QUOTAS:
        op.execute(
            f"CREATE TRIGGER {table}_quota_changed AFTER UPDATE ON {table} FOR EACH ROW "
            f"WHEN (OLD.quota_limit IS DISTINCT FROM NEW.quota_limit) "
            f"EXECUTE FUNCTION burncloud_changed('{kind}', 'id')"
        )


def _watch_sqlite() -> None:
    def trigger(name: str, when: str, kind: str, source: str) -> None:
        body = f"INSERT INTO changes (kind, id) VALUES ('{kind}', {source});"
        op.execute(f"CREATE TRIGGER {name} {when} BEGIN {body} END")

    for table, kind, column in WATCHED:
        trigger(f"{table}_inserted", f"AFTER INSERT ON {table}", kind, f"NEW.{column}")
        trigger(f"{table}_updated", f"AFTER UPDATE ON {table}", kind, f"NEW.{column}")
        renamed = f"AFTER UPDATE ON {table} WHEN OLD.{column} IS NOT NEW.{column}"
        trigger(f"{table}_renamed", renamed, kind, f"OLD.{column}")
        trigger(f"{table}_deleted", f"AFTER DELETE ON {table}", kind, f"OLD.{column}")
    for table, kind in QUOTAS:
        when = f"AFTER UPDATE ON {table} WHEN OLD.quota_limit IS NOT NEW.quota_limit"
        trigger(f"{table}_quota_changed", when, kind, "NEW.id")


def upgrade() -> None:
    _accounts()
    _routes()
    _receipts()
    _ledger()
    (_watch_postgres if op.get_bind().dialect.name == "postgresql" else _watch_sqlite)()
    op.execute(f"INSERT INTO meta (key, value) VALUES ('ledger', '{uuid.uuid4().hex}')")
