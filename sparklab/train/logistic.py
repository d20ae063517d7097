"""SparseLogisticRegression: scikit-learn's interface, one argument that chooses how it is trained."""

from __future__ import annotations

import contextvars
import math
import os
import threading
import time
import warnings
from contextlib import nullcontext
from typing import Any, Final, Self

import numpy as np

from sparklab.errors import ParameterServerError, SparklabError
from sparklab.events.facts import bounded
from sparklab.events.training import TrainingEnded, TrainingStarted
from sparklab.foreground import PROPERTY, aside_of
from sparklab.rdd.callsite import at_call_site, call_site
from sparklab.rdd.rdd import RDD
from sparklab.train.arguments import check_arguments, optimizer_of, rate_of
from sparklab.train.blocks import Policy
from sparklab.train.errors import (
    DivergedWarning,
    TrainingInputError,
    WorseThanNothingWarning,
    is_worse_than_nothing,
    no_memory,
    worse_than_nothing,
)
from sparklab.train.files import Format
from sparklab.train.handle import TrainingHandle
from sparklab.train.linear import LinearClassifier
from sparklab.train.matrices import check_columns, matrix_of
from sparklab.train.online import Online
from sparklab.train.optimizers import Penalty, make_optimizer
from sparklab.train.parameters import Parameters
from sparklab.train.problem import Problem
from sparklab.train.session import Divergence, Session, Weights
from sparklab.train.sources import Reading, Survey, active_context, is_path, source_of, two_classes
from sparklab.train.strategies import make_strategy

WAIT_STEP_S: Final = 0.1  # a wait without a limit cannot be interrupted on every platform


