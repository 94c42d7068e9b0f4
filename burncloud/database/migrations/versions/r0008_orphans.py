"""Limits and policies go with what they belong to; tests of channels that are asked for are found at once."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = ("token", "user", "channel")


def upgrade() -> None:
    asked = sa.text("state = 'asked'")
    op.create_index("probes_open", "probes", ["id"], sqlite_where=asked, postgresql_where=asked)
    there = {kind: f"SELECT '{kind}:' || id FROM {kind}s WHERE deleted_at IS NULL" for kind in KINDS}
    there["group"] = "SELECT 'group:' || name FROM groups"
    for kind, names in there.items():
        op.execute(f"DELETE FROM limits WHERE name LIKE '{kind}:%' AND name NOT IN ({names})")
        if kind in ("token", "group"):
            op.execute(f"DELETE FROM policies WHERE scope LIKE '{kind}:%' AND scope NOT IN ({names})")
