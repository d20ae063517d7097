"""The vector that a training worker holds: push, pull, wait, clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from sparklab.errors import ParameterServerError
from sparklab.ps.client import WINDOW, Client
from sparklab.ps.closing import ClosedOrAbandoned, closed_worker
from sparklab.ps.kernels import all_finite, copied
from sparklab.ps.keys import Array, KeyRange, Keys, KeySet, as_keys, as_values, checked_range
from sparklab.ps.link import Link
from sparklab.ps.request import checked_deps, never_given
from sparklab.ps.spec import TableSpec

WAIT_S: Final = 60.0
DONE_IN_PLACE: Final = 0  # the timestamp of what needs no answer: no request has it
LOOK_S: Final = 0.02  # how often a worker that reads in place looks at its sockets


class Worker(ClosedOrAbandoned):
    """One worker's view of a table: the vector w of the paper. Made by :meth:`Table.worker`.

    ``push`` and ``pull`` return a timestamp at once; ``wait`` blocks until that request is answered. Requests of one
    worker are taken in by each server in the order of the calls; `deps` orders them across servers. Thread-safe; a
    ``wait`` holds up the other threads' calls.

    Attributes
    ----------
    rank : int
        Which worker this is; negative for an observer, which no floor counts and no bound holds.
    clock_now : int
        Clocks completed. A new worker begins where its predecessor of the same rank stood.

    Source: Li et al. 2014, sections 3.1, 3.2, 3.4, 3.5.

    Examples
    --------
    >>> table = group.table("example", num_keys=100, update=ps.SGD(lr=1.0), workers=1)
    >>> with table.worker(0) as w:
    ...     ts = w.push([3, 7], [1.0, 2.0])
    ...     _ = w.clock()
    ...     w.wait(w.pull([3, 7]))
    array([-1., -2.], dtype=float32)
    """

    def __init__(
        self,
        spec: TableSpec,
        rank: int,
        link: Link,
        incarnation: int | None = None,
        slowest: Callable[[], str] = str,
        nudge: Callable[[TableSpec], None] | None = None,
    ) -> None:
        self._slowest = slowest
        self._nudge = nudge  # called now and then while this worker waits
        self.rank = rank
        self._spec = spec
        self._link = link
        self._lock = threading.RLock()
        self._closed = self._gone = False  # told to close; with no connections any more
        self._pushing = f"pushing to table {spec.name!r}"
        self._pulling = f"pulling from table {spec.name!r}"
        self._end = spec.end
        self._dtype = np.dtype(spec.dtype)
        self._client = Client(
            spec.table,
            spec.width,
            spec.dtype,
            spec.num_keys is not None,
            rank,
            time.time_ns() if incarnation is None else incarnation,
            link.layout(),
            ordered=link.ordered,
            filters=spec.filters if rank >= 0 else (),
            name=spec.name,
        )
        # Filters see every pull, but those that only spare bytes on a way that is not taken.
        can_read = spec.num_keys is not None and all(each.passed_by for each in self._client.filters.filters)
        self._read = getattr(link, "read", None) if can_read else None
        self._bound = self._client.layout.taus.get(spec.table, 0)
        self._write = getattr(link, "write", None) if spec.hogwild else None
        self._read_in_place = 0
        self._written_in_place = 0
        self._dropped_rows = 0
        self._look_again_s = 0.0
        with self._lock:
            ts = self._client.attach()
            self._pump(lambda: self._client.done(ts), WAIT_S, "attaching")
            self._client.stand_at(self._client.take(ts))
            self._sent(0)

    @property
    def clock_now(self) -> int:
        """Clocks this worker has completed. Does not block."""
        return self._client.clock

    def facts(self) -> dict[str, Any]:
        """What this worker knows: its clock, requests sent again, bytes before and after each filter. Blocks nobody."""
        with self._lock:
            return {
                "clock": self._client.clock,
                "resent": self._client.resent,
                "read_in_place": self._read_in_place,
                "written_in_place": self._written_in_place,
                "dropped_rows": self._dropped_rows,
                "filters": self._client.filters.facts(),
            }

    # --- requests ---------------------------------------------------------------------------------

    def push(self, keys: Any, values: Any, deps: Sequence[int] = (), copy: bool = True) -> int:
        """`values` are on their way to the table's update; returns a timestamp. Blocks only while 1,024 are unsettled.

        Parameters
        ----------
        keys : array_like of int, KeySet or KeyRange
            Ascending, without repetition.
        values : array_like, shape (keys,) or (keys, width)
            Copied, so that the caller may reuse the array. Finite, or as the table's `on_nonfinite` says.
        deps : sequence of int
            Timestamps of this worker: the push is sent when these are answered.
        copy : bool
            With False the array is given away where it fits as it is: nobody may write to it any more.

        Raises
        ------
        ParameterServerError
            Keys or values do not fit the table.
        """
        checked, rows = self.prepared(keys, values, copy)
        whole = type(keys) is KeySet and checked is keys.keys and len(rows) == len(keys)
        if self._write is not None and whole and not deps:
            with self._lock:
                self._look()
                # It must not overtake one of this worker's own that went to the server.
                if not self._client.pushing and self._write(self._spec, self._client.layout, keys, rows):
                    self._written_in_place += 1
                    return DONE_IN_PLACE
        return self.push_prepared(checked, rows, deps)

    def prepared(self, keys: Any, values: Any, copy: bool = True) -> tuple[Keys, Array]:
        """Keys and values for :meth:`push_prepared`; nothing is sent or blocks. Raises as :meth:`push` does."""
        attempted = self._pushing
        checked = self._keys(keys, attempted)
        rows = self._plainly(values, len(checked), copy)
        if rows is None:
            policy = self._spec.on_nonfinite
            rows = as_values(values, len(checked), self._spec.width, self._dtype, attempted, finite=policy == "refuse")
            if copy and (rows is values or np.shares_memory(rows, values)):
                rows = rows.copy()
            if policy == "drop":
                finite = np.isfinite(rows).all(axis=1)
                self._dropped_rows += int((~finite).sum())
                checked, rows = checked[finite], rows[finite]
        return checked, rows

    def push_prepared(self, checked: Keys, rows: Array, deps: Sequence[int] = ()) -> int:
        """What :meth:`prepared` gave is on its way; returns a timestamp. Blocks only as :meth:`push`."""
        with self._lock:
            deps = self._deps(deps)
            self._make_room()
            return self._sent(self._client.push(checked, rows, deps))

    def pull(self, keys: Any, deps: Sequence[int] = ()) -> int:
        """The weights of `keys` are asked for; returns a timestamp, does not block. :meth:`wait` gives them.

        A server answers when the floor is near enough: see :class:`SSP`. A key that was never pushed is 0.
        """
        if isinstance(keys, KeyRange):
            return self.pull_range(keys.low, keys.high, deps)
        checked = self._keys(keys, self._pulling)
        with self._lock:
            return self._sent(self._client.pull(checked, self._deps(deps)))

    def push_range(self, low: int, high: int, values: Any, deps: Sequence[int] = ()) -> int:
        """`values`, a row for each key from `low` up to `high`, are on their way. Does not block; as :meth:`push`."""
        return self.push(KeyRange(low, high), values, deps)

    def pull_range(self, low: int, high: int, deps: Sequence[int] = ()) -> int:
        """The weights of all keys from `low` up to `high` are asked for; does not block, otherwise as :meth:`pull`.

        :meth:`wait` gives a row per key; from a sparse table, a pair of the keys that exist and their rows.
        """
        low, high = checked_range(low, high, self._end, f"pulling a range from table {self._spec.name!r}")
        with self._lock:
            return self._sent(self._client.pull_range(low, high, self._deps(deps)))

    def wait(self, ts: int, timeout_s: float = WAIT_S) -> Any:
        """The answer to the request with timestamp `ts`: weights of a pull, None for a push. Blocks.

        An answer is given once: asked again for the same `ts`, this returns None.

        Raises
        ------
        ParameterServerError
            The servers refused, are lost, or did not answer within `timeout_s` seconds.
        """
        with self._lock:
            client = self._client
            if not client.issued(ts):
                raise never_given(ts, f"table {self._spec.name!r}")
            if not client.done(ts):
                if timeout_s >= 1.0 and not client.out:  # the first answer is mostly the one waited for
                    for server, frame in self._link.receive(1.0):
                        client.receive(server, frame)
                if client.out or not client.done(ts):
                    self._pump(lambda: client.done(ts), timeout_s, f"waiting for request {ts}")
            return self._shaped(client.take(ts))

    def poll(self, ts: int, timeout_s: float) -> bool:
        """Whether request `ts` has been answered; blocks for at most `timeout_s` seconds. :meth:`wait` gives it."""
        with self._lock:
            return self._until(lambda: self._client.done(ts), timeout_s)

    def get(self, keys: Any) -> Any:
        """The weights of `keys`: ``wait(pull(keys))``. Blocks.

        Those of a :class:`KeySet` are read in place where the server's memory is within reach, this worker's pushes are
        all answered, and the floor is near enough; such reads are counted here (`facts`) and not by the server.
        """
        if self._read is not None and isinstance(keys, KeySet) and keys.last < self._end:
            with self._lock:
                client = self._client
                self._look()
                if client.idle:
                    floor = client.clock - self._bound if self._bound >= 0 and self.rank >= 0 else -1
                    found = self._read(self._spec, client.layout, keys, floor)
                    if found is not None:
                        self._read_in_place += 1
                        return found.reshape(-1) if self._spec.width == 1 and found.ndim > 1 else found
        return self.wait(self.pull(keys))

    def _look(self) -> None:
        """What the sockets tell is known: of answers that are due, else now and then.

        The memory outlives its server: only the sockets tell of a death, and of a new layout.
        """
        client = self._client
        if not client.idle or time.monotonic() > self._look_again_s:
            self._look_again_s = time.monotonic() + LOOK_S
            for server, frame in self._link.receive(0.0):
                client.receive(server, frame)
            self._sent(0)

    def get_range(self, low: int, high: int) -> Any:
        """The weights of a range: ``wait(pull_range(low, high))``. Blocks."""
        return self.wait(self.pull_range(low, high))

    def clock(self) -> int:
        """This worker has completed one more clock; the servers hear of it after its pushes. Does not block.

        Returns
        -------
        int
            Clocks completed: what the next pull is held to.
        """
        with self._lock:
            self._sent(self._client.tick())
            self._bound = self._client.layout.taus.get(self._spec.table, 0)  # a new bound acts from here
            return self._client.clock

    def hold_clock(self, clock: int) -> None:
        """This worker makes the clocks from `clock` on; what a table has of them counts once. No blocking."""
        with self._lock:
            self._client.clock = min(self._client.clock, clock)

    def flush(self, timeout_s: float = WAIT_S) -> None:
        """All pushes and clocks so far were taken in by the servers. Blocks."""
        with self._lock:
            self._pump(lambda: not self._client.unanswered_pushes, timeout_s, "flushing")

    def call(self, function: Any, low: int = 0, high: int | None = None, **arguments: Any) -> list[Any]:
        """What `function` gives on each server for its part of a range; see :meth:`Table.call`. Blocks."""
        low, high = checked_range(low, self._end if high is None else high, self._end, f"calling {function!r}")
        with self._lock:
            ts = self._sent(self._client.call(function, arguments, low, high))
        parts: list[Any] = self.wait(ts)
        return parts

    def close(self, leave: bool = True) -> None:
        """What was pushed is safe at the servers, and the connection is gone. Blocks. Idempotent.

        Parameters
        ----------
        leave : bool
            The worker has finished: no floor waits for it any more. With False another process may go on with this
            rank, from this clock; until then the others wait for it as their bound says.
        """
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                self._pump(lambda: not self._client.unanswered_pushes, WAIT_S, "closing")
                self._finish(self._client.detach())
                if leave and self.rank >= 0:
                    self._finish(self._client.leave())
            finally:
                self.abandon()

    def abandon(self) -> None:
        """The connection is gone, as if this process had died. Idempotent; does not block."""
        self._closed, self._gone = True, True
        self._read = self._write = None
        self._link.close()

    def _finish(self, ts: int) -> None:
        self._sent(ts)
        self._pump(lambda: self._client.done(ts), WAIT_S, "closing")
        self._client.take(ts)

    # --- inside -----------------------------------------------------------------------------------

    def _keys(self, keys: Any, attempted: str) -> Keys:
        if isinstance(keys, KeySet):
            if keys.last >= self._end:
                as_keys(keys.keys, self._spec.end, attempted)
            return keys.keys
        if isinstance(keys, KeyRange):
            checked_range(keys.low, keys.high, self._end, attempted)
            return np.arange(keys.low, keys.high, dtype=np.uint64)
        checked = as_keys(keys, self._spec.end, attempted)
        return checked.copy() if checked is keys else checked

    def _plainly(self, values: Any, count: int, copy: bool) -> Array | None:
        """`values`, a row each, where they are just what the table takes; else None: who checks, says why."""
        if type(values) is not np.ndarray or values.dtype != self._dtype or not values.flags.c_contiguous:
            return None
        width = self._spec.width
        if values.ndim != 1:
            if values.shape != (count, width):
                return None
            values = values.reshape(-1)
        if len(values) != count * width:
            return None
        if not copy:
            return values.reshape(count, width) if all_finite(values) else None
        out = np.empty((count, width), self._dtype)
        return out if copied(values, out.reshape(-1)) else None

    def _deps(self, deps: Any) -> Sequence[int]:
        if type(deps) is tuple and not deps:
            return ()
        return checked_deps(deps, self._client.issued, f"table {self._spec.name!r}")

    def _shaped(self, answer: Any) -> Any:
        if self._spec.width == 1:
            if isinstance(answer, np.ndarray):
                return answer.reshape(-1)
            if isinstance(answer, tuple):
                return answer[0], answer[1].reshape(-1)
        return answer

    def _sent(self, ts: int) -> int:
        if self._gone:
            raise closed_worker(self.rank)
        for server, frame in self._client.drain():
            self._link.send(server, frame)
        return ts

    def _make_room(self) -> None:
        if self._client.unsettled >= WINDOW:  # nobody may be made to keep more
            self._pump(lambda: self._client.unsettled < WINDOW, WAIT_S, f"waiting for {WINDOW} unsettled requests")

    def _pump(self, done: Callable[[], bool], timeout_s: float, attempted: str) -> None:
        if not self._until(done, timeout_s):
            raise ParameterServerError(
                f"{attempted} at table {self._spec.name!r}, worker {self.rank}, clock {self._client.clock}",
                f"no answer within {timeout_s:g} s{self._slowest()}",
                "have these start, go on or close; table.worker_lost(rank) has nobody wait for one (table.facts())",
            )

    def _until(self, done: Callable[[], bool], timeout_s: float) -> bool:
        """Whether `done` came true while frames went both ways for at most `timeout_s` seconds."""
        client, link = self._client, self._link
        left, deadline = timeout_s, 0.0
        if client.out:
            self._sent(0)
        while not done():
            if deadline:
                left = deadline - time.monotonic()
            else:
                deadline = time.monotonic() + timeout_s
            if left <= 0:
                return False
            found = link.receive(min(left, 1.0))
            if not found and self._nudge is not None:
                self._nudge(self._spec)
            for server, frame in found:
                client.receive(server, frame)
            if client.out:
                self._sent(0)
        return True
