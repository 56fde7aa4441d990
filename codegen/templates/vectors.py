"""Loops over vectors whose last one overlaps the one before, sums over the lanes of vectors, and
squares of vectors turned in registers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tvm import tirx

from bireme.codegen.index import consecutive
from bireme.codegen.tir import Emitter, Expr, const, index, is_int, lanes_of, match
from bireme.ir import Dim

# (position, or vector of positions; lanes)
Visit = Callable[[Expr, int], None]
# (vector of positions; in which lanes it is new)
Partial = Callable[[Expr, Expr], None]


def fitting_lanes(lanes: int, extent: Expr, dim: Dim | None = None) -> int:
    """At most `lanes`, and no more than an axis has elements as far as its size is known."""
    known = int(extent) if is_int(extent) else dim if isinstance(dim, int) else None
    while known is not None and lanes > max(1, known):
        lanes //= 2
    return lanes


def each_vector(
    emit: Emitter, extent: Any, lanes: int, visit: Visit, *, partial: Partial | None = None
) -> None:
    """Runs `visit(positions, lanes)` over [0, extent), in vectors of at most `lanes`.

    When the extent is not a multiple of the lanes the last vector overlaps the one before it: what
    is visited twice must not have changed in between. `partial(positions, fresh)` takes its place
    where it is given. An extent below `lanes` that only run time knows is visited one by one.
    """
    extent = index(extent)
    lanes = fitting_lanes(lanes, extent)
    steps = emit.bind(tirx.truncdiv(extent, index(lanes)), "steps")
    with emit.loop("v", steps) as v:
        visit(consecutive(v * index(lanes), lanes), lanes)
    tail(emit, extent, emit.bind(steps * index(lanes), "done"), lanes, visit, partial)


def tail(
    emit: Emitter,
    extent: Expr,
    done: Expr,
    lanes: int,
    visit: Visit,
    partial: Partial | None = None,
) -> None:
    """What `each_vector` does after whole vectors up to `done`, a multiple of `lanes`."""
    if lanes == 1 or (is_int(extent) and int(extent) % lanes == 0):
        return

    def overlapping() -> None:
        positions = consecutive(extent - index(lanes), lanes)
        if partial is None:
            visit(positions, lanes)
            return
        wide, start = match(positions, done)
        partial(positions, wide >= start)

    if is_int(extent):
        overlapping()
        return
    with emit.when(tirx.all(extent > index(lanes), extent > done)):
        overlapping()
    with emit.when(extent < index(lanes)), emit.loop("t", extent) as t:
        visit(t, 1)


def across_lanes(emit: Emitter, value: Expr, combine: Callable[[Expr, Expr], Expr]) -> Expr:
    """The combination of all lanes of a vector, pairwise."""
    lanes = lanes_of(value)
    while lanes > 1:
        half = lanes // 2
        parts = (range(half), range(half, lanes))
        low, high = (emit.opaque(_picked([value], part)) for part in parts)
        value, lanes = emit.opaque(combine(low, high)), half
    return value


def sums_of_lanes(emit: Emitter, values: Sequence[Expr]) -> Expr:
    """For each of several vectors, a power of two and no more than their lanes, the sum of its
    lanes.

    Vectors are added pairwise in halves, so that each addition serves two of them.
    """
    parts, width = list(values), lanes_of(values[0])
    segments = 1
    while len(parts) > 1:
        half = width // 2
        low = [s * width + i for s in range(2 * segments) for i in range(half)]
        parts = [
            emit.bind(_picked([x, y], low) + _picked([x, y], [i + half for i in low]))
            for x, y in zip(parts[::2], parts[1::2], strict=True)
        ]
        segments, width = 2 * segments, half
    (value,) = parts
    while width > 1:
        half = width // 2
        low = [s * width + i for s in range(segments) for i in range(half)]
        value = emit.bind(_picked([value], low) + _picked([value], [i + half for i in low]))
        width = half
    return value


def _picked(vectors: Sequence[Expr], lanes: Sequence[int]) -> Expr:
    return tirx.Shuffle(list(vectors), [const(i, "int32") for i in lanes])


def turned(emit: Emitter, vectors: Sequence[Expr]) -> list[Expr]:
    """The transpose of a square of vectors: exchanges one bit of row and lane at a time."""
    lanes = len(vectors)
    rows = list(vectors)
    bit = lanes // 2
    while bit:
        low = [lane if not lane & bit else lanes + lane - bit for lane in range(lanes)]
        high = [lane + bit if not lane & bit else lanes + lane for lane in range(lanes)]
        for i in range(lanes):
            if not i & bit:
                pair = [rows[i], rows[i | bit]]
                rows[i] = emit.opaque(_picked(pair, low), "turned")
                rows[i | bit] = emit.opaque(_picked(pair, high), "turned")
        bit //= 2
    return rows
