"""Loops with accumulators at the place where a value is needed, and the arithmetic they fold with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.tir import (
    Emitter,
    Expr,
    cast,
    compute,
    const,
    index,
    lanes_of,
    match,
    scalar_type,
    select,
)
from bireme.ir import DType

Combine = Callable[[Expr, Expr], Expr]


def lanes_at(at: Sequence[Expr]) -> int:
    """Lanes of an index: those of its widest component."""
    return max((lanes_of(i) for i in at), default=1)


def fold(
    emit: Emitter,
    lanes: int,
    accumulators: Sequence[tuple[DType, Expr]],
    extents: Sequence[Expr],
    step: Callable[[Index, list[Expr]], Sequence[Expr]],
) -> list[Expr]:
    """Final values of accumulators over a loop nest.

    An accumulator is given by its type and first value, and has `lanes` lanes. `step` takes the loops'
    indices and the accumulators' values to their next values; the last loop is the innermost.
    """
    registers = [emit.registers("fold", dtype, lanes) for dtype, _ in accumulators]
    place = tirx.Ramp(index(0), index(1), lanes) if lanes > 1 else index(0)
    for register, (_, first) in zip(registers, accumulators, strict=True):
        emit.store(register, place, first)

    def nest(at: Index, rest: Sequence[Expr]) -> None:
        if rest:
            with emit.loop("k", rest[0]) as k:
                nest([*at, k], rest[1:])
            return
        values = [emit.bind(emit.load(r, place), "acc") for r in registers]
        following = [emit.bind(v) for v in step(at, values)]
        for register, value in zip(registers, following, strict=True):
            emit.store(register, place, value)

    nest([], list(extents))
    return [emit.bind(emit.load(r, place), "folded") for r in registers]


def fold_one(
    emit: Emitter,
    dtype: DType,
    lanes: int,
    first: Expr,
    extents: Sequence[Expr],
    element: Callable[[Index], Expr],
    combine: Combine,
) -> Expr:
    """`fold` with one accumulator that takes in one element at each step."""
    (result,) = fold(
        emit,
        lanes,
        [(dtype, first)],
        extents,
        lambda at, values: [combine(*match(values[0], element(at)))],
    )
    return result


def wrapping(function: Combine) -> Combine:
    """Arithmetic on signed integers that wraps around: TVM marks signed overflow as impossible."""

    def wrapped(x: Expr, y: Expr) -> Expr:
        dtype = scalar_type(x)
        if not dtype.startswith("int"):
            return function(x, y)
        return cast(function(cast(x, f"u{dtype}"), cast(y, f"u{dtype}")), dtype)

    return wrapped


def _extreme(better: Combine, logical: Combine) -> Combine:
    def extreme(x: Expr, y: Expr) -> Expr:
        dtype = scalar_type(x)
        if dtype == "bool":
            return logical(x, y)
        if not dtype.startswith("float"):
            return select(better(x, y), x, y)
        # A comparison with NaN is false, so that y is taken when it is NaN; x must be asked for.
        return select(tirx.any(better(x, y), tirx.isnan(x)), x, y)

    return extreme


add = wrapping(lambda x, y: x + y)
multiply = wrapping(lambda x, y: x * y)
maximum = _extreme(lambda x, y: x > y, tirx.any)
minimum = _extreme(lambda x, y: x < y, tirx.all)


def lowest(dtype: DType) -> Expr:
    """Least value of a type: minus infinity for floats."""
    if dtype.is_float:
        return const(-math.inf, compute(dtype))
    return const(False, "bool") if dtype is DType.BOOL else tirx.min_value(dtype.label)


def highest(dtype: DType) -> Expr:
    """Greatest value of a type: infinity for floats."""
    if dtype.is_float:
        return const(math.inf, compute(dtype))
    return const(True, "bool") if dtype is DType.BOOL else tirx.max_value(dtype.label)


def divide(x: Expr, y: Expr) -> Expr:
    """`x / y`; integers round toward zero and give 0 for a divisor of 0."""
    x, y = match(x, y)
    dtype = scalar_type(x)
    if dtype.startswith("float"):
        return x / y
    zero, one = match(const(0, dtype), const(1, dtype), x)[:2]
    return select(y == zero, zero, tirx.truncdiv(x, select(y == zero, one, y)))
