"""Policies of balancing; a row of the log says which model was asked for, where another one answered."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQLITE_TRIGGERS = (
    ("inserted", "INSERT ON policies", "NEW"),
    ("updated", "UPDATE ON policies", "NEW"),
    ("deleted", "DELETE ON policies", "OLD"),
)


def upgrade() -> None:
    op.add_column("receipts", sa.Column("requested", sa.Text(), nullable=False, server_default=""))
    op.create_table(
        "policies",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("scope", sa.Text(), server_default="*", nullable=False),
        sa.Column("models", sa.Text(), server_default="*", nullable=False),
        sa.Column("balance", sa.Text(), server_default="", nullable=False),
        sa.Column("affinity", sa.Text(), server_default="", nullable=False),
        sa.Column("fallbacks", sa.JSON(), server_default="{}", nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER policies_changed AFTER INSERT OR UPDATE OR DELETE ON policies "
            "FOR EACH ROW EXECUTE FUNCTION burncloud_changed('policy', 'name')"
        )
        return
    for name, event, row in SQLITE_TRIGGERS:
        body = f"INSERT INTO changes (kind, id) VALUES ('policy', {row}.name);"
        op.execute(f"CREATE TRIGGER policies_{name} AFTER {event} BEGIN {body} END")
