"""Rules of ops that move elements: which element of which operand stands at an index.

Where a scalar index decides between operands, only one is read (`choose`); where a vector does, all
are read at clamped places and the lanes are selected. Nothing is ever read outside an operand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import (
    all_of,
    choose,
    clamp,
    divide,
    is_ramp,
    lanes_in,
    minus,
    plus,
    times,
    unravel,
    widen,
)
from bireme.codegen.tir import Expr, compute, const, index, lanes_of, match, select
from bireme.ir import Dim, Op, Value, product


def _reshape(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x = op.operands[0]
    return e.at(x, regroup(e, at, op.result.type.shape, x.type.shape))


def regroup(e: Evaluator, at: Index, shape: Sequence[Dim], source: Sequence[Dim]) -> Index:
    """An index into `shape` as one into `source`, which has the same elements in the same order."""
    found: Index = []
    for own, others in matching_axes(shape, source):
        flat: Expr = index(0)
        for axis in own:
            flat = plus(times(flat, e.emit.dim(shape[axis])), at[axis])
        found += unravel(e.emit, flat, [e.emit.dim(source[axis]) for axis in others])
    return found


def matching_axes(a: Sequence[Dim], b: Sequence[Dim]) -> list[tuple[range, range]]:
    """Shortest runs of axes of two shapes that hold the same elements."""
    groups: list[tuple[range, range]] = []
    i = j = 0
    while i < len(a) or j < len(b):
        own, others = _match_from(a, b, i, j)
        groups.append((own, others))
        i, j = own.stop, others.stop
    return groups


def _match_from(a: Sequence[Dim], b: Sequence[Dim], i: int, j: int) -> tuple[range, range]:
    if i < len(a) and a[i] == 1:
        return range(i, i + 1), range(j, j)
    if j < len(b) and b[j] == 1:
        return range(i, i), range(j, j + 1)
    for total in range(2, len(a) - i + len(b) - j + 1):
        for taken in range(1, total):
            own, others = range(i, i + taken), range(j, j + total - taken)
            fits = own.stop <= len(a) and others.stop <= len(b)
            if fits and product([a[k] for k in own]) == product([b[k] for k in others]):
                return own, others
    return range(i, len(a)), range(j, len(b))


def _transpose(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    source: Index = list(at)
    for axis, target in zip(op.attrs["perm"], at, strict=True):
        source[axis] = target
    return e.at(op.operands[0], source)


def _slice(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    attrs = op.attrs
    places = zip(attrs["starts"], attrs["steps"], at, strict=True)
    return e.at(op.operands[0], [plus(times(i, step), e.emit.dim(s)) for s, step, i in places])


def _expand(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    return e.broadcast_at(op.operands[0], at)


def _tile(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x = op.operands[0]
    source = []
    for i, size, repeats in zip(at, x.type.shape, op.attrs["repeats"], strict=True):
        source.append(i if repeats == 1 else divide(e.emit, i, e.emit.dim(size))[1])
    return e.at(x, source)


def zero(value: Value, at: Index) -> Expr:
    """Zero with a value's compute type and an index's lanes."""
    kind = compute(value.type.dtype)
    return widen(const(0.0 if kind.startswith("float") else 0, kind), lanes_in(at))


def read_if_any(
    e: Evaluator,
    value: Value,
    sizes: Sequence[Dim],
    at: Index,
    lanes: int,
    make: Callable[[], Expr],
) -> Expr:
    """`make()`, or zero where the product of the sizes is 0 and there is nothing to read."""
    unknown = [d for d in sizes if not isinstance(d, int)]
    if any(d == 0 for d in sizes):
        return zero(value, at)
    if not unknown:
        return make()
    some = all_of(*(e.emit.dim(d) > index(0) for d in unknown))
    return choose(e.emit, value.type.dtype, lanes, [(some, make)], lambda: zero(value, at))


def _concat(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    axis = op.attrs["axis"] % len(at)
    pieces: list[tuple[Value, Expr, Expr]] = []
    end: Expr = index(0)
    for x in op.operands:
        start, end = end, e.emit.bind(end + e.emit.dim(x.type.shape[axis]), "end")
        if x.type.shape[axis] != 0:
            pieces.append((x, start, end))
    if not pieces:
        return zero(op.result, at)

    def read(x: Value, i: Expr) -> Callable[[], Expr]:
        return lambda: e.at(x, [*at[:axis], i, *at[axis + 1 :]])

    i = at[axis]
    dtype, lanes = op.result.type.dtype, lanes_in(at)
    *firsts, (last, start, _) = pieces
    if lanes_of(i) == 1:
        branches = [(i < stop, read(x, minus(i, first))) for x, first, stop in firsts]
        return choose(e.emit, dtype, lanes, branches, read(last, minus(i, start)))

    def mixed() -> Expr:
        value: Expr | None = None
        for x, first, _ in pieces:
            size = x.type.shape[axis]
            place = clamp(minus(i, first), e.emit.dim(size))
            piece = read_if_any(e, x, [size], at, lanes, read(x, place))
            value = piece if value is None else select(_below(i, first), value, piece)
        assert value is not None
        return value

    if not is_ramp(i):
        return mixed()
    head, tail = _ends(i)
    inside = [
        (tirx.And(head >= first, tail < stop), read(x, minus(i, first)))
        for x, first, stop in pieces
    ]
    return choose(e.emit, dtype, lanes, inside, mixed)


def _below(i: Expr, bound: Expr) -> Expr:
    i, bound = match(i, bound)
    return i < bound


def _pad(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, mode = op.operands[0], op.attrs["mode"]
    source = [
        minus(i, e.emit.dim(before)) for i, before in zip(at, op.attrs["before"], strict=True)
    ]
    sizes = [e.emit.dim(d) for d in x.type.shape]
    padded = [
        axis
        for axis, (before, after) in enumerate(
            zip(op.attrs["before"], op.attrs["after"], strict=True)
        )
        if before != 0 or after != 0
    ]
    if mode != "constant":
        for axis in padded:
            source[axis] = _MIRRORS[mode](e, source[axis], sizes[axis])
        return e.at(x, source)

    def fill() -> Expr:
        return e.at(op.operands[1], []) if len(op.operands) == 2 else zero(x, at)

    return _within(e, x, source, padded, fill)


def _within(
    e: Evaluator, x: Value, source: Index, axes: Sequence[int], fill: Callable[[], Expr]
) -> Expr:
    """The element of `x`, or `fill()` where an index (of those `axes`) is outside."""
    if 0 in x.type.shape:
        return widen(fill(), lanes_in(source))
    if not axes:
        return e.at(x, source)
    lanes = lanes_in(source)
    sizes = [e.emit.dim(d) for d in x.type.shape]
    vectors = [axis for axis in axes if lanes_of(source[axis]) > 1]
    scalars = [_inside(source[axis], sizes[axis]) for axis in axes if axis not in vectors]

    def mixed() -> Expr:
        place = [clamp(i, sizes[axis]) if axis in vectors else i for axis, i in enumerate(source)]
        clamped = [x.type.shape[axis] for axis in vectors]
        value = read_if_any(e, x, clamped, source, lanes, lambda: e.at(x, place))
        return select(all_of(*(_inside(source[v], sizes[v]) for v in vectors)), value, fill())

    def row() -> Expr:
        if not vectors:
            return e.at(x, source)
        if not all(is_ramp(source[axis]) for axis in vectors):
            return mixed()
        ends = [end for v in vectors for end in _ends(source[v])]
        limits = [sizes[v] for v in vectors for _ in range(2)]
        whole = all_of(*(_inside(end, size) for end, size in zip(ends, limits, strict=True)))
        return choose(e.emit, x.type.dtype, lanes, [(whole, lambda: e.at(x, source))], mixed)

    if not scalars:
        return row()
    return choose(e.emit, x.type.dtype, lanes, [(all_of(*scalars), row)], fill)


def _inside(i: Expr, size: Expr) -> Expr:
    """Whether `i` is in [0, size)."""
    low, high, i = match(index(0), size, i)
    return tirx.And(i >= low, i < high)


def _ends(ramp: Expr) -> tuple[Expr, Expr]:
    return ramp.base, ramp.base + ramp.stride * index(lanes_of(ramp) - 1)


def _reflect(e: Evaluator, i: Expr, size: Expr) -> Expr:
    last = match(size - index(1), i)[0]
    return last - tirx.abs(last - tirx.abs(i))


def _edge(e: Evaluator, i: Expr, size: Expr) -> Expr:
    return clamp(i, size)


def _wrap(e: Evaluator, i: Expr, size: Expr) -> Expr:
    low, wide, i = match(index(0), size, i)
    return select(i < low, i + wide, select(i >= wide, i - wide, i))


_MIRRORS = {"reflect": _reflect, "edge": _edge, "wrap": _wrap}


def _pack_channels(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, block = op.operands[0], op.attrs["block"]
    batch, outer, *spatial, inner = at
    channel = plus(times(outer, block), inner)
    known = x.type.shape[1]
    axes = [] if isinstance(known, int) and known % block == 0 else [1]
    return _within(e, x, [batch, channel, *spatial], axes, lambda: zero(x, at))


def _unpack_channels(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x = op.operands[0]
    batch, channel, *spatial = at
    outer, inner = divide(e.emit, channel, e.emit.dim(x.type.shape[-1]))
    return e.at(x, [batch, outer, *spatial, inner])


RULES: dict[str, Rule] = {
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "expand": _expand,
    "tile": _tile,
    "concat": _concat,
    "pack_channels": _pack_channels,
    "unpack_channels": _unpack_channels,
}
