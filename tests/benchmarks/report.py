"""What a run says: the table for a terminal and for the README, the goals beside it, and the last line."""

from __future__ import annotations

import datetime
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.benchmarks.attempts import ATTEMPTS
from tests.benchmarks.goals import ENFORCED, FIXED_BYTES, GOALS, MEMORY_TIMES_BOUND, Goal
from tests.benchmarks.harness import START, Results, Row
from tests.benchmarks.plot import Line, as_svg
from tests.benchmarks.verdicts import Verdict

_TITLES = {
    "log_mining": "A log mining",
    "word_count": "B word count",
    "word_count_operator": "B word count, operator.add",
    "word_count_source": "B word count, source code",
    "page_rank": "C PageRank",
    "logistic_regression_rows": "D logistic regression, rows",
    "logistic_regression_blocks": "D logistic regression, blocks",
    "sort_by_key": "E sortByKey",
    "join": "F join",
    "group_by_key": "G groupByKey",
    "tiny_jobs": "H tiny job",
    "empty_partitions": "H empty partitions",
    START: "H start",
}
_ONE_STEP = {"count", "ranks", "fit", "sort", "join", "group"}
_WALL_ONLY = {"tiny_jobs", "empty_partitions", START}
_MARKERS = ("<!-- benchmark table: begin -->", "<!-- benchmark table: end -->")


def title(row: Row) -> str:
    """What people call the row."""
    name = _TITLES.get(row.workload, row.workload)
    return name if row.step in _ONE_STEP else f"{name}, {row.step}"


def ratio(one: float | None, other: float | None) -> float | None:
    """`one` over `other`, where both were measured."""
    return one / other if one is not None and other else None


def missed(row: Row, goal: Goal) -> list[str]:
    """The parts of `goal` that sparklab did not reach, as text; nothing where they could not be measured."""
    cpu, wall = row.median_cpu_s, row.median_wall_s
    found = []
    less = ratio(cpu("pyspark"), cpu("sparklab"))
    if goal.less_than_pyspark is not None and less is not None and less < goal.less_than_pyspark:
        found.append(f"{less:.2f} times less CPU than PySpark, goal {goal.less_than_pyspark:g}")
    of = wall if goal.bound_by == "wall" else cpu
    times = ratio(of("sparklab"), of("bound"))
    if goal.times_bound is not None and times is not None and times > goal.times_bound:
        found.append(f"{times:.2f} times the bound's {goal.bound_by}, goal {goal.times_bound:g}")
    wall_s = wall("sparklab")
    if goal.wall_s is not None and wall_s is not None and wall_s > goal.wall_s:
        found.append(f"{_seconds(wall_s)}, goal {_seconds(goal.wall_s)}")
    return found


def verdict(results: Results, mode: str) -> tuple[Verdict, str, int]:
    """The verdict, the last line, and the exit code: 1 for a wrong answer, a failure or a missed goal that counts."""
    wrong = results.wrong_answers()
    short = shortfalls(results)
    found = Verdict(mode, _goals(results), tuple(each.text for each in short), (*wrong, *results.failures))
    counted = len(short) if mode in ENFORCED else 0
    if found.failures or counted:
        parts = [f"{len(wrong)} wrong answers", f"{len(results.failures)} failures", f"{counted} goals missed"]
        return found, f"{mode}: FAILED: {', '.join(parts)}", 1
    compared = sum(len(row.answers) > 1 for row in results.rows.values())
    gone = "".join(f"; {name}: {results.absent[name]}" for name in results.systems if name in results.absent)
    measured = ", ".join(name for name in results.systems if name in results.versions)
    of_full = " of the full sizes" if mode != "full" else ""
    reached = f"{found.goals - len(short)} of {found.goals} goals{of_full} reached"
    return found, f"{mode}: {compared} answers compared and equal on {measured}; {reached}{gone}", 0


@dataclass(frozen=True)
class Shortfall:
    """A goal that was not reached: of which row, whether of its memory, and the text that says by how much."""

    workload: str
    step: str
    of_memory: bool
    text: str


