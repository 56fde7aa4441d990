"""Element-wise and indexing kernels: every element of the results from its rule, one pass.

Adjacent axes along which all operands are laid out alike are merged first, so that an element-wise op on
whole tensors is one flat loop. The innermost axis is the vector; the outer axes are the tasks.
"""

from __future__ import annotations

from tvm import tirx

from bireme.codegen.templates.common import (
    Emission,
    Work,
    estimate,
    unravel,
    vector_lanes,
    vectorised,
)
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, Graph, ceildiv, product

# A task should outlast the cost of handing it to a thread, and still leave enough of them to share out.
TASK_ELEMENTS = 4096


def plan(graph: Graph) -> tuple[int, int, Work]:
    """How the result's axes are divided: how many lead to tasks, and how many rows of those a task takes.

    A result of one axis is cut into chunks; then no axis leads, and a task takes that many elements.
    """
    shape = graph.outputs[0].type.shape
    if len(shape) <= 1:
        return 0, TASK_ELEMENTS, Work(ceildiv(product(shape), TASK_ELEMENTS))
    split = len(shape) - 1
    while split > 1 and estimate(product(shape[split - 1:])) <= TASK_ELEMENTS:
        split -= 1
    rows = max(1, TASK_ELEMENTS // max(1, estimate(product(shape[split:]))))
    return split, rows, Work(ceildiv(product(shape[:split]), rows))


def emit(e: Emission) -> Work:
    """Emits a kernel whose results all have the shape of the first."""
    shape = e.graph.outputs[0].type.shape
    split, rows, work = plan(e.graph)
    bits = max(v.type.dtype.bits for v in [*e.graph.inputs, *e.graph.outputs])
    lanes = vector_lanes(bits)
    sizes = [e.emit.dim(d) for d in shape]
    with e.emit.loop("task", e.end - e.begin, start=e.begin) as task:
        first = task * index(rows)
        leading: Dim = product(shape[:split]) if split else product(shape)
        count = e.emit.bind(tirx.min(index(rows), e.emit.dim(leading) - first), "count")
        if split == 0:
            if shape:
                vectorised(e.emit, count, lanes, lambda i, _: store_element(e, [i]), start=first)
            else:
                store_element(e, [])
            return work
        with e.emit.loop("row", count, start=first) as row:
            _inner(e, unravel(e.emit, row, sizes[:split]), sizes[split:], lanes)
    return work


def _inner(e: Emission, at: list[Expr], sizes: list[Expr], lanes: int) -> None:
    """Loops over the axes within a row."""
    if len(sizes) == 1:
        vectorised(e.emit, sizes[0], lanes, lambda i, _: store_element(e, [*at, i]))
        return
    with e.emit.loop("i", sizes[0]) as i:
        _inner(e, [*at, i], sizes[1:], lanes)


def store_element(e: Emission, at: list[Expr]) -> None:
    """Calculates and stores one element, or one vector, of every result."""
    values = [e.evaluator.at(v, at) for v in e.graph.outputs]
    for buffer, value in zip(e.results, values, strict=True):
        e.emit.store(buffer, buffer.offset(at), value)
