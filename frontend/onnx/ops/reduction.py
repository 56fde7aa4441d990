"""Reductions, searches along an axis, softmax."""

from __future__ import annotations

from collections.abc import Callable

from bireme.frontend.onnx.emit import Emitter, Tensor, scalar
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops.at_run_time import Around, vector
from bireme.frontend.onnx.ops.elementwise import cast
from bireme.frontend.onnx.ops.shape import axis_first, cut, reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, DType, product

Reducer = Callable[[Emitter, Tensor, tuple[int, ...], bool], Tensor]


def _plain(name: str) -> Reducer:
    return lambda b, x, axes, keep: getattr(b, name)(x, axes=axes, keepdims=keep)


def _sum_square(b: Emitter, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    total: Tensor = b.reduce_sum(b.mul(x, x), axes=axes, keepdims=keep)
    return total


def _l1(b: Emitter, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    total: Tensor = b.reduce_sum(b.abs(x) if x.dtype.is_signed else x, axes=axes, keepdims=keep)
    return total


def _in_float(function: Reducer) -> Reducer:
    """For integers, in float64 and back."""

    def reduce(b: Emitter, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
        if x.dtype.is_float:
            return function(b, x, axes, keep)
        wide = function(b, b.cast(x, dtype=DType.F64), axes, keep)
        narrow: Tensor = b.cast(wide, dtype=x.dtype)
        return narrow

    return reduce


def _l2(b: Emitter, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    root: Tensor = b.sqrt(_sum_square(b, x, axes, keep))
    return root


def _log_sum(b: Emitter, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    result: Tensor = b.log(b.reduce_sum(x, axes=axes, keepdims=keep))
    return result


def _log_sum_exp(b: Emitter, x: Tensor, axes: tuple[int, ...], keep: bool) -> Tensor:
    top = b.reduce_max(x, axes=axes, keepdims=True)
    # An infinite maximum would make NaN of the differences.
    top = b.where(b.is_inf(top), 0.0, top)
    total = b.log(b.reduce_sum(b.exp(b.sub(x, top)), axes=axes, keepdims=keep))
    shift = top if keep else b.reduce_sum(top, axes=axes, keepdims=False)
    result: Tensor = b.add(total, shift)
    return result


def _reduction(reducer: Reducer, axes_input: int) -> Converter:
    """A reduction whose axes are an attribute before opset `axes_input`, later an input."""

    def convert(n: Node) -> Tensor:
        x = n[0]
        keep, no_op = n.flag("keepdims", True), n.flag("noop_with_empty_axes")
        if n.opset < axes_input:
            axes = n.integers("axes", [])
        else:
            given = n.sizes(1) if n.get(1) is not None else []
            if len(given) == 1 and given[0] is None:
                around = Around(n, x, 1)
                return around.reduced(reducer(n.b, around.view, (1,), True), keep)
            axes = n.ints_of(1) if given else []
        if not axes:
            if no_op:
                return reducer(n.b, x, (), True) if reducer in _MAPPED else x
            axes = list(range(x.rank))
        found = tuple(n.axes(axes, x.rank))
        if not found:  # a scalar has no axes; one of size 1 gives the same value
            return reshape(n.b, reducer(n.b, reshape(n.b, x, (1,)), (0,), True), ())
        return reducer(n.b, x, found, keep)

    return convert


def _arg(name: str) -> Converter:
    def convert(n: Node) -> Tensor:
        axis = n.axis(n.integer("axis", 0), n[0].rank)
        keep, last = n.flag("keepdims", True), n.flag("select_last_index")
        found: Tensor = getattr(n.b, name)(n[0], axis=axis, keepdims=keep, last=last)
        return found

    return convert


def _top_k_attribute(n: Node) -> list[Tensor]:
    axis = n.axis(n.integer("axis", -1), n[0].rank)
    return n.b.op("topk", [n[0]], k=(n.integer("k"),), axis=axis)


def _top_k(n: Node) -> list[Tensor]:
    axis = n.axis(n.integer("axis", -1), n[0].rank)
    if n[1].type.elements != 1 or not n[1].dtype.is_integer:
        raise BiremeError("BM1006", f"k must be one number, found {n[1].type}")
    largest, ordered = n.flag("largest", True), n.flag("sorted", True)
    k = None if n[1].dims is None else n[1].dims[0]
    if k is None and n[1].guess:
        raise n.unknown(1)
    size = n[0].shape[axis] if k is None else k
    best = n.b.op("topk", [n[0]], k=(size,), axis=axis, largest=largest, sorted=ordered)
    if k is not None:
        return best
    # All of them are sorted, and the data says how many are wanted.
    (count,) = n.b.bind(reshape(n.b, vector(n, 1), ()), [size])
    return [cut(n.b, found, axis, 0, count) for found in best]


Cumulation = Callable[[Node, Tensor, int, bool, bool], Tensor]


def _cumulative(cumulate: Cumulation) -> Converter:
    def convert(n: Node) -> Tensor:
        exclusive, reverse = n.flag("exclusive"), n.flag("reverse")
        if n[1].array is None:
            around = Around(n, n[0], 1)
            return around.restored(cumulate(n, around.view, 1, exclusive, reverse))
        axis = n.axis(int(n.scalar(1)), n[0].rank)
        return cumulate(n, n[0], axis, exclusive, reverse)

    return convert


def _cum_sum(n: Node, x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    return n.b.cumsum(x, axis=axis, exclusive=exclusive, reverse=reverse)


def _cum_prod(n: Node, x: Tensor, axis: int, exclusive: bool, reverse: bool) -> Tensor:
    """A scan along the axis that carries the product so far."""
    b = n.b
    perm = axis_first(x, axis)
    rows = b.transpose(x, perm=tuple(perm))
    row = x.type.with_shape(rows.shape[1:])
    block = b.block([row, row])
    inner = b.inner(block, n.name)
    carried, item = (Tensor(v.type, v) for v in block.arguments)
    after = inner.mul(carried, item)
    inner.end([after, carried if exclusive else after])
    one = b.expand(scalar(1, x.dtype), shape=row.shape) if row.shape else scalar(1, x.dtype)
    _, stacked = b.region("scan", [one, rows], [block], carries=1, reverse=reverse)
    back = [perm.index(i) for i in range(x.rank)]
    return b.transpose(stacked, perm=tuple(back))


def _flattened(name: str) -> Converter:
    """Before opset 13 softmax works on the matrix that `axis` splits the tensor into."""

    def convert(n: Node) -> Tensor:
        x = n[0]
        axis = n.axis(n.integer("axis", 1), x.rank)
        if axis == x.rank - 1:
            return _soft(n, name, x, axis)
        flat = reshape(n.b, x, (product(x.shape[:axis]), product(x.shape[axis:])))
        return reshape(n.b, _soft(n, name, flat, 1), x.shape)

    return convert


def _along(name: str) -> Converter:
    return lambda n: _soft(n, name, n[0], n.axis(n.integer("axis", -1), n[0].rank))


def _soft(n: Node, name: str, x: Tensor, axis: int) -> Tensor:
    if name != "hardmax":
        result: Tensor = getattr(n.b, name)(x, axis=axis)
        return result
    top = n.b.argmax(x, axis=axis, keepdims=True)
    column = [1] * x.rank
    places = n.b.reshape(
        n.b.iota(shape=(x.shape[axis],), axis=0, dtype=DType.I64),
        shape=tuple(x.shape[axis] if i == axis else s for i, s in enumerate(column)),
    )
    return cast(n, n.b.equal(places, top), x.dtype)


def _det(n: Node) -> Tensor:
    """Determinants of small matrices by expansion along the first row."""
    x = n[0]
    size = x.shape[-1]
    if x.rank < 2 or not isinstance(size, int) or x.shape[-2] != size or not 1 <= size <= 4:
        raise BiremeError(
            "BM1003", f"determinants of {x.type}; square matrices up to 4 × 4 are supported"
        )
    cells = [[_cell(n, x, i, j) for j in range(size)] for i in range(size)]
    return _minor(n.b, cells)


def _cell(n: Node, x: Tensor, row: int, column: int) -> Tensor:
    value = cut(n.b, cut(n.b, x, x.rank - 2, row, 1), x.rank - 1, column, 1)
    return reshape(n.b, value, x.shape[:-2])


def _minor(b: Emitter, cells: list[list[Tensor]]) -> Tensor:
    if len(cells) == 1:
        return cells[0][0]
    total: Tensor | None = None
    for column, cell in enumerate(cells[0]):
        rest = [row[:column] + row[column + 1 :] for row in cells[1:]]
        term = b.mul(cell, _minor(b, rest))
        if total is None:
            total = term
        else:
            total = b.sub(total, term) if column % 2 else b.add(total, term)
    assert total is not None
    return total


_L1, _L2, _SUM_SQUARE = _l1, _in_float(_l2), _sum_square
_LOG_SUM, _LOG_SUM_EXP = _in_float(_log_sum), _in_float(_log_sum_exp)
# These change each element even when no axis is reduced.
_MAPPED: tuple[Reducer, ...] = (_L1, _L2, _SUM_SQUARE, _LOG_SUM, _LOG_SUM_EXP)

TABLE: Table = {
    "ArgMax": _arg("argmax"),
    "ArgMin": _arg("argmin"),
    "CumProd": _cumulative(_cum_prod),
    "CumSum": _cumulative(_cum_sum),
    "Det": _det,
    "Hardmax": ((1, _flattened("hardmax")), (13, _along("hardmax"))),
    "LogSoftmax": ((1, _flattened("log_softmax")), (13, _along("log_softmax"))),
    "ReduceL1": _reduction(_L1, 18),
    "ReduceL2": _reduction(_L2, 18),
    "ReduceLogSum": _reduction(_LOG_SUM, 18),
    "ReduceLogSumExp": _reduction(_LOG_SUM_EXP, 18),
    "ReduceMax": _reduction(_plain("reduce_max"), 18),
    "ReduceMean": _reduction(_plain("reduce_mean"), 18),
    "ReduceMin": _reduction(_plain("reduce_min"), 18),
    "ReduceProd": _reduction(_plain("reduce_prod"), 18),
    "ReduceSum": _reduction(_plain("reduce_sum"), 13),
    "ReduceSumSquare": _reduction(_SUM_SQUARE, 18),
    "Softmax": ((1, _flattened("softmax")), (13, _along("softmax"))),
    "TopK": ((1, _top_k_attribute), (10, _top_k)),
}
