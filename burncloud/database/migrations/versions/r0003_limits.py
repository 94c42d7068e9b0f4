"""Limits of requests and tokens, and budgets; what was spent by day, which the budgets are measured by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LIMITS = ("requests", "tokens", "concurrency", "budget_daily", "budget_monthly")
SQLITE_TRIGGERS = (
    ("inserted", "INSERT ON limits", "NEW"),
    ("updated", "UPDATE ON limits", "NEW"),
    ("deleted", "DELETE ON limits", "OLD"),
)


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("name", sa.Text(), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), server_default=sa.text("-1"), nullable=False) for name in LIMITS),
    )
    op.create_table(
        "spend",
        sa.Column("kind", sa.Text(), primary_key=True),
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("day", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("amount", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sqlite_with_rowid=False,
    )
    for kind in ("user", "token"):
        op.execute(
            f"INSERT INTO spend (kind, id, day, amount) SELECT '{kind}', \"{kind}\", hour / 86400, sum(charge) "
            f'FROM usage_hourly WHERE "{kind}" > 0 AND charge > 0 GROUP BY "{kind}", hour / 86400'
        )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER limits_changed AFTER INSERT OR UPDATE OR DELETE ON limits "
            "FOR EACH ROW EXECUTE FUNCTION burncloud_changed('limit', 'name')"
        )
        return
    for name, event, row in SQLITE_TRIGGERS:
        body = f"INSERT INTO changes (kind, id) VALUES ('limit', {row}.name);"
        op.execute(f"CREATE TRIGGER limits_{name} AFTER {event} BEGIN {body} END")
