"""``python -m sparklab install-kernel``: the kernel "SparkLab (Python)" in Jupyter's launcher."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from sparklab.commands.notebook import CHECKOUT, PACKAGE, kernel_environment
from sparklab.errors import SparklabError

NAME: Final = "sparklab"
DISPLAY_NAME: Final = "SparkLab (Python)"
# Executors are processes of one thread each: a BLAS with a pool in each of them would fight over the same cores.
_ONE_THREAD: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def specification(display_name: str = DISPLAY_NAME) -> dict[str, Any]:
    """The kernel.json of this environment.

    Its interpreter stands as an absolute path: jupyter_client takes a bare ``python`` for the server's own, which may
    be another environment's.
    """
    environment = dict.fromkeys(_ONE_THREAD, "1")
    path = kernel_environment().get("PYTHONPATH", "")
    if str(CHECKOUT) in path.split(":"):
        # sparklab runs from a checkout that is not installed.
        environment["PYTHONPATH"] = str(CHECKOUT)
    return {
        "argv": [
            sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
            "--ext=sparklab.jupyter.kernel",
        ],
        "display_name": display_name,
        "language": "python",
        "env": environment,
        "metadata": {"debugger": True},
    }


def install_kernel(name: str, display_name: str, prefix: str | None, user: bool) -> int:
    """The kernel is listed by ``jupyter kernelspec list``; one of that name is replaced. Prints where it lies.

    Parameters
    ----------
    name : str
        The folder's name: letters, digits, ``-``, ``_`` and ``.``.
    display_name : str
        What the launcher shows.
    prefix : str or None
        An environment's folder, under which ``share/jupyter/kernels`` is written.
    user : bool
        For this user alone (the default where no prefix is given).

    Raises
    ------
    SparklabError
        Where the name is not allowed or the folder cannot be written.
    """
    from jupyter_client.kernelspec import KernelSpecManager

    with tempfile.TemporaryDirectory(prefix="sparklab-kernelspec-") as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(specification(display_name), indent=1), encoding="utf-8")
        logo = _logo()
        if logo is not None:
            (Path(folder) / logo.name).write_bytes(logo.read_bytes())
        try:
            where = KernelSpecManager().install_kernel_spec(folder, name, user=user and prefix is None, prefix=prefix)
        except (OSError, ValueError) as error:
            raise SparklabError(
                f"installing the kernel {name!r}",
                str(error),
                "give --name letters, digits, `-`, `_`, `.` alone, and --user or a --prefix that you may write to",
            ) from error
    print(f"Installed {display_name!r} in {where}\nIts Python is {sys.executable}")
    return 0


def _logo() -> Path | None:
    for folder in (CHECKOUT / "extensions" / "kernelspec", PACKAGE / "jupyter" / "kernelspec"):
        if (folder / "logo-svg.svg").is_file():
            return folder / "logo-svg.svg"
    return None
