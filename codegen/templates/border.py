"""A constant `pad` at the end of a group: rows of the inner part, and a border around them.

Every row is either border from end to end or a border, a row of the operand, and a border again, so
that no vector asks where it stands.
"""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.index import all_of, minus, plus
from bireme.codegen.rules.shape import zero
from bireme.codegen.templates import pointwise
from bireme.codegen.templates.common import Emission, Work, estimate, group_lanes, unravel
from bireme.codegen.templates.vectors import each_vector
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, Graph, Op, ceildiv, product


def matches(graph: Graph) -> bool:
    """Whether the group ends in one `pad` by a constant that adds elements to rows of at least a
    few.
    """
    pad = graph.outputs[0].owner
    if len(graph.outputs) > 1 or pad is None or pad.name != "pad" or pad.result.type.rank < 2:
        return False
    sides: list[Dim] = [*pad.attrs["before"], *pad.attrs["after"]]
    adds = all(isinstance(side, int) for side in sides) and any(sides)
    return adds and pad.attrs["mode"] == "constant" and _is_short(pad.result.type.shape[-1])


def _is_short(row: Dim) -> bool:
    """Whether a task takes whole rows."""
    return estimate(row) <= pointwise.TASK_ELEMENTS


def emit(e: Emission) -> Work:
    """Emits the kernel of a group that `matches`."""
    pad = e.graph.outputs[0].owner
    assert pad is not None
    *outer, row = pad.result.type.shape
    elements = e.choose(pointwise.space(e.graph)).elements
    rows = max(1, elements // max(1, estimate(row)))
    total = e.emit.dim(product(outer))
    with e.emit.loop("task", e.end - e.begin, start=e.begin) as task:
        first = task * index(rows)
        count = e.emit.bind(tirx.min(index(rows), total - first), "count")
        with e.emit.loop("row", count, start=first) as number:
            _row(e, pad, unravel(e.emit, number, [e.emit.dim(d) for d in outer]))
    return Work(ceildiv(product(outer), rows))


def _row(e: Emission, pad: Op, at: list[Expr]) -> None:
    """One row of the result."""
    emit, before, after = e.emit, pad.attrs["before"], pad.attrs["after"]
    shape = pad.operands[0].type.shape
    source = [minus(i, side) for i, side in zip(at, before, strict=False)]
    conditions = [
        condition
        for i, size, sides in zip(source, shape, zip(before, after, strict=True), strict=False)
        if any(sides)
        for condition in (i >= index(0), i < emit.dim(size))
    ]
    inner = emit.dim(shape[-1])
    if not conditions:
        _framed(e, pad, at, source, inner)
        return
    inside = emit.bind(tirx.Cast("int64", all_of(*conditions)), "inside")
    with emit.when(inside == index(1)):
        _framed(e, pad, at, source, inner)
    with emit.when(inside == index(0)):
        _fill(e, pad, at, index(0), emit.dim(pad.result.type.shape[-1]))


def _framed(e: Emission, pad: Op, at: list[Expr], source: list[Expr], inner: Expr) -> None:
    """A row of the operand between its borders."""
    before, after = pad.attrs["before"][-1], pad.attrs["after"][-1]
    _fill(e, pad, at, index(0), index(before))

    def copy(i: Expr, _: int) -> None:
        value = e.evaluator.at(pad.operands[0], [*source, i])
        e.emit.store(e.results[0], e.results[0].offset([*at, plus(i, before)]), value)

    each_vector(e.emit, inner, group_lanes(e.graph), copy)
    _fill(e, pad, at, plus(inner, before), index(after))


def _fill(e: Emission, pad: Op, at: list[Expr], start: Expr, count: Expr) -> None:
    """`count` elements of border from `start` on."""

    def store(i: Expr, lanes: int) -> None:
        place = [*at, plus(i, start)]
        has_value = len(pad.operands) == 2
        value = e.evaluator.at(pad.operands[1], []) if has_value else zero(pad.operands[0], place)
        e.emit.store(e.results[0], e.results[0].offset(place), value)

    each_vector(e.emit, count, group_lanes(e.graph), store)
