"""What a translation lost stands in the log; tokens have options (strict: nothing may be lost)."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("receipts", sa.Column("lossy", sa.Text(), nullable=False, server_default=""))
    op.add_column("tokens", sa.Column("options", sa.JSON(), nullable=False, server_default="{}"))
