"""How the parts of channels stand, what happened, and tests of channels."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), server_default="0", nullable=False)


def _word(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _id() -> sa.Column[int]:
    return sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True)


def upgrade() -> None:
    op.create_table(
        "states",
        sa.Column("node", sa.Text(), primary_key=True),
        sa.Column("channel", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("model", sa.Text(), primary_key=True),
        _word("state"),
        _word("reason"),
        _number("status"),
        _number("since"),
        _number("until"),
        _number("step_ms"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "events",
        _id(),
        _number("at"),
        _word("kind"),
        _word("node"),
        _number("channel"),
        _number("key"),
        _word("hint"),
        _word("detail"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "probes",
        _id(),
        _number("asked_at"),
        _number("channel"),
        _number("key"),
        _word("model"),
        _word("kind"),
        _word("node"),
        sa.Column("state", sa.Text(), server_default="asked", nullable=False),
        sa.Column("result", sa.JSON(), server_default="{}", nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("probes_channel", "probes", ["channel"])
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER probes_asked AFTER INSERT ON probes "
            "FOR EACH ROW EXECUTE FUNCTION burncloud_changed('probe', 'id')"
        )
        return
    body = "INSERT INTO changes (kind, id) VALUES ('probe', NEW.id);"
    op.execute(f"CREATE TRIGGER probes_asked AFTER INSERT ON probes BEGIN {body} END")
