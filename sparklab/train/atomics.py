"""What kernels need of the machine and numba does not offer: atomic words, giving up the core."""

from __future__ import annotations

from typing import Any

from numba import types

from sparklab.ps.prefetching import address_of, intrinsic

# Found by the linker among the symbols of the process; unlike a ctypes pointer it can be kept in a compiled cache.
sched_yield: Any = types.ExternalFunction("sched_yield", types.int32())


@intrinsic
def load_acquire(typing_context: Any, array: Any, index: Any) -> Any:
    """``load_acquire(array, index)``: the int64 there; what its writer wrote before it is seen by what follows."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(address_of(context, builder, signature, args), "acquire", 8)

    return types.int64(array, index), lower


@intrinsic
def store_release(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``store_release(array, index, value)``: who reads it by `load_acquire` sees all that was written before."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], address_of(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(array, index, types.int64), lower


@intrinsic
def exchange(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``exchange(array, index, value)``: `value` stands in the int64 array; what stood there is returned. Atomic."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", address_of(context, builder, signature, args), args[2], "acq_rel")

    return types.int64(array, index, types.int64), lower
