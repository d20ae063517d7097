"""`%sparklab debug`: a failed partition computed again in the driver, and a debugger at the line that raised."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import TYPE_CHECKING, Any

from sparklab.jupyter import tracebacks
from sparklab.jupyter.parsers import CommandError

if TYPE_CHECKING:
    from sparklab.jupyter.magics import Magics


def debug(magics: Magics, options: Namespace) -> Any:
    """What came of the partition that failed last is printed, and is where IPython's `%debug` looks."""
    again = magics.context("computing a failed partition in the driver").rerun()
    print(tracebacks.named(str(again)))
    if again.error is not None:
        sys.last_type, sys.last_value, sys.last_traceback = type(again.error), again.error, again.traceback
        magics.shell.InteractiveTB.tb = again.traceback
        if options.pdb:
            _stop_there(magics)
        else:
            print("`%debug` or `%sparklab debug --pdb` stops where it was raised, with the variables there.")
    return again


def _stop_there(magics: Magics) -> None:
    from IPython.core.error import StdinNotImplementedError

    try:
        magics.shell.debugger(force=True)  # type: ignore[no-untyped-call]
    except StdinNotImplementedError as error:
        raise CommandError(
            "opening a debugger at the line that raised",
            "this front end takes no input while a cell runs",
            "use JupyterLab, Notebook or a console; or `%sparklab debug -o again`: the variables are in "
            "`again.traceback.tb_frame.f_locals`",
        ) from error
