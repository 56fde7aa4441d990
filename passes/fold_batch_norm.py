"""Folding of batch normalisation, and of any per-channel scale, into weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bireme.ir import Builder, Graph, Op, Value
from bireme.ir.opdef import Array
from bireme.passes.manager import Outcome, Pass, count
from bireme.passes.rewrite import apply, rule
from bireme.passes.values import along, per_channel, producer_for_one, weight_name
from bireme.targets.description import Description


@dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Turns inference-time batch normalisation into weights of the convolution before it.

    Before::

        %0 = conv(%x, %w)
        %1 = batch_norm(%0, %scale, %bias, %mean, %variance)

    After::

        %0 = conv(%x, %w.1)
        %1 = add(%0, %bias.1)

    A batch_norm of constants becomes `mul` and `add`, two such pairs become one; a `mul` by a
    constant that varies along the channels at most moves through an `add` of such a constant, and
    into the weights of a `conv`, `conv_transpose` or `matmul` that nothing else reads. Products of
    weights are rounded once more than before, so floating-point results differ by rounding;
    integers are left alone.
    """

    name: ClassVar[str] = "fold-batch-norm"

    def run(self, graph: Graph, _description: Description, /) -> Outcome:
        used = apply(graph, RULES)
        if not used:
            return Outcome(False)
        norms, scales = used.get("batch-norm-as-scale", 0), used.get("scale-into-weights", 0)
        return Outcome(
            True,
            f"folded {count(norms, 'batch norm')}, moved {count(scales, 'scale')} into weights",
        )


@rule("batch_norm")
def _batch_norm_as_scale(op: Op, b: Builder) -> Value | None:
    x, *parameters = op.operands
    arrays = [v.constant for v in parameters]
    vectors = [a.astype(np.float64) for a in arrays if a is not None]
    if len(vectors) < len(arrays):
        return None
    scale, bias, mean, variance = vectors
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + op.attrs["epsilon"])
    shift = bias - mean * factor
    rank, dtype = x.type.rank, x.type.dtype.numpy
    names = [weight_name(v) for v in parameters[:2]]
    scaled = b.mul(x, b.constant(along(factor, rank, 1).astype(dtype), names[0]))
    result: Value = b.add(scaled, b.constant(along(shift, rank, 1).astype(dtype), names[1]))
    return result


def _channel_axis(op: Op, rank: int) -> int:
    """The axis of the result that the columns or filters of the weights make."""
    return rank - 1 if op.name == "matmul" else 1


@rule("mul")
def _scale_through_bias(op: Op, b: Builder) -> Value | None:
    """(y + bias) * scale = y * scale + bias * scale, where y comes from weights."""
    for value, factor in _either_way(op):
        add = producer_for_one(value, "add")
        if add is None:
            continue
        for y, bias in _either_way(add):
            weighted = producer_for_one(y, *_SCALE_WEIGHTS)
            if weighted is None or y.type != op.result.type:
                continue
            axis = _channel_axis(weighted, y.type.rank)
            shift = per_channel(bias, y.type.rank, axis)
            scale = per_channel(factor, y.type.rank, axis)
            if shift is None or scale is None:
                continue
            moved = along(shift * scale, y.type.rank, axis)
            result: Value = b.add(b.mul(y, factor), b.constant(moved, weight_name(bias)))
            return result
    return None


@rule("mul")
def _scale_through_scale_and_bias(op: Op, b: Builder) -> Value | None:
    """(x * a + c) * d = x * (a * d) + c * d, for constants that do not grow."""
    for value, factor in _either_way(op):
        add = producer_for_one(value, "add")
        for y, bias in _either_way(add) if add is not None else ():
            scaled = producer_for_one(y, "mul")
            for x, scale in _either_way(scaled) if scaled is not None else ():
                products = [_product(scale, factor), _product(bias, factor)]
                if x.type != op.result.type or any(p is None for p in products):
                    continue
                named = zip(products, (scale, bias), strict=True)
                a, c = (b.constant(product, weight_name(old)) for product, old in named)
                result: Value = b.add(b.mul(x, a), c)
                return result
    return None


def _product(x: Value, y: Value) -> Array | None:
    """The product of two constants, unless it is larger than both."""
    a, c = x.constant, y.constant
    if a is None or c is None:
        return None
    with np.errstate(all="ignore"):
        result: Array = np.asarray(a * c)
    return result if result.size <= max(a.size, c.size) else None


@rule("mul")
def _scale_into_weights(op: Op, b: Builder) -> Value | None:
    for value, factor in _either_way(op):
        weighted = producer_for_one(value, *_SCALE_WEIGHTS)
        if weighted is None or value.type != op.result.type:
            continue
        weights = weighted.operands[1].constant
        axis = _channel_axis(weighted, value.type.rank)
        scale = per_channel(factor, value.type.rank, axis)
        if weights is None or scale is None or _is_packed(weighted):
            continue
        scaled = _SCALE_WEIGHTS[weighted.name](weighted, weights, scale)
        name = weight_name(weighted.operands[1])
        b.at([weighted, op])
        operands = [weighted.operands[0], b.constant(scaled, name)]
        return b.op(weighted.name, operands, **weighted.attrs).result
    return None


def _is_packed(op: Op) -> bool:
    """Whether the weights are in blocks already."""
    return bool(op.attrs.get("block", 1) > 1 or op.attrs.get("out_block", 1) > 1)


def _scale_conv(_op: Op, weights: Array, scale: Array) -> Array:
    return weights * scale.reshape(-1, *[1] * (weights.ndim - 1))


def _scale_conv_transpose(op: Op, weights: Array, scale: Array) -> Array:
    """`[C, O / groups, *K]`: a group of input channels makes a group of the result's."""
    groups = op.attrs["groups"]
    channels, filters = weights.shape[:2]
    full = np.broadcast_to(scale, (groups * filters,)).reshape(groups, 1, filters)
    grouped = weights.reshape(groups, channels // groups, filters, -1) * full[..., None]
    scaled: Array = grouped.reshape(weights.shape)
    return scaled


def _scale_matmul(_op: Op, weights: Array, scale: Array) -> Array:
    return weights * scale


_SCALE_WEIGHTS = {
    "conv": _scale_conv,
    "conv_transpose": _scale_conv_transpose,
    "matmul": _scale_matmul,
}


def _either_way(op: Op) -> Sequence[tuple[Value, Value]]:
    """Both readings of a commutative op on floats: (value, constant)."""
    x, y = op.operands
    if not x.type.dtype.is_float:
        return []
    return [(a, c) for a, c in ((x, y), (y, x)) if c.constant is not None]


RULES = [
    _batch_norm_as_scale,
    _scale_through_bias,
    _scale_through_scale_and_bias,
    _scale_into_weights,
]
