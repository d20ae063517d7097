"""An executor that is there and does nothing: found by its missing heartbeat, given up, and its late words refused."""

from __future__ import annotations

import asyncio
import operator
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import LocalCluster

from sparklab import SparkConf, SparkContext
from sparklab.cluster.heartbeat import Heartbeats, Seat
from sparklab.conf import ConfError, Settings
from sparklab.events import facts as f
from sparklab.testing import inject, stop
from tests.waiting import wait_until

QUICK = SparkConf().set("spark.executor.heartbeatInterval", "200ms").set("spark.network.timeout", "1s")
EXPECTED = [(k, sum(range(k, 100, 5))) for k in range(5)]


@pytest.fixture(scope="module")
def sc() -> Iterator[SparkContext]:
    with SparkContext("local[2]", "hung", conf=QUICK) as context:
        yield context


def sums(sc: SparkContext) -> Any:
    return sc.parallelize(range(100), 4).map(lambda x: (x % 5, x)).reduceByKey(operator.add, 3)


def losses(sc: SparkContext) -> list[f.ExecutorLost]:
    return [record.fact for record in sc.records() if isinstance(record.fact, f.ExecutorLost)]


@pytest.mark.parametrize("step", ["map", "write", "fetch", "result"])
def test_an_executor_that_is_stopped_is_given_up_and_replaced(sc: SparkContext, step: str) -> None:
    wait_until(lambda: all(info.alive for info in sc.executorInfos()))
    before = len(losses(sc))
    started_s = time.monotonic()
    with inject(sc, stop(step)) as injection:
        assert sorted(sums(sc).collect()) == EXPECTED
    assert time.monotonic() - started_s < 15
    (strike,) = injection.strikes
    (lost,) = losses(sc)[before:]
    assert (lost.executor, lost.epoch, lost.by_user) == (strike.executor, strike.epoch, False)
    assert lost.reason == "no sign of life for 1 s"
    wait_until(lambda: not _exists(strike.pid))


def test_an_idle_executor_that_is_stopped_is_replaced_before_anybody_needs_it(sc: SparkContext) -> None:
    wait_until(lambda: all(info.alive for info in sc.executorInfos()))
    hung = sc.executorInfos()[1]
    os.kill(hung.pid, signal.SIGSTOP)
    wait_until(lambda: sc.executorInfos()[1].epoch == hung.epoch + 1)
    assert sorted(sums(sc).collect()) == EXPECTED


def test_a_task_deep_in_c_code_is_no_silence(sc: SparkContext) -> None:
    wait_until(lambda: all(info.alive for info in sc.executorInfos()))
    before = len(losses(sc))

    def hold_the_interpreter(_: int) -> float:
        count, took_s = 10_000_000, 0.0
        while took_s < 1.5:  # one call of C code that is longer than the timeout, however fast the machine is
            one_s = time.monotonic()
            sum(range(count))
            took_s = time.monotonic() - one_s
            count *= 2
        return took_s

    assert sc.parallelize([0], 1).map(hold_the_interpreter).first() >= 1.5
    assert losses(sc)[before:] == []


def test_a_worker_of_somebody_else_is_fenced_off_and_comes_back_empty() -> None:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", worker_dashboard_address=":0"
    ) as cluster:
        conf = SparkConf().setAll(QUICK.getAll()).set("sparklab.allowMultipleContexts", "true")
        with SparkContext(cluster, conf=conf) as own:
            cached = own.parallelize(range(80), 8).cache()
            assert cached.sum() == 3160
            stopped = own.executorInfos()[0]
            assert stopped.cached_partitions == 4
            os.kill(stopped.pid, signal.SIGSTOP)
            try:
                with own.scope("without it") as without:
                    assert cached.sum() == 3160
                assert own.run_of(without).recomputed_partitions == 4
                (lost,) = losses(own)
                assert (lost.executor, lost.epoch) == (stopped.executor, 0)
            finally:
                os.kill(stopped.pid, signal.SIGCONT)
            wait_until(lambda: own.executorInfos()[0].epoch == 1)
            back = own.executorInfos()[0]
            assert (back.alive, back.pid, back.cached_partitions) == (True, stopped.pid, 0)
            assert cached.sum() == 3160
            assert sorted(sums(own).collect()) == EXPECTED


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# --- the heart alone ----------------------------------------------------------------------------------------


