"""Rules of pools: a fold over the taps of a window for each element of the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import product
from math import prod

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import choose, clamp, is_ramp, lanes_in, minus, plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import (
    Combine,
    add,
    both,
    fold,
    fold_one,
    lowest,
    maximum,
    multiply,
    number,
    pairwise,
    scalar_bind,
)
from bireme.codegen.rules.transcendental import power
from bireme.codegen.tir import Emitter, Expr, cast, compute, index, is_int, lanes_of, match, select
from bireme.ir import DType, Op


def tap_position(op: Op, axis: int, window: Expr, tap: Expr) -> Expr:
    """Position on a spatial axis that a tap of a window reads; it may lie in the padding."""
    attrs = op.attrs
    start = minus(times(window, attrs["strides"][axis]), attrs["pads"][axis])
    return plus(start, times(tap, attrs["dilations"][axis]))


def tap_positions(op: Op, windows: Sequence[Expr], taps: Sequence[Expr]) -> list[Expr]:
    """`tap_position` for every spatial axis."""
    return [
        tap_position(op, axis, window, tap)
        for axis, (window, tap) in enumerate(zip(windows, taps, strict=True))
    ]


def within(position: Expr, size: Expr) -> Expr:
    """Whether a position exists on an axis."""
    position, zero, size = match(position, index(0), size)
    return tirx.And(position >= zero, position < size)


def every(conditions: Sequence[Expr]) -> Expr | None:
    """Whether all conditions hold, in as many lanes as the widest; None when there are none."""
    return reduce(both, conditions) if conditions else None


def reach_padding(op: Op, axis: int) -> bool:
    """Whether windows may reach outside the elements on a spatial axis."""
    pads = op.attrs["pads"]
    return bool(pads[axis] or pads[len(pads) // 2 + axis] or op.attrs.get("ceil_mode", False))


def taps_within(emit: Emitter, op: Op, axis: int, i: Expr, size: Expr, taps: Expr) -> Taps:
    """The taps of window `i` on a spatial axis that read elements.

    For a vector of windows these differ, so all taps are walked and each has to be asked for.
    """
    if not reach_padding(op, axis) or lanes_of(i) > 1:
        return Taps(index(0), taps, reach_padding(op, axis))
    start = emit.bind(_taps_before(op, axis, i, index(0), taps), "first_tap")
    end = _taps_before(op, axis, i, size, taps)
    return Taps(start, emit.bind(tirx.max(end - start, index(0)), "taps"), False)


def _taps_before(op: Op, axis: int, i: Expr, position: Expr, taps: Expr) -> Expr:
    """How many taps of window `i` stand before a position of a spatial axis."""
    dilation = op.attrs["dilations"][axis]
    first = minus(times(i, op.attrs["strides"][axis]), op.attrs["pads"][axis])
    distance, zero = match(minus(position, first), index(0))
    reach = plus(tirx.max(distance, zero), dilation - 1)
    return tirx.min(*match(tirx.truncdiv(*match(reach, index(dilation))), taps))


@dataclass(frozen=True)
class Taps:
    """Taps to walk on an axis; `ask` says that some of them may lie outside the elements."""

    start: Expr
    count: Expr
    ask: bool

    @property
    def extent(self) -> tuple[Expr, Expr]:
        return self.start, self.count


def by_interior(
    emit: Emitter,
    op: Op,
    windows: Sequence[Expr],
    sizes: Sequence[Expr],
    kernel: Sequence[Expr],
    kind: tuple[DType, int],
    make: Callable[[list[Taps]], Expr],
) -> Expr:
    """The value that `make` gives for the taps of a window, of an element type with so many lanes.

    Windows that lie inside the elements, all of a vector, take a path of their own: it has nothing
    to ask, knows how many taps there are, and reads what stands together in memory.
    """
    axes = [axis for axis in range(len(windows)) if reach_padding(op, axis)]
    known = all(lanes_of(windows[axis]) == 1 or is_ramp(windows[axis]) for axis in axes)
    every_tap = [Taps(index(0), count, False) for count in kernel]
    if not axes:
        return make(every_tap)

    def careful() -> Expr:
        return make(
            [
                taps_within(emit, op, axis, i, size, count)
                for axis, (i, size, count) in enumerate(zip(windows, sizes, kernel, strict=True))
            ]
        )

    if not known:
        return careful()
    conditions = []
    for axis in axes:
        first, last = ends(windows[axis])
        start = tap_position(op, axis, first, index(0))
        end = tap_position(op, axis, last, kernel[axis] - index(1))
        conditions += [start >= index(0), end < sizes[axis]]
    dtype, lanes = kind
    interior = emit.bind(tirx.all(*conditions), "interior")
    return choose(emit, dtype, lanes, [(interior, lambda: make(every_tap))], careful)


def ends(i: Expr) -> tuple[Expr, Expr]:
    """The first and the last of consecutive numbers."""
    if lanes_of(i) == 1:
        return i, i
    return i.base, i.base + i.stride * index(lanes_of(i) - 1)


def inside(taps: Sequence[Taps], positions: Sequence[Expr], sizes: Sequence[Expr]) -> Expr | None:
    """Whether the positions exist; None when they always do."""
    return every([within(p, n) for t, p, n in zip(taps, positions, sizes, strict=True) if t.ask])


def guarded(condition: Expr | None, value: Expr, other: Expr) -> Expr:
    """`value` where the condition holds, else `other`; no condition always holds."""
    return value if condition is None else select(condition, value, other)


# Taps that are written out and combined pairwise, rather than one after the other in a loop.
WRITTEN_OUT = 16


class _Window:
    """What a pool's rule needs of one element of its result."""

    def __init__(self, evaluator: Evaluator, op: Op, at: Index) -> None:
        self.evaluator, self.op, self.at = evaluator, op, at
        self.x = op.operands[0]
        self.dtype = self.x.type.dtype
        self.rank = len(op.attrs["kernel"])
        shape = evaluator.shape(self.x)
        self.sizes = shape[2 : 2 + self.rank]
        self.channels = shape[1]
        self.kernel = [index(k) for k in op.attrs["kernel"]]
        self.lanes = lanes_in(at)
        self.windows = at[2 : 2 + self.rank]

    def fold(
        self, first: Expr, element: Callable[[Expr | None, Expr], Expr], combine: Combine
    ) -> Expr:
        """Folds the window: `element` is given whether a tap lies inside (None: certainly) and what
        it reads.
        """
        emit = self.evaluator.emit

        def at(walked: list[Taps], taps: Index) -> Expr:
            condition, value, _ = self.tap(walked, taps)
            return emit.bind(element(condition, value))

        def make(walked: list[Taps]) -> Expr:
            places = written_out(walked)
            if places:
                return pairwise(emit, [at(walked, place) for place in places], combine)
            extents = [t.extent for t in walked]
            return fold_one(
                emit, self.dtype, self.lanes, first, extents, partial(at, walked), combine
            )

        kind = (self.dtype, self.lanes)
        return by_interior(emit, self.op, self.windows, self.sizes, self.kernel, kind, make)

    def walked(self) -> list[Taps]:
        """The taps to walk when there is one path for all windows."""
        emit = self.evaluator.emit
        return [
            taps_within(emit, self.op, axis, i, self.sizes[axis], self.kernel[axis])
            for axis, i in enumerate(self.windows)
        ]

    def tap(self, walked: list[Taps], taps: Index) -> tuple[Expr | None, Expr, list[Expr]]:
        """Whether a tap lies inside, the element it reads, and its position."""
        emit = self.evaluator.emit
        positions = [scalar_bind(emit, p) for p in tap_positions(self.op, self.windows, taps)]
        where = [
            emit.bind(clamp(p, n)) if t.ask else p
            for t, p, n in zip(walked, positions, self.sizes, strict=True)
        ]
        value = self.evaluator.at(self.x, [*self.at[:2], *where, *self.at[2 + self.rank :]])
        return inside(walked, positions, self.sizes), value, positions


