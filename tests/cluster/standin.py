"""What executors of these tests install in place of sparklab's own plugin."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from sparklab.cluster import compat


def install(worker: Any, *, number: int, epoch: int, options: dict[str, Any]) -> None:
    def whoami() -> dict[str, Any]:
        return {
            "number": number,
            "epoch": epoch,
            "pid": os.getpid(),
            "options": options,
            "folder": os.getcwd(),
            "flavour": os.environ.get("FLAVOUR", ""),
            "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", ""),
            "main": sorted(vars(sys.modules["__main__"])),
        }

    def say(text: str) -> None:
        print(text)

    async def hang() -> None:
        await asyncio.Event().wait()

    async def nest(depth: int) -> int:
        return await asyncio.to_thread(_nested_sum, depth)

    def load(module: str) -> str:
        return str(__import__(module).WORD)

    for handler in (whoami, say, hang, nest, load):
        compat.add_handler(worker, f"standin-{handler.__name__}", handler)


async def install_slowly(worker: Any, *, number: int, epoch: int, options: dict[str, Any]) -> None:
    await asyncio.sleep(0)
    install(worker, number=number, epoch=epoch, options=options)


def install_badly(worker: Any, *, number: int, epoch: int, options: dict[str, Any]) -> None:
    raise ArithmeticError("the plugin fell over")


def _nested_sum(depth: int) -> int:
    records: Any = iter([1, 2, 3])
    for _ in range(depth):
        records = (record for record in records)
    return sum(records)
