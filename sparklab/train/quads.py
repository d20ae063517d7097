"""Four float32 numbers as one value of a numba kernel: what is gathered from four places stays in a register.

``+ - * /`` work lane by lane, between quads and with a float32, which stands for four. Every processor has vectors of
this width, and a row of clicks fills six of them. Left to the compiler, a loop that gathers becomes a vector's or not
as its cost model likes, with loops for what is left over, at whose ends the processor guesses wrong.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Final

from llvmlite import ir
from numba import types
from numba.extending import models, overload, register_model

from sparklab.ps.prefetching import address_of, intrinsic

LANES: Final = 4
_FLOAT: Final = ir.FloatType()
_WORD: Final = ir.IntType(32)
_PLACE: Final = ir.IntType(64)
_QUAD: Final = ir.VectorType(_FLOAT, LANES)
_PAIR: Final = ir.DoubleType()  # its 64 bits; as floating point they move between memory and half a vector in one step
_PAIRS: Final = ir.VectorType(_PAIR, 2)
_FAST: Final = ("nsz", "arcp", "contract", "afn", "reassoc")  # numba adds them to arithmetic, not to calls on vectors
_ALIGNED: Final = 4
_tuple_of: Any = types.UniTuple
_Act = Callable[[list[Any]], list[Any]]


class Quad(types.Type):
    """The type of four float32 numbers."""

    def __init__(self) -> None:
        super().__init__(name="Quad")


quad: Final = Quad()


@register_model(Quad)
class _QuadModel(models.PrimitiveModel):
    def __init__(self, manager: Any, described: Any) -> None:
        super().__init__(manager, described, _QUAD)  # type: ignore[no-untyped-call]


def _called(builder: Any, name: str, *args: Any) -> Any:
    """An intrinsic of LLVM that takes and gives quads."""
    function = builder.module.declare_intrinsic(f"{name}.v4f32", fnty=ir.FunctionType(_QUAD, [_QUAD] * len(args)))
    return builder.call(function, args, fastmath=_FAST)


@intrinsic
def quad_of(typing_context: Any, number: Any) -> Any:
    """``quad_of(number)``: the float32 four times."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        one = builder.insert_element(ir.Constant(_QUAD, ir.Undefined), args[0], _WORD(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_WORD, LANES), [0] * LANES))

    return quad(types.float32), lower


