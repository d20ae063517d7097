"""A page that holds the panel's module and a stand-in for its synced model: no notebook, no kernel."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sparklab.jupyter.assets import asset, packed_module
from tests.browser import lab

THEMES = {
    "light": {
        "--jp-layout-color0": "#fff", "--jp-layout-color1": "#fff", "--jp-layout-color2": "#eee",
        "--jp-ui-font-color0": "rgba(0,0,0,1)", "--jp-ui-font-color1": "rgba(0,0,0,.87)",
        "--jp-border-color1": "#bdbdbd",
    },
    "dark": {
        "--jp-layout-color0": "#111", "--jp-layout-color1": "#212121", "--jp-layout-color2": "#424242",
        "--jp-ui-font-color0": "rgba(255,255,255,1)", "--jp-ui-font-color1": "rgba(255,255,255,.87)",
        "--jp-border-color1": "#616161",
    },
}  # fmt: skip

_PAGE = """<!doctype html><meta charset="utf-8"><style>%s body{margin:0;padding:24px;background:var(--jp-layout-color0)}
#at{width:%dpx}%s</style><style id="css"></style><body data-jp-theme-name="%s"><div id="at"></div></body>"""

_FAKE = """
([source, css, state]) => {
  document.getElementById("css").textContent = css;
  const handlers = {};
  const model = {
    state, sent: [], dead: false,
    get(key) { return this.state[key]; },
    send(message) { if (this.dead) throw new Error("no comm"); this.sent.push(message); },
    on(name, act) { (handlers[name] ||= []).push(act); },
    off(name, act) { handlers[name] = (handlers[name] || []).filter((one) => one !== act); },
    emit(name, ...args) { for (const act of [...(handlers[name] || [])]) act(...args); },
    put(key, value) { this.state = { ...this.state, [key]: value }; this.emit("change:" + key); },
    handlers,
  };
  window.model = model;
  return import(URL.createObjectURL(new Blob([source], { type: "text/javascript" }))).then((module) => {
    window.module = module.default;
    window.close_view = module.default.render({ model, el: document.getElementById("at") });
  });
}
"""


def why_not() -> str:
    """Why the browser cannot be driven here, or "" where it can."""
    if lab.chromium() is None:
        return "this machine has no chromium: apt-get install chromium"
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed: it is in the test extra"
    return ""


@contextmanager
def browser() -> Iterator[Any]:
    """Headless chromium, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=lab.chromium(), args=list(lab.CHROMIUM_ARGUMENTS))
        try:
            yield chromium
        finally:
            chromium.close()


def blank(
    chromium: Any, *, theme: str = "light", width: int = 994, grey: bool = False, height: int = 560, **context: Any
) -> Any:
    """A page in JupyterLab's `theme` without anything on it."""
    page = chromium.new_context(
        viewport={"width": width + 48, "height": height}, device_scale_factor=2, **context
    ).new_page()
    page.set_default_timeout(10_000)
    colours = ":root{" + "".join(f"{name}:{value};" for name, value in THEMES[theme].items()) + "}"
    page.set_content(_PAGE % (colours, width, "html{filter:grayscale(1)}" if grey else "", theme))
    return page


def open_panel(
    chromium: Any, model: Mapping[str, Any], *, form: str = "panel", tab: str = "dag", theme: str = "light",
    width: int = 994, grey: bool = False, height: int = 560, **context: Any,
) -> Any:  # fmt: skip
    """A page on which the panel shows `model`; ``window.model`` is the stand-in that holds it."""
    page = blank(chromium, theme=theme, width=width, grey=grey, height=height, **context)
    state = {"model": json.loads(json.dumps(model)), "form": form, "tab": tab, "alive": True}
    page.evaluate(_FAKE, [packed_module("panel.js"), asset("panel.css"), state])
    return page


def shapes(within: Any) -> list[list[str]]:
    """What is drawn, where, below the page or element `within`: each node's text and its shapes."""
    found: list[list[str]] = within.locator(".sl-node").evaluate_all(
        """(nodes) => nodes.map((node) => [node.innerText,
          ...[...node.querySelectorAll("use")]
            .map((use) => use.getAttribute("href").replace(/^#sl\\d+-\\w+-/, "") +
              ` ${use.getAttribute("x")} ${use.getAttribute("y")}`)
            .sort()])"""
    )
    return sorted(found)
