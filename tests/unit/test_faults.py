"""A fault that strikes leaves the task where it is: nothing of it happens after the step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from sparklab.faults import files_of
from sparklab.testing import stop

TASK = """
import json, os, sys, threading
from dataclasses import asdict
from sparklab.faults import Place, Striker
folder, fault = sys.argv[1], json.loads(sys.argv[2])
plan = json.dumps({"folder": folder, "faults": [fault], "driver": os.getppid()})
strike = Striker(plan, Place(0, 0, 0, 0, 0, 0), lambda: None)

def task():
    strike("result", "")
    open(os.path.join(folder, "went-on"), "w").close()

# As in an executor: the process waits in its main thread, the task runs in another.
thread = threading.Thread(target=task)
thread.start()
thread.join()
"""


@pytest.mark.skipif(not hasattr(os, "WUNTRACED"), reason="the system cannot stop a process")
def test_a_task_that_is_stopped_does_nothing_more_until_it_is_continued(tmp_path: Path) -> None:
    for name in files_of(1):
        (tmp_path / name).touch()
    process = subprocess.Popen([sys.executable, "-c", TASK, str(tmp_path), json.dumps(asdict(stop("result")))])
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        assert not (tmp_path / "went-on").exists()
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait() == 0
        assert (tmp_path / "went-on").exists()
    finally:
        process.kill()
        process.wait()
