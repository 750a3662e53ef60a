"""Composes a supergraph of ours and other teams' subgraphs.

python -m federation.supergraph supergraph.graphql products=products.graphql
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Final

from federation.supergraph.compose import FOLDER, CompositionError, compose

OVERRIDDEN: Final = re.compile(r'\boverride: "([^"]*)"')
"""In a supergraph: the subgraph that a field was taken from."""


def extended(others: dict[str, Path]) -> str:
    """The supergraph with other subgraphs, whose schemas are in files, beside the mesh's own.

    Raises CompositionError, OSError.
    """
    own = {file.stem: file for file in sorted((FOLDER / "subgraphs").glob("*.graphql"))}
    if taken := sorted(own.keys() & others.keys()):
        raise CompositionError(f"{taken[0]} is a subgraph of the mesh: choose another name")
    schemas = {name: file.read_text("utf-8") for name, file in (own | others).items()}
    supergraph = compose(schemas).supergraph
    if taken := sorted(own.keys() & set(OVERRIDDEN.findall(supergraph))):
        raise CompositionError(f"{taken[0]} is the mesh's: @override may not take fields from it")
    return supergraph


def _named(text: str) -> tuple[str, Path]:
    name, _, file = text.partition("=")
    if not name or not file:
        raise argparse.ArgumentTypeError(f"{text!r} is no name=file")
    return name, Path(file)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="supergraph", description="Compose a supergraph.")
    parser.add_argument("output", type=Path, help="Where it is written to.")
    parser.add_argument("others", type=_named, nargs="+", help="name=schema.graphql")
    arguments = parser.parse_args()
    try:
        text = extended(dict(arguments.others))
        # A gateway may be looking at the file: it is there whole, or as it was.
        draft = arguments.output.with_name(f"{arguments.output.name}.draft")
        draft.write_text(text, "utf-8")
        draft.replace(arguments.output)
    except (CompositionError, OSError) as error:
        sys.exit(f"supergraph: {error}")
