"""Notebooks that are executed without a browser keep a true picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat

from tests.jupyter.kernels import DEADLINE_S, ROOT

# A program of its own: the notebook tools leave sockets open, and say so.
_EXECUTE = """
import sys, nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

path = sys.argv[1]
book = nbformat.read(path, as_version=4)
manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=KernelSpecManager(kernel_dirs=[]))
try:
    NotebookClient(book, km=manager, timeout=60).execute()
except CellExecutionError as error:
    print(error.ename)
nbformat.write(book, path)
"""

SET_UP = "%load_ext sparklab\nfrom sparklab import SparkContext\nsc = SparkContext('threads[2]', 'headless')"


def execute(folder: Path, *cells: str) -> tuple[Any, str]:
    """The notebook of `cells` as executed, and the name of the error that ended it, "" for none."""
    path = folder / "book.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells]), path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _EXECUTE, str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    return nbformat.read(path, as_version=4), done.stdout.strip()


def pictures(cell: Any) -> list[str]:
    return [out.data["text/plain"] for out in cell.outputs if "svg+xml" in out.get("data", {}).get("text/html", "")]


def test_the_picture_of_an_executed_cell_shows_its_end(tmp_path: Path) -> None:
    book, failed = execute(
        tmp_path,
        SET_UP,
        "%%sparklab -o run\nsc.parallelize(range(4), 2).sum()",
        "%%sparklab\nlazy = sc.parallelize([1], 1).map(str)",
        "assert run.value == 6",
    )

    assert failed == ""
    assert pictures(book.cells[1])[-1].startswith("Done")
    assert "2 tasks" in pictures(book.cells[1])[-1]
    assert pictures(book.cells[2])[-1].startswith("0 jobs: nothing has run (lazy)")


def test_the_picture_of_a_lazy_cell_shows_nothing_of_what_a_later_cell_cached(tmp_path: Path) -> None:
    book, failed = execute(
        tmp_path,
        SET_UP,
        "%%sparklab\nkept = sc.parallelize(range(4), 2).map(str).persist()",
        "kept.count()",
        "import time; time.sleep(1.5)  # longer than an ended panel rests",
    )

    assert failed == ""
    html = book.cells[1].outputs[-1].data["text/html"]
    assert "not run yet" in html
    assert "in memory" not in html


def test_the_picture_of_a_long_last_cell_shows_its_end(tmp_path: Path) -> None:
    book, failed = execute(
        tmp_path, SET_UP, "%%sparklab\nimport time\nsc.parallelize([3.3], 1).map(lambda s: time.sleep(s)).count()"
    )

    assert failed == ""
    assert pictures(book.cells[1])[-1].startswith("Done")


def test_an_executed_notebook_stops_at_a_failing_job(tmp_path: Path) -> None:
    book, failed = execute(
        tmp_path, SET_UP, "%%sparklab\nsc.parallelize([0], 1).map(lambda x: 1 / x).collect()", "print('on')"
    )

    assert failed == "UserCodeError"
    assert any(out.output_type == "error" for out in book.cells[1].outputs)
    assert book.cells[2].outputs == []
