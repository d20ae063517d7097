"""Client processes that are stopped or killed in the midst of a push: nobody else waits for them, or not for long."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparklab import ps
from sparklab.cluster.ps.sharing import WRITERS
from sparklab.errors import ParameterServerError
from sparklab.ps import moves
from tests.waiting import wait_until

KEYS = 1 << 20


@contextlib.contextmanager
def client(table: ps.Table, rank: int, first: int = 0, step: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A process that pushes as `rank`, and has begun to."""
    home = str(Path(__file__).parents[2])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.stopped_client", str(rank), str(first), str(step)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=home,
        env={**os.environ, "PYTHONPATH": home},
    ) as process:  # fmt: skip
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(pickle.dumps(table).hex() + "\n")
            process.stdin.flush()
            assert process.stdout.readline() == "pushing\n"
            yield process
        finally:
            process.kill()


def stopped(process: subprocess.Popen[str], when: Callable[[], bool]) -> None:
    """`process` is stopped, at a moment when `when` holds."""

    def tried() -> bool:
        os.kill(process.pid, signal.SIGSTOP)
        wait_until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
        if when():
            return True
        os.kill(process.pid, signal.SIGCONT)
        return False

    wait_until(tried)


def ended(process: subprocess.Popen[str]) -> int:
    """How many pushes `process` made until its end, which it was told to come to."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    return int(process.stdout.readline())


def flags(table: ps.Table) -> Any:
    """The flags of those who write `table` in place, as its one server sees them."""
    link = table.session.link()
    assert link.write(table.spec, link.layout(), ps.KeySet([0]), np.zeros((1, 1), table.spec.dtype))  # type: ignore[attr-defined]
    (view,) = link._views.values()  # type: ignore[attr-defined]
    return link, view.header[WRITERS.start : WRITERS.start + 224]


@pytest.mark.parametrize("fate", [signal.SIGCONT, signal.SIGKILL])
def test_who_is_stopped_while_it_writes_in_place_holds_up_moves_alone(
    fate: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moves, "WRITER_S", 0.5)
    monkeypatch.setattr(moves, "PAUSE_S", 0.5)
    with ps.ParameterServer(num_servers=1) as server:
        table = server.table(
            "w", num_keys=KEYS, update=ps.Add(), apply="hogwild", workers=2, consistency=ps.ASP(), dtype="float64"
        )
        link, writing = flags(table)
        with client(table, 0, 0, 2) as first, client(table, 1, 1, 2) as second:
            stopped(first, lambda: first.pid in writing)
            began_s = time.monotonic()
            table.put([1], [0.0])  # the server answers
            with pytest.raises(
                ParameterServerError,
                match=f"(?s)adding server 1\nFound: range .* by process .*{first.pid}.*\nTo do: .*-CONT",
            ):
                server.add_server()
            assert time.monotonic() - began_s < 30
            second_count = ended(second)  # its pushes were taken in all the while, in place or by the server
            os.kill(first.pid, fate)
            first_count = ended(first) if fate == signal.SIGCONT else None
            first.wait()
        server.settle()
        assert server.facts()["moved_ranges"] > 0
        weights = table.weights()
        assert set(weights[1::2].tolist()) == {float(second_count)}
        if first_count is not None:
            assert set(weights[::2].tolist()) == {float(first_count)}
        link.close()


def test_who_is_stopped_and_killed_while_it_pushes_through_the_ring_holds_up_nobody() -> None:
    with ps.ParameterServer(num_servers=2, replicas=1) as server:
        table = server.table(
            "w", num_keys=KEYS, update=ps.Add(), apply="arrival", workers=2, consistency=ps.ASP(), dtype="float64"
        )
        with client(table, 0, 0, 2) as first, table.worker(1) as w:
            for fate in (signal.SIGCONT, signal.SIGCONT, signal.SIGKILL):
                stopped(first, lambda: True)  # wherever it is
                began_s = time.monotonic()
                w.wait(w.push([1], [1.0]))
                w.clock()
                assert w.get([1]).tolist()[0] >= 1.0
                assert time.monotonic() - began_s < 10
                os.kill(first.pid, fate)
            first.wait()
            w.wait(w.push([1], [1.0]))
        weights = table.weights()
        assert weights[1] == 4.0
        # What it had sent counts once; of its last push, one server may have got its part and the other not.
        assert weights[::2].max() - weights[::2].min() in (0.0, 1.0)
