"""``make binder-check``: what a Binder image does, in a fresh environment, on one core and within 2 GB.

Without Docker: the steps that repo2docker makes of this folder (runtime.txt, requirements.txt, postBuild, start), run
from a copy of the repository's files, then the start notebook executed the way a visitor's kernel would. One core is
held by ``taskset`` where there is one. Memory is measured: the proportional share (PSS) of every process of the run
together, sampled; the peak above 2 GB is a failure.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

ROOT: Final = Path(__file__).resolve().parents[1]
MEMORY_LIMIT_BYTES: Final = 2 * 10**9
SAMPLE_EVERY_S: Final = 0.25
MB: Final = 10**6


@dataclass(frozen=True)
class Step:
    """One step of the image's life: how it went, how long it took, how much memory it had at most."""

    name: str
    well: bool
    wall_s: float
    peak_bytes: int
    note: str


class PeakMemory(threading.Thread):
    """The most memory that `root` and its descendants had together, while it ran."""

    def __init__(self, root: psutil.Process) -> None:
        super().__init__(daemon=True)
        self._root = root
        self._ended = threading.Event()
        self.peak_bytes = 0

    def run(self) -> None:
        while not self._ended.wait(SAMPLE_EVERY_S):
            self.peak_bytes = max(self.peak_bytes, self._now_bytes())

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self.peak_bytes

    def _now_bytes(self) -> int:
        try:
            processes = [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return 0
        return sum(memory_bytes(process) for process in processes)


def memory_bytes(process: psutil.Process) -> int:
    """The share of memory of `process`: pages that several have are split among them; resident size elsewhere."""
    try:
        shares = process.memory_full_info()
        return int(getattr(shares, "pss", 0) or shares.rss)
    except psutil.Error:
        return 0  # it has just ended


def run(name: str, command: list[str], tree: Path, environment: dict[str, str], timeout_s: float, log: Path) -> Step:
    """`command` run to its end, its output in `log`; measured. Its processes are gone afterwards."""
    started_s = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        memory = PeakMemory(psutil.Process(process.pid))
        memory.start()
        note = ""
        try:
            code = process.wait(timeout_s)
            note = "" if code == 0 else f"exit {code}"
        except subprocess.TimeoutExpired:
            note = f"not done after {timeout_s:.0f} s"
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
        peak_bytes = memory.stop()
    if peak_bytes > MEMORY_LIMIT_BYTES:
        note = " ".join([note, f"over {MEMORY_LIMIT_BYTES / MB:.0f} MB"]).strip()
    return Step(name, not note, time.monotonic() - started_s, peak_bytes, note)


def interpreter() -> tuple[str, str]:
    """The Python of runtime.txt where this machine has it, else this one; and a word about it."""
    wanted = (ROOT / "binder" / "runtime.txt").read_text(encoding="utf-8").strip().removeprefix("python-")
    for candidate in (sys.executable, f"python{wanted}"):
        found = shutil.which(candidate)
        if found is None:
            continue
        probe = [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        shown = subprocess.run(probe, capture_output=True, text=True, check=False)
        if shown.stdout.strip() == wanted:
            return found, f"Python {wanted}"
    return sys.executable, f"Python {sys.version_info.major}.{sys.version_info.minor}, not {wanted}: none here"


def copy_of_the_repository(into: Path) -> Path:
    """The files that git would give a clone of this tree, as they are on disk now."""
    tree = into / "repository"
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    return tree


def steps(scratch: Path, timeout_s: float) -> list[Step]:
    """Every step in order, up to the first that failed."""
    tree = copy_of_the_repository(scratch)
    base, version = interpreter()
    home = scratch / "venv"
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
    environment["PATH"] = f"{home / 'bin'}{os.pathsep}{environment['PATH']}"
    one_core = ["taskset", "-c", str(min(os.sched_getaffinity(0)))] if shutil.which("taskset") else []
    held = "one core" if one_core else "every core: no taskset here"
    install = ["-m", "pip", "install", "--quiet", "--no-cache-dir"]
    plan = [
        (f"environment ({version})", [base, "-m", "venv", str(home)]),
        ("requirements.txt", ["python", *install, "-r", "binder/requirements.txt"]),
        (f"postBuild ({held})", [*one_core, "bash", "binder/postBuild"]),
        (
            f"start notebook ({held})",
            [*one_core, "bash", "binder/start", "python", "-m", "sparklab", "demo", "--out", str(scratch / "out")],
        ),
    ]
    done: list[Step] = []
    for number, (name, command) in enumerate(plan):
        log = scratch / f"step-{number}.log"
        step = run(name, command, tree, environment, timeout_s, log)
        done.append(step)
        print(row(step), flush=True)
        if not step.well:
            print(log.read_text(encoding="utf-8", errors="replace")[-6000:], file=sys.stderr)
            break
    return done


def row(step: Step) -> str:
    verdict = "ok  " if step.well else "FAIL"
    return f"{verdict}  {step.name:<40} {step.wall_s:7.1f} s {step.peak_bytes / MB:7.0f} MB  {step.note}".rstrip()


def main() -> int:
    parser = argparse.ArgumentParser(prog="make binder-check", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--timeout", type=float, default=900.0, metavar="S", help="seconds for one step (default 900)")
    asked = parser.parse_args()
    print(f"{'':4}  {'step':<40} {'time':>9} {'peak':>10}")
    with tempfile.TemporaryDirectory(prefix="sparklab-binder-") as folder:
        done = steps(Path(folder), asked.timeout)
    failed = [step.name for step in done if not step.well]
    if failed:
        print(f"The Binder image would not work: {failed[0]}.")
        return 1
    peak_mb = max(step.peak_bytes for step in done) / MB
    print(f"The Binder image would work: {len(done)} steps, at most {peak_mb:.0f} of {MEMORY_LIMIT_BYTES / MB:.0f} MB.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
