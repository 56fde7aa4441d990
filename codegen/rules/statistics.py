"""What reductions and normalisations calculate: one or two folds over a set of elements.

A *statistic* is one such fold. `softmax` is its elements and two statistics, their maximum and the
sum of their exponentials; `reduce_sum` is one statistic and nothing else. Rules fold an element at
a time; templates fold vectors of the same description.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import (
    Combine,
    add,
    highest,
    lowest,
    maximum,
    minimum,
    multiply,
    number,
    subtract,
)
from bireme.codegen.rules.transcendental import FUNCTIONS
from bireme.codegen.tir import Emitter, Expr, cast, compute, match
from bireme.ir import DType, Op

Found = Sequence[Expr]


@dataclass(frozen=True)
class Statistic:
    """A fold: first value, what of each element is folded (given earlier statistics), combination.

    `finish` makes the statistic of the folded total and the number of elements (int64).
    """

    dtype: DType
    first: Expr
    combine: Combine
    element: Callable[[Emitter, Expr, Found], Expr] = lambda emit, x, earlier: x
    finish: Callable[[Emitter, Expr, Expr], Expr] = lambda emit, total, count: total


def _sum(dtype: DType) -> Statistic:
    return Statistic(dtype, number(0, dtype), add)


def _quotient(emit: Emitter, total: Expr, count: Expr, dtype: DType) -> Expr:
    total, count = match(total, cast(count, compute(dtype)))
    return total / count if dtype.is_float else a.integer_divide(emit, total, count)


def _mean(dtype: DType) -> Statistic:
    # Integers are summed in 64 bits: their mean never wraps.
    wide = dtype if dtype.is_float else DType.I64 if dtype.is_signed else DType.U64
    return Statistic(
        wide,
        number(0, wide),
        add,
        lambda emit, x, earlier: cast(x, compute(wide)),
        lambda emit, total, count: cast(_quotient(emit, total, count, wide), compute(dtype)),
    )


REDUCTIONS: dict[str, Callable[[DType], Statistic]] = {
    "reduce_sum": _sum,
    "reduce_mean": _mean,
    "reduce_prod": lambda dtype: Statistic(dtype, number(1, dtype), multiply),
    "reduce_max": lambda dtype: Statistic(dtype, lowest(dtype), maximum),
    "reduce_min": lambda dtype: Statistic(dtype, highest(dtype), minimum),
}


def _power(emit: Emitter, x: Expr, found: Found) -> Expr:
    return FUNCTIONS["exp"](emit, subtract(x, found[0]))


def _softmax(op: Op) -> list[Statistic]:
    dtype = op.operands[0].type.dtype
    return [
        REDUCTIONS["reduce_max"](dtype),
        Statistic(dtype, number(0, dtype), add, _power),
    ]


def _scale(op: Op, element: Callable[[Emitter, Expr, Found], Expr]) -> Statistic:
    """`1 / sqrt(mean of elements + epsilon)`."""
    dtype = op.operands[0].type.dtype

    def finish(emit: Emitter, total: Expr, count: Expr) -> Expr:
        square = _quotient(emit, total, count, dtype)
        return a.like(1, square) / tirx.sqrt(square + a.like(op.attrs["epsilon"], square))

    return Statistic(dtype, number(0, dtype), add, element, finish)


def _squared_distance(emit: Emitter, x: Expr, found: Found) -> Expr:
    distance = emit.bind(subtract(x, found[0]))
    return distance * distance


@dataclass(frozen=True)
class Normalisation:
    """An op whose result is a function of the element there and of statistics of its row."""

    statistics: Callable[[Op], list[Statistic]]
    result: Callable[[Emitter, Expr, Found], Expr]
    # The result from what the last statistic folded for the element, where that is cheaper.
    from_folded: Callable[[Expr, Found], Expr] | None = None


_SOFTMAX = Normalisation(
    _softmax,
    lambda emit, x, found: _divided(_power(emit, x, found), found),
    lambda power, found: _divided(power, found),
)
_LOG_SOFTMAX = Normalisation(
    _softmax,
    lambda emit, x, found: subtract(subtract(x, found[0]), FUNCTIONS["log"](emit, found[1])),
)
_CENTRED = Normalisation(
    lambda op: [_mean(op.operands[0].type.dtype), _scale(op, _squared_distance)],
    lambda emit, x, found: multiply(subtract(x, found[0]), found[1]),
)
_ROOT_MEAN_SQUARE = Normalisation(
    lambda op: [_scale(op, lambda emit, x, found: x * x)],
    lambda emit, x, found: multiply(x, found[0]),
)


def _divided(power: Expr, found: Found) -> Expr:
    power, total = match(power, found[1])
    return power / total


NORMALISATIONS: dict[str, Normalisation] = {
    "softmax": _SOFTMAX,
    "log_softmax": _LOG_SOFTMAX,
    "layer_norm": _CENTRED,
    "rms_norm": _ROOT_MEAN_SQUARE,
    "instance_norm": _CENTRED,
    "group_norm": _CENTRED,
}


def statistics(op: Op) -> list[Statistic]:
    """The statistics of a reduction or normalisation, in the order they are calculated."""
    if op.name in NORMALISATIONS:
        return NORMALISATIONS[op.name].statistics(op)
    return [REDUCTIONS[op.name](op.operands[0].type.dtype)]
