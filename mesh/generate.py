"""Everything that is generated and committed, by one command: `make generate`.

`python -m mesh.generate --check` writes nothing and fails when a committed file has drifted from
what its source makes.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generated(scratch: Path) -> dict[Path, str]:
    """What each generated file must hold, by its path relative to the repository."""
    return {**_stubs(scratch), **_envoy(), **_graph(), **_dashboard()}


def _stubs(scratch: Path) -> dict[Path, str]:
    spec = importlib.util.spec_from_file_location("generate_stubs", ROOT / "proto/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.generate(scratch) != 0:
        raise SystemExit("generate: protoc failed")
    files = sorted(path for path in scratch.rglob("*") if path.is_file())
    return {Path("proto") / path.relative_to(scratch): path.read_text() for path in files}


def _envoy() -> dict[Path, str]:
    from mesh.proxy import rendered

    return {Path("envoy/rendered/local.yaml"): rendered()}


def _graph() -> dict[Path, str]:
    from federation.documents import manifest
    from federation.gateway.contract import contract
    from federation.subgraphs.schemas import SUBGRAPHS, sdl
    from federation.supergraph import compose

    try:
        files = compose.generated({name: sdl(name) for name in SUBGRAPHS})
    except compose.CompositionError as error:
        raise SystemExit(f"generate: the subgraphs do not compose: {error}") from error
    try:
        known = manifest.manifest(manifest.documents(), files["api.graphql"])
    except manifest.InvalidDocument as error:
        raise SystemExit(f"generate: a persisted document is wrong: {error}") from error
    return {
        **{Path("federation/supergraph") / name: text for name, text in files.items()},
        Path("federation/documents/manifest.json"): known,
        Path("federation/gateway/contract.json"): contract(),
    }


def _dashboard() -> dict[Path, str]:
    from mesh.dashboard import dashboard

    return {Path("deploy/grafana/visionmesh.json"): dashboard()}


def main(arguments: list[str]) -> int:
    """Write the generated files, or with `--check` name those that have drifted; exit status."""
    with tempfile.TemporaryDirectory() as scratch:
        wanted = generated(Path(scratch))
    drifted = [path for path, text in wanted.items() if _committed(path) != text]
    if "--check" in arguments:
        for path in drifted:
            print(f"{path} has drifted: run `make generate` and commit", file=sys.stderr)
        return 1 if drifted else 0
    for path in drifted:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(wanted[path])
        print(f"wrote {path}")
    return 0


def _committed(path: Path) -> str | None:
    file = ROOT / path
    return file.read_text() if file.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
