"""Keeps a process from outliving the one that started it.

`python -m supply_chain.parent COMMAND …` holds any command to that: the kernel keeps the wish when it is replaced.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """A killed run must not leave a trainer behind that still holds its lock (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    die_with_parent()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
