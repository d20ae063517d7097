"""A terminal IPython shell of our own, and a context made of plain lists."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from sparklab import SparkContext, load_ipython_extension, unload_ipython_extension


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance(config=config)
    yield made
    made.run_line_magic("reset", "-f")
    made.restore_sys_module_state()
    InteractiveShell.clear_instance()


@dataclass
class Ran:
    """What running a cell brought about."""

    result: Any
    out: str
    err: str

    @property
    def value(self) -> Any:
        return self.result.result

    @property
    def error(self) -> BaseException | None:
        return self.result.error_before_exec or self.result.error_in_exec


@pytest.fixture
def run(shell: InteractiveShell) -> Any:
    def run_cell(source: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            result = shell.run_cell(source, store_history=True)
        return Ran(result, out.getvalue(), err.getvalue())

    return run_cell


@pytest.fixture
def loaded(shell: InteractiveShell, run: Any) -> Iterator[Any]:
    """Runs cells where the extension is loaded and `sc` is a context of threads."""
    load_ipython_extension(shell)
    with SparkContext("threads[2]", "notebook") as sc:
        shell.user_ns["sc"] = sc
        yield run
    unload_ipython_extension(shell)
