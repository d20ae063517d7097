"""An executor's Unix socket for the driver on its host: orders come in by it, the thread that runs them answers.

A message by Dask's way passes four threads and two event loops, is encrypted twice, and comes back the same way: for a
short task that is most of its cost. Here it passes one thread on either side.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sparklab.cluster.frames import Frames, framed

logger = logging.getLogger("sparklab.cluster")

NAME: Final = "orders"
_PATH_BYTES: Final = 100  # what every system takes as a socket's name


class Door:
    """Takes one connection, and answers each message on it by ``run(message)``, in order, in a thread of its own.

    Parameters
    ----------
    folder : Path
        Private; the socket (mode 0600) is there until the driver has connected. Where it cannot be, `path` is empty.
    run : callable
        Where it raises, the connection is closed, which says that there will be no answer.
    """

    def __init__(self, folder: Path, run: Callable[[bytes | bytearray], bytes]) -> None:
        self._run = run
        self._socket: socket.socket | None = None
        self.path = str(folder / NAME)
        if len(os.fsencode(self.path)) > _PATH_BYTES:
            self.path = ""  # there is Dask's way
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(self.path)
            os.chmod(self.path, 0o600)
            listening.listen(1)
        except OSError as error:  # not on every file system
            logger.debug("no socket in %s: %s", folder, error)
            listening.close()
            self.path = ""
            return
        self._socket = listening
        threading.Thread(target=self._serve, args=(listening,), name="sparklab-orders", daemon=True).start()

    def _serve(self, listening: socket.socket) -> None:
        try:
            driver, _ = listening.accept()
        except OSError:  # closed before anybody came
            return
        with driver:
            self._socket = driver
            listening.close()
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            try:
                self._answer(driver)
            except OSError as error:  # also where this executor ends
                logger.debug("the driver's connection has ended: %s", error)

    def _answer(self, driver: socket.socket) -> None:
        frames = Frames(driver)
        while True:
            messages = frames.read()[::-1]
            while messages:  # and nothing is held of them while this waits for the next
                _write(driver, self._answer_to(messages.pop()))

    def _answer_to(self, message: bytes | bytearray) -> bytes:
        own = os.getpid()
        try:
            return self._run(message)
        except ConnectionError:  # an answer that is to be lost
            raise
        except BaseException as error:
            logger.exception("an order was not carried out")
            # The driver ends an executor that does not answer.
            raise ConnectionAbortedError("there is no answer") from error
        finally:
            if os.getpid() != own:
                os._exit(1)  # a fork that a task made and did not end: its parent answers

    def close(self) -> None:
        """No message is taken any more."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()


def _write(driver: socket.socket, answer: bytes) -> None:
    for piece in framed(answer):
        driver.sendall(piece)
