"""Lines of the user's functions are counted by job, from executors that are looked at while tasks run."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from sparklab import SparkContext
from sparklab.jupyter.lines import line_rows
from sparklab.rdd.whereabouts import KEPT_JOBS, Line, LineSampler, LineSamples, user_line


def spin(seconds: float) -> float:
    ends_s = time.thread_time() + seconds  # of the processor, however many share it
    while time.thread_time() < ends_s:
        pass  # here
    return seconds


HERE = ("while time.thread_time() < ends_s:", "pass  # here")


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    with SparkContext("local[2]", "whereabouts") as context:
        yield context


def test_a_jobs_time_stands_at_the_lines_of_the_users_functions(sc: SparkContext) -> None:
    began_s = time.monotonic()
    sc.parallelize([0.5, 0.5], 2).map(spin).count()
    took_s = time.monotonic() - began_s
    job = max(sc.bus.views.jobs)
    rows = line_rows(sc.line_samples.of(job))
    assert rows[0]["source"] in HERE
    assert rows[0]["function"] == "spin"
    assert rows[0]["line"].startswith("test_whereabouts.py:")
    found = sum(row["seconds"] for row in rows if row["source"] in HERE)
    assert 0.3 <= found <= 2 * took_s + 0.3, "about a second in two tasks; more where others have the processor"
    counted = sc.line_samples.of(job)
    sc.parallelize([0.3], 1).map(spin).count()
    assert sc.line_samples.of(job) == counted
    assert sc.line_samples.of(job + 1)[0][0].function == "spin"


def test_time_in_a_library_is_that_of_the_line_that_called_it() -> None:
    seen: list[Line] = []

    class Looking(json.JSONEncoder):
        def default(self, o: object) -> object:
            return None

    def looking(text: str) -> str:
        seen.append(user_line(sys._getframe(1)))
        return text

    json.loads('{"a": 1}', object_hook=lambda found: looking(str(found)))
    (line,) = seen
    assert line.function.endswith("<lambda>")
    assert line.file == __file__


def test_sparklab_itself_is_a_line_without_a_file() -> None:
    assert user_line(None) == Line()
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)  # stands in the standard library
    thread.start()
    sampler = LineSampler()
    sampler.look(thread.ident or 0)
    ended.set()
    thread.join()
    assert sampler.drain(threading.get_ident()) == {}  # another's
    assert sampler.drain(thread.ident or 0) == {Line(): 1}
    assert sampler.drain(thread.ident or 0) == {}


def test_the_oldest_jobs_and_the_rarest_lines_are_let_go_of() -> None:
    samples = LineSamples()
    for job in range(KEPT_JOBS + 5):
        samples.add(job, {Line("f", 1, "g"): 1})
    assert samples.of(4) == []
    assert samples.of(5) == [(Line("f", 1, "g"), 1)]
    for number in range(1_000):
        samples.add(5, {Line("f", number, "g"): 1})
    assert len(samples.of(5)) <= 501
    assert sum(count for _, count in samples.of(5)) == 1_001
