"""The audit log's table."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from services.audit.entry import ID_DIGITS, Entry
from visionmesh.moderation.v1.moderation_pb2 import Decision, Severity

METADATA: Final = sa.MetaData()

ENTRIES: Final = sa.Table(
    "audit_entries",
    METADATA,
    sa.Column(
        "id",
        # Bytes in their own order, whatever the database's language is.
        sa.String(ID_DIGITS).with_variant(sa.String(ID_DIGITS, collation="C"), "postgresql"),
        primary_key=True,
    ),
    # In UTC; SQLite does not say so.
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
    # The verdict's message as it was given: everything else is taken from it, for people's queries.
    sa.Column("verdict", sa.LargeBinary, nullable=False),
    sa.Column("trace_id", sa.String(32), nullable=False),
    sa.Index("audit_entries_by_tenant", "tenant", "id"),
    sa.Index("audit_entries_by_image", "tenant", "digest", "id"),
)


def row(entry: Entry) -> dict[str, object]:
    """An entry as a row of the table."""
    verdict = entry.message
    return {
        "id": entry.id,
        "recorded_at": entry.recorded_at,
        "tenant": entry.tenant,
        "digest": entry.digest,
        "release": verdict.release,
        "policy": verdict.policy,
        "policy_version": verdict.policy_version,
        "decision": Decision.Name(verdict.decision).removeprefix("DECISION_"),
        "reasons": [
            {
                "code": reason.code,
                "severity": Severity.Name(reason.severity).removeprefix("SEVERITY_"),
                "message": reason.message,
            }
            for reason in verdict.reasons
        ],
        "missing": list(verdict.missing),
        "model_versions": dict(sorted(verdict.model_versions.items())),
        "verdict": entry.verdict,
        "trace_id": entry.trace_id,
    }
