"""Rules of reductions: a fold over the reduced axes for each element of the result."""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import lanes_in
from bireme.codegen.rules.folding import Combine, add, both, either, equal, fold, fold_one, number
from bireme.codegen.rules.statistics import REDUCTIONS, statistics, totals
from bireme.codegen.tir import Expr, cast, index, match, select
from bireme.ir import DType, Op


def reduced_axes(op: Op) -> tuple[int, ...]:
    """Axes of the operand that a reduction (argmax and argmin too) folds over."""
    attrs = op.attrs
    if "axes" in attrs:
        return tuple(attrs["axes"])
    return (attrs["axis"] % op.operands[0].type.rank,)


def operand_index(op: Op, at: Index, folded: Index) -> Index:
    """Operand index: `at` of the result on the kept axes, `folded` on the reduced ones."""
    axes = reduced_axes(op)
    kept = iter([i for a, i in enumerate(at) if not (op.attrs["keepdims"] and a in axes)])
    inner = iter(folded)
    return [next(inner) if a in axes else next(kept) for a in range(op.operands[0].type.rank)]


def _reduce(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    (x,) = op.operands
    sizes = [x.type.shape[a] for a in reduced_axes(op)]

    def operand(folded: Index) -> Expr:
        return evaluator.at(x, operand_index(op, at, folded))

    return totals(evaluator.emit, statistics(op), lanes_in(at), sizes, operand)[-1]


def better(largest: bool, dtype: DType) -> Combine:
    """Whether x comes strictly before y in an order where NaN is greatest."""

    def before(x: Expr, y: Expr) -> Expr:
        x, y = match(x, y)
        found = x > y if largest else x < y
        if not dtype.is_float:
            return found
        more, less = (x, y) if largest else (y, x)
        return tirx.Or(found, tirx.And(tirx.isnan(more), tirx.Not(tirx.isnan(less))))

    return before


def tied(dtype: DType) -> Combine:
    """Whether neither of two elements comes before the other in the order of `better`.

    Asked for by itself: TVM turns a negated comparison round, which NaN does not allow.
    """

    def same(x: Expr, y: Expr) -> Expr:
        if not dtype.is_float:
            return equal(x, y)
        return either(equal(x, y), both(tirx.isnan(x), tirx.isnan(y)))

    return same


def replaced(at: Index, axis: int, position: Expr) -> Index:
    """An index with another position on one axis."""
    return [position if a == axis else i for a, i in enumerate(at)]


def _cumsum(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    """The sum of all that counts, from the whole axis: quadratic, for use inside a group."""
    (x,) = op.operands
    axis = op.attrs["axis"] % x.type.rank
    exclusive, reverse = op.attrs["exclusive"], op.attrs["reverse"]
    place = at[axis]

    def counted(k: Expr) -> Expr:
        k, own = match(k, place)
        if exclusive:
            return k > own if reverse else k < own
        return k >= own if reverse else k <= own

    def element(folded: Index) -> Expr:
        value = evaluator.at(x, replaced(at, axis, folded[0]))
        return select(counted(folded[0]), value, number(0, x.type.dtype))

    return fold_one(
        evaluator.emit,
        x.type.dtype,
        lanes_in(at),
        number(0, x.type.dtype),
        [evaluator.emit.dim(x.type.shape[axis])],
        element,
        add,
    )


def _topk(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    """The element with exactly `at[axis]` others before it: cubic, for use inside a group."""
    x = op.operands[0]
    emit = evaluator.emit
    axis = op.attrs["axis"] % x.type.rank
    extent = emit.dim(x.type.shape[axis])
    before = better(op.attrs["largest"], x.type.dtype)
    same, lanes = tied(x.type.dtype), lanes_in(at)

    def rank(k: Expr, own: Expr) -> Expr:
        def ahead(folded: Index) -> Expr:
            other = evaluator.at(x, replaced(at, axis, folded[0]))
            wins = either(before(other, own), both(same(own, other), folded[0] < k))
            return cast(wins, "int64")

        return fold_one(emit, DType.I64, lanes, index(0), [extent], ahead, add)

    def step(folded: Index, values: list[Expr]) -> list[Expr]:
        own = evaluator.at(x, replaced(at, axis, folded[0]))
        chosen = equal(rank(folded[0], own), at[axis])
        return [select(chosen, own, values[0]), select(chosen, folded[0], values[1])]

    accumulators = [(x.type.dtype, number(0, x.type.dtype)), (DType.I64, index(0))]
    return fold(emit, lanes, accumulators, [extent], step)[result]


RULES: dict[str, Rule] = {
    **dict.fromkeys(REDUCTIONS, _reduce),
    "cumsum": _cumsum,
    "topk": _topk,
}
