"""Breaks ops down into others that fuse or run better."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bireme.ir import Builder, Dim, Graph, Op, TensorType, Value
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

    A `conv_transpose` whose windows do not overlap becomes a 1x1 convolution and a transpose, a
    `conv` or pool over one spatial axis one over two, the first of size 1, and a `batch_norm` that
    could not be folded arithmetic. Results differ from the original by rounding at most. The other
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


@rule("conv_transpose")
def _conv_transpose_without_overlap(op: Op, b: Builder) -> Value | None:
    """Windows side by side: each input element makes one patch of the result.

    `[N, C, H, W]` times `[C, O, kh, kw]` is a 1x1 convolution to `[N, O * kh * kw, H, W]` whose
    channels are then interleaved with the spatial axes.
    """
    x, w = op.operands
    attrs, weights = op.attrs, w.constant
    if weights is None or attrs["groups"] != 1 or weights.ndim != 4:
        return None
    _, filters, *kernel = weights.shape
    tiled = attrs["strides"] == tuple(kernel) and set(attrs["dilations"]) == {1}
    if not tiled or any(attrs["pads"]) or any(attrs["output_padding"]):
        return None
    # [C, O, kh, kw] -> [O * kh * kw, C, 1, 1]
    matrix = np.ascontiguousarray(weights.reshape(weights.shape[0], -1).T)[..., None, None]
    conv = b.conv(
        x, b.constant(matrix, weight_name(w)),
        strides=(1, 1), pads=(0, 0, 0, 0), dilations=(1, 1),
    )  # fmt: skip
    batch, _, high, wide = x.type.shape
    patches = b.reshape(conv, shape=(batch, filters, *kernel, high, wide))
    apart = b.transpose(patches, perm=(0, 1, 4, 2, 5, 3))
    result: Value = b.reshape(apart, shape=op.result.type.shape)
    return result


def _with_unit_axis(tensor: TensorType) -> tuple[Dim, ...]:
    """`[N, C, W]` as `[N, C, 1, W]`."""
    return (*tensor.shape[:2], 1, *tensor.shape[2:])


def _window_on_two_axes(op: Op) -> dict[str, Any]:
    """Attributes of a window op over one axis, for two axes."""
    attrs = dict(op.attrs)
    (before, after) = attrs["pads"]
    for name in ("strides", "dilations", "kernel"):
        if name in attrs:
            attrs[name] = (1, *attrs[name])
    attrs["pads"] = (0, before, 0, after)
    return attrs


@rule("conv")
def _conv_on_two_axes(op: Op, b: Builder) -> Value | None:
    x, w = op.operands
    if len(op.attrs["strides"]) != 1 or op.attrs["out_block"] > 1:
        return None
    weights = w.constant
    if weights is None:
        return None
    filters: Array = weights[:, :, None, :]
    conv = b.op(
        "conv",
        [b.reshape(x, shape=_with_unit_axis(x.type)), b.constant(filters, weight_name(w))],
        **_window_on_two_axes(op),
    )
    result: Value = b.reshape(conv.result, shape=op.result.type.shape)
    return result


@rule("max_pool", "avg_pool", "lp_pool")
def _pool_on_two_axes(op: Op, b: Builder) -> Value | None:
    (x,) = op.operands
    if len(op.attrs["strides"]) != 1 or op.attrs["block"] > 1 or len(op.results) > 1:
        return None
    wide = b.reshape(x, shape=_with_unit_axis(x.type))
    pool = b.op(op.name, [wide], **_window_on_two_axes(op))
    result: Value = b.reshape(pool.result, shape=op.result.type.shape)
    return result


RULES: list[Rule] = [
    _batch_norm,
    _conv_transpose_without_overlap,
    _conv_on_two_axes,
    _pool_on_two_axes,
]
