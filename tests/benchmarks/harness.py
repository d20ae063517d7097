"""The harness: every system in a process of its own, taking turns at every workload, watched from outside."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks import process_tree, protocol, systems, workloads
from tests.benchmarks.inputs import Sizes, directory
from tests.benchmarks.workload import Workload, same

_ROOT = Path(__file__).resolve().parents[2]
_SETTLE_S = 0.05  # what a system does just after its answer is its cost too
_START_TIMEOUT_S = 120.0
_NOT_FOR_NUMERIC = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # they slow a current numpy where they are set

START = "start"  # the pseudo workload measured by starting each system


@dataclass(frozen=True)
class Measurement:
    """One step of one workload, once, on one system."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


@dataclass
class Row:
    """One step of one workload over all rounds: measurements and answers by system, in the order of the rounds."""

    workload: str
    step: str
    measured: dict[str, list[Measurement]] = field(default_factory=dict)
    answers: dict[str, list[Any]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # system -> why it has no measurement

    def median_wall_s(self, system: str) -> float | None:
        return self._median(system, lambda one: one.wall_s)

    def median_cpu_s(self, system: str) -> float | None:
        return self._median(system, lambda one: one.cpu_s)

    def peak_bytes(self, system: str) -> int | None:
        """The largest sum of the processes' peaks."""
        return max((one.peak_bytes for one in self.measured.get(system, ())), default=None)

    def wrong(self) -> dict[str, list[Any]]:
        """Systems whose answers differ from the reference's, or among themselves, and those answers.

        The reference is the bound, which shares no code with any engine; without it, what most systems say.
        """
        answered = {name: answers for name, answers in self.answers.items() if answers}
        if not answered:
            return {}
        everything = [answer for answers in answered.values() for answer in answers]
        if "bound" in answered:
            truth = answered["bound"][0]
        else:
            truth = max(everything, key=lambda one: sum(same(one, other) for other in everything))
        return {
            name: answers for name, answers in answered.items() if not all(same(truth, answer) for answer in answers)
        }

    def _median(self, system: str, of: Callable[[Measurement], float]) -> float | None:
        values = [of(one) for one in self.measured.get(system, ())]
        return statistics.median(values) if values else None


@dataclass
class Results:
    """All rows of a run, and which systems took part."""

    systems: tuple[str, ...]
    rounds: int
    sizes: Sizes
    rows: dict[tuple[str, str], Row] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)  # system -> why
    failures: list[str] = field(default_factory=list)

    def row(self, workload: str, step: str) -> Row:
        return self.rows.setdefault((workload, step), Row(workload, step))

    def wrong_answers(self) -> list[str]:
        """A line for each wrong answer."""
        return [
            f"{row.workload}, {row.step}: {system} answered {answers}, others {row.answers}"
            for row in self.rows.values()
            for system, answers in row.wrong().items()
        ]


class Running:
    """One system's process, started; it runs workloads until it is ended. Not thread-safe."""

    def __init__(self, name: str, numeric: bool = False) -> None:
        self.name = name
        self._log = (directory() / f"{name}.log").open("ab")
        environment = {key: value for key, value in os.environ.items() if not (numeric and key in _NOT_FOR_NUMERIC)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), environment.get("PYTHONPATH")]))
        self._began_s = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.child", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            bufsize=0,
            env=environment,
            cwd=_ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._commands, self._answers = self._process.stdin, self._process.stdout

    def start(self) -> dict[str, Any]:
        """The system has given its first result; its own message, with the time since the process began.

        The message holds ``absent`` instead where the system is not installed.
        """
        protocol.send(self._commands, do="start")
        message = self._receive(_START_TIMEOUT_S)
        message["cold_s"] = time.perf_counter() - self._began_s
        message["cpu_s"] = process_tree.read(self._process.pid).cpu_s
        return message

    def run(
        self, workload: Workload, name: str, sizes: Sizes, inputs: dict[str, Any], results: Results, timeout_s: float
    ) -> None:
        """The workload's steps are measured and stand in `results`. SystemFailed where the process did not answer."""
        pid = self._process.pid
        process_tree.reset_peaks(pid)
        protocol.send(self._commands, do="run", workload=name, sizes=asdict(sizes), inputs=inputs)
        while "ready" in (message := self._receive(timeout_s)):
            row = results.row(workload.name, message["ready"])
            before = process_tree.read(pid)
            protocol.send(self._commands, do="go")
            try:
                answer = self._receive(timeout_s)
            except protocol.SystemFailed as failure:
                row.missing[self.name] = str(failure)
                raise
            if "step" not in answer:
                message = answer
                break
            time.sleep(_SETTLE_S)
            after = process_tree.read(pid)
            measurement = Measurement(answer["wall_s"], after.cpu_s - before.cpu_s, after.peak_bytes)
            row.measured.setdefault(self.name, []).append(measurement)
            row.answers.setdefault(self.name, []).append(answer["answer"])
        if "not_offered" in message:
            results.absent.setdefault(f"{self.name} {workload.name}", message["not_offered"])
        elif "done" not in message:
            results.absent[f"{self.name} {workload.name}"] = "failed"
            results.failures.append(f"{workload.name}: {self.name} failed\n{message.get('failed', message)}")

    def end(self, politely: bool = True) -> None:
        """The process has ended, and everything that it started; `politely` gives it the time to do so itself."""
        try:
            if politely:
                protocol.send(self._commands, do="quit")
                self._process.wait(timeout=30)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            pass  # it is ended below, whatever state it is in
        process_tree.end(self._process.pid)
        self._process.wait()
        for stream in (self._commands, self._answers, self._log):
            stream.close()

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        message = protocol.receive(self._answers, timeout_s)
        if "error" in message:
            raise protocol.SystemFailed(message["error"])
        return message