@intrinsic
def total(typing_context: Any, numbers: Any) -> Any:
    """``total(numbers)``: the sum of the four."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(_FLOAT, [_FLOAT, _QUAD])
        function = builder.module.declare_intrinsic("llvm.vector.reduce.fadd.v4f32", fnty=kind)
        return builder.call(function, [_FLOAT(0.0), args[0]], fastmath=_FAST)

    return types.float32(quad), lower


@intrinsic
def roots(typing_context: Any, numbers: Any) -> Any:
    """``roots(numbers)``: the root of each."""
    return quad(quad), lambda context, builder, signature, args: _called(builder, "llvm.sqrt", *args)


@intrinsic
def sizes(typing_context: Any, numbers: Any) -> Any:
    """``sizes(numbers)``: each without its sign."""
    return quad(quad), lambda context, builder, signature, args: _called(builder, "llvm.fabs", *args)


@intrinsic
def largest(typing_context: Any, one: Any, other: Any) -> Any:
    """``largest(one, other)``: the larger number of each lane."""
    return quad(quad, quad), lambda context, builder, signature, args: _called(builder, "llvm.maxnum", *args)


@intrinsic
def signed(typing_context: Any, numbers: Any, signs: Any) -> Any:
    """``signed(numbers, signs)``: each number with the sign of the other."""
    return quad(quad, quad), lambda context, builder, signature, args: _called(builder, "llvm.copysign", *args)


def _arithmetic(operation: Callable[[Any, Any], Any], name: str) -> None:
    @intrinsic
    def lanes(typing_context: Any, one: Any, other: Any) -> Any:
        return quad(quad, quad), lambda context, builder, signature, args: getattr(builder, name)(*args)

    @overload(operation, inline="always")
    def on_quads(one, other):  # type: ignore[no-untyped-def]
        if isinstance(one, Quad) and isinstance(other, Quad):
            return lambda one, other: lanes(one, other)
        if isinstance(one, Quad):
            return lambda one, other: lanes(one, quad_of(other))
        if isinstance(other, Quad):
            return lambda one, other: lanes(quad_of(one), other)
        return None


for _operation, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _arithmetic(_operation, _name)


def _at_entries(
    context: Any, builder: Any, signature: Any, args: Any, spare_at: int, kind: Any, act: _Act
) -> list[Any]:
    """What `act` gives for the addresses of four entries' state, of type `kind`; in `spare` where beyond the row.

    The first arguments are state, indices, at, left and spare. Code is made twice, as whole quads need no choices.
    """
    state, indices, spare = (context.make_array(signature.args[i])(context, builder, args[i]).data for i in (0, 1, 4))
    at, left = args[2], args[3]
    everything = builder.bitcast(state, kind.as_pointer())
    nowhere = builder.gep(builder.bitcast(spare, kind.as_pointer()), [_PLACE(spare_at)])

    def address(entry: Any) -> Any:
        index = builder.load(builder.gep(indices, [entry]))
        return builder.gep(everything, [builder.zext(index, _PLACE)])

    with builder.if_else(builder.icmp_signed(">=", left, _PLACE(LANES))) as (whole, part):
        with whole:
            of_whole = act([address(builder.add(at, _PLACE(lane))) for lane in range(LANES)])
            after_whole = builder.block
        with part:
            addresses = [address(at)]
            for lane in range(1, LANES):
                there = builder.icmp_signed("<", _PLACE(lane), left)
                found = address(builder.select(there, builder.add(at, _PLACE(lane)), at))
                addresses.append(builder.select(there, found, nowhere))
            of_part = act(addresses)
            after_part = builder.block
    values = []
    for one, other in zip(of_whole, of_part, strict=True):
        either = builder.phi(one.type)
        either.add_incoming(one, after_whole)
        either.add_incoming(other, after_part)
        values.append(either)
    return values


def _shuffled(builder: Any, one: Any, other: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_WORD, len(lanes)), lanes))


@intrinsic
def pairs_at(typing_context: Any, state: Any, indices: Any, at: Any, left: Any, spare: Any) -> Any:
    """``pairs_at(state, indices, at, left, spare)``: the first and the second numbers of four entries' pairs.

    The entries are number `at` and the following; only `left` of them are of the row, others have the first pair of
    `spare`. `state` is float32[D, 2], `spare` float32[2, 2], both contiguous.
    """

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def halves(addresses: list[Any]) -> list[Any]:
            pairs = [builder.load(each, align=_ALIGNED) for each in addresses]
            found = []
            for first in (0, 2):
                half = builder.insert_element(ir.Constant(_PAIRS, ir.Undefined), pairs[first], _WORD(0))
                found.append(builder.bitcast(builder.insert_element(half, pairs[first + 1], _WORD(1)), _QUAD))
            return found

        one, other = _at_entries(context, builder, signature, args, 0, _PAIR, halves)
        numbers = [_shuffled(builder, one, other, [lane, lane + 2, lane + 4, lane + 6]) for lane in (0, 1)]
        return context.make_tuple(builder, signature.return_type, numbers)

    return _tuple_of(quad, 2)(state, indices, types.int64, types.int64, spare), lower


@intrinsic
def put_pairs(
    typing_context: Any, state: Any, indices: Any, at: Any, left: Any, spare: Any, one: Any, other: Any
) -> Any:
    """``put_pairs(state, indices, at, left, spare, one, other)``: the pairs that :func:`pairs_at` reads are these.

    What is beyond the row goes to the second pair of `spare`.
    """

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        halves = [
            builder.bitcast(_shuffled(builder, args[5], args[6], lanes), _PAIRS)
            for lanes in ([0, 4, 1, 5], [2, 6, 3, 7])
        ]

        def store(addresses: list[Any]) -> list[Any]:
            for lane, address in enumerate(addresses):
                half = builder.extract_element(halves[lane // 2], _WORD(lane % 2))
                builder.store(half, address, align=_ALIGNED)
            return []

        _at_entries(context, builder, signature, args, 1, _PAIR, store)
        return context.get_dummy_value()

    return types.void(state, indices, types.int64, types.int64, spare, quad, quad), lower


@intrinsic
def numbers_at(typing_context: Any, state: Any, indices: Any, at: Any, left: Any, spare: Any) -> Any:
    """:func:`pairs_at` where the state of an entry is one number: `state` is float32[D], `spare` float32[2]."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def gathered(addresses: list[Any]) -> list[Any]:
            numbers = ir.Constant(_QUAD, ir.Undefined)
            for lane, address in enumerate(addresses):
                numbers = builder.insert_element(numbers, builder.load(address), _WORD(lane))
            return [numbers]

        return _at_entries(context, builder, signature, args, 0, _FLOAT, gathered)[0]

    return quad(state, indices, types.int64, types.int64, spare), lower


@intrinsic
def put_numbers(typing_context: Any, state: Any, indices: Any, at: Any, left: Any, spare: Any, numbers: Any) -> Any:
    """:func:`put_pairs` for what :func:`numbers_at` reads."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def store(addresses: list[Any]) -> list[Any]:
            for lane, address in enumerate(addresses):
                builder.store(builder.extract_element(args[5], _WORD(lane)), address)
            return []

        _at_entries(context, builder, signature, args, 1, _FLOAT, store)
        return context.get_dummy_value()

    return types.void(state, indices, types.int64, types.int64, spare, quad), lower


@intrinsic
def some_of(typing_context: Any, array: Any, at: Any, left: Any) -> Any:
    """``some_of(array, at, left)``: the float32 numbers from `at` on, 0 for all but the first `left` of them."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        at, left = args[1:]
        numbers = ir.Constant(_QUAD, ir.Undefined)
        for lane in range(LANES):
            there = builder.icmp_signed("<", _PLACE(lane), left)
            place = builder.select(there, builder.add(at, _PLACE(lane)), at)
            number = builder.select(there, builder.load(builder.gep(data, [place])), _FLOAT(0.0))
            numbers = builder.insert_element(numbers, number, _WORD(lane))
        return numbers

    return quad(array, types.int64, types.int64), lower


@intrinsic
def held(typing_context: Any, array: Any, index: Any) -> Any:
    """``held(array, index)``: the four numbers from flat element `index` of a contiguous float32 array on."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = address_of(context, builder, signature, args)
        return builder.load(builder.bitcast(address, _QUAD.as_pointer()), align=_ALIGNED)

    return quad(array, index), lower


@intrinsic
def hold(typing_context: Any, array: Any, index: Any, numbers: Any) -> Any:
    """``hold(array, index, numbers)``: they stand in a contiguous float32 array from flat element `index` on."""

    def lower(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address = address_of(context, builder, signature, args)
        builder.store(args[2], builder.bitcast(address, _QUAD.as_pointer()), align=_ALIGNED)
        return context.get_dummy_value()

    return types.void(array, index, quad), lower
