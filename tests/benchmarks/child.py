"""The process of one system: started by the harness, it answers the line protocol on its standard output."""

from __future__ import annotations

import os
import sys
import time
import traceback
from typing import IO, Any

from tests.benchmarks import process_tree, protocol, systems, workloads
from tests.benchmarks.inputs import Sizes
from tests.benchmarks.workload import NotOffered, Timed


def main(name: str) -> None:
    """Serve the harness until it says quit or closes its end; the system runs from "start" on."""
    process_tree.adopt_orphans()
    # Standard output belongs to the protocol: what a system prints goes where its errors go.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        _serve(systems.load(name), sys.stdin.buffer.raw, answers)  # type: ignore[attr-defined]
    except Exception:
        protocol.send(answers, error=traceback.format_exc())
        raise


def _serve(system: systems.System, commands: IO[bytes], answers: IO[bytes]) -> None:
    protocol.receive(commands)  # start
    reason = system.absent()
    if reason is not None:
        protocol.send(answers, absent=reason)
        return
    began_s = time.perf_counter()
    with system.session() as session:
        session_s = time.perf_counter() - began_s
        system.tiny(session)
        first_result_s = time.perf_counter() - began_s
        protocol.send(answers, started=system.version(), session_s=session_s, first_result_s=first_result_s)
        while (command := protocol.receive(commands))["do"] == "run":
            _run(system, session, command, commands, answers)


def _run(
    system: systems.System, session: Any, command: dict[str, Any], commands: IO[bytes], answers: IO[bytes]
) -> None:
    workload = workloads.load(command["workload"])
    try:
        for step, work in system.steps(workload, session, Sizes(**command["sizes"]), command["inputs"]):
            protocol.send(answers, ready=step)
            protocol.receive(commands)  # go
            began_s = time.perf_counter()
            answer = work()
            wall_s = time.perf_counter() - began_s
            if isinstance(answer, Timed):
                answer, wall_s = answer.answer, answer.wall_s
            protocol.send(answers, step=step, answer=answer, wall_s=wall_s)
    except NotOffered as reason:
        protocol.send(answers, not_offered=str(reason))
    except Exception:
        protocol.send(answers, failed=traceback.format_exc())
    else:
        protocol.send(answers, done=command["workload"])


if __name__ == "__main__":
    main(sys.argv[1])