def shortfalls(results: Results) -> list[Shortfall]:
    """Every part of a goal that sparklab did not reach: of time first, then of memory."""
    short = [
        Shortfall(*key, False, f"{title(results.rows[key])}: {what}")
        for key, goal in GOALS.items()
        if key in results.rows
        for what in missed(results.rows[key], goal)
    ]
    for row in results.rows.values():
        allowed, peak = memory_goal(row), row.peak_bytes("sparklab")
        if row.workload not in _WALL_ONLY and allowed is not None and peak is not None and peak > allowed:
            text = f"{title(row)}: peak {peak / 2**20:.0f} MiB, goal {allowed / 2**20:.0f} MiB"
            short.append(Shortfall(row.workload, row.step, True, text))
    return short


def _goals(results: Results) -> int:
    """How many parts of goals could be measured."""
    count = 0
    for row in results.rows.values():
        if "sparklab" not in row.measured:
            continue
        goal = GOALS.get((row.workload, row.step), Goal())
        count += goal.less_than_pyspark is not None and "pyspark" in row.measured
        count += goal.times_bound is not None and "bound" in row.measured
        count += goal.wall_s is not None
        count += row.workload not in _WALL_ONLY and memory_goal(row) is not None
    return count


def table(results: Results) -> list[list[str]]:
    """Header and rows of text: medians by system, the ratios, and the goals beside them."""
    header = ["workload", *(f"{name}" for name in results.systems), "x bound", "goal", "PySpark / sparklab", "goal"]
    return [header, *(_cells(results, row) for row in results.rows.values())]


def _cells(results: Results, row: Row) -> list[str]:
    cells = [title(row)]
    for system in results.systems:
        wall_s, cpu_s = row.median_wall_s(system), row.median_cpu_s(system)
        if wall_s is None or cpu_s is None:
            cells.append(_why_not(results, row, system))
        elif row.workload in _WALL_ONLY:
            cells.append(_seconds(wall_s))
        else:
            cells.append(f"{cpu_s:.2f} / {wall_s:.2f}")
    goal = GOALS.get((row.workload, row.step), Goal())
    if row.workload in _WALL_ONLY:
        wall = ratio(row.median_wall_s("pyspark"), row.median_wall_s("sparklab"))
        return [*cells, "", f"<= {_seconds(goal.wall_s)}" if goal.wall_s else "", _times(wall), ""]
    cpu, wall_of = row.median_cpu_s, row.median_wall_s
    of_bound = (ratio(cpu("sparklab"), cpu("bound")), ratio(wall_of("sparklab"), wall_of("bound")))
    of_pyspark = (ratio(cpu("pyspark"), cpu("sparklab")), ratio(wall_of("pyspark"), wall_of("sparklab")))
    by = " wall" if goal.bound_by == "wall" else ""
    return [
        *cells,
        " / ".join(map(_times, of_bound)) if of_bound[0] else "",
        f"<= {goal.times_bound:g}{by}" if goal.times_bound else "",
        " / ".join(map(_times, of_pyspark)) if of_pyspark[0] else "",
        f">= {goal.less_than_pyspark:g}" if goal.less_than_pyspark else "",
    ]


def _why_not(results: Results, row: Row, system: str) -> str:
    reason = results.absent.get(system) or results.absent.get(f"{system} {row.workload}") or row.missing.get(system)
    return (reason or "-").split(":")[0].splitlines()[0][:40]


def _seconds(value: float) -> str:
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def _times(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def memory(results: Results) -> list[list[str]]:
    """Header and rows of text: the peak of each process tree in MiB, of the steps that hold data; what it should be."""
    rows = [["peak memory, MiB", *results.systems, "goal"]]
    for row in results.rows.values():
        peaks = [row.peak_bytes(system) for system in results.systems]
        if row.workload not in _WALL_ONLY and any(peaks):
            allowed = memory_goal(row)
            goal = f"<= {allowed / 2**20:.0f}" if allowed is not None else ""
            rows.append([title(row), *(f"{peak / 2**20:.0f}" if peak else "-" for peak in peaks), goal])
    return rows


def memory_goal(row: Row) -> float | None:
    """The peak that sparklab should stay under: PySpark's, or the bound's with a margin and the fixed cost."""
    bound, pyspark = row.peak_bytes("bound"), row.peak_bytes("pyspark")
    if bound is None:
        return None
    fixed = sum(FIXED_BYTES.values()) + FIXED_BYTES["each of two executors"]
    return min(MEMORY_TIMES_BOUND * bound + fixed, pyspark if pyspark is not None else float("inf"))


def as_text(results: Results) -> str:
    """The tables for a terminal."""
    return "\n".join([_caption(results), _aligned(table(results)), "", _aligned(memory(results))])


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def as_markdown(results: Results, mode: str) -> str:
    """The table for the README, with machine, date and versions."""
    header, *rows = table(results)
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items() if name != "bound")
    gone = [f"{name}: {results.absent[name]}" for name in results.systems if name in results.absent]
    return "\n".join(
        [
            f"| {' | '.join(header)} |",
            f"|{'---|' * len(header)}",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
            f"{_caption(results)} `make {'bench' if mode == 'full' else f'bench-{mode}'}`, "
            f"{datetime.date.today().isoformat()}, {_machine()}, Python {platform.python_version()}, {versions}."
            + "".join(f" {reason}." for reason in gone),
            *(["", "What falls short:", *_explained(results)] if shortfalls(results) else []),
        ]
    )


