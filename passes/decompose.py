"""Breaks ops down into others that fuse or run better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bireme.ir import Builder, Graph, Op, Value
from bireme.ir.opdef import Array
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import Rule, apply, rule
from bireme.passes.values import weight_name
from bireme.targets.description import Description


@dataclass(frozen=True)
class Decompose(Pass):
    """Replaces ops that no kernel is built around by ops that there are kernels for.

    Before::

        %0 = conv_transpose(%x, %w) {strides = [2, 2]}       // %x [n, 8, h, w], %w [8, 3, 2, 2]

    After::

        %0 = conv(%x, %w.1)                                  // %w.1 [12, 8, 1, 1]
        %1 = reshape(%0) {shape = [n, 3, 2, 2, h, w]}
        %2 = transpose(%1) {perm = [0, 1, 4, 2, 5, 3]}
        %3 = reshape(%2) {shape = [n, 3, 2*h, 2*w]}

    A `conv_transpose` becomes a convolution with as many results for each position as the stride
    puts between two, and a transpose that lays them side by side; a `batch_norm` that could not be
    folded becomes arithmetic. Results differ from the original by rounding at most. The other
    normalisations and softmax stay: each is a kernel.
    """

    name: ClassVar[str] = "decompose"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        used = apply(graph, RULES)
        if not used:
            return Outcome(False)
        listed = ", ".join(f"{name} {times}" for name, times in sorted(used.items()))
        return Outcome(True, f"broke down {count(sum(used.values()), 'op')} ({listed})")


def _per_channel(vector: Value, rank: int, b: Builder) -> Value:
    """A vector `[C]` that broadcasts against `[N, C, *S]`."""
    shape = (*vector.type.shape, *[1] * (rank - 2))
    result: Value = b.reshape(vector, shape=shape)
    return result


def _scalar(number: float, like: Value, b: Builder) -> Value:
    result: Value = b.constant(np.asarray(number, like.type.dtype.numpy))
    return result


@rule("batch_norm")
def _batch_norm(op: Op, b: Builder) -> Value:
    """(x - mean) * (scale / sqrt(variance + epsilon)) + bias"""
    x, scale, bias, mean, variance = op.operands
    shifted = b.add(variance, _scalar(op.attrs["epsilon"], variance, b))
    factor = b.div(scale, b.sqrt(shifted))
    rank = x.type.rank
    scaled = b.mul(b.sub(x, _per_channel(mean, rank, b)), _per_channel(factor, rank, b))
    result: Value = b.add(scaled, _per_channel(bias, rank, b))
    return result


@dataclass(frozen=True)
class _Phases:
    """One spatial axis of a transposed convolution as an ordinary one, see `_conv_transpose`.

    Window starts run from -before of the input to as far behind its end; `taps` input elements meet
    each; the result starts `skip` elements into the first window's phases.
    """

    taps: int
    before: int
    after: int
    skip: int

    @staticmethod
    def of(op: Op, axis: int) -> _Phases:
        attrs, rank = op.attrs, len(op.attrs["strides"])
        stride = attrs["strides"][axis]
        span = _span(op.operands[1].type.static_shape[2 + axis], attrs["dilations"][axis])
        taps = -(-span // stride)
        first, last = attrs["pads"][axis], attrs["pads"][rank + axis]
        before = max(taps - 1 - first // stride, 0)
        after = max((span + attrs["output_padding"][axis] - last - 1) // stride, 0)
        return _Phases(taps, before, after, first - stride * (taps - 1 - before))


def _span(kernel: int, dilation: int) -> int:
    return (kernel - 1) * dilation + 1


def _phase_filters(op: Op, weights: Array, phases: Sequence[_Phases]) -> Array:
    """`[C, O / groups, *K]` as `[O * product of strides, C / groups, *taps]`."""
    attrs, groups = op.attrs, op.attrs["groups"]
    strides, dilations = attrs["strides"], attrs["dilations"]
    rank, (count, filters, *kernel) = len(strides), weights.shape
    sizes = [p.taps * s for p, s in zip(phases, strides, strict=True)]
    spread = np.zeros((count, filters, *sizes), weights.dtype)
    spans = [_span(k, d) for k, d in zip(kernel, dilations, strict=True)]
    at = tuple(slice(0, n, d) for n, d in zip(spans, dilations, strict=True))
    spread[(slice(None), slice(None), *at)] = weights
    # The first tap meets the earliest input element, which the last part of a filter belongs to.
    parts = [n for p, s in zip(phases, strides, strict=True) for n in (p.taps, s)]
    split = spread.reshape(groups, count // groups, filters, *parts)
    split = np.flip(split, axis=tuple(range(3, 3 + 2 * rank, 2)))
    order = (0, 2, *range(4, 4 + 2 * rank, 2), 1, *range(3, 3 + 2 * rank, 2))
    taps = [p.taps for p in phases]
    return np.ascontiguousarray(split.transpose(order).reshape(-1, count // groups, *taps))


@rule("conv_transpose")
def _conv_transpose(op: Op, b: Builder) -> Value | None:
    """One convolution for all phases of the stride, then the phases side by side.

    Along an axis of stride s, result q * s + r sums the inputs q, q - 1, ... times the elements r,
    r + s, ... of a filter. So for each phase r there is a convolution with every s-th element of
    the filters; together they are one with s times as many filters, whose results are interleaved.
    """
    x, w = op.operands
    attrs, weights = op.attrs, w.constant
    if weights is None or weights.size == 0:
        return None
    strides, rank = attrs["strides"], len(attrs["strides"])
    phases = [_Phases.of(op, axis) for axis in range(rank)]
    filters = _phase_filters(op, weights, phases)
    result: Value = b.conv(
        x,
        b.constant(filters, weight_name(w)),
        strides=(1,) * rank,
        pads=(*(p.before for p in phases), *(p.after for p in phases)),
        dilations=(1,) * rank,
        groups=attrs["groups"],
    )
    batch, count, *sizes = op.result.type.shape
    windows = result.type.shape[2:]
    if any(s > 1 for s in strides):
        apart = b.reshape(result, shape=(batch, count, *strides, *windows))
        pairs = [n for axis in range(rank) for n in (2 + rank + axis, 2 + axis)]
        apart = b.transpose(apart, perm=(0, 1, *pairs))
        whole = [n * s for n, s in zip(windows, strides, strict=True)]
        result = b.reshape(apart, shape=(batch, count, *whole))
    if result.type.shape == op.result.type.shape:
        return result
    cut = (0, 0, *(p.skip for p in phases))
    inner: Value = b.slice(
        result, starts=cut, sizes=(batch, count, *sizes), steps=(1,) * (rank + 2)
    )
    return inner


RULES: list[Rule] = [_batch_norm, _conv_transpose]