class Hospital:
    """Executors that answer, or do not, and what was told of them."""

    def __init__(self, **options: Any) -> None:
        self.seats = [Seat(0, 0, "a"), Seat(1, 0, "b")]
        self.dead: set[int] = set()
        self.told: list[tuple[str, int]] = []
        self.woken = asyncio.Event()
        self.heart = Heartbeats(
            lambda: self.seats,
            self.ask,
            0.02,
            0.15,
            lambda seat: self.told.append(("silent", seat.executor)),
            **options,
        )

    async def ask(self, seat: Seat) -> None:
        if seat.executor in self.dead:
            await self.woken.wait()

    async def beat_until(self, condition: Any, timeout_s: float = 5.0) -> None:
        task = asyncio.ensure_future(self.heart.run())
        try:
            async with asyncio.timeout(timeout_s):
                while not condition():
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_silence_is_told_once_of_the_one_that_is_silent() -> None:
    async def play() -> list[tuple[str, int]]:
        hospital = Hospital()
        hospital.dead = {1}
        ends_s = time.monotonic() + 0.6
        await hospital.beat_until(lambda: time.monotonic() > ends_s)
        return hospital.told

    told = asyncio.run(play())
    assert ("silent", 0) not in told
    assert ("silent", 1) in told


def test_a_process_that_works_is_not_silent() -> None:
    async def play() -> list[tuple[str, int]]:
        hospital = Hospital(is_working=lambda seat: True)
        hospital.dead = {0, 1}
        ends_s = time.monotonic() + 0.6
        await hospital.beat_until(lambda: time.monotonic() > ends_s)
        return hospital.told

    assert asyncio.run(play()) == []


def test_time_in_which_the_driver_itself_slept_is_nobodys_silence() -> None:
    async def play() -> list[tuple[str, int]]:
        hospital = Hospital()
        hospital.dead = {0}
        loop = asyncio.get_running_loop()
        # It answers a moment after the driver has come to, and would have been silent for half a second.
        loop.call_later(0.05, lambda: threading.Event().wait(0.5))
        loop.call_later(0.6, hospital.woken.set)
        loop.call_later(0.6, hospital.dead.clear)
        ends_s = time.monotonic() + 0.9
        await hospital.beat_until(lambda: time.monotonic() > ends_s)
        return hospital.told

    assert asyncio.run(play()) == []


def test_whoever_answers_after_all_is_told_of() -> None:
    async def play() -> list[tuple[str, int]]:
        hospital = Hospital(on_back=lambda seat: hospital.told.append(("back", seat.executor)))
        hospital.dead = {1}

        def silenced(seat: Seat) -> None:
            hospital.told.append(("silent", seat.executor))
            hospital.dead.clear()
            hospital.woken.set()

        hospital.heart._on_silent = silenced
        await hospital.beat_until(lambda: ("back", 1) in hospital.told)
        return hospital.told

    assert asyncio.run(play()) == [("silent", 1), ("back", 1)]


def test_heartbeats_are_set_as_in_spark() -> None:
    settings = Settings.from_conf(QUICK)
    assert (settings.heartbeat_interval_s, settings.network_timeout_s) == (0.2, 1.0)
    assert Settings.from_conf(SparkConf().set("spark.network.timeout", "120")).network_timeout_s == 120
    with pytest.raises(ConfError, match="above 0"):
        Settings.from_conf(SparkConf().set("spark.network.timeout", "0s"))
