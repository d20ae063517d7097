"""A real ipykernel of our own, spoken to by the protocol alone, as a front end does."""

from __future__ import annotations

import os
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


@dataclass
class Executed:
    """One execute_request and all that came of it."""

    content: dict[str, Any]
    messages: list[dict[str, Any]] = field(default_factory=list)
    wall_s: float = 0.0

    @property
    def status(self) -> str:
        return str(self.content["status"])

    @property
    def text(self) -> str:
        """What was printed."""
        return "".join(m["content"]["text"] for m in self.messages if m["msg_type"] == "stream")

    @property
    def value(self) -> str:
        """The plain text of ``Out[n]``, "" where there is none."""
        found = [m["content"]["data"]["text/plain"] for m in self.messages if m["msg_type"] == "execute_result"]
        return str(found[0]) if found else ""

    @property
    def traceback(self) -> str:
        return "\n".join(self.content.get("traceback", []))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["msg_type"] == kind]

    @property
    def displayed(self) -> list[dict[str, Any]]:
        """The data of each display, first shown to last."""
        return [m["content"]["data"] for m in self.of("display_data")]


class Kernel:
    """A kernel with sparklab's checkout importable."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client

    def start_cell(self, source: str) -> str:
        """The id of the request; the cell is on its way."""
        return str(self.client.execute(source, store_history=True, stop_on_error=True))

    def finish_cell(
        self, request: str, seen: Callable[[dict[str, Any]], None] | None = None, timeout_s: float = DEADLINE_S
    ) -> Executed:
        """All that came of `request` up to its idle message; `seen` is told every message as it comes."""
        messages = []
        end_s = time.monotonic() + timeout_s
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.01, end_s - time.monotonic()))
            if seen is not None:
                seen(message)
            if message["parent_header"].get("msg_id") != request:
                continue
            messages.append(message)
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while True:
            reply = self.client.get_shell_msg(timeout=max(0.01, end_s - time.monotonic()))
            if reply["parent_header"].get("msg_id") == request:
                return Executed(reply["content"], messages)

    def run(self, source: str, timeout_s: float = DEADLINE_S) -> Executed:
        """The cell `source`, run to its end."""
        started_s = time.monotonic()
        executed = self.finish_cell(self.start_cell(source), timeout_s=timeout_s)
        executed.wall_s = time.monotonic() - started_s
        return executed

    def ok(self, source: str, timeout_s: float = DEADLINE_S) -> Executed:
        """The cell `source`, which must succeed."""
        executed = self.run(source, timeout_s)
        assert executed.status == "ok", executed.traceback
        return executed

    def wait_for(
        self, kind: str, matches: Callable[[dict[str, Any]], bool], timeout_s: float = DEADLINE_S
    ) -> dict[str, Any]:
        """The first iopub message of `kind` that matches."""
        end_s = time.monotonic() + timeout_s
        while True:
            message = self.client.get_iopub_msg(timeout=max(0.01, end_s - time.monotonic()))
            if message["msg_type"] == kind and matches(message["content"]):
                return message

    def new_subshell(self) -> str:
        """The id of a new subshell of the kernel, on which messages are taken while a cell runs."""
        request = self.client.session.msg("create_subshell_request")
        self.client.control_channel.send(request)
        while True:
            reply = self.client.get_control_msg(timeout=DEADLINE_S)
            if reply["parent_header"].get("msg_id") == request["header"]["msg_id"]:
                return str(reply["content"]["subshell_id"])

    def send_to_comm(self, comm: str, content: dict[str, Any], subshell: str) -> None:
        """The widget behind `comm` gets the custom message `content`, as JupyterLab sends it."""
        message = self.client.session.msg(
            "comm_msg", {"comm_id": comm, "data": {"method": "custom", "content": content}}
        )
        message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def pending(self) -> list[dict[str, Any]]:
        """iopub messages that are there already."""
        found = []
        while True:
            try:
                found.append(self.client.get_iopub_msg(timeout=0.2))
            except queue.Empty:
                return found


def specification(*arguments: str) -> KernelSpec:
    """The kernel of this interpreter, whatever is installed elsewhere."""
    return KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", *arguments],
        display_name="test",
        language="python",
    )


@contextmanager
def kernel(*arguments: str) -> Iterator[Kernel]:
    """A running kernel of this interpreter."""
    manager = KernelManager()
    manager._kernel_spec = specification(*arguments)
    with started(manager, environment_with(PYTHONWARNINGS="default")) as running:
        yield running


def environment_with(**variables: str) -> dict[str, str]:
    """The environment for a kernel that is nobody's child and finds the checkout, with `variables`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    environment.pop("JPY_PARENT_PID", None)
    return environment


@contextmanager
def started(manager: KernelManager, environment: dict[str, str]) -> Iterator[Kernel]:
    """The kernel of `manager`, running; killed at the end if it does not go by itself."""
    manager.start_kernel(env=environment)
    client = manager.blocking_client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=DEADLINE_S)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=False)
        manager.cleanup_resources()
