"""The messages that an executor takes: their names, on workers of our own and beside others on somebody else's."""

from __future__ import annotations

from typing import Final

RUN: Final = "sparklab_run"
RUN_BESIDE: Final = "sparklab_run_beside"
RUN_IN_GANG: Final = "sparklab_run_in_gang"
CANCEL: Final = "sparklab_cancel"
HELLO: Final = "sparklab_hello"
READ: Final = "sparklab_read"
GONE: Final = "sparklab_gone"
FORGET: Final = "sparklab_forget"
REMOVE: Final = "sparklab_remove"
DROP: Final = "sparklab_drop"
PEEK: Final = "sparklab_peek"
MEET: Final = "sparklab_meet"
BLOCK: Final = "sparklab_block"
BEAT: Final = "sparklab_beat"
HEAR: Final = "sparklab_hear"
COPY: Final = "sparklab_copy"
TAKE: Final = "sparklab_take"
PIECE: Final = "sparklab_piece"
HANDLERS: Final = (
    RUN,
    RUN_BESIDE,
    RUN_IN_GANG,
    CANCEL,
    HELLO,
    READ,
    GONE,
    FORGET,
    REMOVE,
    DROP,
    PEEK,
    MEET,
    BLOCK,
    BEAT,
    HEAR,
    COPY,
    TAKE,
    PIECE,
)


def handler_of(name: str, app: str) -> str:
    """What handler `name` is called for application `app`: several may share one cluster."""
    return f"{name}:{app}" if app else name
