"""One trial: a program and a schedule of faults from a seed, run with a deadline, judged, and looked at for leaks."""

from __future__ import annotations

import faulthandler
import gc
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded

from sparklab import SparkConf, SparkContext, StorageLevel
from sparklab.errors import StorageError
from sparklab.testing import Fault, inject, random_faults
from tests.model.programs import Program, programs
from tests.support.fast_paths import take_fast_paths_for_all_sizes, take_no_fast_path

DEADLINE_S: Final = 90.0
CLEAN_S: Final = 15.0  # within this nothing of a program is left, once nobody refers to its RDDs
MOST_RECORDS: Final = 3_000

ACTIONS: Final = ("kill", "kill", "stop", "corrupt", "corrupt", "drop", "delay", "disk-full")
LEVELS: Final = (
    None,
    StorageLevel.MEMORY_ONLY,
    StorageLevel.MEMORY_AND_DISK,
    StorageLevel.DISK_ONLY,
    StorageLevel.MEMORY_AND_DISK_2,
)


def program_of(seed: int) -> Program:
    """The random program that `seed` decides: of a few that Hypothesis makes, the longest that is not too large."""
    found: list[Program] = []

    @seeded(seed)
    @settings(
        max_examples=10, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(programs())
    def collect(program: Program) -> None:
        if len(program.expected()) <= MOST_RECORDS:
            found.append(program)

    collect()
    return max(found, key=lambda program: len(program.steps))


def schedule_of(seed: int) -> list[Fault]:
    """One to three faults that `seed` decides."""
    chance = random.Random(f"faults {seed}")
    # Threads of this process cannot be stopped without it.
    actions = [action for action in ACTIONS if action != "stop" or not variant_of(seed).master.startswith("threads")]
    return random_faults(chance.randrange(1 << 30), chance.choice((1, 1, 2, 3)), actions)


@dataclass
class Verdict:
    """What came of one trial. `wrong`, `hung` and `leaked` are empty where all is well."""

    seed: int
    program: Program
    faults: list[Fault]
    strikes: list[str] = field(default_factory=list)
    wall_s: float = 0.0
    wrong: str = ""
    hung: str = ""
    leaked: str = ""

    @property
    def good(self) -> bool:
        return not (self.wrong or self.hung or self.leaked)

    def __str__(self) -> str:
        found = "; ".join(filter(None, (self.wrong, self.hung, self.leaked and f"left over: {self.leaked}"))) or "good"
        faults = ", ".join(f"{fault.action} at {fault.step} {fault.k}" for fault in self.faults)
        return (
            f"seed {self.seed} ({variant_of(self.seed).name}): {found}\n"
            f"  program: {self.program.slices} slices of {self.program.data}, "
            f"{self.program.steps}\n  faults: {faults}; struck: {', '.join(self.strikes) or 'none'}"
        )


def canonical(records: list[Any]) -> list[str]:
    return sorted(map(repr, records))


@dataclass(frozen=True)
class Variant:
    """A kind of context that trials run in."""

    name: str
    master: str = "local[2]"
    settings: dict[str, str] = field(default_factory=dict)
    fast: bool | None = None  # ways of working for many records are taken for the few of these programs, or never


VARIANTS: Final = (
    Variant("plain"),
    Variant("little memory", settings={"spark.executor.memory": "1m"}),
    Variant(
        "speculation",
        settings={
            "spark.speculation": "true",
            "spark.speculation.quantile": "0.3",
            "spark.speculation.multiplier": "1",
            "spark.speculation.minTaskRuntime": "20ms",
            "spark.speculation.interval": "20ms",
        },
    ),
    Variant("graph lane", settings={"sparklab.task.lane": "graph"}),
    Variant("three executors", "local[3]"),
    Variant("checked twice", settings={"sparklab.checkDeterminism": "1"}),
    Variant("fast paths", "threads[2]", fast=True),  # in threads: what is set here is set for the executors
    Variant("no fast path", "threads[2]", fast=False),
)
TRIALS_EACH: Final = 25  # of one context, then it must leave nothing behind


def variant_of(seed: int) -> Variant:
    """The kind of context that `seed` is tried in."""
    return VARIANTS[seed // TRIALS_EACH % len(VARIANTS)]


class Laboratory:
    """A context for many trials, and what must be as before when it ends."""

    def __init__(self, variant: Variant = VARIANTS[0]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sparklab-chaos-")
        self.files_before = self._open_files()
        self._children_before = _children()
        conf = (
            SparkConf()
            .set("spark.local.dir", self._folder.name)
            .set("spark.executor.heartbeatInterval", "300ms")
            .set("spark.network.timeout", "2s")
            .set("sparklab.allowMultipleContexts", "true")
            .setAll(variant.settings.items())
        )
        self._patch = pytest.MonkeyPatch()
        if variant.fast is not None:
            (take_fast_paths_for_all_sizes if variant.fast else take_no_fast_path)(self._patch)
        self.sc = SparkContext(variant.master, "chaos", conf=conf)
        self.sc.waitUntilReady(60)

    @staticmethod
    def _open_files() -> int:
        return psutil.Process().num_fds()

    def run(self, seed: int) -> Verdict:
        """The verdict on the trial of `seed`. Blocks, at most about DEADLINE_S + CLEAN_S seconds."""
        verdict = Verdict(seed, program_of(seed), schedule_of(seed))
        started_s = time.monotonic()
        thread = threading.Thread(target=self._try, args=(verdict,), daemon=True, name=f"trial-{seed}")
        thread.start()
        thread.join(DEADLINE_S)
        if thread.is_alive():
            verdict.hung = f"no end after {DEADLINE_S:.0f} s"
            faulthandler.dump_traceback(sys.stderr)
            print(self.sc._dispatcher.call(_story), file=sys.stderr)
            return verdict
        gc.collect()
        verdict.leaked = self._left_over(CLEAN_S)
        verdict.wall_s = time.monotonic() - started_s
        return verdict

    def _try(self, verdict: Verdict) -> None:
        program, level = verdict.program, random.Random(verdict.seed).choice(LEVELS)
        try:
            expected = program.expected()
            undisturbed = program.define(self.sc).glom().collect()
            rdd = program.define(self.sc)
            if level is not None and rdd.getStorageLevel() == StorageLevel.NONE:
                rdd = rdd.persist(level)
            with inject(self.sc, *verdict.faults) as injection:
                try:
                    found = [rdd.glom().collect(), rdd.glom().collect(), [rdd.collect()]]
                finally:
                    verdict.strikes = [f"{s.action} at {s.step} on executor {s.executor}" for s in injection.strikes]
        except StorageError as error:
            # A local checkpoint has no lineage and is as mortal as its executor: that must be said, and is no failure.
            if not (verdict.strikes and "checkpointed locally" in error.attempted and "checkpoint()" in error.do):
                verdict.wrong = f"raised {type(error).__name__}: {error}"
            return
        except BaseException as error:
            verdict.wrong = f"raised {type(error).__name__}: {error}"
            return
        for number, parts in enumerate(found):
            records = [record for part in parts for record in part]
            same = records == expected if program.ordered else canonical(records) == canonical(expected)
            if not same:
                verdict.wrong = f"action {number} gave {records}, the list {expected}"
        with self.sc.bus.lock:
            doubts = [warning for warning in self.sc.views.warnings if "no deterministic function" in warning.message]
        if doubts and not verdict.wrong:
            verdict.wrong = f"deterministic, and taken for what is not: {doubts[-1]}"
        # What was computed again has the same records in the same places and in the same order.
        if not verdict.wrong and not found[0] == found[1] == undisturbed:
            verdict.wrong = f"partitions differ: {found[0]} and {found[1]} where {undisturbed} was computed before"

    def _left_over(self, within_s: float) -> str:
        deadline_s = time.monotonic() + within_s
        while left := self._leftovers():
            if time.monotonic() > deadline_s:
                return left
            threading.Event().wait(0.02)
        return ""

    def _leftovers(self) -> str:
        """What the programs so far have left: blocks and map outputs that are known, files that are there."""
        known: str = self.sc._dispatcher.call(
            lambda s: (
                f"{len(s.jobs)} jobs, {len(s.runs)} stages, {len(s.tasks)} tasks, "
                f"blocks of {[rdd for rdd in s.blocks.rdds() if s.blocks.has_any(rdd)]}, "
                f"map outputs of {sorted(s.outputs.shuffles)}"
            )
        )
        if known != "0 jobs, 0 stages, 0 tasks, blocks of [], map outputs of []":
            return known
        # os.walk passes over folders that go meanwhile: those of executors that were replaced.
        files = [
            os.path.relpath(os.path.join(folder, name), self._folder.name)
            for folder, _, names in os.walk(self._folder.name)
            for name in names
            if name.startswith(("shuffle_", "rdd_"))
        ]
        return f"files: {', '.join(files)}" if files else ""

    def close(self) -> str:
        """The context is stopped. What is left of it: processes, files, open files and sockets of this process."""
        children = _children() - self._children_before
        self.sc.stop()
        self._patch.undo()
        gc.collect()
        left = _once(lambda: sorted(pid for pid in children if psutil.pid_exists(pid) and not _is_zombie(pid)))
        found = [f"processes {left}"] if left else []
        files = _once(lambda: [str(path) for path in Path(self._folder.name).rglob("*")])
        found += [f"files {files}"] if files else []
        # A few are kept by the libraries for good; a context must not add to them again and again.
        grown = _once(lambda: max(0, self._open_files() - self.files_before - 8))
        found += [f"{grown} open files or sockets"] if grown else []
        self._folder.cleanup()
        return "; ".join(found)


def _children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


def _once(left: Callable[[], Any], within_s: float = 10.0) -> Any:
    """What `left` still finds after `within_s` seconds, or nothing as soon as it finds nothing."""
    deadline_s = time.monotonic() + within_s
    while (found := left()) and time.monotonic() < deadline_s:
        threading.Event().wait(0.05)
    return found


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _story(scheduler: Any) -> str:
    return "\n".join(
        [f"tasks {list(scheduler.tasks.values())}", f"executors {list(scheduler.executors.values())}"]
        + [str(run.story()) for run in scheduler.runs.values()]
    )
