"""Rules of ops whose elements come from places that a tensor of indices names.

An index that does not exist is noted as run-time fault 1, and reads an element that does.
"""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import clamp, lanes_in, minus
from bireme.codegen.rules.shape import read_if_any
from bireme.codegen.tir import Expr, cast, index, match, select
from bireme.ir import Dim, Op

OUT_OF_RANGE = 1


def place(e: Evaluator, indices: Expr, size: Dim, *, negative: bool = True) -> Expr:
    """An index as a position that exists; where `negative`, those below 0 count from the end."""
    i, low, high = match(cast(indices, "int64"), index(0), e.emit.dim(size))
    if negative:
        i = e.emit.bind(select(i < low, i + high, i), "place")
    e.report(OUT_OF_RANGE, tirx.Or(i < low, i >= high))
    return e.emit.bind(clamp(i, e.emit.dim(size)), "place")


def _read(e: Evaluator, op: Op, at: Index, axes: list[int]) -> Expr:
    """An element of the data at an index whose `axes` were looked up."""
    data = op.operands[0]
    sizes = [data.type.shape[axis] for axis in axes]
    return read_if_any(e, data, sizes, at, lanes_in(at), lambda: e.at(data, at))


def _gather(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    data, indices = op.operands
    axis = op.attrs["axis"] % data.type.rank
    end = axis + indices.type.rank
    i = place(e, e.at(indices, at[axis:end]), data.type.shape[axis])
    return _read(e, op, [*at[:axis], i, *at[end:]], [axis])


def _gather_elements(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    data, indices = op.operands
    axis = op.attrs["axis"] % data.type.rank
    i = place(e, e.at(indices, at), data.type.shape[axis])
    return _read(e, op, [*at[:axis], i, *at[axis + 1 :]], [axis])


def _gather_nd(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    data, indices = op.operands
    batch = op.attrs["batch_dims"]
    rows = indices.type.rank - 1
    length = indices.type.shape[-1]
    assert isinstance(length, int)
    axes = list(range(batch, batch + length))
    places = [
        place(e, e.at(indices, [*at[:rows], index(i)]), data.type.shape[axis])
        for i, axis in enumerate(axes)
    ]
    return _read(e, op, [*at[:batch], *places, *at[rows:]], axes)


def _reverse_sequence(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, lengths = op.operands
    batch, time = op.attrs["batch_axis"] % x.type.rank, op.attrs["time_axis"] % x.type.rank
    length = cast(e.at(lengths, [at[batch]]), "int64")
    low, high, length, step = match(index(0), e.emit.dim(x.type.shape[time]), length, at[time])
    end = tirx.max(low, tirx.min(length, high))
    source = select(step < end, minus(minus(end, 1), step), step)
    return e.at(x, [*at[:time], source, *at[time + 1 :]])


RULES: dict[str, Rule] = {
    "gather": _gather,
    "gather_elements": _gather_elements,
    "gather_nd": _gather_nd,
    "reverse_sequence": _reverse_sequence,
}
