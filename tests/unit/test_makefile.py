"""The Makefile, as a reader meets it: help by default, a clear word without Python, nothing to do the second time."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = ("lab", "demo", "test", "lint", "bench", "bench-quick", "binder-check", "clean")

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="this machine has no make")


def make(*arguments: str, path: str | None = None, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    if path is not None:
        environment["PATH"] = path
    program = shutil.which("make")
    assert program is not None
    return subprocess.run(
        [program, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A folder with the Makefile and what it reads, and no environment."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_make_alone_lists_every_target() -> None:
    shown = make().stdout
    for target in TARGETS:
        assert f"make {target} " in shown


def test_a_machine_without_python_is_told_what_to_install(fresh: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "rm", "touch"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    ended = make("lab", path=str(tools), folder=fresh)
    assert ended.returncode != 0
    assert "Found: no Python 3.11" in ended.stderr
    assert "To do: install Python 3.11" in ended.stderr
    assert not (fresh / ".venv").exists()


def test_a_python_that_is_too_old_is_passed_over(fresh: Path, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("sh", "rm", "touch"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    old = tools / "python3"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert "Found: no Python 3.11" in make("lab", path=str(tools), folder=fresh).stderr


@pytest.mark.parametrize("target", ["lab", "demo", "test", "lint"])
def test_the_second_run_of_a_target_installs_nothing(fresh: Path, target: str) -> None:
    (fresh / ".venv" / "bin").mkdir(parents=True)
    (fresh / ".venv" / "bin" / "python").touch()
    first = make("--dry-run", target, folder=fresh).stdout
    assert " install " in first
    for stamp in ("run", "test", "lint"):
        (fresh / ".venv" / f".stamp-{stamp}").touch()
    assert " install " not in make("--dry-run", target, folder=fresh).stdout


def test_changed_dependencies_are_installed_at_the_next_run(fresh: Path) -> None:
    (fresh / ".venv" / "bin").mkdir(parents=True)
    (fresh / ".venv" / "bin" / "python").touch()
    stamp = fresh / ".venv" / ".stamp-test"
    stamp.touch()
    os.utime(stamp, (1, 1))  # long before pyproject.toml
    assert " install " in make("--dry-run", "test", folder=fresh).stdout
