"""Generate the typed Python stubs beside their contracts: `python proto/generate.py`."""

from __future__ import annotations

import importlib.resources
import sys
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent


def contracts() -> list[str]:
    """Every contract that needs stubs here; Google's come with googleapis-common-protos."""
    return sorted(
        str(path.relative_to(ROOT))
        for area in ("buf", "visionmesh")
        for path in (ROOT / area).rglob("*.proto")
    )


def generate(out: Path) -> int:
    """Write messages, services and their type stubs below `out`; protoc's exit status."""
    well_known = importlib.resources.files("grpc_tools") / "_proto"
    services = [name for name in contracts() if "\nservice " in (ROOT / name).read_text()]
    include = [f"-I{ROOT}", f"-I{ROOT / 'third_party'}", f"-I{well_known}"]
    messages = [f"--python_out={out}", f"--mypy_out=quiet:{out}"]
    stubs = [f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"]
    status: int = protoc.main(["protoc", *include, *messages, *contracts()]) or protoc.main(
        ["protoc", *include, *stubs, *services]
    )
    return status


if __name__ == "__main__":
    sys.exit(generate(ROOT))
