"""What reductions and normalisations calculate: one or two folds over a set of elements.

A *statistic* is one such fold. `softmax` is its elements and two statistics, their maximum and the
sum of their exponentials; `reduce_sum` is one statistic and nothing else. Rules fold an element at
a time; templates fold vectors of the same description.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import (
    Combine,
    add,
    either,
    equal,
    fold_one,
    highest,
    lowest,
    maximum,
    minimum,
    multiply,
    number,
    subtract,
)
from bireme.codegen.rules.transcendental import FUNCTIONS
from bireme.codegen.tir import Emitter, Expr, cast, compute, index, is_int, match, select
from bireme.ir import Dim, DType, Op, product

Found = Sequence[Expr]
Element = Callable[[Emitter, Expr, Found, Expr], Expr]


@dataclass(frozen=True)
class Statistic:
    """A fold: first value, what of each element is folded (given earlier statistics, and the
    element's position along the first folded axis), combination.

    `finish` makes the statistic of the folded total and the number of elements (int64).
    """

    dtype: DType
    first: Expr
    combine: Combine
    element: Element = lambda emit, x, earlier, at: x
    finish: Callable[[Emitter, Expr, Expr], Expr] = lambda emit, total, count: total


def totals(
    emit: Emitter,
    of: Sequence[Statistic],
    lanes: int,
    sizes: Sequence[Dim],
    operand: Callable[[Index], Expr],
) -> list[Expr]:
    """Statistics of the elements that `operand` gives at the indices below `sizes`, each from those
    before it.
    """
    extents = [emit.dim(d) for d in sizes]
    count = emit.dim(product(list(sizes)))
    found: list[Expr] = []

    def element(statistic: Statistic, at: Index) -> Expr:
        return statistic.element(emit, operand(at), found, at[0] if at else index(0))

    for each in of:
        total = fold_one(
            emit, each.dtype, lanes, each.first, extents, partial(element, each), each.combine
        )
        found.append(emit.opaque(each.finish(emit, total, count)))
    return found


def _sum(dtype: DType) -> Statistic:
    return Statistic(dtype, number(0, dtype), add)


def _quotient(emit: Emitter, total: Expr, count: Expr, dtype: DType) -> Expr:
    nothing = is_int(count) and int(count) == 0
    total, count = match(total, cast(count, compute(dtype)))
    if nothing:  # a division by 0 that TVM can see is refused
        count = emit.opaque(count, "nothing")
    return total / count if dtype.is_float else a.integer_divide(emit, total, count)


def _mean(dtype: DType) -> Statistic:
    # Integers are summed in 64 bits: their mean never wraps.
    wide = dtype if dtype.is_float else DType.I64 if dtype.is_signed else DType.U64
    return Statistic(
        wide,
        number(0, wide),
        add,
        lambda emit, x, earlier, at: cast(x, compute(wide)),
        lambda emit, total, count: cast(_quotient(emit, total, count, wide), compute(dtype)),
    )


def _greatest(dtype: DType) -> Statistic:
    return Statistic(dtype, lowest(dtype), maximum)


def _least(dtype: DType) -> Statistic:
    return Statistic(dtype, highest(dtype), minimum)


def _one(make: Callable[[DType], Statistic]) -> Callable[[Op], list[Statistic]]:
    return lambda op: [make(op.operands[0].type.dtype)]


def _arg(extreme: Callable[[DType], Statistic]) -> Callable[[Op], list[Statistic]]:
    """The extreme element, then the first or last position that holds it; NaN is extreme."""

    def make(op: Op) -> list[Statistic]:
        dtype = op.operands[0].type.dtype
        none = index(-_BEYOND if op.attrs["last"] else _BEYOND)

        def position(emit: Emitter, x: Expr, found: Found, at: Expr) -> Expr:
            holds = equal(x, found[0])
            if dtype.is_float:
                holds = either(holds, tirx.isnan(x))
            return select(holds, at, none)

        join = maximum if op.attrs["last"] else minimum
        return [extreme(dtype), Statistic(DType.I64, none, join, position)]

    return make


# Further from zero than every position.
_BEYOND = 2**62

# The statistics of each reduction; its result is the last.
REDUCTIONS: dict[str, Callable[[Op], list[Statistic]]] = {
    "reduce_sum": _one(_sum),
    "reduce_mean": _one(_mean),
    "reduce_prod": _one(lambda dtype: Statistic(dtype, number(1, dtype), multiply)),
    "reduce_max": _one(_greatest),
    "reduce_min": _one(_least),
    "argmax": _arg(_greatest),
    "argmin": _arg(_least),
}


def _power(emit: Emitter, x: Expr, found: Found) -> Expr:
    return FUNCTIONS["exp"](emit, subtract(x, found[0]))


def _softmax(op: Op) -> list[Statistic]:
    dtype = op.operands[0].type.dtype
    return [
        _greatest(dtype),
        Statistic(dtype, number(0, dtype), add, lambda emit, x, found, at: _power(emit, x, found)),
    ]


def _scale(op: Op, element: Element) -> Statistic:
    """`1 / sqrt(mean of elements + epsilon)`."""
    dtype = op.operands[0].type.dtype

    def finish(emit: Emitter, total: Expr, count: Expr) -> Expr:
        square = _quotient(emit, total, count, dtype)
        return a.like(1, square) / tirx.sqrt(square + a.like(op.attrs["epsilon"], square))

    return Statistic(dtype, number(0, dtype), add, element, finish)


def _squared_distance(emit: Emitter, x: Expr, found: Found, at: Expr) -> Expr:
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
    lambda op: [_scale(op, lambda emit, x, found, at: x * x)],
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
    return REDUCTIONS[op.name](op)
