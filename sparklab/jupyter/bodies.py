"""The body of a cell in the background: plain Python, with names of its own until it ends."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from sparklab.jupyter.parsers import CommandError

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_IPYTHON_LINE: Final = re.compile(r"\s*([\w.,\[\] ]+=\s*)?[%!]|.*\?\s*$|\s*[?,;/]")
_REASON: Final = "which belongs to the cell in front"
_OWN: Final = ("__name__", "__builtins__")


def parsed(body: str, shell: InteractiveShell, filename: str = "<background>") -> ast.Module:
    """`body`, one line below the line ``%%sparklab --background``, as plain Python.

    Raises
    ------
    CommandError
        It has a line of IPython's, or awaits outside of a function; the text names the line.
    SyntaxError
        It is no Python.
    """
    source = f"\n{body}"
    try:
        module = ast.parse(source, filename)
    except SyntaxError:
        _refuse_magics(source, shell)
        raise
    found = _awaits(module)
    if found is not None:
        raise _refused(
            f"line {found.lineno} awaits, and the loop {_REASON}",
            "wrap it in a function and run that: asyncio.run(main()); or leave out --background",
        )
    return module


def _refuse_magics(source: str, shell: InteractiveShell) -> None:
    try:
        ast.parse(shell.transform_cell(source.lstrip("\n")))  # type: ignore[no-untyped-call]
    except Exception:
        return  # it is no Python even without its magics: the reader is told of that
    for number, line in enumerate(source.split("\n"), 1):
        if _IPYTHON_LINE.match(line):
            raise _refused(
                f"line {number} is `{line.strip()[:60]}`, {_REASON}: `%`, `!` and `?` write there",
                "put it into a cell of its own, or call Python instead (os, subprocess)",
            )


def _refused(found: str, do: str) -> CommandError:
    return CommandError("running a cell with `%%sparklab --background`", found, do)


def _awaits(module: ast.Module) -> ast.expr | ast.stmt | None:
    stack: list[ast.AST] = list(reversed(module.body))
    while stack:
        node = stack.pop()
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                continue
            case ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                return node
            case ast.ListComp(generators=parts) | ast.SetComp(generators=parts) | ast.DictComp(generators=parts) if any(
                part.is_async for part in parts
            ):
                return node
        stack.extend(ast.iter_child_nodes(node))
    return None


class Names(dict[str, Any]):
    """The globals of a body: its own names, and behind them those of the notebook, as they are when read.

    Functions defined in the body keep it as their globals, so they go on to see what the notebook redefines. What they
    assign by ``global`` after the end of the body stays here.
    """

    def __init__(self, around: MutableMapping[str, Any]) -> None:
        super().__init__(__name__=around.get("__name__", "__main__"), __builtins__=builtins)
        self._around = around
        self._deleted: set[str] = set()

    def __missing__(self, name: str) -> Any:
        if name in self._deleted:
            raise KeyError(name)
        return self._around[name]

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, name) or (name in self._around and name not in self._deleted)

    def __delitem__(self, name: str) -> None:
        known = name in self
        if dict.__contains__(self, name):
            dict.__delitem__(self, name)
        if not known:
            raise KeyError(name)
        self._deleted.add(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._deleted.discard(name)
        dict.__setitem__(self, name, value)

    def get(self, name: str, default: Any = None) -> Any:
        """The name's value here or in the notebook."""
        try:
            return self[name]
        except KeyError:
            return default

    def __or__(self, other: Mapping[str, Any]) -> dict[str, Any]:  # type: ignore[override]
        kept = {name: value for name, value in self._around.items() if name not in self._deleted}
        return {**kept, **dict(dict.items(self)), **other}

    def publish(self) -> None:
        """All names that the body assigned are the notebook's, and all that it deleted are not."""
        own = {name: value for name, value in dict.items(self) if name not in _OWN}
        for name in self._deleted:
            self._around.pop(name, None)
        self._around.update(own)
        for name in own:
            dict.__delitem__(self, name)
        self._deleted.clear()
