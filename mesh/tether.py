"""Start a program that does not outlive its parent, with as many open files as are allowed.

`python -I -S tether.py PARENT PROGRAM ARGUMENT…` becomes PROGRAM, which the kernel kills when the
parent goes, however it goes (Linux's PR_SET_PDEATHSIG survives execve). A small program instead of
`preexec_fn`: that would run Python between fork and exec of a launcher that has threads.
"""

import ctypes
import os
import resource
import sys

PR_SET_PDEATHSIG = 1
SIGKILL = 9  # the signal module would double the start-up time of this one


def main(parent: int, argv: list[str]) -> None:
    """Replace this process by `argv`, tied to the life of the process `parent`."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, SIGKILL)
    # Envoy's cache keeps a file open for every answer that it stored in the last minutes.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if os.getppid() != parent:
        sys.exit("the launcher is gone")  # before prctl could notice
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(f"{argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
