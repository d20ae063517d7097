"""``python -m sparklab test``: the tests of a checkout, in the current environment."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Sequence

from sparklab.commands.notebook import CHECKOUT, in_checkout
from sparklab.errors import SparklabError


def run_tests(extra: Sequence[str]) -> int:
    """pytest's exit code for this checkout's tests. Blocks.

    Raises
    ------
    SparklabError
        Where sparklab does not run from a checkout, or pytest is not installed.
    """
    if not in_checkout():
        raise SparklabError(
            "running sparklab's tests",
            f"{CHECKOUT} is no checkout: an installed package has no tests",
            "run it in a checkout of the repository",
        )
    if importlib.util.find_spec("pytest") is None:
        raise SparklabError(
            "running sparklab's tests",
            "pytest is not installed in this environment",
            "make test, or: python -m pip install --constraint constraints.txt --editable '.[test]'",
        )
    return subprocess.run([sys.executable, "-m", "pytest", *extra], cwd=CHECKOUT, check=False).returncode
