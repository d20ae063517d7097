"""What kernels need of the machine and numba does not offer: prefetching a line, atomic words, giving up the core."""

from __future__ import annotations

from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _numba_intrinsic

_PREFETCH_FOR_WRITE: Final = 1
_KEEP_IN_ALL_LEVELS: Final = 3
_DATA_CACHE: Final = 1

intrinsic: Any = _numba_intrinsic  # what it makes takes one argument less than it is given here
_tuple_of: Any = types.UniTuple

# Found by the linker among the symbols of the process; unlike a ctypes pointer it can be kept in a compiled cache.
sched_yield: Any = types.ExternalFunction("sched_yield", types.int32())


def _address(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """``prefetch(array, index)``: the cache line of flat element `index` of a contiguous array is on its way."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch", [pointer], ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        )
        address = builder.bitcast(_address(context, builder, signature, args), pointer)
        builder.call(function, [address, word(_PREFETCH_FOR_WRITE), word(_KEEP_IN_ALL_LEVELS), word(_DATA_CACHE)])
        return context.get_dummy_value()

    return types.void(array, index), lower


@intrinsic
def load_acquire(typing_context: Any, array: Any, index: Any) -> Any:
    """``load_acquire(array, index)``: the int64 there; what its writer wrote before it is seen by what follows."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_address(context, builder, signature, args), "acquire", 8)

    return types.int64(array, index), lower


@intrinsic
def store_release(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``store_release(array, index, value)``: who reads it by `load_acquire` sees all that was written before."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _address(context, builder, signature, args), "release", 8)
        return context.get_dummy_value()

    return types.void(array, index, types.int64), lower


@intrinsic
def exchange(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """``exchange(array, index, value)``: `value` stands in the int64 array; what stood there is returned. Atomic."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("xchg", _address(context, builder, signature, args), args[2], "acq_rel")

    return types.int64(array, index, types.int64), lower


@intrinsic
def add_pair(typing_context: Any, array: Any, index: Any, first: Any, second: Any) -> Any:
    """``add_pair(array, index, first, second)``: two neighbours in a float32 array have grown by these. Atomic.

    Returns both sums. `index` is even and the array begins at a multiple of 8 bytes: the two are one word, which costs
    half of what two words would. Neighbouring additions may come in any order.
    """

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word, pair, lane = ir.IntType(64), ir.VectorType(ir.FloatType(), 2), ir.IntType(32)
        address = builder.bitcast(_address(context, builder, signature, args), word.as_pointer())
        more = builder.insert_element(ir.Constant(pair, ir.Undefined), args[2], lane(0))
        more = builder.insert_element(more, args[3], lane(1))
        found = builder.load_atomic(address, "monotonic", 8)
        before, again = builder.block, builder.append_basic_block("add_pair")
        after = builder.append_basic_block("added_pair")
        builder.branch(again)
        builder.position_at_end(again)
        known = builder.phi(word)
        known.add_incoming(found, before)
        total = builder.fadd(builder.bitcast(known, pair), more)
        # Words are compared, not numbers: a NaN equals itself.
        tried = builder.cmpxchg(address, known, builder.bitcast(total, word), "monotonic", "monotonic")
        known.add_incoming(builder.extract_value(tried, 0), again)
        builder.cbranch(builder.extract_value(tried, 1), after, again)
        builder.position_at_end(after)
        sums = [builder.extract_element(total, lane(i)) for i in (0, 1)]
        return context.make_tuple(builder, signature.return_type, sums)

    return _tuple_of(types.float32, 2)(array, index, types.float32, types.float32), lower
