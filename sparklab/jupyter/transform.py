"""The one-line transformer behind ``%%sparklab``: the cell stays a cell, only its first line becomes a call.

A cell magic that ran the body itself would answer "ok" for a body that raises, fire the cell hooks twice and break
top-level ``await``. Here the first line alone is replaced, line for line, so errors, ``Out[n]``, ``await``, ``%pwd``,
``!sh`` and line numbers are those of any other cell.
"""

from __future__ import annotations

import re
from typing import Final

from IPython.core.inputtransformer2 import cell_magic

# The name under which the dispatcher of %sparklab knows the replaced line; nobody types it by accident.
MARKED_LINE: Final = "%%"
# With it the body is handed over as it is, to run beside the cells that follow.
BACKGROUND: Final = "--background"

_MARK: Final = re.compile(r"%%sparklab(?=\s|$)")
_MARK_ANYWHERE: Final = re.compile(r"^%%sparklab(?=\s|$)", re.MULTILINE)
_FUTURE: Final = re.compile(r"from\s+__future__\s+import\s+[\w\s,]+$")


def is_marked(raw_cell: str) -> bool:
    """True where a line of `raw_cell` begins with ``%%sparklab``."""
    return _MARK_ANYWHERE.search(raw_cell) is not None


def replace_marked_line(lines: list[str]) -> list[str]:
    """`lines` with a leading ``%%sparklab ARGS`` replaced by the line-magic call that opens the cell's scope.

    Pure text, line for line: the number of lines never changes, so tracebacks and call sites name the lines that the
    user sees. Another cell magic right below (``%%time``) keeps working.
    """
    if not lines or not _MARK.match(lines[0]):
        return lines
    arguments = lines[0][len("%%sparklab") :].strip()
    if BACKGROUND in arguments.split():
        whole = f"get_ipython().run_cell_magic('sparklab', {arguments!r}, {''.join(lines[1:])!r})\n"
        return [whole, *("\n" for _ in lines[1:])]
    call = f"get_ipython().run_line_magic('sparklab', {f'{MARKED_LINE} {arguments}'.strip()!r})"
    body = lines[1:]
    first = next((i for i, line in enumerate(body) if line.strip()), len(body))
    if first < len(body) and body[first].startswith("%%"):
        return [call + "\n", *body[:first], *cell_magic(body[first:])]  # type: ignore[no-untyped-call]
    future = _last_future_import(body)
    if future is None:
        return [call + "\n", *body]
    # `from __future__` must stay the first statement of the cell.
    body[future] = f"{body[future].rstrip()}; {call}\n"
    return ["\n", *body]


# IPython asks transformers without side effects whether a cell is complete. It must see the `%%`, or a terminal would
# run `%%sparklab` at its first line end instead of waiting for the body.
replace_marked_line.has_side_effects = True  # type: ignore[attr-defined]


def _last_future_import(body: list[str]) -> int | None:
    found = None
    for index, line in enumerate(body):
        text = line.strip()
        if _FUTURE.match(text):
            found = index
        elif text and not text.startswith("#"):
            break
    return found
