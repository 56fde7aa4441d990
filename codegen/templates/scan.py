"""Cumulative sums: one pass along the axis; lanes are columns beside each other where there are."""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.index import consecutive, plus
from bireme.codegen.rules.folding import add, number
from bireme.codegen.templates.common import Emission, Work, estimate, only_op, unravel, vector_lanes
from bireme.codegen.templates.vectors import each_vector, fitting_lanes
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, Graph, Op, ceildiv, product

# Elements that a task sums at least, where there are as many.
TASK_ELEMENTS = 8192


def matches(graph: Graph) -> bool:
    """Whether the group is a cumulative sum."""
    return only_op(graph, "cumsum") is not None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`. Tasks take rows, or columns where the axis is not the last."""
    op = only_op(e.graph, "cumsum")
    assert op is not None
    emit = e.emit
    shape = op.result.type.shape
    axis = op.attrs["axis"] % len(shape)
    columns = product(shape[axis + 1 :])
    lanes = vector_lanes(op.result.type.dtype.bits)
    per_task = max(1, TASK_ELEMENTS // max(1, estimate(shape[axis])) // lanes) * lanes
    parts: Dim = ceildiv(columns, per_task)
    outer = shape[:axis]
    with emit.loop("task", e.end - e.begin, start=e.begin) as task:
        *at, part = unravel(emit, task, [*(emit.dim(d) for d in outer), emit.dim(parts)])
        first = emit.bind(part * index(per_task), "first")
        count = emit.bind(tirx.min(emit.dim(columns) - first, index(per_task)), "count")
        width = fitting_lanes(lanes, count, columns)
        each_vector(emit, count, width, lambda i, lanes: _columns(e, op, at, plus(first, i), lanes))
    return Work(product(outer) * parts)


def _columns(e: Emission, op: Op, outer: Index, column: Expr, lanes: int) -> None:
    """Sums along the axis, of as many columns as there are lanes."""
    emit, attrs = e.emit, op.attrs
    x, shape = op.operands[0], op.result.type.shape
    axis = attrs["axis"] % len(shape)
    inner = [emit.dim(d) for d in shape[axis + 1 :]]
    size = emit.dim(shape[axis])
    total = emit.registers("total", x.type.dtype, lanes)
    place = consecutive(0, lanes)
    emit.store(total, place, number(0, x.type.dtype))
    (result,) = e.results
    with emit.loop("k", size) as k:
        step = emit.bind(size - index(1) - k) if attrs["reverse"] else k
        own = unravel(emit, column, inner) if len(inner) > 1 else [column] * len(inner)
        at = [*outer, step, *own]
        before = emit.bind(emit.load(total, place))
        after = emit.bind(add(before, e.evaluator.at(x, at)))
        emit.store(total, place, after)
        emit.store(result, result.offset(at), before if attrs["exclusive"] else after)
