"""The small program between the launcher and every process."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

from mesh.child import TETHER

PRINT_LIMIT = "import resource; print(*resource.getrlimit(resource.RLIMIT_NOFILE))"


def test_as_many_open_files_as_are_allowed():
    """A program may open as many files as the hard limit says, whatever the soft one was."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    told = subprocess.run(
        [sys.executable, "-I", "-S", TETHER, str(os.getpid()), sys.executable, "-c", PRINT_LIMIT],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        # What most shells give: far below the hard limit.
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard)),
    )
    assert told.stdout.split() == [str(hard), str(hard)]
