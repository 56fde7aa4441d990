"""Element-wise and indexing kernels: every element of the results from its rule, one pass.

Adjacent axes along which all operands are laid out alike are merged before, so that an element-wise
op on whole tensors is one flat loop. The innermost axis is the vector; the outer axes are the
tasks.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.cost import CONTRACTIONS, multiply_adds
from bireme.codegen.index import plus
from bireme.codegen.parameters import Space
from bireme.codegen.templates.common import Emission, Work, estimate, group_lanes, unravel
from bireme.codegen.templates.vectors import each_vector
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, Graph, ceildiv, product

# A task should outlast the cost of handing it to a thread, and leave enough of them to share out.
TASK_ELEMENTS = 4096
# Multiply-adds that take as long as an element usually does, and elements of a task of many.
_PRODUCTS_PER_ELEMENT = 8
_LEAST_ELEMENTS = 256
# Below this number of rows, long rows are cut into tasks.
_FEW_ROWS = 64


@dataclass(frozen=True)
class Parameters:
    """A task takes about so many elements of the result."""

    elements: int


def space(graph: Graph) -> Space[Parameters]:
    """What may be chosen: the division into tasks."""
    usual = max(_LEAST_ELEMENTS, TASK_ELEMENTS // _weight(graph) // 16 * 16)
    axis = sorted({usual, *(_LEAST_ELEMENTS << n for n in range(9))})
    return Space(Parameters(usual), {"elements": axis}, shared=frozenset({"elements"}))


@dataclass(frozen=True)
class Division:
    """How the result's axes are divided: the first `split` number the rows.

    A task takes `rows` whole rows; or, where a row is one long axis (`chunked`), `elements` of a
    row.
    """

    split: int
    rows: int
    chunked: bool
    elements: int
    tasks: Dim


def divide(graph: Graph, elements: int) -> Division:
    """The division of the result's axes into tasks of about so many elements."""
    shape = graph.outputs[0].type.shape
    split = max(0, len(shape) - 1)
    while split > 1 and estimate(product(shape[split - 1 :])) <= elements:
        split -= 1
    leading, row = product(shape[:split]), product(shape[split:])
    long = not isinstance(row, int) or row >= 2 * elements
    if split == len(shape) - 1 and long and estimate(leading) < _FEW_ROWS:
        return Division(split, 1, True, elements, leading * ceildiv(row, elements))
    rows = max(1, elements // max(1, estimate(row)))
    return Division(split, rows, False, elements, ceildiv(leading, rows))


def _weight(graph: Graph) -> int:
    """About how many operations are behind an element of the result, beyond the usual few."""
    weights = [1]
    for op in graph.body.ops:
        if op.name in CONTRACTIONS:
            count = max(1, estimate(op.result.type.elements))
            weights.append(estimate(multiply_adds(op)) // count // _PRODUCTS_PER_ELEMENT)
    return max(1, max(weights))


def emit(e: Emission) -> Work:
    """Emits a kernel whose results all have the shape of the first."""
    shape = e.graph.outputs[0].type.shape
    division = divide(e.graph, e.choose(space(e.graph)).elements)
    lanes = group_lanes(e.graph)
    sizes = [e.emit.dim(d) for d in shape]
    outer, inner = sizes[: division.split], sizes[division.split :]
    with e.emit.loop("task", e.end - e.begin, start=e.begin) as task:
        if division.chunked:
            chunks = e.emit.dim(ceildiv(shape[-1], division.elements))
            *at, chunk = unravel(e.emit, task, [*outer, chunks])
            start = chunk * index(division.elements)
            count = e.emit.bind(tirx.min(index(division.elements), inner[0] - start), "count")
            each_vector(e.emit, count, lanes, lambda i, _: store_element(e, [*at, plus(i, start)]))
        else:
            first = task * index(division.rows)
            leading = e.emit.dim(product(shape[: division.split]))
            count = e.emit.bind(tirx.min(index(division.rows), leading - first), "count")
            with e.emit.loop("row", count, start=first) as row:
                _inner(e, unravel(e.emit, row, outer), inner, lanes)
    return Work(division.tasks)


def _inner(e: Emission, at: list[Expr], sizes: list[Expr], lanes: int) -> None:
    """Loops over the axes within a row."""
    if not sizes:
        store_element(e, at)
    elif len(sizes) == 1:
        each_vector(e.emit, sizes[0], lanes, lambda i, _: store_element(e, [*at, i]))
    else:
        with e.emit.loop("i", sizes[0]) as i:
            _inner(e, [*at, i], sizes[1:], lanes)


def store_element(e: Emission, at: list[Expr]) -> None:
    """Calculates and stores one element, or one vector, of every result."""
    values = [e.evaluator.at(v, at) for v in e.graph.outputs]
    for buffer, value in zip(e.results, values, strict=True):
        e.emit.store(buffer, buffer.offset(at), value)
