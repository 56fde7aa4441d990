"""Kernels that read along one axis and write along another: square tiles, turned in registers.

A tile has vectors along the axis in which the arguments lie in memory, one for each position along
the result's innermost axis. Turned, they are vectors along the innermost axis. Reads and writes
thus are whole vectors. The last tile of an axis overlaps the one before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx
from tvm.tirx import stmt as ts

from bireme.codegen.index import consecutive
from bireme.codegen.parameters import Space
from bireme.codegen.probe import strides
from bireme.codegen.rules import RULES
from bireme.codegen.templates.common import Emission, Work, estimate, group_lanes, unravel
from bireme.codegen.templates.pointwise import TASK_ELEMENTS, store_element
from bireme.codegen.templates.vectors import turned
from bireme.codegen.tir import Expr, index, is_int, to_storage
from bireme.ir import Dim, Fusion, Graph, ceildiv, product

_MOVES = frozenset({"transpose", "pack_channels", "unpack_channels"})
_PLAIN = (Fusion.POINTWISE, Fusion.INJECTIVE, Fusion.VIEW, Fusion.CONSTANT)
_BY_DATA = frozenset({"gather", "gather_elements", "gather_nd", "reverse_sequence", "resize"})
# Tiles below this size are not worth turning.
_LEAST_LANES = 4
# A task turns this many strips at once, in chunks of so many tiles: a page that is touched is used
# well.
SIDE_BY_SIDE, CHUNK = 4, 16
# Threads that a kernel of one strip for each should be enough for.
MOST_THREADS = 8


@dataclass(frozen=True)
class Parameters:
    """A task turns `side` strips at once, in chunks of `chunk` tiles, and about `elements` elements
    in all.
    """

    side: int
    chunk: int
    elements: int


def matches(graph: Graph) -> bool:
    """Whether the group reads an argument along another axis than it writes."""
    return read_axis(graph) is not None


def read_axis(graph: Graph) -> int | None:
    """The result's axis along which arguments lie in memory, if tiles there pay."""
    ops = graph.body.ops
    if not any(op.name in _MOVES for op in ops):
        return None
    if any(op.definition.fusion not in _PLAIN or op.name in _BY_DATA for op in ops):
        return None
    shape = graph.outputs[0].type.shape
    if len({v.type.shape for v in graph.outputs}) != 1 or len(shape) < 2:
        return None
    if not _is_wide(shape[-1]):
        return None
    reads = [
        steps
        for argument, found in strides(graph, dict(RULES)).items()
        for steps in found
        if 4 * estimate(argument.type.elements) >= estimate(product(shape))
    ]
    jumps = [sum(steps[axis] not in (0, 1) for steps in reads) for axis in range(len(shape))]
    best = min(range(len(shape)), key=lambda a: jumps[a] if _is_wide(shape[a]) else len(reads) + 1)
    return best if jumps[best] < jumps[-1] else None


def _is_wide(size: Dim) -> bool:
    return not isinstance(size, int) or size >= _LEAST_LANES


def _tile_lanes(graph: Graph, axis: int) -> int:
    """Side of a tile: no more than both axes have elements, as far as that is known."""
    lanes = group_lanes(graph)
    shape = graph.outputs[0].type.shape
    for size in (shape[axis], shape[-1]):
        while isinstance(size, int) and lanes > size:
            lanes //= 2
    return lanes


