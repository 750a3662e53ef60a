"""The table of entries, and the ways that pages are read: by tenant, and by tenant and image."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_entries",
        sa.Column(
            "id",
            sa.String(24).with_variant(sa.String(24, collation="C"), "postgresql"),
            primary_key=True,
        ),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tenant", sa.String(63), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("release", sa.Text, nullable=False),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("policy_version", sa.Text, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("reasons", sa.JSON, nullable=False),
        sa.Column("missing", sa.JSON, nullable=False),
        sa.Column("model_versions", sa.JSON, nullable=False),
        sa.Column("verdict", sa.LargeBinary, nullable=False),
        sa.Column("trace_id", sa.String(32), nullable=False),
    )
    op.create_index("audit_entries_by_tenant", "audit_entries", ["tenant", "id"])
    op.create_index("audit_entries_by_image", "audit_entries", ["tenant", "digest", "id"])


def downgrade() -> None:
    op.drop_table("audit_entries")
