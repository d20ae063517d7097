"""Several ES modules as one: anywidget takes a single module for a widget, and there is no address to import from.

The modules are ordinary ones, so any tool can read them. What joins them asks for little: imports by name from "./x.js"
on one line, exports where the name is declared, one default export in the module that is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from sparklab.errors import SparklabError

_IMPORT: Final = re.compile(r'^import \{ (?P<names>[\w, ]+) \} from "\./(?P<module>[\w-]+\.js)";\n', re.MULTILINE)
_DECLARED: Final = re.compile(
    r"^(?P<export>export )?(?:async )?(?P<kind>const|let|class|function\*?) (?P<name>\w+)", re.MULTILINE
)
_STRING: Final = re.compile(r"""("[^"]*"|'[^']*'|`[^`]*`)""")
_BRACKETS: Final = re.compile(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}")
_FURTHER: Final = re.compile(r", (\w+) =(?![=>])")
_DEFAULT: Final = re.compile(r"^export default \{\n.*?^\};\n", re.MULTILINE | re.DOTALL)
_LINE: Final = re.compile(r"^[ \t]*(?://.*)?\n|^[ \t]+", re.MULTILINE)


def bundle(entry: str, read: Callable[[str], str]) -> str:
    """The module `entry` with everything it imports in one, each module once, those it builds on first.

    The same modules give the same text, in any process. Comment lines, empty lines and indentation are left out: a
    saved widget carries this text.

    Parameters
    ----------
    entry : str
        Name of the module whose default export is the result's.
    read : callable
        The text of a module by its name.

    Raises
    ------
    SparklabError
        Where a module imports what another does not export, two declare the same name, or they import in a circle.
    """
    texts: dict[str, str] = {}
    _collect(entry, read, texts, ())
    owner: dict[str, str] = {}
    exported: dict[str, set[str]] = {}
    for module, text in texts.items():
        names = dict(_declared(text))
        exported[module] = {name for name, is_exported in names.items() if is_exported}
        for name in names:
            if owner.setdefault(name, module) != module:
                raise _refused(module, f"{name} is declared in {owner[name]} as well", "rename one")
        for wanted in _IMPORT.finditer(text):
            missing = {name.strip() for name in wanted["names"].split(",")} - exported[wanted["module"]]
            if missing:
                raise _refused(module, f"{wanted['module']} does not export {', '.join(sorted(missing))}", "export it")
    return "".join(_plain(text, keep_default=module == entry) for module, text in texts.items())


def _declared(text: str) -> Iterator[tuple[str, bool]]:
    """The names that `text` declares for itself, and whether each is exported."""
    for found in _DECLARED.finditer(text):
        yield found["name"], bool(found["export"])
        if found["kind"] in ("const", "let"):
            line = text[found.end() : text.find("\n", found.end())]
            for other in _FURTHER.finditer(_flat(line)):
                yield other[1], bool(found["export"])


def _flat(line: str) -> str:
    """`line` without its strings and without what stands in brackets."""
    line, before = _STRING.sub("", line), ""
    while line != before:
        line, before = _BRACKETS.sub("", line), line
    return line


def _collect(module: str, read: Callable[[str], str], texts: dict[str, str], above: tuple[str, ...]) -> None:
    if module in above:
        raise _refused(module, f"it imports itself by way of {' and '.join(above)}", "move what both need into a third")
    if module not in texts:
        text = read(module)
        for wanted in _IMPORT.finditer(text):
            _collect(wanted["module"], read, texts, (*above, module))
        texts[module] = text


def _plain(text: str, keep_default: bool) -> str:
    text = _IMPORT.sub("", text)
    if not keep_default:
        # What another module imports by name may have a default export of its own: it is nobody's here.
        text = _DEFAULT.sub("", text)
    text = re.sub(r"^export (?!default)", "", text, flags=re.MULTILINE)
    return _LINE.sub("", text)


def _refused(module: str, found: str, do: str) -> SparklabError:
    return SparklabError(f"joining the widget module {module} with what it imports", found, do)
