"""The bus: numbers facts, journals them, folds them into views, and hands them to observers without ever waiting."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from sparklab.events.facts import Fact, FactsDropped, Record, Warned
from sparklab.events.journal import Journal
from sparklab.events.views import Views

logger = logging.getLogger("sparklab.events")

CAPACITY: Final = 10_000

Callback = Callable[[list[Record]], None]


class Subscription:
    """An observer: a bounded queue and a thread of its own. One that raises is dropped and logged."""

    def __init__(self, bus: Bus, name: str, callback: Callback, capacity: int) -> None:
        self.name = name
        self._bus = bus
        self._callback = callback
        self._capacity = capacity
        self._queue: deque[Record] = deque()
        self._dropped = 0
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=f"sparklab-observer-{name}", daemon=True)
        self._thread.start()

    def offer(self, records: list[Record]) -> None:
        with self._changed:
            self._queue.extend(records)
            while len(self._queue) > self._capacity:
                self._queue.popleft()
                self._dropped += 1
            self._changed.notify()

    def close(self) -> None:
        """The callback has got all that was published before, and is called no more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._bus.forget(self)
        if threading.current_thread() is not self._thread:
            self._thread.join(5)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._queue and not self._closed:
                    self._changed.wait()
                records, dropped = list(self._queue), self._dropped
                self._queue.clear()
                self._dropped = 0
                if not records:
                    return
            if dropped:
                first = records[0]
                records.insert(0, Record(first.seq - 1, first.time_s, FactsDropped(self.name, dropped)))
            try:
                self._callback(records)
            except Exception:
                logger.exception("observer %s failed and is dropped; nothing else is affected", self.name)
                self._bus.forget(self)
                return


class Bus:
    """Where facts are published. Thread-safe; :meth:`publish` never waits for an observer.

    Parameters
    ----------
    journal : Journal or None
    clock : callable
        Seconds, monotonic.

    Attributes
    ----------
    views : Views
        What all facts add up to. Read it under ``with bus.lock``.
    seq : int
        Number of the fact published last.
    """

    def __init__(self, journal: Journal | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.lock = threading.RLock()
        self.views = Views()
        self.seq = 0
        self._journal = journal
        self._journal_said = False
        self._clock = clock
        self._started_s = clock()
        self._subscriptions: tuple[Subscription, ...] = ()

    def now_s(self) -> float:
        """Seconds since the bus began: the time that facts carry."""
        return self._clock() - self._started_s

    def publish(self, *facts: Fact) -> None:
        """`facts` are numbered, in the journal and in the views, in this order; observers get them soon."""
        with self.lock:
            now_s = round(self.now_s(), 6)  # as the journal has it: a replay draws the very same picture
            records = [Record(self.seq + i + 1, now_s, fact) for i, fact in enumerate(facts)]
            self.seq += len(records)
            if self._journal is not None:
                self._journal.append(records)
                if self._journal.problem is not None and not self._journal_said:
                    self._journal_said = True
                    self.seq += 1
                    records.append(Record(self.seq, now_s, Warned("journal", self._journal.problem[:200])))
            for record in records:
                self.views.fold(record)
            for subscription in self._subscriptions:
                subscription.offer(records)

    def observe(self, name: str, callback: Callback, *, capacity: int = CAPACITY) -> Subscription:
        """`callback` gets lists of records from now on, in a thread of its own; at most `capacity` wait for it."""
        subscription = Subscription(self, name, callback, capacity)
        with self.lock:
            self._subscriptions = (*self._subscriptions, subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        with self.lock:
            self._subscriptions = tuple(s for s in self._subscriptions if s is not subscription)

    def close(self) -> None:
        """Observers have got everything; the journal is closed."""
        for subscription in self._subscriptions:
            subscription.close()
        if self._journal is not None:
            with self.lock:  # nobody may be writing: the number of a closed file soon belongs to another
                self._journal.close()
