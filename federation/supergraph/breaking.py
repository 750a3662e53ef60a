"""Nothing that a client of the graph relies on may go away before it was deprecated.

`python -m federation.supergraph.breaking REF` compares the schema that clients see with the one of
a commit; `buf breaking` does the same for the contracts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Final

from graphql import GraphQLSchema, build_schema
from graphql.type import is_enum_type, is_interface_type, is_object_type
from graphql.utilities import BreakingChange, BreakingChangeType, find_breaking_changes

from federation.supergraph.compose import FOLDER

API: Final = "api.graphql"

_MEMBER: Final = re.compile(r"(\w+)\.(\w+)")
_REMOVALS: Final = (BreakingChangeType.FIELD_REMOVED, BreakingChangeType.VALUE_REMOVED_FROM_ENUM)


def breaking_changes(before: str, after: str) -> list[str]:
    """What a client of `before` would miss in `after`, both SDL: one sentence each.

    What was deprecated may be removed.
    """
    old = build_schema(before)
    return [
        change.description
        for change in find_breaking_changes(old, build_schema(after))
        if not (change.type in _REMOVALS and _was_deprecated(old, change))
    ]


def _was_deprecated(schema: GraphQLSchema, change: BreakingChange) -> bool:
    """Whether what was removed had a deprecation reason.

    graphql-core says in words only what was removed: `Field Type.name was removed.`
    """
    found = _MEMBER.search(change.description)
    if found is None:
        return False
    kind = schema.get_type(found[1])
    if is_object_type(kind) or is_interface_type(kind):
        return kind.fields[found[2]].deprecation_reason is not None
    return is_enum_type(kind) and kind.values[found[2]].deprecation_reason is not None


def main(ref: str) -> int:
    """Compare with a commit; exit status."""
    place = f"{ref}:./{API}"
    old = subprocess.run(
        ["git", "show", place], cwd=FOLDER, capture_output=True, text=True, check=False
    )
    if old.returncode:
        print(f"{place}: no graph to compare with yet")
        return 0
    found = breaking_changes(old.stdout, (FOLDER / API).read_text("utf-8"))
    for sentence in found:
        print(f"{API}: {sentence} Deprecate first, and remove when nobody uses it.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
