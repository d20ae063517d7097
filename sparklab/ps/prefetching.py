"""Having cache lines on their way before they are needed, which numba does not offer."""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _numba_intrinsic

_FOR_READ: Final = 0
_FOR_WRITE: Final = 1
_KEEP_IN_ALL_LEVELS: Final = 3
_DATA_CACHE: Final = 1

intrinsic: Any = _numba_intrinsic  # what it makes takes one argument less than it is given here


def address_of(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Where, in the array that is the first argument, the flat element is that the second one names."""
    array = context.make_array(signature.args[0])(context, builder, args[0])
    return builder.gep(array.data, [args[1]])


def _prefetched(context: Any, builder: Any, signature: Any, args: Any, purpose: int) -> Any:
    pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
    function = builder.module.declare_intrinsic(
        "llvm.prefetch", [pointer], ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
    )
    address = builder.bitcast(address_of(context, builder, signature, args), pointer)
    builder.call(function, [address, word(purpose), word(_KEEP_IN_ALL_LEVELS), word(_DATA_CACHE)])
    return context.get_dummy_value()


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """``prefetch(array, index)``: the line of flat element `index` of a contiguous array comes, to be written."""
    return types.void(array, index), partial(_prefetched, purpose=_FOR_WRITE)


@intrinsic
def prefetch_to_read(typing_context: Any, array: Any, index: Any) -> Any:
    """The same where it is read only: a core that writes it keeps it."""
    return types.void(array, index), partial(_prefetched, purpose=_FOR_READ)