def write_markdown(text: str, path: Path) -> None:
    """`text` stands in `path`: between its two markers where it has them, else as the whole file."""
    begin, end = _MARKERS
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    if begin in old and end in old:
        replaced = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", old, count=1, flags=re.DOTALL)
        path.write_text(replaced, encoding="utf-8")
    else:
        path.write_text(f"{text}\n", encoding="utf-8")


def short_of(results: Results) -> list[str]:
    """The workloads with a step that missed a goal of its time, each once."""
    return list(dict.fromkeys(short.workload for short in shortfalls(results) if not short.of_memory))


def write_report(
    results: Results, mode: str, folder: Path, profiles: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Path:
    """The tables, every missed goal and a plot stand in `folder`, with `profiles` by workload; the path of the text."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in results.rows.values():
        bound = row.median_cpu_s("bound")
        if row.workload not in _WALL_ONLY and bound:
            measured = {name: row.median_cpu_s(name) for name in results.systems}
            lines.append(Line(title(row), {name: cpu / bound for name, cpu in measured.items() if cpu}))
    svg = folder / f"bench-{mode}.svg"
    svg.write_text(as_svg(lines, results.systems, "CPU seconds as a multiple of the bound's"), encoding="utf-8")
    header, *rows = memory(results)
    text = folder / f"bench-{mode}.md"
    fixed = ", ".join(f"{what} {size >> 20} MiB" for what, size in FIXED_BYTES.items())
    text.write_text(
        "\n".join(
            [
                f"# Benchmark, {mode}",
                "",
                as_markdown(results, mode),
                "",
                f"![CPU seconds as a multiple of the bound's]({svg.name})",
                "",
                f"| {' | '.join(header)} |",
                f"|{'---|' * len(header)}",
                *(f"| {' | '.join(row)} |" for row in rows),
                "",
                f"Peaks are sums of the processes' own peaks. The goal is at most PySpark's, and at most "
                f"{MEMORY_TIMES_BOUND:g} times the bound's and what is fixed: {fixed}.",
                "",
                "## Goals that were not reached",
                "",
                *(_explained(results) or ["None."]),
                "",
                *(line for name, lines in profiles.items() for line in _profile(name, lines)),
            ]
        ),
        encoding="utf-8",
    )
    return text


def _explained(results: Results) -> list[str]:
    """A line for each goal that was missed; below it why, as far as is known, and where the memory was."""
    lines = []
    for short in shortfalls(results):
        lines.append(f"- {short.text}")
        attempts = ATTEMPTS.get((short.workload, "memory" if short.of_memory else short.step))
        if attempts:
            lines.append(f"  Why it falls short: {attempts}")
        if short.of_memory:
            measured = results.rows[short.workload, short.step].measured["sparklab"]
            peaks = max(measured, key=lambda one: one.peak_bytes).peaks_bytes
            lines.append(f"  Driver, then its processes, MiB: {', '.join(str(peak >> 20) for peak in peaks)}.")
    return lines


def _profile(workload: str, lines: Sequence[str]) -> list[str]:
    whose = "driver" if workload in _WALL_ONLY else "executors"
    name = _TITLES.get(workload, workload)
    return [f"## Functions of the {whose}: {name}", "", *(f"    {line}" for line in lines), ""]


def _caption(results: Results) -> str:
    return (
        f"CPU seconds of the whole process tree / wall seconds, medians of {results.rounds} rounds in which the "
        "systems take turns (one where a system takes ten times as long); `bound` is the same functions in two plain "
        "processes."
    )


def _machine() -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores {_processor()} {platform.system()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.machine()
