"""How errors look in a cell: the user's own lines first, then what was attempted, what was found, what to do."""

from __future__ import annotations

import linecache
import re
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from sparklab.errors import ClosureError, JobCancelled, JobFailed, JobInterrupted, SparklabError
from sparklab.jupyter.parsers import CommandError
from sparklab.rdd import callsite
from sparklab.rdd.callsite import line_name
from sparklab.rdd.usererror import raised_by_us

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_PACKAGE: Final = str(Path(__file__).resolve().parents[1])
_RENDERED: Final[tuple[type[BaseException], ...]] = (SparklabError, JobInterrupted)
_FRAME: Final = re.compile(r'  File "(?P<file>[^"]*)", line (?P<line>\d+)(?P<rest>.*)')
_MAGIC_CALL: Final = re.compile(r"get_ipython\(\)\.run_line_magic\((['\"])(?P<name>\w+)\1, (['\"])(?P<line>.*)\3\)$")
_SENDERS: Final = frozenset({"cloudpickle", "dask", "distributed"})  # what stands between a call and what it sends
_HOOK: Final = "_render_traceback_"


class Rendering:
    """IPython asks our errors how they want to be shown, and us about those that Python has and we raise."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._tracebacks = shell.InteractiveTB

    def install(self) -> None:
        """Our errors, and a ValueError that we raise, know how they are shown in a cell."""
        for kind in _RENDERED:
            setattr(kind, _HOOK, render)
        as_python_does = self._tracebacks.structured_traceback

        def structured_traceback(etype: Any, evalue: Any = None, etb: Any = None, *args: Any, **options: Any) -> Any:
            if isinstance(evalue, Exception) and is_for_the_caller(evalue, etb):
                return render(evalue)
            return as_python_does(etype, evalue, etb, *args, **options)

        # Classes of Python's take no hook, and `set_custom_exc` has room for one handler, which may be the user's.
        vars(self._tracebacks)["structured_traceback"] = structured_traceback

    def uninstall(self) -> None:
        """All errors are shown like any others."""
        vars(self._tracebacks).pop("structured_traceback", None)
        for kind in _RENDERED:
            if _HOOK in vars(kind):
                delattr(kind, _HOOK)


def is_for_the_caller(error: Exception, tb: TracebackType | None) -> bool:
    """Whether a ``raise`` of ours ended the call of `tb`: a word to who called, whom our frames would tell nothing.

    What Python itself raises in our code is a defect of ours, as is an assertion: its frames are wanted. So are those
    of an error that was being handled and that nobody has shown.
    """
    if isinstance(error, AssertionError) or (error.__context__ is not None and not error.__suppress_context__):
        return False
    return raised_by_us(tb)


def render(error: BaseException) -> list[str]:
    """The lines that stand for `error` under its cell.

    An interrupted job is one line; a cancelled one and a mistyped command are their three parts. Any other error of
    ours begins with the user's traceback on the executor, where there is one, then the user's line in the cell, then
    the three parts.
    """
    name = type(error).__name__
    if isinstance(error, JobInterrupted):
        return [f"{name}: {' '.join(str(error).split())}"]
    if isinstance(error, CommandError | JobCancelled):
        return [f"{name}: {error}"]
    lines: list[str] = []
    remote = remote_traceback(error)
    if remote:
        lines.append(remote)
    calls = user_lines(error.__traceback__)
    if calls:
        lines.append("\n".join(calls))
    lines.append(f"{name}: {error}{_DEBUG if _can_be_debugged(error) else ''}")
    return lines


_DEBUG: Final = "; `%sparklab debug` computes that partition again here, where a debugger can look"


def _can_be_debugged(error: BaseException) -> bool:
    """Whether `%sparklab debug` would take this error up: it is what the last failed job raised, for what a task did.

    Where functions could not be sent, or executors died again and again, no task has failed.
    """
    if isinstance(error, ClosureError) or type(error) is JobFailed:
        return False
    context = sys.modules.get("sparklab.context")
    active = None if context is None else context.SparkContext._active
    return active is not None and active.last_failure() is error


def remote_traceback(error: BaseException) -> str:
    """The user's frames on the executor and the user's exception; "" where our own words have all of that."""
    remote = str(getattr(error, "remote_traceback", "") or "").rstrip()
    cause = error.__cause__
    said = str(cause).strip().partition("\n")[0]
    told = bool(said) and isinstance(error, SparklabError) and said in error.found
    if not remote and cause is not None and not told:
        remote = "".join(traceback.format_exception_only(type(cause), cause)).rstrip()
    return named(remote, cause)


def named(remote: str, cause: BaseException | None = None) -> str:
    """`remote` with cells called by their names, and their source lines where an executor could not know them.

    Where `cause` is the same exception with its traceback, marks under these lines say what in them was at work.
    """
    lines = remote.splitlines()
    shown_of = _source_lines(cause)
    found: list[str] = []
    for index, line in enumerate(lines):
        frame = _FRAME.match(line)
        name = next((n for n in (of(frame["file"]) for of in callsite.cell_names) if n), None) if frame else None
        if frame is None or name is None:
            found.append(line)
            continue
        found.append(f"  {name}, line {frame['line']}{frame['rest']}")
        source = linecache.getline(frame["file"], int(frame["line"])).strip()
        shown = index + 1 < len(lines) and lines[index + 1].startswith("    ")
        if source and not shown:
            marked = shown_of.get((frame["file"], int(frame["line"])), [])
            found.extend(marked.pop(0) if marked else [f"    {source}"])
    return "\n".join(found)


def _source_lines(error: BaseException | None) -> dict[tuple[str, int], list[list[str]]]:
    """The lines that Python shows of each place in the traceback of `error` and its causes, with marks below them."""
    found: dict[tuple[str, int], list[list[str]]] = {}
    while error is not None:
        for frame in traceback.extract_tb(error.__traceback__):
            text = "".join(traceback.format_list(traceback.StackSummary([frame]))).splitlines()[1:]
            found.setdefault((frame.filename, frame.lineno or 0), []).append(text)
        error = error.__cause__
    return found


def user_lines(tb: TracebackType | None) -> list[str]:
    """The lines of the cell, and of the user's own functions, through which the call went."""
    found: list[str] = []
    for frame, number in traceback.walk_tb(tb):
        path = frame.f_code.co_filename
        if _is_machinery(path):
            continue
        source = _as_written(_source_line(path, number, frame.f_globals))
        if source.startswith("%sparklab"):
            continue  # the line says nothing that the message does not
        where = line_name(frame.f_code, number).rpartition(":")[0]
        found.append(f"{where}, line {number}" + (f": {source}" if source else ""))
    return found


def _as_written(source: str) -> str:
    """`source` with a call that IPython made of a line magic written as the reader sees it."""
    found = _MAGIC_CALL.match(source)
    return f"%{found['name']} {found['line']}".strip() if found else source


def _is_machinery(path: str) -> bool:
    parts = Path(path).parts
    if path.startswith((_PACKAGE, "<frozen")) or "IPython" in parts or "ipykernel" in parts:
        return True
    return "site-packages" in parts and not _SENDERS.isdisjoint(parts)


def _source_line(path: str, number: int, module: dict[str, Any]) -> str:
    return linecache.getline(path, number, module).strip()
