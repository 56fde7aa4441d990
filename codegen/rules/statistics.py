"""What reductions and normalisations calculate: one or two folds over a set of elements.

A *statistic* is one such fold. `softmax` is its elements and two statistics, their maximum and the sum of
their exponentials; `reduce_sum` is one statistic and nothing else. Rules fold an element at a time;
templates fold vectors of the same description.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.rules.folding import Combine, add, divide, highest, lowest, maximum, minimum, multiply
from bireme.codegen.tir import Expr, cast, compute, const, match, scalar_type
from bireme.ir import DType, Op


def _itself(x: Expr, earlier: Sequence[Expr]) -> Expr:
    return x


def _total(total: Expr, count: Expr) -> Expr:
    return total


@dataclass(frozen=True)
class Statistic:
    """A fold: first value, what of each element is folded (given earlier statistics), combination.

    `finish` makes the statistic of the folded total and the number of elements (int64).
    """

    dtype: DType
    first: Expr
    combine: Combine
    element: Callable[[Expr, Sequence[Expr]], Expr] = _itself
    finish: Callable[[Expr, Expr], Expr] = _total


def _number(value: int, dtype: DType) -> Expr:
    return const(value, compute(dtype))


def _sum(dtype: DType) -> Statistic:
    return Statistic(dtype, _number(0, dtype), add)


def _mean(dtype: DType) -> Statistic:
    # Integers are summed in 64 bits: their mean never wraps.
    wide = dtype if dtype.is_float else DType.I64 if dtype.is_signed else DType.U64
    kind = compute(wide)

    def finish(total: Expr, count: Expr) -> Expr:
        return cast(divide(*match(total, cast(count, kind))), compute(dtype))

    return Statistic(wide, _number(0, wide), add, lambda x, _: cast(x, kind), finish)


REDUCTIONS: dict[str, Callable[[DType], Statistic]] = {
    "reduce_sum": _sum,
    "reduce_mean": _mean,
    "reduce_prod": lambda dtype: Statistic(dtype, _number(1, dtype), multiply),
    "reduce_max": lambda dtype: Statistic(dtype, lowest(dtype), maximum),
    "reduce_min": lambda dtype: Statistic(dtype, highest(dtype), minimum),
}


def _less(x: Expr, y: Expr) -> Expr:
    x, y = match(x, y)
    return x - y


def _softmax(op: Op) -> list[Statistic]:
    dtype = op.operands[0].type.dtype
    return [
        REDUCTIONS["reduce_max"](dtype),
        Statistic(dtype, _number(0, dtype), add, lambda x, earlier: tirx.exp(_less(x, earlier[0]))),
    ]


def _square(x: Expr) -> Expr:
    return x * x


def _deviation(op: Op, element: Callable[[Expr, Sequence[Expr]], Expr]) -> Statistic:
    """`1 / sqrt(mean of elements + epsilon)`."""
    dtype = op.operands[0].type.dtype

    def finish(total: Expr, count: Expr) -> Expr:
        kind = compute(dtype)
        square, epsilon, one = match(
            divide(*match(total, cast(count, kind))), const(op.attrs["epsilon"], kind),
            const(1, kind),
        )
        return one / tirx.sqrt(square + epsilon)

    return Statistic(dtype, _number(0, dtype), add, element, finish)


def _normal(op: Op) -> list[Statistic]:
    mean = _mean(op.operands[0].type.dtype)
    return [mean, _deviation(op, lambda x, earlier: _square(_less(x, earlier[0])))]


def _root_mean_square(op: Op) -> list[Statistic]:
    return [_deviation(op, lambda x, _: _square(x))]


def _softmax_result(x: Expr, found: Sequence[Expr]) -> Expr:
    power, total = match(tirx.exp(_less(x, found[0])), found[1])
    return power / total


def _log_softmax_result(x: Expr, found: Sequence[Expr]) -> Expr:
    return _less(_less(x, found[0]), tirx.log(found[1]))


def _normal_result(x: Expr, found: Sequence[Expr]) -> Expr:
    return multiply(*match(_less(x, found[0]), found[1]))


def _root_mean_square_result(x: Expr, found: Sequence[Expr]) -> Expr:
    return multiply(*match(x, found[0]))


@dataclass(frozen=True)
class Normalisation:
    """An op whose result at an element is a function of that element and of statistics of its row."""

    statistics: Callable[[Op], list[Statistic]]
    result: Callable[[Expr, Sequence[Expr]], Expr]


NORMALISATIONS: dict[str, Normalisation] = {
    "softmax": Normalisation(_softmax, _softmax_result),
    "log_softmax": Normalisation(_softmax, _log_softmax_result),
    "layer_norm": Normalisation(_normal, _normal_result),
    "rms_norm": Normalisation(_root_mean_square, _root_mean_square_result),
    "instance_norm": Normalisation(_normal, _normal_result),
    "group_norm": Normalisation(_normal, _normal_result),
}


def statistics(op: Op) -> list[Statistic]:
    """The statistics of a reduction or normalisation, in the order they are calculated."""
    if op.name in NORMALISATIONS:
        return NORMALISATIONS[op.name].statistics(op)
    return [REDUCTIONS[op.name](op.operands[0].type.dtype)]
