"""An executor's own socket: whole messages, in order, by one thread a side; and what happens where it breaks."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from sparklab import SparkConf, SparkContext
from sparklab.cluster.door import NAME, Door
from sparklab.cluster.ear import Ear
from sparklab.cluster.frames import READ_BYTES, Frames, framed
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.line import Line, Sent
from sparklab.cluster.turns import Turns
from sparklab.cluster.wire import StageOrder
from tests.waiting import wait_until

LONG = os.urandom(3 * READ_BYTES)  # more than a socket takes at once


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    yield made
    made.close()


def message(number: int) -> Sent:
    return Sent(StageOrder(number, 0, 0, None, None), [], Ear(lambda _: None, []))


class Far:
    """A line to a door, and what was heard by it."""

    def __init__(self, inbox: Inbox, path: str) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self.broken: list[list[int]] = []
        self.line = Line(path, inbox, self.answered, self.broke)
        self.inbox = inbox

    def answered(self, sent: Sent, answer: bytes | bytearray) -> None:
        self.answers.append((sent.stage.stage, bytes(answer)))
        self.inbox.put("answered")

    def broke(self, _: OSError, unanswered: list[Sent]) -> None:
        self.broken.append([each.stage.stage for each in unanswered])
        self.inbox.put("broke")


@pytest.mark.parametrize("step", [1, 3, 7, 11, 1_000])
def test_messages_are_whole_whatever_pieces_their_bytes_come_in(step: int) -> None:
    near, far = socket.socketpair()
    with near, far:
        said = [b"", b"a", b"bc" * 50, b"", b"d"]
        stream = b"".join(piece for each in said for piece in framed(each))
        frames, heard = Frames(near), []
        for start in range(0, len(stream), step):
            far.sendall(stream[start : start + step])
            heard += frames.read()
        assert heard == said


def test_the_end_of_a_stream_is_no_message() -> None:
    for begun in (b"", b"\3\0", b"\3" + bytes(7) + b"a"):
        near, far = socket.socketpair()
        with near:
            frames = Frames(near)
            with far:
                far.sendall(begun)
                assert not begun or frames.read() == []
            with pytest.raises(ConnectionResetError):
                frames.read()


def test_what_any_thread_puts_in_wakes_the_one_that_gets(inbox: Inbox) -> None:
    got: list[int] = []
    reader = threading.Thread(target=lambda: got.extend(inbox.get(None) for _ in range(3_000)))
    reader.start()
    writers = [threading.Thread(target=lambda: [inbox.put(i) for i in range(1_000)]) for _ in range(3)]
    for each in writers:
        each.start()
    reader.join(30)
    assert not reader.is_alive(), "somebody put something in and nobody woke"
    assert sorted(got) == sorted([*range(1_000)] * 3)
    with pytest.raises(queue.Empty):
        inbox.get(0.001)


def test_answers_come_in_order_and_long_messages_block_nobody(inbox: Inbox, tmp_path: Path) -> None:
    may_read = threading.Event()

    def run(order: bytes | bytearray) -> bytes:
        assert may_read.wait(30)
        return bytes(order[::-1])

    door = Door(tmp_path, run)
    try:
        assert stat.S_IMODE(os.stat(door.path).st_mode) == 0o600
        far = Far(inbox, door.path)
        orders = [LONG, b"", b"short", LONG[::-1], *[b"%d" % i for i in range(20)]]
        for number, order in enumerate(orders):
            far.line.send(message(number), order)  # the other side does not read yet
        may_read.set()
        for _ in orders:
            assert inbox.get(30) == "answered"
        assert far.answers == [(number, order[::-1]) for number, order in enumerate(orders)]
        assert not far.line.sent
        assert not (tmp_path / NAME).exists()  # nobody else comes in
    finally:
        door.close()
    assert inbox.get(30) == "broke"
    assert far.broken == [[]]  # it owed nothing


@pytest.mark.parametrize("late", [False, True])
def test_who_is_gone_with_answers_owed_is_told_of_once_with_all_of_them(
    inbox: Inbox, tmp_path: Path, late: bool
) -> None:
    def run(order: bytes | bytearray) -> bytes:
        if order == b"drop":
            raise ConnectionResetError
        return b"done"

    door = Door(tmp_path, run)
    far = Far(inbox, door.path)
    for number, order in enumerate([b"do", b"drop"]):
        far.line.send(message(number), order)
    if late:  # the socket takes nothing any more, and an answer is still in it
        wait_until(lambda: all(thread.name != "sparklab-orders" for thread in threading.enumerate()))
    far.line.send(message(2), b"do")
    while not far.broken:
        inbox.get(30)
    assert far.answers == [(0, b"done")]
    assert far.broken == [[1, 2]]
    far.line.send(message(3), b"do")  # too late: told at once
    assert far.broken == [[1, 2], [3]]
    door.close()


def test_a_message_is_lent_to_a_listener_or_ended_and_never_both() -> None:
    sent = message(0)
    assert sent.lend()
    assert not sent.lend()
    assert sent.end()
    sent = message(1)
    assert not sent.end()
    assert not sent.lend()


def test_where_a_socket_cannot_be_there_is_no_door(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    assert Door(deep, lambda _: b"").path == ""
    assert list(deep.iterdir()) == []
    short = Path(tempfile.mkdtemp())
    short.rmdir()
    assert Door(short, lambda _: b"").path == ""


def test_a_fork_that_a_task_has_left_behind_answers_nothing(inbox: Inbox, tmp_path: Path) -> None:
    forked: list[int] = []

    def run(order: bytes | bytearray) -> bytes:
        child = os.fork()
        if child:
            forked.append(os.waitpid(child, 0)[1])
            return b"parent"
        return b"child"

    door = Door(tmp_path, run)
    far = Far(inbox, door.path)
    for number in range(2):
        far.line.send(message(number), b"fork")
        assert inbox.get(30) == "answered"
    assert far.answers == [(0, b"parent"), (1, b"parent")]
    assert [os.waitstatus_to_exitcode(status) for status in forked] == [1, 1]
    door.close()
    while not far.broken:
        inbox.get(30)


def test_tasks_of_the_socket_and_of_the_pool_are_never_at_work_at_the_same_time() -> None:
    with ThreadPoolExecutor(1) as pool:
        turns = Turns(pool)
        begun, go_on = threading.Event(), threading.Event()
        ended: list[str] = []

        def wait() -> None:
            begun.set()
            assert go_on.wait(30)
            ended.append(threading.current_thread().name)

        alone = threading.Thread(target=lambda: turns.take(wait), name="alone")
        alone.start()
        assert begun.wait(30)
        behind = pool.submit(lambda: list(ended))
        go_on.set()
        assert behind.result(30) == ["alone"]
        alone.join(30)

        begun.clear()
        go_on.clear()
        pool.submit(wait)
        assert begun.wait(30)
        found: list[int] = []
        behind_it = threading.Thread(target=lambda: found.append(turns.take(lambda: len(ended))))
        behind_it.start()
        go_on.set()
        behind_it.join(30)
        assert found == [2]


def sends_counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    sends: list[Any] = []
    send = Line.send

    def counting(line: Line, sent: Sent, data: bytes) -> None:
        sends.append(sent)
        send(line, sent, data)

    monkeypatch.setattr(Line, "send", counting)
    return sends


def test_where_no_socket_can_be_tasks_go_by_dasks_way(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sends = sends_counted(monkeypatch)
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    with SparkContext("local[1]", "deep", conf=SparkConf().set("spark.local.dir", str(deep))) as sc:
        assert sc.parallelize(range(10), 2).sum() == 45
    assert sends == []


def test_an_executor_that_is_replaced_is_reached_by_a_socket_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    sends = sends_counted(monkeypatch)
    with SparkContext("local[1]", "replaced") as sc:
        assert sc.parallelize(range(10), 2).sum() == 45
        assert sends
        sc.kill_executor(0)
        assert sc.parallelize(range(10), 2).sum() == 45
        wait_until(lambda: sc.parallelize([1], 1).count() == 1)
        del sends[:]
        assert sc.parallelize(range(10), 2).sum() == 45
        assert sends


def test_a_line_to_a_door_with_a_queue_before_it_is_refused_and_waits_for_nobody(inbox: Inbox, tmp_path: Path) -> None:
    path = str(tmp_path / "door")
    refused = threading.Event()
    with socket.socket(socket.AF_UNIX) as listening, contextlib.ExitStack() as queued:
        listening.bind(path)
        listening.listen(1)
        with contextlib.suppress(BlockingIOError):
            while True:
                early = queued.enter_context(socket.socket(socket.AF_UNIX))
                early.setblocking(False)
                early.connect(path)

        def connect() -> None:
            with contextlib.suppress(OSError):
                Far(inbox, path)
            refused.set()

        threading.Thread(target=connect, daemon=True).start()
        assert refused.wait(30)


def test_neither_a_message_nor_its_answer_is_kept_once_it_was_given(inbox: Inbox, tmp_path: Path) -> None:
    given: list[bytes | bytearray] = []

    def run(order: bytes | bytearray) -> bytes:
        given.extend((order, bytes(order[::-1])))
        return cast("bytes", given[1])

    door = Door(tmp_path, run)
    far = Far(inbox, door.path)
    far.line.send(message(0), LONG)
    assert inbox.get(30) == "answered"
    held = [bytearray(1)]
    alone = sys.getrefcount(held[0])
    wait_until(lambda: [sys.getrefcount(given[0]), sys.getrefcount(given[1])] == [alone, alone])
    door.close()
    while not far.broken:
        inbox.get(30)


def test_an_order_that_is_not_carried_out_breaks_the_line_and_is_logged(
    inbox: Inbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(_: bytes | bytearray) -> bytes:
        raise OSError("no space left")

    door = Door(tmp_path, run)
    far = Far(inbox, door.path)
    far.line.send(message(7), b"do")
    while not far.broken:
        inbox.get(30)
    assert far.broken == [[7]]
    assert "an order was not carried out" in caplog.text
    door.close()