def emit(e: Emission) -> Work:
    """Emits a kernel whose results all have the shape of the first."""
    shape = e.graph.outputs[0].type.shape
    across, last = read_axis(e.graph), len(shape) - 1
    assert across is not None
    lanes = _tile_lanes(e.graph, across)
    others = [axis for axis in range(len(shape)) if axis not in (across, last)]
    # Strips of tiles run along the innermost axis, so that memory is written in order, unless that
    # would leave too few of them to share out.
    few = estimate(product([shape[axis] for axis in (*others, across)])) < MOST_THREADS * lanes
    strip, run = (
        (last, across)
        if few and estimate(shape[last]) > estimate(shape[across])
        else (across, last)
    )
    blocks: Dim = ceildiv(shape[strip], lanes)
    outer = product([shape[axis] for axis in others])
    parameters = e.choose(_space(estimate(outer * blocks)))
    side = parameters.side
    groups = ceildiv(blocks, side)
    rows = max(1, parameters.elements // max(1, side * lanes * estimate(shape[run])))
    sizes = [e.emit.dim(d) for d in shape]

    def tiles(at: dict[int, Expr], group: Expr) -> None:
        count = e.emit.dim(ceildiv(shape[run], lanes))
        first = group * index(side)
        width = e.emit.bind(tirx.min(index(side), e.emit.dim(blocks) - first), "width")
        with e.emit.loop(
            "chunk", e.emit.dim(ceildiv(shape[run], lanes * parameters.chunk))
        ) as chunk:
            begin = chunk * index(parameters.chunk)
            length = e.emit.bind(tirx.min(index(parameters.chunk), count - begin), "length")
            with e.emit.loop("strip", width, start=first) as block:
                at[strip] = _start(e, block, shape[strip], lanes)
                with e.emit.loop("tile", length, start=begin) as number:
                    _tile(e, {**at, run: _start(e, number, shape[run], lanes)}, across, lanes)

    def elements(at: dict[int, Expr], group: Expr) -> None:
        first = group * index(side * lanes)
        width = tirx.min(index(side * lanes), sizes[strip] - first)
        with e.emit.loop("i", width, start=first) as i, e.emit.loop("j", sizes[run]) as j:
            place = {**at, strip: i, run: j}
            store_element(e, [place[axis] for axis in range(len(shape))])

    with e.emit.loop("task", e.end - e.begin, start=e.begin) as task:
        start = task * index(rows)
        total = e.emit.dim(outer * groups)
        count = e.emit.bind(tirx.min(index(rows), total - start), "count")
        with e.emit.loop("group", count, start=start) as number:
            *place, group = unravel(
                e.emit, number, [*(sizes[axis] for axis in others), e.emit.dim(groups)]
            )
            at = dict(zip(others, place, strict=True))
            unknown = [sizes[axis] for axis in (across, last) if not is_int(sizes[axis])]
            _either(
                e,
                [size >= index(lanes) for size in unknown],
                lambda: tiles(at, group),
                lambda: elements(at, group),
            )
    return Work(ceildiv(outer * groups, rows))


def _space(strips: int) -> Space[Parameters]:
    """What may be chosen where a result has so many strips."""
    side = SIDE_BY_SIDE if strips >= SIDE_BY_SIDE * MOST_THREADS else 1
    return Space(
        Parameters(side, CHUNK, TASK_ELEMENTS),
        {
            "side": [1, 2, 4, 8, 16],
            "chunk": [2, 4, 8, 16, 32, 64],
            "elements": [1 << n for n in range(10, 17)],
        },
        shared=frozenset({"side", "elements"}),
    )


def _start(e: Emission, number: Expr, size: Dim, lanes: int) -> Expr:
    """Where a tile starts along an axis; the last one must not reach beyond it."""
    start = number * index(lanes)
    if isinstance(size, int) and size % lanes == 0:
        return start  # unnamed, so that it is seen to be a multiple of the lanes
    return e.emit.bind(tirx.min(start, e.emit.dim(size) - index(lanes)), "start")


def _either(
    e: Emission, conditions: list[Expr], yes: Callable[[], None], no: Callable[[], None]
) -> None:
    """One of two where the conditions need to be asked."""
    if not conditions:
        yes()
        return
    condition = tirx.all(*conditions)
    with e.emit.when(condition):
        yes()
    with e.emit.when(tirx.Not(condition)):
        no()


def _tile(e: Emission, start: dict[int, Expr], across: int, lanes: int) -> None:
    """Calculates a tile of every result in vectors along `across` and stores it along the last
    axis.
    """
    at = [start[axis] for axis in range(len(start))]
    columns: list[list[Expr]] = [[] for _ in e.results]
    for i in range(lanes):
        place = list(at)
        place[across] = consecutive(at[across], lanes)
        place[-1] = at[-1] + index(i)
        values = [e.evaluator.at(v, place) for v in e.graph.outputs]
        for column, value, result in zip(columns, values, e.results, strict=True):
            column.append(e.emit.opaque(to_storage(value, result.dtype), "column"))
    for column, result in zip(columns, e.results, strict=True):
        for i, row in enumerate(turned(e.emit, column)):
            place = list(at)
            place[across] = at[across] + index(i)
            place[-1] = consecutive(at[-1], lanes)
            e.emit.add(ts.BufferStore(result.tir, row, [result.offset(place)]))
