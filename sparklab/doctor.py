"""The doctor: whether this installation can do its work, one finding at a time, with what to do about each."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import add
from pathlib import Path
from typing import Final

from sparklab.errors import SparklabError
from sparklab.quantities import size_text

_SHOWN_DISTRIBUTIONS: Final = (
    "sparklab-notebook",
    "dask",
    "distributed",
    "numpy",
    "ipykernel",
    "jupyterlab",
    "anywidget",
)
_SCRATCH_NEEDED_BYTES: Final = 512 * 2**20
_JOB_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Attributes
    ----------
    subject : str
        What was looked at.
    well : bool
        Whether it is as it should be.
    found : str
        What was found.
    do : str
        What to do about it, "" where it is well.
    """

    subject: str
    well: bool
    found: str
    do: str = ""


def examine(run_job: bool = True) -> list[Finding]:
    """A finding for each part of the installation. Blocks for a few seconds: it starts a cluster and runs a job.

    Where a context is active, its cluster answers the job and no other is started.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("versions", _versions),
        ("machine", _machine),
        ("scratch", _scratch),
        ("kernel", _kernel),
        ("extension", _extension),
        ("widgets", _widgets),
    ]
    if run_job:
        checks.append(("job", _job))
    return [_guarded(subject, check) for subject, check in checks]


def report(findings: Sequence[Finding]) -> str:
    """The findings as text: a line each, with what to do under those that are not well, and a closing line."""
    width = max((len(finding.subject) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(f"{'ok  ' if finding.well else 'FAIL'}  {finding.subject:<{width}}  {finding.found}")
        if finding.do:
            lines.append(f"      {'':<{width}}  To do: {finding.do}")
    failed = sum(1 for finding in findings if not finding.well)
    lines.append("Everything is well." if not failed else f"{failed} of {len(findings)} findings need attention.")
    return "\n".join(lines)


def _guarded(subject: str, check: Callable[[], Finding]) -> Finding:
    """What `check` finds; its failing is a finding too."""
    try:
        return check()
    except SparklabError as error:
        return Finding(subject, False, f"{error.attempted}: {error.found}", error.do)
    except Exception as error:
        return Finding(subject, False, f"{type(error).__name__}: {error}", "install sparklab again (make clean lab)")


def _versions() -> Finding:
    shown = [f"Python {sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"]
    missing: list[str] = []
    for name in _SHOWN_DISTRIBUTIONS:
        try:
            shown.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            # From a checkout sparklab runs without being installed; everything else it needs.
            (shown if name == "sparklab-notebook" else missing).append(f"{name} (not installed)")
    if missing:
        return Finding("versions", False, ", ".join(missing), "python -m pip install . in the checkout")
    return Finding("versions", sys.version_info >= (3, 11), ", ".join(shown))


def _machine() -> Finding:
    from sparklab.cluster.resources import MEMORY_PER_EXECUTOR_BYTES, find_resources

    resources = find_resources()
    found = f"{resources.cores} cores, {size_text(resources.memory_bytes)} for this process and its executors"
    if resources.memory_bytes < MEMORY_PER_EXECUTOR_BYTES:
        needed = size_text(MEMORY_PER_EXECUTOR_BYTES)
        return Finding("machine", False, found, f"give it more memory: one executor needs {needed}")
    return Finding("machine", True, found)


def _scratch() -> Finding:
    folder = tempfile.gettempdir()
    free_bytes = shutil.disk_usage(folder).free
    with tempfile.TemporaryDirectory(prefix="sparklab-doctor-") as made:
        (Path(made) / "probe").write_bytes(b"sparklab")
    found = f"{folder} is writable, {size_text(free_bytes)} free"
    if free_bytes < _SCRATCH_NEEDED_BYTES:
        return Finding("scratch", False, found, "free some space, or name another folder with spark.local.dir")
    return Finding("scratch", True, found)


def _kernel() -> Finding:
    from jupyter_client.kernelspec import KernelSpecManager

    spec = KernelSpecManager().get_kernel_spec("python3")
    program = spec.argv[0]
    # JupyterLab runs a bare "python" of a kernelspec with its own interpreter.
    of_this = os.path.basename(program).startswith("python") and not os.path.dirname(program)
    if of_this or os.path.realpath(program) == os.path.realpath(sys.executable) or program == sys.executable:
        return Finding("kernel", True, f"python3 runs {sys.executable}")
    return Finding(
        "kernel",
        False,
        f"python3 runs {program}, not {sys.executable}",
        "start JupyterLab with python -m sparklab lab, or: python -m ipykernel install --sys-prefix",
    )


def _extension() -> Finding:
    import sparklab

    package = Path(__file__).parent
    folders = (package / "jupyter" / "static", package.parent / "extensions" / "widgets")
    sizes_bytes = [sum(file.stat().st_size for file in folder.glob("*.*")) for folder in folders if folder.is_dir()]
    if not callable(sparklab.load_ipython_extension) or not any(sizes_bytes):
        found = "%load_ext sparklab would find no panel: its modules are missing"
        return Finding("extension", False, found, "install sparklab again, from a complete checkout")
    return Finding("extension", True, f"%load_ext sparklab, panel of {max(sizes_bytes) // 1000} kB")


def _widgets() -> Finding:
    from jupyter_core.paths import jupyter_path

    wanted = {"anywidget": "anywidget", "@jupyter-widgets/jupyterlab-manager": "jupyterlab_widgets"}
    missing = []
    for extension, package in wanted.items():
        places = [Path(folder) / extension / "package.json" for folder in jupyter_path("labextensions")]
        if not any(place.is_file() for place in places):
            missing.append(package)
    if missing:
        return Finding(
            "widgets",
            False,
            f"JupyterLab does not have the extensions of {', '.join(missing)}: panels would stay pictures",
            f"python -m pip install --force-reinstall {' '.join(missing)}",
        )
    versions = [_extension_version(name) for name in wanted]
    return Finding("widgets", True, f"JupyterLab has {', '.join(versions)}")


def _extension_version(extension: str) -> str:
    from jupyter_core.paths import jupyter_path

    for folder in jupyter_path("labextensions"):
        place = Path(folder) / extension / "package.json"
        if place.is_file():
            return f"{extension} {json.loads(place.read_text(encoding='utf-8')).get('version', '')}"
    return extension


def _job() -> Finding:
    """In a process of its own: a notebook's context, its jobs and its last run are none of the doctor's business."""
    place = str(Path(__file__).parents[1])
    paths = [place, *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, "-c", "from sparklab.doctor import _probe; _probe()"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_JOB_TIMEOUT_S,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        return Finding("job", False, f"a process of its own that runs a job: {last}", "run python -m sparklab demo")
    total, ready_s, wall_s = json.loads(lines[-1])
    if total != sum(range(1000)):
        return Finding("job", False, f"local[2] answered {total} to a sum of {sum(range(1000))}", "report this")
    return Finding("job", True, f"local[2] was ready after {ready_s:.1f} s and answered in {wall_s:.2f} s")


def _probe() -> None:
    """Prints what a job of a new context answers, and the seconds of its start and of the job."""
    from sparklab.context import SparkContext

    started_s = time.monotonic()
    with SparkContext("local[2]", "doctor") as sc:
        sc.waitUntilReady(_JOB_TIMEOUT_S)
        ready_s = time.monotonic() - started_s
        total = sc.parallelize(range(1000), 4).map(lambda n: (n % 3, n)).reduceByKey(add).values().reduce(add)
        print(json.dumps([total, ready_s, time.monotonic() - started_s - ready_s]))
