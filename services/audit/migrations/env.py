"""What Alembic runs: the migrations, on the connection and in the transaction that it was given."""

from __future__ import annotations

from typing import Any

from alembic import context

from services.audit.schema import METADATA

# Alembic's own type cannot say what the attributes hold.
_connection: Any = context.config.attributes["connection"]
context.configure(connection=_connection, target_metadata=METADATA, version_table="audit_schema")
context.run_migrations()
