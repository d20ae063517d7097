"""What the kernel "SparkLab (Python)" has beyond ``%load_ext sparklab``: `sc` at its first mention, and a banner."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

from sparklab import __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

NAME: Final = "sc"
_MAKER: Final = "_sparklab_context"
_ATTRIBUTE: Final = "_sparklab_kernel"
_BANNER: Final = (
    f"SparkLab {__version__}: `sc` is a SparkContext that starts when you first mention it; `%sparklab --help`\n"
)


class ContextAtFirstMention(ast.NodeTransformer):
    """`sc` exists from the first cell that reads it and does not bind it itself.

    It is an AST transformer of the shell and not an object that stands in for a context: what the cell gets is the
    real thing, and an error in making it is the cell's own, at its first line.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

    def visit(self, node: ast.AST) -> ast.AST:
        """`node`, a cell's module, with `sc` made before its first statement where that is wanted."""
        if not isinstance(node, ast.Module) or not node.body or NAME in self._shell.user_ns or not _reads_only(node):
            return node
        self._shell.user_ns.setdefault(_MAKER, _context)
        self._shell.user_ns_hidden.setdefault(_MAKER, _context)
        made = ast.parse(f"{NAME} = {_MAKER}()", mode="exec").body
        for inner in ast.walk(made[0]):
            ast.copy_location(inner, node.body[0])
        # A docstring or a `from __future__` import must stay first.
        position = 0
        while position < len(node.body) and _must_be_first(node.body[position]):
            position += 1
        node.body[position:position] = made
        return node


def load_ipython_extension(ipython: InteractiveShell) -> None:
    """`ipython` has sparklab, and `sc` at its first mention. Called by the kernel's ``--ext``. Idempotent."""
    from sparklab.jupyter.extension import load

    load(ipython)
    if getattr(ipython, _ATTRIBUTE, None) is not None:
        return
    first_mention = ContextAtFirstMention(ipython)
    ipython.ast_transformers.append(first_mention)
    ipython.banner2 = f"{ipython.banner2}{_BANNER}"
    setattr(ipython, _ATTRIBUTE, first_mention)


def unload_ipython_extension(ipython: InteractiveShell) -> None:
    """`ipython` is as before; a context that was made goes on. Idempotent."""
    from sparklab.jupyter.extension import unload

    first_mention = getattr(ipython, _ATTRIBUTE, None)
    if first_mention is not None:
        ipython.ast_transformers.remove(first_mention)
        ipython.banner2 = ipython.banner2.replace(_BANNER, "")
        setattr(ipython, _ATTRIBUTE, None)
    unload(ipython)


def _context() -> object:
    from sparklab.context import SparkContext

    return SparkContext.getOrCreate()


def _reads_only(module: ast.Module) -> bool:
    """Whether the cell reads `sc` and nowhere binds it: a cell with ``sc = SparkContext(...)`` makes its own."""
    read = False
    for node in ast.walk(module):
        match node:
            case ast.Name(id=name, ctx=context) if name == NAME:
                if not isinstance(context, ast.Load):
                    return False
                read = True
            case ast.alias(name=name, asname=asname) if (asname or name) == NAME:
                return False
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name) if name == NAME:
                return False
            case ast.arg(arg=name) if name == NAME:
                return False
    return read


def _must_be_first(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.ImportFrom):
        return statement.module == "__future__"
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
