"""What an executor process makes of itself right after the fork."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import types
from typing import Final

from sparklab.cluster import voices

_STACK_BYTES: Final = (256 * 2**20, 64 * 2**20, 16 * 2**20)
_RECURSION_LIMIT: Final = 100_000
_PR_SET_PDEATHSIG: Final = 1


def settle(launcher_pid: int, life_fd: int) -> None:
    """This process dies with its launcher; it has deep stacks, a random state of its own and an empty ``__main__``.

    `life_fd` is a pipe that ends when the launcher does.
    """
    _die_with(launcher_pid, life_fd)
    faulthandler.enable()
    _large_stacks()
    _fresh_random_state()
    voices.install()
    # What the user's functions find as __main__ is not the launcher.
    sys.modules["__main__"] = types.ModuleType("__main__")


def _die_with(launcher_pid: int, life_fd: int) -> None:
    if os.uname().sysname == "Linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != launcher_pid:  # it died before the line above
            os._exit(1)
        return

    def watch() -> None:
        os.read(life_fd, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="launcher-watch").start()


def _large_stacks() -> None:
    # A lineage thousands of steps long is as many nested generators.
    for size in _STACK_BYTES:
        try:
            threading.stack_size(size)
        except ValueError:
            continue
        sys.setrecursionlimit(_RECURSION_LIMIT)
        return


def _fresh_random_state() -> None:
    # `random` reseeds itself in a forked child, NumPy's global generator does not.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
