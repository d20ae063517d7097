"""The handle of a run of training: what a hand may change while it goes on, and what it says of itself."""

from __future__ import annotations

import itertools
import math
import threading
import weakref
from collections import deque
from collections.abc import Callable
from numbers import Real
from typing import Any, Final, NamedTuple, Protocol

import numpy as np

from sparklab.errors import SparklabError
from sparklab.events import announced
from sparklab.events import training as f
from sparklab.events.facts import Fact
from sparklab.nearness import did_you_mean
from sparklab.scopes import current_scope
from sparklab.train.errors import HandleNameError, TrainingInputError, TrainingStoppedError

KEPT_POINTS: Final = 10_000
DELAY_MAX_S: Final = 60.0
_numbers: Final = itertools.count()
_handles: Final[weakref.WeakValueDictionary[int, TrainingHandle]] = weakref.WeakValueDictionary()


class Publisher(Protocol):
    """Where facts go: a context's bus."""

    def publish(self, *facts: Fact) -> None: ...


class Point(NamedTuple):
    """A point of the loss curve."""

    time_s: float  # since the run began
    updates: int  # rows learnt from
    clock: int  # passes, or clocks of the slowest worker
    loss: float  # mean log loss in nats


class TrainingHandle:
    """A run of training that goes on in the background. Every member may be used from any thread.

    None blocks but :meth:`result` and :meth:`add_server`, :meth:`kill_server` a moment: a change acts at the next batch
    or clock. Changes act, and are told as facts, in the order of the calls.

    Attributes
    ----------
    number : int
        Unique in this process; the training view calls the run so.
    scope : str
        The cell or block that it was started in, "" where none is open.
    history : list of Point
        The loss curve, the newest 10,000 points.

    Examples
    --------
    >>> from sparklab.datasets import bundled
    >>> from sparklab.train import SparseLogisticRegression
    >>> features, labels = bundled("breast_cancer")
    >>> run = SparseLogisticRegression(lr=0.5, epochs=60, workers=1).start(features, labels)
    >>> run.result().score(features, labels) > 0.95, run.status
    (True, 'finished')
    """

    _MOVABLE: Final = ("lr", "tau")

    def __init__(
        self, label: str, lr: float, tau: float | None, publisher: Publisher | None, bounded: bool = False
    ) -> None:
        self.number = next(_numbers)
        self.label = label
        self.scope = current_scope.get()
        self.history: deque[Point] = deque(maxlen=KEPT_POINTS)
        self._lr = lr
        self._tau = tau
        self._must_be_bounded = bounded
        self._publisher = publisher
        self._early: list[Fact] | None = []  # what a hand changed before the run was known; None from then on
        self._telling = threading.Lock()
        self._changed = threading.Condition()
        self._paused = False
        self._stopping = False
        self._status = "running"
        self._ended = threading.Event()
        self._error: BaseException | None = None
        self._model: Any = None
        self._delays_s: dict[int, float] = {}
        self._serving: Any = None  # a Serving, while there are servers
        self._listeners: list[Callable[[], None]] = []
        _handles[self.number] = self
        if self.scope:
            announced.announce(self.scope, self.number, label, _as_bound(tau) if tau is not None else -1)

    def __setattr__(self, name: str, value: Any) -> None:
        # What a slip of the hand has named must not be taken for a change that acts.
        if name.startswith("_") or name in self._MOVABLE or "_listeners" not in self.__dict__:
            object.__setattr__(self, name, value)
            return
        raise HandleNameError(
            f"setting {name} of {self.label} to {value!r}",
            f"{name} cannot be set while it trains" if hasattr(self, name) else f"a run has no {name}",
            did_you_mean(name, self._MOVABLE, then="set lr or tau; pause(), resume() and stop() are called"),
        )

    # --- what it says -----------------------------------------------------------------------------

    @property
    def status(self) -> str:
        """``running``, ``paused``, ``finished``, ``stopped`` (by hand), ``diverged`` or ``failed``. Does not block."""
        return "paused" if self._status == "running" and self._paused else self._status

    @property
    def loss(self) -> float:
        """The newest mean log loss in nats; NaN before the first. Does not block."""
        return self.history[-1].loss if self.history else math.nan

    @property
    def clock(self) -> int:
        """Clocks that the slowest worker has completed; passes where there are no clocks. Does not block."""
        return self.history[-1].clock if self.history else 0

    @property
    def lr(self) -> float:
        """The learning rate; assigning one acts at the next batch, also while a blocking ``fit`` runs."""
        return self._lr

    @lr.setter
    def lr(self, rate: float) -> None:
        if not is_number(rate) or not (rate > 0 and math.isfinite(rate)):
            raise TrainingInputError("changing the learning rate", f"{rate!r}", "give a finite number above 0")
        self._check_at_work(f"setting lr of {self.label} to {rate!r}")
        before, self._lr = self._lr, float(rate)
        self._publish(f.LearningRateChanged(self.number, before, float(rate)))
        self._wake()

    @property
    def tau(self) -> float:
        """How many clocks the fastest worker may be ahead of the slowest; ``math.inf`` for no bound.

        Raising it lets who waits go on at once; lowering it acts at the next clock and lets the fast ones wait until
        the gap has closed. Nothing is rolled back. Does not block.

        Raises
        ------
        SparklabError
            The strategy has no bound.
        """
        if self._tau is None:
            raise self._boundless()
        return self._tau

    @tau.setter
    def tau(self, bound: float) -> None:
        if self._tau is None:
            raise self._boundless()
        if not is_number(bound) or not bound >= 0 or (math.isfinite(bound) and bound != int(bound)):
            raise TrainingInputError("changing tau", f"{bound!r}", "give a whole number of clocks, or math.inf")
        if math.isinf(bound) and self._must_be_bounded:
            raise SparklabError(
                "changing tau to no bound",
                "gradients of a clock are aggregated, which needs a bound",
                "give a whole number, or train with consistency=ASP()",
            )
        self._check_at_work(f"setting tau of {self.label} to {bound!r}")
        before, self._tau = self._tau, bound
        self._publish(f.TauChanged(self.number, _as_bound(before), _as_bound(bound)))
        self._wake()

    def _check_at_work(self, attempted: str) -> None:
        if self._ended.is_set():  # what it shows is what it trained with
            raise SparklabError(attempted, f"the run has ended ({self.status})", "set it for the next: start(...)")

    def _boundless(self) -> SparklabError:
        return SparklabError(
            f"looking at tau of {self.label}", "the strategy has no staleness bound", 'train with strategy="ps"'
        )

    @property
    def delays_s(self) -> dict[int, float]:
        """What each worker that a hand has slowed rests after a clock, in seconds. Does not block."""
        return dict(self._delays_s)

    # --- what a hand does -------------------------------------------------------------------------

    def slow(self, worker: int, delay_s: float) -> None:
        """`worker` rests `delay_s` seconds after each of its clocks from now on; 0 lets it go again. Does not block.

        It rests where it holds no slot. For lectures and tests: a straggler at hand.

        Raises
        ------
        SparklabError
            The number or the delay makes no sense, or the strategy's workers have no clocks of their own.
        """
        attempted = f"slowing worker {worker} of {self.label}"
        if self._tau is None:
            raise SparklabError(attempted, "its workers have no clocks of their own", 'train with strategy="ps"')
        if worker < 0 or not (0 <= delay_s <= DELAY_MAX_S):
            raise SparklabError(attempted, f"a delay of {delay_s!r} s", f"give 0 to {DELAY_MAX_S:g} s, a worker from 0")
        self._check_at_work(attempted)
        self._delays_s = {**self._delays_s, worker: float(delay_s)}
        if not delay_s:
            del self._delays_s[worker]
        self._publish(f.WorkerSlowed(self.number, worker, float(delay_s)))
        self._wake()

    def kill_server(self, server: int) -> None:
        """`server` of the run's parameter server is dead, its replicas serve, and training goes on. Blocks a moment.

        Raises
        ------
        SparklabError
            The run has no servers, none of that number, or none that could take over.
        """
        self._servers(f"killing server {server}").kill(server, f"run {self.number}")

    def add_server(self) -> int:
        """A further server serves its share of the ranges; its number. Blocks while ranges move, training goes on."""
        added: int = self._servers("adding a server").add()
        return added

    def _servers(self, attempted: str) -> Any:
        serving = self._serving
        if serving is None:
            raise SparklabError(
                attempted, f"{self.label} has no servers at work", 'train with strategy="ps", and while it runs'
            )
        return serving

    def pause(self) -> None:
        """Workers rest after the batch they are at, until :meth:`resume`. Does not block: they may be at it still."""
        self._set_paused(True)

    def resume(self) -> None:
        """Workers go on. Does not block."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        if self._paused != paused and not self._ended.is_set():
            self._paused = paused
            self._publish(f.TrainingPaused(self.number) if paused else f.TrainingResumed(self.number))
            self._wake()

    def stop(self) -> None:
        """The run ends after the batches at work; the model keeps the weights it has. Idempotent; does not block."""
        self._stopping = True
        self._wake()

    def result(self, timeout_s: float | None = None) -> Any:
        """The fitted model; blocks until the run has ended.

        Raises
        ------
        TrainingStoppedError
            It has not ended within `timeout_s` seconds.
        Exception
            Whatever the run failed with.
        """
        if not self._ended.wait(timeout_s):
            raise TrainingStoppedError(
                f"waiting for {self.label}", f"still {self.status} after {timeout_s} s", "wait longer, or stop() it"
            )
        if self._error is not None:
            raise self._error
        return self._model

    def __repr__(self) -> str:
        tau = "" if self._tau is None else f", tau {self._tau:g}"
        moved = f"lr {self._lr:g}{tau}"
        return (
            f"<training {self.number}: {self.label}, {moved}, {self.status}, clock {self.clock}, loss {self.loss:.4f}>"
        )

    # --- for the strategies -----------------------------------------------------------------------

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
        for listener in self._listeners:
            listener()

    def _publish(self, *facts: Fact) -> None:
        if self._publisher is None:
            return
        with self._telling:
            if self._early is not None:
                if not isinstance(facts[0], f.TrainingStarted | f.TrainingEnded):
                    self._early.extend(facts)
                    return
                facts, self._early = (facts[0], *self._early, *facts[1:]), None
        self._publisher.publish(*facts)
        if facts and isinstance(facts[0], f.TrainingStarted):
            announced.known(self.number)

    def _end(self, status: str, model: Any, error: BaseException | None = None) -> None:
        self._status, self._model, self._error = status, model, error
        announced.known(self.number)
        self._ended.set()


def handle_of(number: int) -> TrainingHandle | None:
    """The run `number` of this process, None where nobody refers to it any more."""
    return _handles.get(number)


def newest_running() -> TrainingHandle | None:
    """The run that began last of those still at work."""
    running = [handle for handle in _handles.values() if handle.status in ("running", "paused")]
    return max(running, key=lambda handle: handle.number, default=None)


def served_by(group: Any) -> TrainingHandle | None:
    """The run at work whose weights the servers of `group` hold."""
    served = (handle for handle in _handles.values() if handle._serving is not None)
    return next((handle for handle in served if handle._serving.group is group), None)


def is_number(value: Any) -> bool:
    """Whether `value` is a real number, no truth value and no text."""
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def _as_bound(tau: float) -> int:
    """A bound as facts carry it: -1 is none."""
    return int(tau) if math.isfinite(tau) else -1
