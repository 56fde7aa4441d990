"""Rules of pools: a fold over the taps of a window for each element of the result."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import clamp, lanes_in, minus, plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import (
    add,
    both,
    fold,
    lowest,
    maximum,
    number,
    scalar_bind,
)
from bireme.codegen.rules.transcendental import power
from bireme.codegen.tir import Emitter, Expr, index, match, select
from bireme.ir import DType, Op


def tap_positions(op: Op, at: Sequence[Expr], taps: Sequence[Expr]) -> list[Expr]:
    """Spatial positions that the taps of the window at `at` read; they may lie in the padding."""
    attrs = op.attrs
    return [
        minus(plus(times(i, stride), times(tap, dilation)), before)
        for i, tap, stride, dilation, before in zip(
            at, taps, attrs["strides"], attrs["dilations"], attrs["pads"], strict=False
        )
    ]


def within(position: Expr, size: Expr) -> Expr:
    """Whether a position exists on an axis."""
    position, zero, size = match(position, index(0), size)
    return tirx.And(position >= zero, position < size)


def _before(position: Expr, end: Expr) -> Expr:
    position, end = match(position, end)
    return position < end


def every(conditions: Sequence[Expr]) -> Expr | None:
    """Whether all conditions hold, in as many lanes as the widest; None when there are none."""
    return reduce(both, conditions) if conditions else None


def reach_padding(op: Op, axis: int) -> bool:
    """Whether windows may reach outside the elements on a spatial axis."""
    pads = op.attrs["pads"]
    return bool(pads[axis] or pads[len(pads) // 2 + axis] or op.attrs.get("ceil_mode", False))


def inside(op: Op, positions: Sequence[Expr], sizes: Sequence[Expr]) -> Expr | None:
    """Whether the positions exist; None when they always do."""
    return every([
        within(p, n) for axis, (p, n) in enumerate(zip(positions, sizes, strict=True))
        if reach_padding(op, axis)
    ])


def guarded(condition: Expr | None, value: Expr, other: Expr) -> Expr:
    return value if condition is None else select(condition, value, other)


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

    def tap(self, taps: Index) -> tuple[Expr | None, Expr, list[Expr]]:
        """Whether a tap lies inside, the element it reads, and its position."""
        emit = self.evaluator.emit
        spatial = self.at[2 : 2 + self.rank]
        positions = [scalar_bind(emit, p) for p in tap_positions(self.op, spatial, taps)]
        where = [
            emit.bind(clamp(p, n)) if reach_padding(self.op, axis) else p
            for axis, (p, n) in enumerate(zip(positions, self.sizes, strict=True))
        ]
        value = self.evaluator.at(self.x, [*self.at[:2], *where, *self.at[2 + self.rank :]])
        return inside(self.op, positions, self.sizes), value, positions


def _max_pool(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    window = _Window(evaluator, op, at)
    first = lowest(window.dtype)
    if op.attrs["indices"]:
        return _max_pool_with_place(window, first)[result]

    def step(taps: Index, values: list[Expr]) -> list[Expr]:
        condition, value, _ = window.tap(taps)
        return [maximum(values[0], guarded(condition, value, first))]

    return fold(evaluator.emit, window.lanes, [(window.dtype, first)], window.kernel, step)[0]


def _max_pool_with_place(window: _Window, first: Expr) -> list[Expr]:
    axes = range(window.rank)
    major = list(axes if window.op.attrs["storage_order"] == 0 else reversed(axes))

    def step(taps: Index, values: list[Expr]) -> list[Expr]:
        condition, value, positions = window.tap(taps)
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
    return fold(window.evaluator.emit, window.lanes, accumulators, window.kernel, step)


def _avg_pool(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    window = _Window(evaluator, op, at)
    zero, one = number(0, window.dtype), number(1, window.dtype)
    pads = op.attrs["pads"][window.rank :] if op.attrs["count_include_pad"] else [0] * window.rank

    def step(taps: Index, values: list[Expr]) -> list[Expr]:
        condition, value, positions = window.tap(taps)
        total = add(values[0], guarded(condition, value, zero))
        counted = condition
        if op.attrs["count_include_pad"]:
            counted = every([
                _before(p, n + index(after))
                for p, n, after in zip(positions, window.sizes, pads, strict=True)
            ])
        return [total, add(values[1], guarded(counted, one, zero))]

    total, count = fold(
        evaluator.emit, window.lanes, [(window.dtype, zero), (window.dtype, zero)], window.kernel,
        step,
    )
    return total / count


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

    def step(taps: Index, values: list[Expr]) -> list[Expr]:
        condition, value, _ = window.tap(taps)
        return [add(values[0], guarded(condition, norm_term(value, p), zero))]

    (total,) = fold(evaluator.emit, window.lanes, [(window.dtype, zero)], window.kernel, step)
    return norm_root(evaluator.emit, total, p)


RULES: dict[str, Rule] = {
    "max_pool": _max_pool,
    "avg_pool": _avg_pool,
    "lp_pool": _lp_pool,
}