def measure(
    systems: Sequence[str],
    workload_names: Iterable[str],
    sizes: Sizes,
    rounds: int,
    timeout_s: float = 600.0,
    say: Callable[[str], None] = lambda line: None,
) -> Results:
    """Every workload on every system, `rounds` times, the systems taking turns; blocks until all are done.

    A system that cannot run here is left out, with the reason. One that fails at a workload is not asked for it any
    more; one that gives no answer in `timeout_s` seconds is also ended and started again. Workloads that compute with
    numpy run in processes of their own.
    """
    results = Results(tuple(systems), rounds, sizes)
    loaded = [(name, workloads.load(name)) for name in workload_names]
    for numeric in (False, True):
        chosen = [(name, workload) for name, workload in loaded if workload.numeric == numeric]
        if chosen:
            _measure_group(results, chosen, numeric, timeout_s, say)
    return results


def _measure_group(
    results: Results,
    chosen: list[tuple[str, Workload]],
    numeric: bool,
    timeout_s: float,
    say: Callable[[str], None],
) -> None:
    sizes = results.sizes
    inputs = {name: workload.prepare(sizes) for name, workload in chosen}
    running: dict[str, Running] = {}
    try:
        for round_number in range(results.rounds):
            for system in results.systems:
                if system not in results.absent:
                    _start(system, results, running, numeric)
            for name, workload in chosen:
                for system in list(running):
                    if _left_out(results, workload, system, round_number):
                        continue
                    say(f"round {round_number + 1}/{results.rounds}  {name}  {system}")
                    try:
                        running[system].run(workload, name, sizes, inputs[name], results, timeout_s)
                    except protocol.SystemFailed as failure:
                        if system not in systems.PEERS:  # that a peer does not finish is a result, not a failure
                            results.failures.append(f"{workload.name}: {system}: {failure}")
                        results.absent[f"{system} {workload.name}"] = str(failure)
                        running.pop(system).end(politely=False)
                        _start(system, results, running, numeric)
    finally:
        for one in running.values():
            one.end()


def _left_out(results: Results, workload: Workload, system: str, round_number: int) -> bool:
    return f"{system} {workload.name}" in results.absent or (round_number > 0 and system in workload.once)


def _start(system: str, results: Results, running: dict[str, Running], numeric: bool) -> None:
    """The system runs, and this start is measured; one that runs already is started once more beside, to measure."""
    starting = Running(system, numeric)
    try:
        message = starting.start()
    except protocol.SystemFailed as failure:
        results.failures.append(f"{START}: {system}: {failure}")
        results.absent[system] = "did not start"
        starting.end()
        return
    if "absent" in message:
        results.absent[system] = message["absent"]
        starting.end()
        return
    results.versions[system] = message["started"]
    for step, wall_s in (
        ("context returns", message["session_s"]),
        ("first result", message["first_result_s"]),
        ("first result, cold", message["cold_s"]),
    ):
        measurement = Measurement(wall_s, message["cpu_s"], 0)
        results.row(START, step).measured.setdefault(system, []).append(measurement)
    if system in running:
        starting.end()
    else:
        running[system] = starting
