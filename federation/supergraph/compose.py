"""Composes the subgraphs into the supergraph, with npm's `@theguild/federation-composition`.

Everything here is committed: the schema of each subgraph, the supergraph that the gateway plans
by, and the schema that clients see. `make generate` writes them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parent
SCRIPT: Final = FOLDER / "compose.mjs"


class CompositionError(Exception):
    """Subgraphs that do not fit together; the message names the subgraph and the field."""


@dataclass(frozen=True)
class Composition:
    """`supergraph` is for the gateway, `api` is what clients see; both are SDL."""

    supergraph: str
    api: str


def compose(subgraphs: Mapping[str, str]) -> Composition:
    """Compose subgraphs, SDL by name. Raises CompositionError."""
    done = subprocess.run(
        ["node", str(SCRIPT)],
        input=json.dumps(dict(subgraphs)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CompositionError(done.stderr.strip())
    found = json.loads(done.stdout)
    return Composition(f"{found['supergraph'].strip()}\n", f"{found['api'].strip()}\n")


def generated(subgraphs: Mapping[str, str]) -> dict[str, str]:
    """Every generated file of this folder, by its name. Raises CompositionError."""
    composition = compose(subgraphs)
    return {
        **{f"subgraphs/{name}.graphql": sdl for name, sdl in subgraphs.items()},
        "supergraph.graphql": composition.supergraph,
        "api.graphql": composition.api,
    }
