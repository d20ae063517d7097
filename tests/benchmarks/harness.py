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
_PEER_WAITS_S = 90.0  # at least; else so many times what sparklab took, as a busy machine slows all alike
_PEER_TIMES = 25
_ONCE_OVER_S = 15.0  # a peer that takes longer than this, and so many times as long as sparklab, has one round
_ONCE_TIMES = 12
NOT_FOR_NUMERIC = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # they slow a current numpy where they are set

OURS = "sparklab"
START = "start"  # the pseudo workload measured by starting each system


@dataclass(frozen=True)
class Measurement:
    """One step of one workload, once, on one system."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    peaks_bytes: tuple[int, ...] = ()  # of each process


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

    def first_wall_s(self, workload: str, of: Iterable[str]) -> float | None:
        """Wall seconds of all steps of the workload in the first round of the slowest of the systems `of`."""
        rows = [row for row in self.rows.values() if row.workload == workload]
        sums = [sum(row.measured[name][0].wall_s for row in rows if row.measured.get(name)) for name in of]
        return max((wall_s for wall_s in sums if wall_s), default=None)

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
        environment = {key: value for key, value in os.environ.items() if not (numeric and key in NOT_FOR_NUMERIC)}
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
            cpu_s = after.cpu_s - before.cpu_s
            measurement = Measurement(answer["wall_s"], cpu_s, after.peak_bytes, after.peaks_bytes)
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
        except (protocol.SystemFailed, subprocess.TimeoutExpired):
            pass  # it is ended below, whatever state it is in
        process_tree.end(self._process.pid)
        self._process.wait()
        for stream in (self._commands, self._answers, self._log):
            try:
                stream.close()
            except BrokenPipeError:
                pass  # what it was not told any more

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
    keep: Callable[[Results], None] = lambda results: None,
) -> Results:
    """Every workload on every system, `rounds` times, the systems taking turns; blocks until all are done.

    A system that cannot run here is left out, with the reason. One that fails at a workload is not asked for it any
    more; one that gives no answer in `timeout_s` seconds is also ended and started again. A peer is waited for less,
    in proportion to what sparklab took, and one that is slower by an order of magnitude has one round. Workloads that
    compute with numpy run in processes of their own. `keep` is told what there is each time that a workload has ended,
    so that what comes later cannot lose it.
    """
    results = Results(tuple(systems), rounds, sizes)
    loaded = [(name, workloads.load(name)) for name in workload_names]
    for numeric in (False, True):
        chosen = [(name, workload) for name, workload in loaded if workload.numeric == numeric]
        if chosen:
            _measure_group(results, chosen, numeric, timeout_s, say, keep)
    return results


def _measure_group(
    results: Results,
    chosen: list[tuple[str, Workload]],
    numeric: bool,
    timeout_s: float,
    say: Callable[[str], None],
    keep: Callable[[Results], None],
) -> None:
    sizes = results.sizes
    inputs = {}
    for name, workload in chosen:
        try:
            inputs[name] = workload.prepare(sizes)
        except OSError as error:  # the disk is full, say: the others may still have their inputs
            results.failures.append(f"{workload.name}: no input: {error}")
    running: dict[str, Running] = {}
    try:
        for round_number in range(results.rounds):
            for system in results.systems:
                if system not in results.absent:
                    _start(system, results, running, numeric)
            for name, workload in chosen:
                for system in list(running) if name in inputs else ():
                    if _left_out(results, workload, system, round_number):
                        continue
                    say(f"round {round_number + 1}/{results.rounds}  {name}  {system}")
                    limit_s = _limit_s(results, workload, system, timeout_s)
                    try:
                        running[system].run(workload, name, sizes, inputs[name], results, limit_s)
                    except protocol.SystemFailed as failure:
                        if system not in systems.PEERS:  # that a peer does not finish is a result, not a failure
                            results.failures.append(f"{workload.name}: {system}: {failure}")
                        results.absent[f"{system} {workload.name}"] = str(failure)
                        running.pop(system).end(politely=False)
                        _start(system, results, running, numeric)
                keep(results)
    finally:
        for one in running.values():
            one.end()


def _left_out(results: Results, workload: Workload, system: str, round_number: int) -> bool:
    if f"{system} {workload.name}" in results.absent:
        return True
    if round_number == 0 or system not in systems.PEERS:
        return False
    own_s, peer_s = results.first_wall_s(workload.name, [OURS]), results.first_wall_s(workload.name, [system])
    return own_s is not None and peer_s is not None and peer_s > max(_ONCE_OVER_S, _ONCE_TIMES * own_s)


def _limit_s(results: Results, workload: Workload, system: str, timeout_s: float) -> float:
    """How long an answer of `system` is waited for."""
    own_s = results.first_wall_s(workload.name, [OURS])
    if own_s is None or system not in systems.PEERS:
        return timeout_s
    return min(timeout_s, max(_PEER_WAITS_S, _PEER_TIMES * own_s))


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
