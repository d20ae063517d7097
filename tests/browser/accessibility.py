"""What axe-core finds on a page, and what a page's text and width are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from playwright.sync_api import Page

_RUN: Final = """
async (within) => {
  const { violations } = await axe.run(within, { resultTypes: ["violations"] });
  return violations.filter((one) => one.impact === "serious" || one.impact === "critical").flatMap((one) =>
    one.nodes.map((node) => `${one.impact}: ${one.id}: ${node.html.slice(0, 160)}: ` +
      node.any.concat(node.all, node.none).map((check) => check.message).join("; ")));
}
"""


def findings(page: Page, axe: str, within: str = "body") -> list[str]:
    """Every serious or critical finding of axe-core in what the selector `within` names, each with its element.

    Parameters
    ----------
    page : Page
        A page that has been drawn; its animations should have ended, for axe-core judges colours as they are.
    axe : str
        The source of axe-core.
    within : str
        What is judged; the rest of JupyterLab is not ours.
    """
    page.evaluate(axe)
    found: list[str] = page.evaluate(_RUN, within)
    return found
