"""What an installed wheel has, and what an unpacked sdist can build: both made here, from this tree."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import sparklab

ROOT = Path(__file__).parents[2]


def build(tree: Path, kind: str, into: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(into)]
    made = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    (artefact,) = into.iterdir()
    return artefact


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from the unpacked sdist, as an index would do it."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (tree,) = unpacked.iterdir()
    return build(tree, "wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_is_called_sparklab_notebook_and_carries_widgets_and_start_notebook(wheel: Path) -> None:
    assert wheel.name == f"sparklab_notebook-{sparklab.__version__}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    widgets = {f"sparklab/jupyter/static/{p.name}" for p in (ROOT / "extensions" / "widgets").iterdir() if p.is_file()}
    assert widgets
    assert widgets <= names
    assert "sparklab/notebooks/00-start.ipynb" in names
    modules = {p.relative_to(ROOT).as_posix() for p in (ROOT / "sparklab").rglob("*.py")}
    assert modules <= names
    assert not [n for n in names if n.startswith(("tests/", "binder/")) or "__pycache__" in n]


def test_an_installed_wheel_finds_its_assets_and_its_notebook_far_from_the_checkout(
    wheel: Path, tmp_path: Path
) -> None:
    home = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    probe = (
        "import sparklab, pathlib\n"
        "from sparklab.commands.notebook import in_checkout, start_notebook\n"
        "package = pathlib.Path(sparklab.__file__).parent\n"
        "assert not in_checkout() and start_notebook() == package / 'notebooks' / '00-start.ipynb'\n"
        "from sparklab.jupyter.assets import widget_module\n"
        "print(sparklab.__version__, widget_module('panel.js').count('class View') == 1)\n"
    )
    shown = subprocess.run([python, "-I", "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.stdout.split() == [sparklab.__version__, "True"], shown.stderr
