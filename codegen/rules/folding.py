"""Loops with accumulators at the place where a value is needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.index import consecutive
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.tir import Emitter, Expr, compute, const, lanes_of, match
from bireme.ir import DType

Combine = Callable[[Expr, Expr], Expr]
# Steps of a loop, or its start and steps.
Extent = Expr | tuple[Expr, Expr]
# Accumulators of `fold_several`.
ACCUMULATORS = 4


def fold(
    emit: Emitter,
    lanes: int,
    accumulators: Sequence[tuple[DType, Expr]],
    extents: Sequence[Extent],
    step: Callable[[Index, list[Expr]], Sequence[Expr]],
) -> list[Expr]:
    """Final values of accumulators over a loop nest.

    An accumulator is given by its type and first value, and has `lanes` lanes. `step` takes the
    loops' indices and the accumulators' values to their next values; the last loop is the
    innermost. An extent is a number of steps, or a pair (start, steps).
    """
    registers = [emit.registers("fold", dtype, lanes) for dtype, _ in accumulators]
    place = consecutive(0, lanes)
    for register, (_, first) in zip(registers, accumulators, strict=True):
        emit.store(register, place, first)

    def nest(at: Index, rest: Sequence[Extent]) -> None:
        if rest:
            start, steps = rest[0] if isinstance(rest[0], tuple) else (0, rest[0])
            with emit.loop("k", steps, start=start) as k:
                nest([*at, k], rest[1:])
            return
        values = [emit.bind(emit.load(r, place), "acc") for r in registers]
        following = [emit.opaque(v) for v in step(at, values)]
        for register, value in zip(registers, following, strict=True):
            emit.store(register, place, value)

    nest([], list(extents))
    return [emit.bind(emit.load(r, place), "folded") for r in registers]


def fold_one(
    emit: Emitter,
    dtype: DType,
    lanes: int,
    first: Expr,
    extents: Sequence[Extent],
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


def fold_several(
    emit: Emitter,
    dtype: DType,
    lanes: int,
    first: Expr,
    extents: Sequence[Extent],
    elements: Callable[[Index], Sequence[Expr]],
    combine: Combine,
) -> Expr:
    """`fold_one` for steps that take in several elements, which accumulators share out: a chain of
    combinations would wait for each.
    """

    def step(at: Index, values: list[Expr]) -> list[Expr]:
        found = list(values)
        for number, element in enumerate(elements(at)):
            place = number % ACCUMULATORS
            found[place] = emit.opaque(combine(found[place], element))
        return found

    accumulators = [(dtype, first)] * ACCUMULATORS
    return pairwise(emit, fold(emit, lanes, accumulators, extents, step), combine)


def pairwise(emit: Emitter, values: Sequence[Expr], combine: Combine) -> Expr:
    """The combination of one or more values as a tree, which is done sooner than a chain."""
    level = list(values)
    while len(level) > 1:
        rest = level[len(level) - len(level) % 2 :]
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [*(emit.opaque(combine(x, y)) for x, y in pairs), *rest]
    return level[0]


def scalar_bind(emit: Emitter, value: Expr) -> Expr:
    """Names a scalar; a vector stays as it is, since a named ramp is no longer seen to be one."""
    return emit.bind(value) if lanes_of(value) == 1 else value


def number(value: float, dtype: DType) -> Expr:
    """A constant in the compute type."""
    return const(value, compute(dtype))


def combination(of: Combine) -> Combine:
    """A combination of elements that may differ in lanes."""
    return lambda x, y: of(*match(x, y))


add = combination(a.add)
subtract = combination(a.subtract)
multiply = combination(a.multiply)
equal = combination(a.equal)
either = combination(tirx.Or)
both = combination(tirx.And)


def maximum(x: Expr, y: Expr) -> Expr:
    """The greater, NaN if either is; of booleans, whether either holds."""
    x, y = match(x, y)
    return a.maximum(x, y) if x.ty.dtype.type_code != _BOOL else tirx.Or(x, y)


def minimum(x: Expr, y: Expr) -> Expr:
    """The less, NaN if either is; of booleans, whether both hold."""
    x, y = match(x, y)
    return a.minimum(x, y) if x.ty.dtype.type_code != _BOOL else tirx.And(x, y)


_BOOL = const(True, "bool").ty.dtype.type_code


def lowest(dtype: DType) -> Expr:
    """Least value of a type: minus infinity for floats."""
    if dtype.is_float:
        return number(-math.inf, dtype)
    return const(False, "bool") if dtype is DType.BOOL else tirx.min_value(dtype.label)


def highest(dtype: DType) -> Expr:
    """Greatest value of a type: infinity for floats."""
    if dtype.is_float:
        return number(math.inf, dtype)
    return const(True, "bool") if dtype is DType.BOOL else tirx.max_value(dtype.label)
