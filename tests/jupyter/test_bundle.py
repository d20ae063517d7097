"""The panel's modules joined into the one that anywidget takes."""

from __future__ import annotations

import base64
import gzip
import re
from pathlib import Path

import pytest

from sparklab.errors import SparklabError
from sparklab.jupyter.assets import asset, packed_module, widget_module
from sparklab.jupyter.bundle import bundle
from sparklab.jupyter.model import BYTES_MAX
from sparklab.jupyter.panel import PanelWidget
from sparklab.jupyter.replay import ReplayWidget

WIDGETS = Path(__file__).parents[2] / "extensions" / "widgets"


def joined(**modules: str) -> str:
    return bundle("main.js", lambda name: modules[name.removesuffix(".js")])


def test_each_module_stands_once_and_before_those_that_import_it() -> None:
    text = joined(
        main='import { a } from "./one.js";\nimport { b } from "./two.js";\n\nexport default a + b;\n',
        one='import { c } from "./three.js";\n\nexport const a = c;\n',
        two='// a note\nimport { c } from "./three.js";\n\nexport function b() {\n  return c;\n}\n',
        three="export const c = 1;\n",
    )
    assert text == "const c = 1;\nconst a = c;\nfunction b() {\nreturn c;\n}\nexport default a + b;\n"


@pytest.mark.parametrize(
    ("modules", "found"),
    [
        ({"main": 'import { a } from "./one.js";\n', "one": "export const b = 1;\n"}, "does not export a"),
        (
            {"main": 'import { a } from "./one.js";\nconst b = 1;\n', "one": "export const a = 1;\nlet b = 2;\n"},
            "as well",
        ),
        (
            {
                "main": 'import { a } from "./one.js";\nconst c = "x, a = 1", b = 1;\n',
                "one": "export const a = f(1), b = 2;\n",
            },
            "b is declared in one.js as well",
        ),
        ({"main": 'import { a } from "./one.js";\n', "one": 'import { b } from "./main.js";\n'}, "imports itself"),
    ],
)
def test_modules_that_do_not_fit_together_are_refused(modules: dict[str, str], found: str) -> None:
    with pytest.raises(SparklabError, match=found):
        joined(**modules)


@pytest.mark.parametrize("entry", ["panel.js", "replay.js"])
def test_a_joined_module_imports_nothing_and_has_one_export(entry: str) -> None:
    text = widget_module(entry)
    assert "import " not in text
    assert text.count("export ") == 1
    assert widget_module(entry) is text


@pytest.mark.parametrize(("entry", "widget"), [("panel.js", PanelWidget), ("replay.js", ReplayWidget)])
def test_what_a_widget_is_given_is_below_50_kb_and_holds_its_module_whole(entry: str, widget: type) -> None:
    given = packed_module(entry)
    assert len(given.encode()) < 50_000
    (packed,) = re.findall(r'^const packed = "([\w+/=]+)";$', given, re.MULTILINE)
    assert gzip.decompress(base64.b64decode(packed)).decode() == widget_module(entry)
    shown = widget() if widget is PanelWidget else widget({})
    assert str(shown._esm) == given


def test_a_saved_panel_with_its_code_style_and_largest_picture_is_below_300_kb() -> None:
    saved = len(packed_module("panel.js").encode()) + len(asset("panel.css").encode()) + BYTES_MAX
    assert saved < 300_000


def test_no_string_of_the_panels_modules_spans_lines() -> None:
    """Joining takes indentation away, which must not be part of a string."""
    for path in WIDGETS.glob("*.js"):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert line.count("`") % 2 == 0, f"{path.name}: {line}"


def test_the_default_of_a_module_that_is_imported_by_name_is_left_out() -> None:
    text = joined(
        main='import { View } from "./panel.js";\nexport default {\n  play() { return new View(); },\n};\n',
        panel="export class View {\n}\nexport default {\n  render() {\n    return 1;\n  },\n};\n",
    )
    assert text.count("export default") == 1
    assert "render" not in text
    assert "new View" in text


def test_no_two_parts_of_a_view_have_a_method_of_one_name() -> None:
    """They are put together into one class, where the later would silently take the other's place."""
    owner: dict[str, str] = {}
    for path in sorted(WIDGETS.glob("*.js")):
        text = path.read_text(encoding="utf-8")
        if "Methods {" not in text and path.name != "panel.js":
            continue
        body = text[text.index("export class ") :]
        body = body[: body.index("\n}\n") + 1]
        for name in re.findall(r"^  (?:async |get )?(\w+)\(.*\{", body, re.MULTILINE):
            if name not in ("constructor", "if", "for"):
                assert owner.setdefault(name, path.name) == path.name, f"{name} stands in two modules"
    assert {"dag", "timeline", "cache"} <= owner.keys()
