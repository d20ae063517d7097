"""Every lecture has the lectures' form, and runs from its first cell to its last with every claim holding."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from sparklab.commands.demo import run_demo

ROOT = Path(__file__).parents[2]
LECTURES = sorted((ROOT / "notebooks").glob("[0-9][0-9]-*.ipynb"))
MOST_CODE_CELLS = {"00-start.ipynb": 15}
each_lecture = pytest.mark.parametrize("path", LECTURES, ids=lambda path: path.stem)


def cells_of(path: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell | {"text": "".join(cell["source"])} for cell in cells if cell["cell_type"] == kind]


@each_lecture
def test_a_lecture_is_short_in_cells_lines_and_words(path: Path) -> None:
    code = cells_of(path, "code")
    assert len(code) <= MOST_CODE_CELLS.get(path.name, 20)
    for cell in code:
        assert len(cell["text"].splitlines()) <= 10, cell["text"]
    for cell in cells_of(path, "markdown"):
        assert len(re.findall(r"\S+", cell["text"])) <= 60, cell["text"]


@each_lecture
def test_a_lecture_asks_predicts_claims_and_says_why(path: Path) -> None:
    text = " ".join(cell["text"] for cell in cells_of(path, "markdown"))
    for word in ("**Ask.**", "**Predict**", "**Why.**", "exercises", "section"):
        assert word in text, f"{path.name} has no {word}"
    claims = [cell for cell in cells_of(path, "code") if "claim" in cell["metadata"].get("tags", [])]
    assert len(claims) >= 4
    for cell in claims:
        assert "assert " in cell["text"]
        assert 'print(f"Claim' in cell["text"]
    for cell in cells_of(path, "code"):
        assert ("assert " in cell["text"]) == (cell in claims), "a cell that asserts is tagged as a claim"


@pytest.mark.slow
@pytest.mark.timeout(300)
@each_lecture
def test_every_claim_of_a_lecture_holds_and_every_sparklab_cell_leaves_its_picture(
    path: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(str(path), str(tmp_path), timeout_s=280) == 0, capfd.readouterr().err
    for cell in cells_of(tmp_path / path.name, "code"):
        noise = ["".join(o["text"]) for o in cell["outputs"] if o["output_type"] == "stream" and o["name"] == "stderr"]
        assert not noise, f"{cell['text']}\n{''.join(noise)}"
        if cell["text"].startswith("%%sparklab"):
            pages = ["".join(o.get("data", {}).get("text/html", "")) for o in cell["outputs"]]
            assert any("data:image/svg+xml" in page for page in pages), f"no static picture under {cell['text']}"
