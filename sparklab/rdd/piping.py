"""``pipe``: a partition's records through a command of the operating system."""

from __future__ import annotations

import contextvars
import shlex
import subprocess
import threading
from typing import Any

from sparklab.errors import SparklabError
from sparklab.rdd.operators import Operator, Records


class Pipe(Operator):
    """The lines that the command ``f`` writes when it reads the records as lines."""

    __slots__ = ("check_code", "env")

    def __init__(self, command: str, env: dict[str, str], check_code: bool) -> None:
        super().__init__(command)
        self.env = env
        self.check_code = check_code

    def __call__(self, index: int, records: Records) -> Records:
        try:
            process = subprocess.Popen(shlex.split(self.f), env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            raise SparklabError(
                f"running the command `{self.f}`",
                f"{type(error).__name__}: {error}",
                "check that executors find it (its full path, or PATH in env); there is no shell: `sh -c '...'` is one",
            ) from None
        assert process.stdin is not None
        assert process.stdout is not None
        failures: list[BaseException] = []
        # Written by a thread of its own: a command that answers while it reads would block both sides otherwise.
        # In this thread's context: the functions upstream of the pipe run there, as part of this task.
        feeder = threading.Thread(
            target=contextvars.copy_context().run, args=(_feed, process.stdin, records, failures), daemon=True
        )
        feeder.start()
        try:
            for line in process.stdout:
                yield line.rstrip(b"\n").decode()
            feeder.join()
            code = process.wait()
            if failures:
                raise failures[0]
            if self.check_code and code:
                raise RuntimeError(f"Pipe function `{self.f}' exited with error code {code}")
        finally:
            process.stdout.close()
            if process.poll() is None:
                process.kill()
                process.wait()


def _feed(stdin: Any, records: Records, failures: list[BaseException]) -> None:
    try:
        with stdin:
            for x in records:
                stdin.write((str(x).rstrip("\n") + "\n").encode())
    except BrokenPipeError:
        pass  # the command has read enough
    except BaseException as error:
        # Raised again by the task's thread, which is the one that answers for the records.
        failures.append(error)
