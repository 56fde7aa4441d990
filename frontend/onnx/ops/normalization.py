"""Normalisations."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.elementwise import cast
from bireme.frontend.onnx.ops.shape import expand, reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, DType


def _batch(n: Node) -> list[Tensor]:
    if n.opset < 9 and not n.flag("spatial", True):
        raise BiremeError("BM1003", "attribute 'spatial' = 0 is not supported")
    x, momentum, epsilon = n[0], n.number("momentum", 0.9), n.number("epsilon", 1e-5)
    scale, bias = (cast(n, n[i], x.dtype) for i in (1, 2))
    if not n.flag("training_mode"):
        statistics = [cast(n, n[i], x.dtype) for i in (3, 4)]
        return [n.b.batch_norm(x, scale, bias, *statistics, epsilon=epsilon)]
    axes = tuple(i for i in range(x.rank) if i != 1)
    mean = n.b.reduce_mean(x, axes=axes, keepdims=True)
    centred = n.b.sub(x, mean)
    variance = n.b.reduce_mean(n.b.mul(centred, centred), axes=axes, keepdims=False)
    mean = reshape(n.b, mean, variance.shape)
    running = [
        n.b.add(n.b.mul(n[i], momentum), n.b.mul(cast(n, now, n[i].dtype), 1 - momentum))
        for i, now in ((3, mean), (4, variance))
    ]
    return [n.b.batch_norm(x, scale, bias, mean, variance, epsilon=epsilon), *running]


def _instance(n: Node) -> Tensor:
    return n.b.instance_norm(n[0], n[1], n[2], epsilon=n.number("epsilon", 1e-5))


def _computed(n: Node) -> DType:
    """The type that a normalisation with `stash_type` computes in."""
    dtype = n.dtype("stash_type", DType.F32)
    return dtype if dtype.bits > n[0].dtype.bits else n[0].dtype


def _affine(n: Node, x: Tensor, index: int, axis: int) -> Tensor | None:
    """Scale or bias in the shape that the op wants: that of the normalised axes."""
    value = n.get(index)
    if value is None:
        return None
    value = cast(n, value, x.dtype)
    return expand(n.b, reshape(n.b, value, value.shape[-(x.rank - axis) :]), x.shape[axis:])


def _layer(n: Node) -> list[Tensor]:
    dtype, epsilon = _computed(n), n.number("epsilon", 1e-5)
    x = cast(n, n[0], dtype)
    axis = n.axis(n.integer("axis", -1), x.rank)
    scale, bias = _affine(n, x, 1, axis), _affine(n, x, 2, axis)
    operands = [x, *(t for t in (scale, bias) if t is not None)]
    result = cast(n, n.b.layer_norm(*operands, axis=axis, epsilon=epsilon), n[0].dtype)
    if n.outputs == 1:
        return [result]
    axes = tuple(range(axis, x.rank))
    mean = n.b.reduce_mean(x, axes=axes, keepdims=True)
    centred = n.b.sub(x, mean)
    variance = n.b.reduce_mean(n.b.mul(centred, centred), axes=axes, keepdims=True)
    deviation = n.b.rsqrt(n.b.add(variance, epsilon))
    return [result, mean, deviation]


def _rms(n: Node) -> Tensor:
    dtype, epsilon = _computed(n), n.number("epsilon", 1e-5)
    x = cast(n, n[0], dtype)
    axis = n.axis(n.integer("axis", -1), x.rank)
    operands = [x, *(t for t in (_affine(n, x, 1, axis),) if t is not None)]
    return cast(n, n.b.rms_norm(*operands, axis=axis, epsilon=epsilon), n[0].dtype)


def _group(n: Node) -> Tensor:
    groups, epsilon = n.integer("num_groups"), n.number("epsilon", 1e-5)
    dtype = _computed(n)
    x = cast(n, n[0], dtype)
    parameters = [cast(n, n[i], dtype) for i in (1, 2)]
    if n.opset < 21:  # one scale and bias for a group, not for a channel
        channels = x.shape[1]
        if not isinstance(channels, int) or groups < 1 or channels % groups:
            raise BiremeError("BM1006", f"{groups} groups of {x.type}")
        parameters = [
            n.b.reshape(
                n.b.expand(n.b.reshape(p, shape=(groups, 1)), shape=(groups, channels // groups)),
                shape=(channels,),
            )
            for p in parameters
        ]
    return cast(n, n.b.group_norm(x, *parameters, groups=groups, epsilon=epsilon), n[0].dtype)


def _lp(n: Node) -> Tensor:
    x, p = n[0], n.integer("p", 2)
    axis = n.axis(n.integer("axis", -1), x.rank)
    if p not in (1, 2):
        raise BiremeError("BM1006", f"attribute 'p' is {p}; expected 1 or 2")
    if p == 1:
        norm = n.b.reduce_sum(n.b.abs(x), axes=(axis,), keepdims=True)
    else:
        norm = n.b.sqrt(n.b.reduce_sum(n.b.mul(x, x), axes=(axis,), keepdims=True))
    # A vector of zeros stays one.
    return n.b.div(x, n.b.where(n.b.equal(norm, 0.0), 1.0, norm))


def _mean_variance(n: Node) -> Tensor:
    x = n[0]
    axes: Sequence[int] = n.axes(n.integers("axes", [0, 2, 3]), x.rank)
    mean = n.b.reduce_mean(x, axes=tuple(axes), keepdims=True)
    centred = n.b.sub(x, mean)
    variance = n.b.reduce_mean(n.b.mul(centred, centred), axes=tuple(axes), keepdims=True)
    return n.b.div(centred, n.b.add(n.b.sqrt(variance), 1e-9))


def _lrn(n: Node) -> Tensor:
    return n.b.lrn(
        n[0],
        size=n.integer("size"),
        alpha=n.number("alpha", 1e-4),
        beta=n.number("beta", 0.75),
        bias=n.number("bias", 1.0),
    )


TABLE: Table = {
    "BatchNormalization": _batch,
    "GroupNormalization": _group,
    "InstanceNormalization": _instance,
    "LRN": _lrn,
    "LayerNormalization": _layer,
    "LpNormalization": _lp,
    "MeanVarianceNormalization": _mean_variance,
    "RMSNormalization": _rms,
    # What RMSNormalization was called before ONNX had it; exporters still write it.
    "SimplifiedLayerNormalization": _rms,
}
