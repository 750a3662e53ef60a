"""What Alembic runs: the migrations, on the connection and in the transaction that it was given."""

from __future__ import annotations

from typing import Any

from alembic import context

from services.audit.schema import METADATA

# Alembic's own type cannot say what the attributes hold.
_given: Any = context.config.attributes
context.configure(
    connection=_given["connection"],
    target_metadata=METADATA,
    version_table=_given["version_table"],
)
context.run_migrations()
