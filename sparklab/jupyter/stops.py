"""Stop reaches a cell with a top-level ``await``, too.

While such a cell runs, ipykernel answers SIGINT by asking its event loop to cancel the cell. A loop that is blocked by
one of our actions never gets round to that, and one that sleeps is not woken. Both are mended here.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final

_PACKAGE: Final = str(Path(__file__).resolve().parents[1])


def listen() -> Callable[[], None]:
    """Stop is heard in the cell that begins here; the function returned puts everything back.

    Nothing is changed where SIGINT raises KeyboardInterrupt anyway, and outside of the main thread.
    """
    if threading.current_thread() is not threading.main_thread():
        return nothing
    outer = signal.getsignal(signal.SIGINT)
    if outer is signal.default_int_handler or not callable(outer):
        return nothing
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return nothing

    def on_sigint(number: int, frame: FrameType | None) -> None:
        if _is_in_sparklab(frame):
            raise KeyboardInterrupt
        outer(number, frame)
        # The handler has queued its cancel from this very thread, which does not wake a loop that sleeps.
        loop.call_soon_threadsafe(nothing)

    def put_back() -> None:
        if signal.getsignal(signal.SIGINT) is on_sigint:
            signal.signal(signal.SIGINT, outer)

    signal.signal(signal.SIGINT, on_sigint)
    return put_back


def _is_in_sparklab(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return True
        frame = frame.f_back
    return False


def nothing() -> None:
    """What there is to put back where nothing was changed."""
