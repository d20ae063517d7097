"""The driver's end of an executor's socket (``door.py``), and what was sent by it and is not answered."""

from __future__ import annotations

import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sparklab.cluster.ear import Ear
from sparklab.cluster.frames import Frames, framed
from sparklab.cluster.inbox import Inbox
from sparklab.cluster.wire import StageOrder, TaskOrder


@dataclass(slots=True)
class Sent:
    """A message to an executor that it has not answered yet.

    `listener` belongs to the event loop that listens to its tasks, if it does: then it ends there, too.
    """

    stage: StageOrder
    tasks: list[TaskOrder]
    ear: Ear
    at_s: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _lent: bool = False
    _over: bool = False

    def lend(self) -> bool:
        """Whether the caller, the first to ask, listens to its tasks from now on: it was not answered so far."""
        with self._lock:
            first = not self._over and not self._lent
            self._lent = self._lent or first
            return first

    def end(self) -> bool:
        """It was answered, or never will be. Whether somebody listens to its tasks."""
        with self._lock:
            self._over = True
            return self._lent


class Line:
    """Sends messages and hears their answers, in order. In the scheduler's thread; :attr:`sent` may be copied anywhere.

    Parameters
    ----------
    path : str
        The executor's socket.
    answered : callable
        Told ``(sent, answer)`` of each.
    broke : callable
        Told ``(error, unanswered)`` when the executor has closed or is gone.

    Raises
    ------
    OSError
        It cannot be reached.
    """

    def __init__(
        self,
        path: str,
        inbox: Inbox,
        answered: Callable[[Sent, bytes | bytearray], None],
        broke: Callable[[OSError, list[Sent]], None],
    ) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.setblocking(False)  # at once: many who wait for the same door would make it wait, too
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise
        self._frames = Frames(self._socket)
        self._inbox = inbox
        self._answered = answered
        self._broke = broke
        self._unwritten: deque[memoryview] = deque()
        self._watched = self._to_write = False
        self.sent: deque[Sent] = deque()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, sent: Sent, message: bytes) -> None:
        """`message` is on its way, or the line broke. Never blocks."""
        if self._socket.fileno() < 0:
            self._broke(ConnectionResetError("it was closed"), [sent])
            return
        self.sent.append(sent)
        self._unwritten.extend(map(memoryview, framed(message)))
        self._write()

    def _write(self) -> None:
        while self._unwritten:
            piece = self._unwritten[0]
            try:
                written = self._socket.send(piece)
            except BlockingIOError:
                break
            except OSError:  # it is gone, which reading will say after what it has answered
                self._unwritten.clear()
                break
            if written < len(piece):
                self._unwritten[0] = piece[written:]
            else:
                self._unwritten.popleft()
        to_write = bool(self._unwritten)
        if not self._watched or to_write != self._to_write:
            self._watched, self._to_write = True, to_write
            self._inbox.watch(self, to_write)

    def ready(self, events: int) -> None:
        """There are answers, or room to write."""
        answers: list[bytes | bytearray] = []
        try:
            if events & selectors.EVENT_WRITE:
                self._write()
            if events & selectors.EVENT_READ:
                answers = self._frames.read()
        except BlockingIOError:
            return
        except OSError as error:
            self._break(error)
        for answer in answers:
            if self.sent:  # else it broke meanwhile
                self._answered(self.sent.popleft(), answer)

    def _break(self, error: OSError) -> None:
        if self._socket.fileno() >= 0:
            self._broke(error, self.drop())

    def drop(self) -> list[Sent]:
        """Nothing is sent or heard any more; returns what was not answered. Idempotent."""
        if self._socket.fileno() >= 0 and self._watched:
            self._inbox.forget(self)
        self.close()
        unanswered = list(self.sent)
        self.sent.clear()
        return unanswered

    def close(self) -> None:
        """Nothing is sent or heard any more. Once the scheduler's thread has ended, from any."""
        self._socket.close()