class SparseLogisticRegression(Parameters, LinearClassifier):
    """Two-class logistic regression for sparse rows, up to 2**32 features, trained in one of many ways.

    It minimises ``mean log loss + l1 |w| + l2/2 |w|**2``; the intercept is not penalised. Works in scikit-learn's
    ``Pipeline``, ``cross_val_score``, ``clone`` and ``GridSearchCV``. The constructor only stores its arguments. Not
    thread-safe, except for what :meth:`start` returns.

    Parameters
    ----------
    strategy : str
        ``hogwild`` (default): threads of this process on shared weights, lock-free; with ``workers=1`` plain online
        learning. ``hogwild-locked``, ``hogwild-round-robin``: its slower rivals. ``gradient``: full-batch steps on
        the RDD with treeAggregate. ``bismarck``: SGD as a user-defined aggregate. ``large-batch``: synchronous, the
        rate scaled with the workers and warmed up. ``ps``: workers around a parameter server, with `consistency`.
    consistency : BSP or SSP or ASP, optional
        Of strategy ``ps``; default ``SSP(4)``.
    optimizer : str
        ``adagrad``, ``sgd``, ``ftrl``; ``auto`` is FTRL-proximal where something is penalised, else AdaGrad.
        ``gradient`` and ``large-batch`` always take plain (proximal) steps.
    l1, l2 : float
        Both at once are an elastic net.
    lr : float, optional
        The learning rate; default 0.1, and 1 of ``gradient``, which takes one step a pass.
    epochs : int
        Passes over the rows.
    batch_size : int, optional
        Rows a step of strategies ``ps`` and ``large-batch`` for each worker. Default: 1,024, fewer where the rows are
        few: a worker takes 32 steps a pass then, or 8 of ``large-batch``.
    workers : int, optional
        Threads, or partitions; default: one a core, or the partitions that there are.
    servers, replicas : int
        Of strategy ``ps``; with ``replicas=1`` a server may die at any moment and nothing is lost.
    filters : sequence of sparklab.ps.Filter, optional
        Of strategy ``ps``, for what workers push; default: key caching alone.
    n_features : int, optional
        D; indices are below it. Default: the columns of a matrix, else the highest index + 1.
    fit_intercept : bool
    shuffle : bool
        Whether rows held in this process are put into a random order first. RDDs are taken as they come.
    nonfinite : str
        NaN and infinity: ``raise``, ``drop`` the row, or take them for ``zero``.
    file_format, zero_based
        Of files given by path: ``auto`` (by ending), ``libsvm``, ``csv``; whether libsvm indices begin with 0.
    random_state : int, optional

    Attributes
    ----------
    coef_ : float64[1, D]
    intercept_ : float64[1]
    classes_ : ndarray of 2
    n_features_in_, n_iter_ : int
    loss_curve_ : list of Point
        (seconds, rows learnt from, clock, mean log loss).
    status_ : str
        ``finished``, ``stopped``, ``diverged``, or ``failed``: its servers died.
    handle_ : TrainingHandle
        Of the newest run, from its first moment: another thread may steer a blocking ``fit`` through it.

    Examples
    --------
    >>> from sparklab.datasets import adclick
    >>> clicks = adclick(rows=20_000, dimension=2**18)
    >>> features, labels = clicks.csr()
    >>> model = SparseLogisticRegression(workers=1, random_state=0).fit(features, labels)
    >>> model.predict(features[:3]).tolist() == model.predict_proba(features[:3])[:, 1].round().tolist()
    True

    Source: Li et al. 2014, section 5.1 (sparse logistic regression); the strategies name theirs.
    """

    _estimator_type = "classifier"

    def __init__(
        self,
        strategy: str = "hogwild",
        *,
        consistency: Any = None,
        optimizer: str = "auto",
        l1: float = 0.0,
        l2: float = 0.0,
        lr: float | None = None,
        epochs: int = 10,
        batch_size: int | None = None,
        workers: int | None = None,
        servers: int = 1,
        replicas: int = 0,
        filters: Any = None,
        n_features: int | None = None,
        fit_intercept: bool = True,
        shuffle: bool = True,
        nonfinite: Policy = "raise",
        file_format: Format = "auto",
        zero_based: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.strategy = strategy
        self.consistency = consistency
        self.optimizer = optimizer
        self.l1 = l1
        self.l2 = l2
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.workers = workers
        self.servers = servers
        self.replicas = replicas
        self.filters = filters
        self.n_features = n_features
        self.fit_intercept = fit_intercept
        self.shuffle = shuffle
        self.nonfinite = nonfinite
        self.file_format = file_format
        self.zero_based = zero_based
        self.random_state = random_state

    # --- learning ---------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> Self:
        """It has learnt from all rows; blocks, and returns itself. An interrupt stops the run and is passed on.

        Parameters
        ----------
        X : RDD, sparse matrix, array, str or list of str
            An RDD of ``(label, features)``, with features as ``(indices, values)``, ``{index: value}``, a sparse row
            or a sequence of numbers; an RDD of blocks ``(labels, indptr, indices, values or None)``; a matrix; or the
            paths of libsvm or CSV files (label first), read by the active context's executors where there is one.
        y : array, optional
            Labels of a matrix's rows: two distinct values, numbers or strings.

        Raises
        ------
        TrainingInputError
            The rows or the arguments do not fit; a ValueError.
        ServerLost
            All servers that had some of the weights died; the model has the last good ones.

        Warns
        -----
        DivergedWarning
            The loss ran away: the run was stopped, the last good weights are kept.
        WorseThanNothingWarning
            All rows were learnt from, and the loss is well above ln 2, that of a model that knows nothing.
        """
        handle = self.start(X, y)
        try:
            while handle.status in ("running", "paused"):
                handle._ended.wait(WAIT_STEP_S)
        except KeyboardInterrupt:
            handle.stop()
            raise
        handle.result()
        if self.status_ == "diverged":
            warnings.warn(self._said, DivergedWarning, stacklevel=2)
        elif self.status_ == "finished" and is_worse_than_nothing(handle.loss):
            said = worse_than_nothing(handle.label, handle.loss, self.epochs, handle._tau is not None)
            warnings.warn(said, WorseThanNothingWarning, stacklevel=2)
        return self

    def start(self, X: Any, y: Any = None) -> TrainingHandle:
        """Training goes on in the background; returns at once with the handle that steers it.

        Arguments are checked now, rows in the background; what is wrong with those, ``result()`` raises.
        """
        check_arguments(self)
        strategy = make_strategy(self)
        context = active_context()
        label = bounded(f"{strategy.name}, {optimizer_of(self)}")
        bus = None if context is None else context.bus
        handle = TrainingHandle(
            label, rate_of(self), getattr(strategy, "tau", None), bus, getattr(strategy, "aggregates", False)
        )
        self.handle_ = handle
        # Jobs of the run belong to the line and the cell that began it.
        with at_call_site(call_site()):
            scope = contextvars.copy_context()
        properties = {} if context is None else dict(context.local_properties())
        thread = threading.Thread(
            target=scope.run,
            args=(self._run, X, y, strategy, handle, properties),
            name=f"sparklab-training-{handle.number}",
            daemon=True,
        )
        thread.start()
        return handle

    def _run(self, X: Any, y: Any, strategy: Any, handle: TrainingHandle, properties: dict[str, str]) -> None:
        context = active_context()
        with nullcontext() if context is None else context.labelled(properties | context.background_properties()):
            self._run_labelled(X, y, strategy, handle)

    def _run_labelled(self, X: Any, y: Any, strategy: Any, handle: TrainingHandle) -> None:
        context = active_context()
        session = Session(
            handle, aside=None if context is None else aside_of(context.background_properties()[PROPERTY])
        )
        began_s = time.monotonic()
        source = None
        status, error = "failed", None
        try:
            source = source_of(X, y, self._reading())
            survey = source.survey()
            classes = survey.classes()
            problem = Problem(
                source=source, rows=survey.rows, dimension=survey.dimension, positive=classes[1],
                bias=self.fit_intercept, penalty=Penalty(self.l1, self.l2), optimizer=self.optimizer,
                epochs=self.epochs, batch_size=self.batch_size, workers=self.workers, seed=self.random_state,
                shuffle=self.shuffle,
            )  # fmt: skip
            self._begun(handle, strategy, survey)
            try:
                status, weights = self._trained(strategy, problem, session)
            except MemoryError as lack:
                raise no_memory(handle.label, survey.dimension, lack) from lack
            except ParameterServerError as lost:
                if session.good is None:
                    raise
                self._learnt(session.good, classes, survey.dimension, handle, status)
                kept = f"the model has the last good weights, with a mean loss of {session.good_loss:.4f}"
                raise type(lost)(f"{handle.label}: {lost.attempted}", lost.found, f"{lost.do}; {kept}") from lost
            self._learnt(weights, classes, survey.dimension, handle, status)
        except BaseException as found:
            error = found
        finally:
            if source is not None:
                source.forget()
            session.say_last()
            self._over(handle, status, error, time.monotonic() - began_s)

    def _trained(self, strategy: Any, problem: Problem, session: Session) -> tuple[str, Weights]:
        try:
            weights = strategy.train(problem, session)
            if session.hopeless or not np.isfinite(weights).all():
                raise Divergence
        except Divergence:
            kept = session.good
            kept_as = "there were no good weights to keep: all are 0"
            if kept is not None:
                kept_as = f"the last good weights were kept, with a mean loss of {session.good_loss:.4f}"
            self._said = str(
                SparklabError(
                    f"training ({session.handle.label})",
                    f"the loss ran away (to {session.handle.loss:.4g}) after {len(session.handle.history)} reports",
                    f"lower lr (it was {session.lr:g}), scale the features, or lower tau; {kept_as}",
                )
            )
            return "diverged", problem.initial() if kept is None else kept
        return ("stopped" if session.stopping else "finished"), weights

    def _begun(self, handle: TrainingHandle, strategy: Any, survey: Survey) -> None:
        workers = self.workers or 0 if strategy.name.startswith("hogwild") else self.workers or survey.partitions
        tau = getattr(strategy, "tau", None)
        handle._publish(
            TrainingStarted(
                handle.number, handle.label, strategy.name, workers or os.cpu_count() or 1, tau is not None,
                int(tau) if tau is not None and math.isfinite(tau) else -1, rate_of(self), survey.rows,
                survey.dimension, handle.scope,
            )
        )  # fmt: skip

    def _over(self, handle: TrainingHandle, status: str, error: BaseException | None, wall_s: float) -> None:
        last = handle.history[-1] if handle.history else None
        loss = last.loss if last is not None and math.isfinite(last.loss) else -1.0
        said = "" if error is None else bounded(str(error).split("\n", 1)[0] or type(error).__name__)
        handle._publish(TrainingEnded(handle.number, status, loss, last.updates if last else 0, wall_s, said))
        handle._end(status, self, error)

    def _learnt(
        self, weights: Weights, classes: tuple[Any, Any], dimension: int, handle: TrainingHandle, status: str
    ) -> None:
        self.__dict__.pop("_online", None)  # partial_fit goes on from this
        self.classes_ = np.array(classes)
        self.coef_ = weights[:-1].astype(np.float64).reshape(1, -1)
        self.intercept_ = weights[-1:].astype(np.float64) if self.fit_intercept else np.zeros(1)
        self.n_features_in_ = dimension
        self.n_iter_ = max(1, handle.clock)
        self.loss_curve_ = list(handle.history)
        self.status_ = status

    def partial_fit(self, X: Any, y: Any = None, classes: Any = None) -> Self:
        """It has learnt once from these rows, going on from what it knows; blocks. One thread, in order.

        Parameters
        ----------
        X, y
            As for :meth:`fit`; the rows of an RDD or a file come to this process.
        classes : array, optional
            Both labels; needed at the first call where the rows show only one of them.

        Raises
        ------
        TrainingInputError
            The strategy is none of HOGWILD's, or the rows do not fit what was learnt before.

        Warns
        -----
        DivergedWarning
            The weights ran away: these rows count as not learnt from.
        """
        check_arguments(self)
        if not self.strategy.startswith("hogwild"):
            raise TrainingInputError(
                f"partial_fit with strategy={self.strategy!r}",
                "it learns in passes over all rows, not from some at a time",
                'use strategy="hogwild" (a call is one pass in order, by one thread), or fit() with all rows',
            )
        known = hasattr(self, "coef_")
        width = self.n_features_in_ if known else self.n_features
        if known and not (is_path(X) or isinstance(X, RDD)):
            check_columns(matrix_of(X).shape[1], self.n_features_in_, type(self).__name__)
        source = source_of(X, y, Reading(width, self.nonfinite, self.file_format, self.zero_based))
        try:
            survey = source.survey()
            found = survey.labels if classes is None else np.unique(np.asarray(classes))
            both = (
                self.classes_ if known else np.array(two_classes(found, "reading the classes of the first partial_fit"))
            )
            strange = np.setdiff1d(survey.labels, both)
            if len(strange):
                raise TrainingInputError(
                    "partial_fit",
                    f"label {strange[0].item()!r}",
                    f"the classes are {both.tolist()}: name all of them at first",
                )
            rows = source.local(both[1])
        finally:
            source.forget()
        if not hasattr(self, "_online"):
            optimizer = make_optimizer(self.optimizer, survey.dimension, self.fit_intercept, Penalty(self.l1, self.l2))
            if known:
                optimizer.go_on_from(np.append(self.coef_[0], self.intercept_), rate_of(self))
            self._online = Online(optimizer)
        try:
            weights = self._online.learn(rows, rate_of(self))
        except Divergence:
            weights = np.append(self.coef_[0], self.intercept_) if known else np.zeros(survey.dimension + 1, np.float32)
            self._said = str(
                SparklabError(
                    f"partial_fit of {len(rows)} rows",
                    "the weights ran away",
                    f"lower lr (it was {rate_of(self):g}) or scale the features; the weights from before were kept",
                )
            )
            warnings.warn(self._said, DivergedWarning, stacklevel=2)
        self.classes_, self.n_features_in_ = both, survey.dimension
        self.coef_ = weights[:-1].astype(np.float64).reshape(1, -1)
        self.intercept_ = weights[-1:].astype(np.float64)
        return self

    def _reading(self) -> Reading:
        return Reading(self.n_features, self.nonfinite, self.file_format, self.zero_based)
