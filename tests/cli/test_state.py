"""The data directory: one mesh at a time, and what it says about itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mesh.errors import DataDirInUse, MeshError
from mesh.state import DataDir, Run, RunningProcess

RUN = Run(
    pid=1,
    port=8080,
    version="1.2.3",
    started_at=1.5,
    processes=(RunningProcess("nsfw", 1, 8101, None, "waiting", "exited", None, 3),),
)

HOLDER = """
import sys
from pathlib import Path
from mesh.state import DataDir
with DataDir(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_mesh_is_refused_by_pid_and_port(tmp_path):
    """While one mesh holds a directory another one is refused, and told who holds it."""
    data = DataDir(tmp_path)
    with data.held():
        data.write_run(RUN)
        with pytest.raises(DataDirInUse) as refused, DataDir(tmp_path).held():
            raise AssertionError("held twice")
    assert str(refused.value) == (
        f"another mesh (pid 1, port 8080) runs on {tmp_path}: stop it, or choose another directory "
        "with --data"
    )


def test_a_directory_can_be_held_again(tmp_path):
    """A directory that was let go can be held again, and says that no mesh runs."""
    data = DataDir(tmp_path)
    for _ in range(2):
        with data.held():
            data.write_run(RUN)
    assert data.running() is None
    assert not data.run_file.exists()


def test_what_is_written_is_read(tmp_path):
    """What a mesh says about itself is read as it was said."""
    data = DataDir(tmp_path)
    with data.held():
        data.write_run(RUN)
        assert DataDir(tmp_path).running() == RUN


def test_a_killed_mesh_holds_nothing(tmp_path):
    """After `kill -9` what a mesh said about itself is known to be stale, and nothing is held."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        data = DataDir(tmp_path)
        data.write_run(RUN)
        assert data.running() == RUN
        holder.kill()
    assert data.running() is None
    with data.held():
        pass


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"pid": 1, "processes": []}', "\xff"])
def test_a_broken_run_file_says_nothing(tmp_path, text):
    """A `run.json` that is no such thing is as good as none."""
    data = DataDir(tmp_path)
    data.run_file.write_text(text)
    assert data.read_run() is None


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    """A data directory below a file is refused in one line that names it."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(MeshError, match=r"--data .*/file/data: Not a directory"),
        DataDir(tmp_path / "file" / "data").held(),
    ):
        raise AssertionError("held below a file")
