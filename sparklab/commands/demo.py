"""``python -m sparklab demo``: a notebook executed without a browser, its claims counted, its page written."""

from __future__ import annotations

import asyncio
import copy
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sparklab.commands.notebook import kernel_environment, start_notebook
from sparklab.errors import SparklabError

CLAIM_TAG: Final = "claim"
_CELL_TIMEOUT_S: Final = 300
_WIDGET_VIEW: Final = "application/vnd.jupyter.widget-view+json"
_CLAIM_PRINT: Final = re.compile(r"""\bprint\(f?["']Claim""")
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
# nbconvert's page would ask other hosts for require.js, MathJax and Mermaid.
_REMOTE_SCRIPT: Final = re.compile(
    r"<script[^>]*\ssrc=\"https?://[^>]*>\s*</script>|<script type=\"module\">(?:(?!</script>).)*?mermaid.*?</script>",
    re.IGNORECASE | re.DOTALL,
)


def run_demo(notebook: str | None, out: str, timeout_s: float, record: str | None = None) -> int:
    """0 if every claim of `notebook` held, else 1; each claim was printed as it was checked. Blocks.

    The executed notebook and its page stand in the folder `out` either way.

    Parameters
    ----------
    notebook : str or None
        Path of a notebook; the start notebook by default.
    out : str
        Folder to write to, made where it is missing.
    timeout_s : float
        Seconds for the whole notebook.
    record : str, optional
        Folder that gets the run's journal and a report of it, named as the notebook; made where it is missing.

    Raises
    ------
    SparklabError
        Where the notebook cannot be read, or took longer than `timeout_s`.
    """
    import nbformat

    path = Path(notebook) if notebook else start_notebook()
    if not path.is_file():
        raise SparklabError(f"running the notebook {path}", "there is no such file", "name one with --notebook PATH")
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    book = nbformat.read(path, as_version=4)
    print(f"Running {path.name}, {_count_code(book)} cells, without a browser.", flush=True)
    started_s = time.monotonic()
    try:
        failure = _execute(book, path, timeout_s, record)
    finally:
        nbformat.write(book, folder / path.name)
        page = folder / f"{path.stem}.html"
        page.write_text(_page(book), encoding="utf-8")
    wall_s = time.monotonic() - started_s
    cells = [cell for cell in book.cells if _is_claim(cell)]
    claims = sum(_claims_made(cell) for cell in cells)
    held = sum(line.startswith("Claim") for cell in cells for line in _claim_lines(cell))
    print(f"\n{held} of {claims} claims held, in {wall_s:.1f} s.")
    print(f"Page:     {page}\nNotebook: {folder / path.name}", flush=True)
    if failure is not None:
        print(f"\n{failure}", file=sys.stderr)
    return 0 if failure is None and claims and held == claims else 1


def _execute(book: Any, path: Path, timeout_s: float, record: str | None) -> SparklabError | None:
    """What stopped `book`, or None; its cells have their outputs."""
    from jupyter_client.kernelspec import KernelSpecManager
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    def show_claims(cell: Any, cell_index: int, execute_reply: Any) -> None:
        if _is_claim(cell):
            for line in _claim_lines(cell):
                print(line, flush=True)

    # No kernelspec folder is asked: the kernel is this interpreter's, whatever "python3" means elsewhere.
    specs = KernelSpecManager(kernel_dirs=[])
    manager = AsyncKernelManager(kernel_name="python3", kernel_spec_manager=specs)
    if manager.has_trait("transport_encryption"):
        manager.transport_encryption = "auto"
    client = NotebookClient(
        book,
        km=manager,
        timeout=_CELL_TIMEOUT_S,
        store_widget_state=False,  # a page has the static twins
        resources={"metadata": {"path": str(path.resolve().parent)}},
        on_cell_executed=show_claims,
    )
    if record is not None:
        book.cells.append(_recording_cell(path, Path(record).resolve()))
    started_s = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the notebook tools, not of the notebook
            running = client.async_execute(env=kernel_environment(), cleanup_kc=True)
            asyncio.run(asyncio.wait_for(running, timeout_s))
    except CellExecutionError:
        return _told(book, path)
    except (CellTimeoutError, TimeoutError, DeadKernelError) as error:
        # Giving up on a busy kernel may be reported as its death, which it then is.
        if isinstance(error, DeadKernelError) and time.monotonic() - started_s < timeout_s:
            return SparklabError(
                f"running {path.name}", f"its kernel died: {error}", "see whether the machine ran out of memory"
            )
        return SparklabError(
            f"running {path.name}",
            f"not done after {timeout_s:g} s (or one cell after {_CELL_TIMEOUT_S} s)",
            "give it longer with --timeout S, or see in the page which cell was the last",
        )
    finally:
        if record is not None:
            book.cells.pop()
    return None


def _recording_cell(path: Path, folder: Path) -> Any:
    """A cell behind the last: the context's journal and a report of it stand in `folder`."""
    from nbformat.v4 import new_code_cell

    folder.mkdir(parents=True, exist_ok=True)
    stem = str(folder / path.stem)
    return new_code_cell(
        "from sparklab.jupyter import playback\n"
        "from sparklab import SparkContext\n"
        f"playback.keep(SparkContext._active.records(), {stem + '.jsonl'!r})\n"
        f"playback.report({stem + '.html'!r}, {stem + '.jsonl'!r}, title={path.stem!r})"
    )


def _told(book: Any, path: Path) -> SparklabError:
    """The first failing cell of `book` as an error in three parts."""
    for number, cell in enumerate((c for c in book.cells if c.cell_type == "code"), start=1):
        for output in cell.outputs:
            if output.output_type == "error":
                text = _ANSI.sub("", "\n".join(output.traceback))
                return SparklabError(
                    f"running code cell {number} of {path.name}: {cell.source.splitlines()[0]}",
                    f"{output.ename}: {output.evalue}\n{text}",
                    "open the page to see what came before",
                )
    return SparklabError(f"running {path.name}", "a cell failed without an error output", "open the page")


def _page(book: Any) -> str:
    """`book` as one HTML page that asks nothing of the network: live widgets left out, their static twins kept."""
    from nbconvert.exporters import HTMLExporter

    still = copy.deepcopy(book)
    for cell in still.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if not _is_live_view_alone(o)]
            for output in cell.outputs:
                output.get("data", {}).pop(_WIDGET_VIEW, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        page, _ = HTMLExporter().from_notebook_node(still)
    return _REMOTE_SCRIPT.sub("", str(page))


def _is_live_view_alone(output: Any) -> bool:
    return _WIDGET_VIEW in output.get("data", {}) and not {"text/html", "image/svg+xml"} & set(output["data"])


def _count_code(book: Any) -> int:
    return sum(1 for cell in book.cells if cell.cell_type == "code")


def _is_claim(cell: Any) -> bool:
    return cell.cell_type == "code" and CLAIM_TAG in cell.metadata.get("tags", [])


def _claims_made(cell: Any) -> int:
    """How many claims the source of a claim's cell would print."""
    return len(_CLAIM_PRINT.findall(cell.source))


def _claim_lines(cell: Any) -> Iterator[str]:
    """What a claim's cell printed: a line that begins with ``Claim`` once its asserts had passed, and further ones."""
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            yield from output.text.splitlines()
