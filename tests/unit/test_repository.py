"""What holds of the repository as a whole: nothing of one machine in it, notebooks clean, modules short."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

import sparklab

ROOT = Path(__file__).parents[2]
TEXT = {
    "", ".css", ".html", ".ipynb", ".js", ".json", ".md", ".mjs", ".py", ".toml", ".ts", ".txt", ".yaml", ".yml",
}  # fmt: skip
LONGEST_MODULE_LINES = 400

# Paths of one person's machine, and registries' hosts: a mirror must be able to stand in for those.
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work)[/\w]*/[\w.-]+")
REGISTRY_HOST = re.compile(
    r"\b(?:pypi\.org|pythonhosted\.org|registry\.npmjs\.org|npmjs\.com|deb\.debian\.org|conda\.anaconda\.org)\b"
)


def tracked_files() -> list[Path]:
    """The repository's files: git's list in a clone, else (an unpacked sdist) every file that is not made by a tool."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode == 0 and listing.stdout:
        paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not any(part.startswith(".venv") for part in p.parts)]
    return sorted(p for p in paths if p.is_file())


def committed_text(path: Path) -> str:
    """What git holds of `path`; where there is no git, what the disk holds. A notebook in use has outputs on disk."""
    name = path.relative_to(ROOT).as_posix()
    shown = subprocess.run(["git", "show", f":{name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    return shown.stdout if shown.returncode == 0 else path.read_text(encoding="utf-8")


def text_files() -> list[Path]:
    return [p for p in tracked_files() if p.suffix in TEXT and p.name != "test_repository.py"]


def machine_traces(text: str) -> list[str]:
    """Everything in `text` that ties it to one machine or one registry."""
    return MACHINE_PATH.findall(text) + REGISTRY_HOST.findall(text)


def test_no_file_names_a_path_of_one_machine_or_a_registry_host() -> None:
    found = []
    for path in text_files():
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            found += [f"{path.relative_to(ROOT)}:{number}: {trace}" for trace in machine_traces(line)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "text", ["open('/home/ada/data.txt')", "cd /root/project", "https://pypi.org/simple", "registry.npmjs.org"]
)
def test_a_trace_of_one_machine_is_found(text: str) -> None:
    assert machine_traces(text)


@pytest.mark.parametrize("text", ["make PYTHON=/path/to/python3", "/usr/bin/chromium", "`/tmp`", "a/home/page"])
def test_a_path_that_every_machine_has_is_no_trace(text: str) -> None:
    assert not machine_traces(text)


def notebooks() -> list[Path]:
    return [p for p in tracked_files() if p.suffix == ".ipynb"]


def test_notebooks_are_committed_without_outputs() -> None:
    for path in notebooks():
        notebook = json.loads(committed_text(path))
        assert "widgets" not in notebook["metadata"], f"{path.name} carries widget state"
        for cell in notebook["cells"]:
            if cell["cell_type"] == "code":
                assert not cell["outputs"], f"{path.name} carries outputs: strip them (CONTRIBUTING.md says how)"
                assert cell["execution_count"] is None, f"{path.name} carries execution counts"


def test_notebooks_ask_for_the_python3_kernel_and_load_the_extension() -> None:
    for path in notebooks():
        notebook = json.loads(committed_text(path))
        assert notebook["metadata"]["kernelspec"]["name"] == "python3"
        assert "%load_ext sparklab" in "".join("".join(c["source"]) for c in notebook["cells"])


def test_no_module_has_a_bare_except_or_a_note_to_do_later() -> None:
    found = []
    for path in (p for p in tracked_files() if p.suffix == ".py" and p.name != "test_repository.py"):
        source = path.read_text(encoding="utf-8")
        name = path.relative_to(ROOT)
        found += [f"{name}: {word}" for word in ("TODO", "FIXME", "XXX") if re.search(rf"#.*\b{word}\b", source)]
        found += [
            f"{name}:{node.lineno}: bare except"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ExceptHandler) and node.type is None
        ]
    assert not found, "\n".join(found)


def test_modules_stay_short_enough_to_read_at_one_sitting() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in (ROOT / "sparklab").rglob("*.py")}
    long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > LONGEST_MODULE_LINES}
    if long:
        # Most, not all: a long module is a reason to look, not a failure. Twice the length is one.
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.warn(f"longer than {LONGEST_MODULE_LINES} lines: {long}", UserWarning, stacklevel=1)
    assert not {name: n for name, n in long.items() if n > 2 * LONGEST_MODULE_LINES}


def test_every_runtime_import_is_a_declared_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[<>=\[ ]", d, maxsplit=1)[0].lower().replace("-", "_") for d in project["dependencies"]}
    brought_by_those = {"tornado", "traitlets", "jupyter_client", "jupyter_core", "comm", "toolz", "dask", "sparklab"}
    brought_by_those.add("llvmlite")  # numba's compiler
    brought_by_those.add("pandas")  # not brought: whoever uses its bridges has it, or is told its name
    found = set()
    for path in (p for p in tracked_files() if ROOT / "sparklab" in p.parents and p.suffix == ".py"):
        if "testing" in path.parts:  # inherited by test suites, which have the test extra
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            tops = {name.split(".")[0] for name in names}
            found |= {(str(path.relative_to(ROOT)), t) for t in tops if t not in sys.stdlib_module_names}
    undeclared = {(where, top) for where, top in found if top.lower() not in declared | brought_by_those}
    assert not undeclared


def test_each_dependency_is_pinned_in_the_constraints_as_a_plain_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [d for extra in project["optional-dependencies"].values() for d in extra]
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    pins = dict(line.split("==") for line in lines)
    assert all(re.fullmatch(r"[\w.]+", version) for version in pins.values())
    normal = {name.lower().replace("_", "-") for name in pins}
    names = {re.split(r"[<>=\[ ]", d, maxsplit=1)[0].lower().replace("_", "-") for d in wanted}
    assert names <= normal, f"pin in constraints.txt: {sorted(names - normal)}"


def test_each_pinned_version_installs_on_the_oldest_python_that_is_promised() -> None:
    """A pin that wants 3.11.5 cannot be installed on a stock Debian 12, whose Python is 3.11.2."""
    refused = []
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        name, _, version = line.partition("==")
        try:
            metadata = importlib.metadata.metadata(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of an extra that is not installed here
        wanted = metadata.get("Requires-Python", "")
        if metadata["Version"] == version and not SpecifierSet(wanted).contains("3.11.0"):
            refused.append(f"{line} wants Python {wanted}")
    assert not refused, "\n".join(refused)


def test_the_version_is_one_and_the_distribution_has_a_name_of_its_own() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "sparklab-notebook"
    assert f"## {sparklab.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_links_between_the_documents_lead_somewhere() -> None:
    dead = []
    for page in (p for p in tracked_files() if p.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                dead.append(f"{page.relative_to(ROOT)} -> {target}")
    assert not dead, "\n".join(dead)


def test_files_of_tests_that_the_documents_name_are_there() -> None:
    missing = []
    for page in (p for p in tracked_files() if p.suffix == ".md"):
        for name in re.findall(r"`(tests/[\w/.]+)`", page.read_text(encoding="utf-8")):
            if not (ROOT / name).exists():
                missing.append(f"{page.relative_to(ROOT)}: {name}")
    assert not missing, "\n".join(missing)


def test_what_binder_starts_and_ci_runs_is_executable() -> None:
    for name in (".ci/run", "binder/postBuild", "binder/start"):
        assert (ROOT / name).stat().st_mode & 0o111, f"{name} is not executable"
