"""Rules of matrix products and convolutions: a dot product for each element of the result.

They serve every element type and any place in a group; float32 kernels have a template of their
own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import clamp, lanes_in, minus, plus, times
from bireme.codegen.rules.folding import (
    Extent,
    add,
    equal,
    fold_one,
    fold_several,
    multiply,
    number,
    scalar_bind,
)
from bireme.codegen.rules.window import (
    Taps,
    by_interior,
    every,
    guarded,
    inside,
    tap_positions,
    within,
    written_out,
)
from bireme.codegen.tir import Expr, index, match
from bireme.ir import BiremeError, Op


def _dot(
    evaluator: Evaluator,
    op: Op,
    at: Index,
    extents: Sequence[Extent],
    term: Callable[[Index], Expr],
) -> Expr:
    dtype = op.operands[0].type.dtype
    zero = number(0, dtype)
    return fold_one(evaluator.emit, dtype, lanes_in(at), zero, extents, term, add)


def _matmul(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    a, b = op.operands
    *batch, row, column = at

    def term(folded: Index) -> Expr:
        (k,) = folded
        left = evaluator.broadcast_at(a, [*batch, row, k])
        return multiply(left, evaluator.broadcast_at(b, [*batch, k, column]))

    return _dot(evaluator, op, at, [evaluator.emit.dim(a.type.shape[-1])], term)


def _conv(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, w = op.operands
    emit, attrs = evaluator.emit, op.attrs
    if attrs["winograd"]:
        raise BiremeError(
            "BM3004", "transformed filters have no rule for one element", where="conv"
        )
    rank = len(attrs["strides"])
    blocked, depthwise = attrs["out_block"] > 1, attrs["out_block"] > 1 and w.type.rank == rank + 2
    filters = evaluator.shape(w)
    kernel = filters[1 : 1 + rank] if depthwise else filters[2 : 2 + rank]
    sizes = evaluator.shape(x)[2 : 2 + rank]
    batch, out, spatial, lane = at[0], at[1], at[2 : 2 + rank], at[2 + rank :]
    # Blocks of channels that one group reads, and the group's first; blocks are channels when
    # plain.
    depth = index(1) if depthwise else filters[1]
    first = out if depthwise else index(0)
    if attrs["groups"] > 1 and not depthwise:
        per_group = emit.bind(tirx.truncdiv(filters[0], index(attrs["groups"])))
        first = emit.bind(tirx.truncdiv(*match(out, per_group)) * depth)

    def term(walked: list[Taps], folded: Index) -> Expr:
        channel, taps, inner = folded[0], folded[1 : 1 + rank], folded[1 + rank :]
        positions = [scalar_bind(emit, p) for p in tap_positions(op, spatial, taps)]
        condition = inside(walked, positions, sizes)
        positions = [
            emit.bind(clamp(p, n)) if t.ask else p
            for t, p, n in zip(walked, positions, sizes, strict=True)
        ]
        own = lane if depthwise else inner
        value = evaluator.at(
            x, [batch, plus(first, channel), *positions, *(own if x.type.rank == rank + 3 else [])]
        )
        at_filter = [out, *taps] if depthwise else [out, channel, *taps, *inner]
        value = guarded(condition, value, number(0, x.type.dtype))
        return multiply(value, evaluator.at(w, _paired([*at_filter, *lane], attrs["pair"])))

    inner_block = [index(attrs["in_block"])] if blocked and not depthwise else []

    def make(walked: list[Taps]) -> Expr:
        places = written_out(walked)
        if len(places) > 1:
            return fold_several(
                emit,
                x.type.dtype,
                lanes_in(at),
                number(0, x.type.dtype),
                [depth, *inner_block],
                lambda at: [term(walked, [at[0], *taps, *at[1:]]) for taps in places],
                add,
            )
        extents = [depth, *(t.extent for t in walked), *inner_block]
        return _dot(evaluator, op, at, extents, partial(term, walked))

    kind = (x.type.dtype, lanes_in(at))
    return by_interior(emit, op, spatial, sizes, kernel, kind, make)


def _paired(at: Index, pair: int) -> Index:
    """An index `[..., inner, lane]` into filters of which `pair` inner ones stand together."""
    if pair == 1:
        return at
    *outer, inner, lane = at
    step = tirx.truncdiv(inner, index(pair))
    return [*outer, step, lane, inner - step * index(pair)]


def _conv_transpose(evaluator: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, w = op.operands
    emit, attrs = evaluator.emit, op.attrs
    filters, sizes = evaluator.shape(w), evaluator.shape(x)[2:]
    depth = emit.bind(tirx.truncdiv(filters[0], index(attrs["groups"])))
    group, out, first = index(0), at[1], index(0)
    if attrs["groups"] > 1:
        group = emit.bind(tirx.truncdiv(*match(at[1], filters[1])))
        first, out = emit.bind(group * depth), emit.bind(at[1] - group * filters[1])

    def term(folded: Index) -> Expr:
        channel, taps = folded[0], folded[1:]
        conditions, positions = [], []
        for axis, (i, tap, size) in enumerate(zip(at[2:], taps, sizes, strict=True)):
            stride = attrs["strides"][axis]
            reached = minus(plus(i, attrs["pads"][axis]), times(tap, attrs["dilations"][axis]))
            reached = emit.bind(tirx.max(*match(reached, index(-stride))))
            position = emit.bind(tirx.truncdiv(*match(reached, index(stride))))
            conditions += [equal(times(position, stride), reached), within(position, size)]
            positions.append(emit.bind(clamp(position, size)))
        source = scalar_bind(emit, plus(first, channel))
        value = evaluator.at(x, [at[0], source, *positions])
        product = multiply(value, evaluator.at(w, [source, out, *taps]))
        return guarded(every(conditions), product, number(0, x.type.dtype))

    return _dot(evaluator, op, at, [depth, *filters[2:]], term)


RULES: dict[str, Rule] = {
    "matmul": _matmul,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
}
