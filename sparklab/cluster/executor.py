"""One executor: runs tasks over its own block store and shuffle files. Knows nothing of Dask."""

from __future__ import annotations

import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from sparklab import foreground, steps
from sparklab.cluster import results
from sparklab.cluster.atwork import AtWork
from sparklab.cluster.determinism import Check
from sparklab.cluster.failures import wire_error
from sparklab.cluster.gang import GangMember
from sparklab.cluster.loadedstages import LoadedStage, LoadedStages
from sparklab.cluster.losses import FindGone, gone_here, with_others
from sparklab.cluster.meeting import Meet, MeetingId, Meetings, meet_in
from sparklab.cluster.parts import Parts
from sparklab.cluster.peers import AskPeer, AskPiece, Missing, PeerBlocks
from sparklab.cluster.removals import Removal, Removals
from sparklab.cluster.resources import resident_bytes
from sparklab.cluster.stageshuffle import StageShuffle
from sparklab.cluster.voices import Voice, heard
from sparklab.cluster.wire import StageOrder, Taken, TaskOrder, TaskReport
from sparklab.conf import BACKGROUND
from sparklab.errors import FetchFailedError
from sparklab.events.said import Said
from sparklab.faults import PROPERTY, AnswerDropped, ExecutorStruck, Place, Striker
from sparklab.pieces import PartsMissing
from sparklab.rdd.cancellation import TaskCancelled
from sparklab.rdd.nodes import counted_keys
from sparklab.rdd.running import running
from sparklab.rdd.task import TaskContext, TaskMetrics
from sparklab.rdd.whereabouts import LineSampler
from sparklab.scheduler.waiting import HOME_BATCH_S
from sparklab.shuffle.files import copy_output, remove_shuffle
from sparklab.shuffle.spec import MapLocation, MapOutput, OpenMapOutput, ShuffleInput, ShuffleSpec
from sparklab.shuffle.writer import counts_keys, write_map_output
from sparklab.storage.peers import Holder
from sparklab.storage.store import BlockStore

ANSWER_AFTER_S: Final = HOME_BATCH_S  # several tasks in one message that take longer are answered in parts
logger = logging.getLogger("sparklab.cluster")


def _go_on() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Budgets:
    """Memory of one executor, in bytes."""

    cache_bytes: int
    shuffle_bytes: int
    process_bytes: int = 0  # what the whole process may hold before its cache must not grow any more; 0: no limit