def written_out(walked: Sequence[Taps]) -> list[Index]:
    """The places of all taps when they are certain and few enough to write out; else nothing."""
    counts = [int(t.count) if is_int(t.count) and not t.ask else None for t in walked]
    known = [c for c in counts if c is not None]
    if len(known) < len(counts) or not 1 <= prod(known) <= WRITTEN_OUT:
        return []
    return [
        [plus(t.start, index(i)) for t, i in zip(walked, place, strict=True)]
        for place in product(*map(range, known))
    ]


def _max_pool(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    window = _Window(evaluator, op, at)
    first = lowest(window.dtype)
    if op.attrs["indices"]:
        return _max_pool_with_place(window, first)[result]

    return window.fold(first, lambda condition, x: guarded(condition, x, first), maximum)


def _max_pool_with_place(window: _Window, first: Expr) -> list[Expr]:
    axes, walked = range(window.rank), window.walked()
    major = list(axes if window.op.attrs["storage_order"] == 0 else reversed(axes))

    def step(taps: Index, values: list[Expr]) -> list[Expr]:
        condition, value, positions = window.tap(walked, taps)
        place = plus(times(window.at[0], window.channels), window.at[1])
        for axis in major:
            place = plus(times(place, window.sizes[axis]), positions[axis])
        value, best, where, none, place = match(value, *values, index(0), place)
        found = tirx.Or(value > best, where < none)
        if window.dtype.is_float:
            found = tirx.Or(found, tirx.And(tirx.isnan(value), tirx.Not(tirx.isnan(best))))
        if condition is not None:
            found = both(condition, found)
        return [select(found, value, best), select(found, place, where)]

    accumulators = [(window.dtype, first), (DType.I64, index(-1))]
    extents = [t.extent for t in walked]
    return fold(window.evaluator.emit, window.lanes, accumulators, extents, step)


def _avg_pool(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    window = _Window(evaluator, op, at)
    zero = number(0, window.dtype)
    total = window.fold(zero, lambda condition, x: guarded(condition, x, zero), add)
    count = reduce(multiply, (_counted(window, axis) for axis in range(window.rank)))
    total, count = match(total, cast(count, compute(window.dtype)))
    return total / count


def _counted(window: _Window, axis: int) -> Expr:
    """How many taps of a window on an axis count in its mean, as int64."""
    emit, op = window.evaluator.emit, window.op
    taps = index(op.attrs["kernel"][axis])
    if not reach_padding(op, axis):
        return taps

    def before(position: Expr) -> Expr:
        return _taps_before(op, axis, window.at[2 + axis], position, taps)

    size = window.sizes[axis]
    if op.attrs["count_include_pad"]:
        return emit.bind(before(size + index(op.attrs["pads"][window.rank + axis])))
    return emit.bind(minus(before(size), before(index(0))))


def norm_term(x: Expr, p: int) -> Expr:
    """`|x| ** p`."""
    if p == 2:
        return x * x
    size = tirx.abs(x)
    term = size
    for _ in range(p - 1):
        term = term * size
    return term


def norm_root(emit: Emitter, total: Expr, p: int) -> Expr:
    """`total ** (1 / p)`."""
    if p == 1:
        return total
    if p == 2:
        return tirx.sqrt(total)
    return power(emit, total, a.like(1 / p, total))


def _lp_pool(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    window = _Window(evaluator, op, at)
    p, zero = op.attrs["p"], number(0, window.dtype)
    total = window.fold(zero, lambda condition, x: guarded(condition, norm_term(x, p), zero), add)
    return norm_root(evaluator.emit, total, p)


RULES: dict[str, Rule] = {
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "lp_pool": _lp_pool,
}
