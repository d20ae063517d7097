"""The servers of a run as its handle and its facts know them: who serves what, how busily, and who may be ended."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final

from sparklab.errors import ParameterServerError, SparklabError
from sparklab.events.training import ServersSampled
from sparklab.ps import LocalGroup, Table
from sparklab.ps.manager import Manager
from sparklab.ps.refusals import check_alive

SAMPLE_S: Final = 0.5
KNOWN_S: Final = 5.0  # a death is known by then
RANGES_MAX: Final = 256  # in a fact: of more, every so manyth


class Serving:
    """The parameter server behind one run. Thread-safe.

    Parameters
    ----------
    group
        A LocalGroup or a ParameterServer.
    table : Table
        Where the run's weights are.
    clock : callable
        Seconds, monotonic.
    """

    def __init__(self, group: Any, table: Table, clock: Callable[[], float] = time.monotonic) -> None:
        self.group = group
        self._table = table
        self._clock = clock
        self._due_s = -1.0
        self._said: ServersSampled | None = None

    def kill(self, server: int, whose: str = "") -> None:
        """`server` is dead and its replicas serve, which the manager knows. Blocks, some tenths of a second.

        `whose` servers they are is said by the errors.

        Raises
        ------
        SparklabError
            There is none of that number, it has no replica, or it is no process of ours.
        """
        attempted = f"killing server {server}{whose and ' of '}{whose}"
        alive, replicas = self.group.manage(lambda manager: (manager.layout.servers, manager.replicas))
        check_alive(server, alive, attempted)
        if not replicas or len(alive) < 2:
            found = "nobody else has its ranges, and the weights in them would be gone"
            raise SparklabError(attempted, found, "train with servers=2 and replicas=1, or more")
        if not self._ours(server):
            raise SparklabError(attempted, "it runs on somebody else's cluster", "kill only what sparklab has started")
        self.group.kill_server(server)
        with contextlib.suppress(ParameterServerError):  # it is dead in any case: the run may have ended with it
            # Else a second kill right after it could take the last copy.
            self.group.until(lambda manager: server not in manager.layout.servers, KNOWN_S, attempted)
        self._due_s = -1.0

    def add(self) -> int:
        """A further server has its share of the ranges; its number. Blocks, a second or two."""
        added: int = self.group.add_server()
        self._due_s = -1.0
        return added

    def _ours(self, server: int) -> bool:
        with contextlib.suppress(ParameterServerError):  # it has died this very moment
            return isinstance(self.group, LocalGroup) or self.group.pid(server) > 0
        return True

    def sampled(self, run: int) -> list[ServersSampled]:
        """What is new to say of the servers: one fact, or none where it was looked at just now or nothing changed."""
        if self._clock() < self._due_s:
            return []
        self._due_s = self._clock() + SAMPLE_S
        local = isinstance(self.group, LocalGroup)
        number = self._table.spec.table
        layout, promotions, replicas, known = self.group.manage(_look)
        answers = self.group.server_facts() if local else known
        ranges = layout.tables[number].chains
        ranges = ranges[:: -(-len(ranges) // RANGES_MAX) or 1]
        of = [answers.get(server, {}).get("tables", {}).get(str(number), {}) for server in layout.servers]
        fact = ServersSampled(
            run,
            layout.epoch,
            layout.servers,
            tuple(chain[0] if chain else -1 for chain in ranges),
            tuple(chain[1] if len(chain) > 1 else -1 for chain in ranges),
            tuple(int(each.get("applied_pushes", 0)) for each in of),
            tuple(sum(each.get("lags", {}).values()) for each in of),
            promotions,
            replicas,
            all(map(self._ours, layout.servers)),
        )
        if fact == self._said:
            return []
        self._said = fact
        return [fact]


def _look(manager: Manager) -> tuple[Any, int, int, dict[int, dict[str, Any]]]:
    return manager.layout, manager.promotions, manager.replicas, dict(manager.facts_of)