class Executor:
    """Runs tasks. Those that somebody waits for one after the other, and beside them those of the background.

    :meth:`run` is called from one thread for each of these two; :meth:`cancel` from any.

    Parameters
    ----------
    directory : Path
        Made if missing, mode 0700, removed by :meth:`close`.
    open_map_output : callable
        Opens a map output of any executor.
    ask_peer : callable
        Asks another executor for a cached block.
    host : str
        Executors with the same token open each other's files.
    meet : callable, optional
        Has a task of a barrier stage wait for the others, at the executor of the given address.
    ask_piece : callable, optional
        Asks another executor for a piece of a broadcast.
    find_gone : callable
        Says which map outputs, of any executors, are not there any more.
    """

    def __init__(
        self,
        number: int,
        epoch: int,
        directory: Path,
        budgets: Budgets,
        open_map_output: OpenMapOutput,
        ask_peer: AskPeer,
        host: str,
        meet: Meet | None = None,
        ask_piece: AskPiece | None = None,
        find_gone: FindGone = gone_here,
    ) -> None:
        self.number = number
        self.epoch = epoch
        self.directory = directory
        self.budgets = budgets
        self.host = host
        self.open_map_output = open_map_output
        self.meet = meet or meet_in(Meetings())
        self._ask_peer = ask_peer
        self._find_gone = find_gone
        self.parts = Parts(number, directory, ask_piece)
        self._stages = LoadedStages(self.parts)
        self.shuffle_directory = directory / "shuffle"
        self.shuffle_directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.blocks = BlockStore(str(directory / "blocks"), budgets.cache_bytes, self._may_grow)
        self.removals = Removals(self._remove)
        self._sampler = LineSampler()
        self._at_work = AtWork()
        self._speaking: dict[int, tuple[TaskContext, Voice]] = {}

    def said_so_far(self) -> dict[int, list[Said]]:
        """By task at work, all that it has said. From any thread."""
        return {
            number: voice.said(task.job, task.stage, task.partition, task.attempt)
            for number, (task, voice) in list(self._speaking.items())
        }

    def _may_grow(self) -> bool:
        limit = self.budgets.process_bytes
        return not limit or resident_bytes(limit) < limit

    # --- running ----------------------------------------------------------------------------------

    def run(self, order: StageOrder, tasks: Sequence[TaskOrder]) -> list[TaskReport]:
        """Run `tasks` of one stage, in order. Never raises for what user code does.

        Where they took long, the reports are of the first of them: the driver hears of these, and sends the others
        again.
        """
        try:
            self.removals.take(order.removals)
            stage = self._stages.of(order)
        except KeyError:
            return [self._report(t.task, "stage_unknown", None) for t in tasks]
        except PartsMissing as missing:
            return [self._report(t.task, "parts_missing", missing.keys) for t in tasks]
        except BaseException as error:
            wire = wire_error(error, None)
            return [self._report(t.task, "failed", wire) for t in tasks]
        reports: list[TaskReport] = []
        began_s = time.monotonic()
        for task in tasks:
            reports.append(self._run_one(stage, order, task))
            if time.monotonic() - began_s > ANSWER_AFTER_S:
                break
        return reports

    def peer_blocks(
        self, holders: Mapping[tuple[int, int], Sequence[Holder]], check_cancelled: Callable[[], None]
    ) -> PeerBlocks:
        """What `holders` have, to be asked for block by block."""
        limit_bytes = self.budgets.shuffle_bytes // 4
        return PeerBlocks(holders, self._ask_peer, self.host, str(self.directory), limit_bytes, check_cancelled)

    def _shuffle(self, inputs: dict[int, ShuffleInput], budget_bytes: int) -> StageShuffle:
        return StageShuffle(inputs, self.open_map_output, str(self.shuffle_directory), budget_bytes)

    def _shuffle_bytes(self, properties: Mapping[str, str]) -> int:
        """What a task of a job may hold of a shuffle: half in the background, where others are at work beside it."""
        return self.budgets.shuffle_bytes // (2 if properties.get(BACKGROUND) == "true" else 1)

    @staticmethod
    def _step_aside(properties: Mapping[str, str]) -> Callable[[], None]:
        """What a task of such a job calls now and then, to let others go first."""
        path = properties.get(foreground.PROPERTY)
        return _go_on if path is None else foreground.aside_of(path).step

    def take_output(self, source: MapLocation) -> MapOutput | None:
        """The map output at `source` is a file here too, byte for byte; None where it cannot be had or kept."""
        try:
            opened = self.open_map_output(source)
            try:
                return copy_output(opened, source.output, str(self.shuffle_directory))
            finally:
                opened.close()
        except (FetchFailedError, OSError) as error:
            logger.debug("map output of executor %d: %s", source.executor, error)
            return None

    def take_copy(self, rdd: int, partition: int, holders: Sequence[Holder]) -> Taken:
        """The block is held here too, if a holder gives it and there is room. From any thread, whatever runs."""
        peers = self.peer_blocks({(rdd, partition): holders}, lambda: None)
        block = peers.copy(rdd, partition)
        if block is not None:
            self.blocks.put_frames(rdd, partition, block.level, block.frames())
        return Taken(self.blocks.drain_changes(), peers.missing)

    def _run_one(self, stage: LoadedStage, order: StageOrder, task_order: TaskOrder) -> TaskReport:
        stale = () if order.gang is None else order.gang.stale
        holders = {block: known for block, known in task_order.holders.items() if block[0] not in stale}
        peers = self.peer_blocks(holders, lambda: self._at_work.check(task_order.task))
        step_aside = self._step_aside(order.properties)

        def check_cancelled() -> None:
            self._at_work.check(task_order.task)
            step_aside()

        task = TaskContext(
            job=order.job,
            stage=order.stage,
            partition=task_order.partition,
            attempt=task_order.attempt,
            task=task_order.task,
            executor=self.number,
            blocks=self.blocks,
            shuffle=self._shuffle(stage.inputs, self._shuffle_bytes(order.properties)),
            shipped=task_order.shipped,
            check_cancelled=check_cancelled,
            step_aside=step_aside,
            properties=order.properties,
            elsewhere=peers.find,
            replaced=stage.replaced,
            files_root=stage.files_root,
            gang=None
            if order.gang is None
            else GangMember(
                order.gang,
                MeetingId(order.stage, order.attempt, len(order.gang.addresses)),
                task_order.partition,
                self.meet,
                lambda: self._at_work.check(task_order.task),
            ),
        )
        for rdd in stale:
            self.blocks.drop(rdd, task_order.partition, "dropped")
        started = time.perf_counter()
        status = "succeeded"
        value: Any = None
        updates = b""
        check = Check.of(order.properties, task)
        differs = ""
        voice = Voice()
        self._speaking[task.task] = task, voice
        try:
            with self._at_work.interruptible(task_order.task), running(task), self._faults(order, task), heard(voice):
                try:
                    if stage.profiler is None:
                        value = self._compute(stage, task, check)
                    else:
                        value = stage.profiler.profile(self._compute, stage, task, check)
                    if check is not None and task.gang is None:
                        if isinstance(value, MapOutput):
                            check.wrote(value.shuffle_id, value.map_index)
                        differs = check.compare(stage.rdd)
                    if isinstance(task.gang, GangMember):
                        task.gang.end()
                    if task.updates:
                        updates = results.dumps(task.updates)
                finally:
                    for end in task.on_end:
                        end()
        except (ExecutorStruck, AnswerDropped):
            raise
        except TaskCancelled:
            status = "cancelled"
        except PartsMissing as missing:  # unpersisted since the stage was loaded
            status, value = "parts_missing", missing.keys
        except FetchFailedError as error:
            status = "fetch_failed"
            _, value = with_others(error, stage.inputs, self._find_gone).__reduce__()
        except BaseException as error:
            status, value = "failed", wire_error(error, task, stage.rdd)
        del self._speaking[task.task]
        counted = updates if status == "succeeded" else b""
        duration_s = time.perf_counter() - started
        report = self._report(task_order.task, status, value, duration_s, task.metrics, counted, peers.missing)
        if voice.pieces:
            report = replace(report, said=voice.said(order.job, order.stage, task.partition, task.attempt))
        return report if check is None else replace(report, digests=check.digests, differs=differs)

    def _faults(self, order: StageOrder, task: TaskContext) -> contextlib.AbstractContextManager[None]:
        """Inside, the faults strike that the job asks for, if any."""
        plan = order.properties.get(PROPERTY)
        if plan is None:
            return contextlib.nullcontext()
        place = Place(self.number, self.epoch, task.job, task.stage, task.partition, task.attempt)
        return steps.watched(Striker(plan, place, task.check_cancelled))

    def _compute(self, stage: LoadedStage, task: TaskContext, check: Check | None) -> Any:
        writes = stage.writes
        if writes is not None and check is None and stage.profiler is None and counts_keys(writes):
            counted = counted_keys(stage.rdd, task.partition, task)
            if counted is not None:
                steps.at("map")
                return self._write(counted[0], writes, task, counted[1])
        records = stage.rdd.iterator(task.partition, task)
        if check is not None:
            records = check.through(records)
        if stage.writes is not None:
            steps.at("map")
            return self._write(records, stage.writes, task)
        value = results.pack(stage.function(task.partition, records))
        steps.at("result")
        return value

    def _write(
        self, records: Iterator[Any], spec: ShuffleSpec, task: TaskContext, constant: int | None = None
    ) -> MapOutput:
        # Somebody may have cleaned up temporary folders that look old.
        self.shuffle_directory.mkdir(parents=True, mode=0o700, exist_ok=True)
        return write_map_output(
            records,
            spec,
            task.partition,
            str(self.shuffle_directory),
            self._shuffle_bytes(task.properties),
            task.metrics,
            task.check_cancelled,
            constant,
        )

    def _report(
        self,
        task: int,
        status: str,
        value: Any,
        duration_s: float = 0.0,
        metrics: TaskMetrics | None = None,
        updates: bytes = b"",
        missing: Sequence[Missing] = (),
    ) -> TaskReport:
        changes = self.blocks.drain_changes()
        warnings = self.blocks.drain_warnings()
        return TaskReport(
            task,
            status,
            value,
            duration_s,
            metrics or TaskMetrics(),
            changes,
            warnings,
            updates,
            missing,
            lines=self._sampler.drain(threading.get_ident()),
        )

    def look(self) -> None:
        """The line at which each task at work stands counts once more. From any thread."""
        for thread in self._at_work.threads:
            self._sampler.look(thread)

    # --- cancelling -------------------------------------------------------------------------------

    def cancel(self, tasks: Sequence[int]) -> None:
        """Have `tasks` end soon: at their next batch, at the next line of Python, or before they begin."""
        self._at_work.cancel(tasks)

    def cancel_all(self) -> None:
        """Have all tasks at work end soon."""
        self.cancel(self._at_work.tasks)

    # --- forgetting -------------------------------------------------------------------------------

    def _remove(self, removal: Removal) -> None:
        if removal.kind == "blocks":
            self.blocks.drop(removal.what, None, "unpersisted")
        else:
            self.remove_shuffle(removal.what)

    def remove_shuffle(self, shuffle: int) -> None:
        remove_shuffle(str(self.shuffle_directory), shuffle)

    def forget_all(self) -> None:
        """Nothing is held of what there was: blocks, shuffle files, stages; what runs ends soon and is not kept."""
        self.cancel_all()
        self._stages.clear()
        for rdd in {block[0] for block in self.blocks.blocks()}:
            self.blocks.drop(rdd, None, "unpersisted")
        self.blocks.drain_changes()
        for path in self.shuffle_directory.iterdir():
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """Blocks, shuffle files and the directory are gone."""
        self.parts.forget()
        self.blocks.close()
        shutil.rmtree(self.directory, ignore_errors=True)
