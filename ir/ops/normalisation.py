"""Softmax and the normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bireme.ir.dtypes import FLOATS
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import at_least, fits, multiple, rank_at_least, same_dtype, same_shape
from bireme.ir.types import TensorType


def _along_axis_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    rank_at_least(t, x, 1, "operand")
    t.axis(t.attrs["axis"], x.rank)
    return [x]


def _shifted(x: Array, axis: int) -> Array:
    """`x` minus its maximum, so that its exponential cannot overflow."""
    wide = widen(x)
    return np.asarray(wide - np.max(wide, axis=axis, keepdims=True, initial=-np.inf))


def _softmax_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    axis = attrs["axis"]
    power = np.exp(_shifted(inputs[0], axis))
    return [(power / np.sum(power, axis=axis, keepdims=True)).astype(inputs[0].dtype)]


def _log_softmax_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    axis = attrs["axis"]
    shifted = _shifted(inputs[0], axis)
    total = np.log(np.sum(np.exp(shifted), axis=axis, keepdims=True))
    return [(shifted - total).astype(inputs[0].dtype)]


def _trailing_type(t: Typing) -> Sequence[TensorType]:
    """Normalisation over the axes from `axis` on; scale and bias broadcast to those."""
    x = t.types[0]
    same_dtype(t, t.types)
    rank_at_least(t, x, 1, "x")
    axis = t.axis(t.attrs["axis"], x.rank)
    for parameter, name in zip(t.types[1:], ("scale", "bias"), strict=False):
        fits(t, parameter, x.shape[axis:], name)
    return [x]


def _per_channel_type(t: Typing) -> Sequence[TensorType]:
    """`[N, C, *S]` with vectors of one entry for each channel."""
    x = t.types[0]
    same_dtype(t, t.types)
    rank_at_least(t, x, 2, "x")
    names = ("scale", "bias", "mean", "variance")
    for vector, name in zip(t.types[1:], names, strict=False):
        same_shape(t, vector.shape, (x.shape[1],), name)
    return [x]


def _group_norm_type(t: Typing) -> Sequence[TensorType]:
    groups, x = t.attrs["groups"], t.types[0]
    at_least(t, "groups", 1)
    result = _per_channel_type(t)
    multiple(t, x.shape[1], groups, f"channels of {x} in groups")
    return result


def _lrn_type(t: Typing) -> Sequence[TensorType]:
    rank_at_least(t, t.types[0], 2, "x")
    at_least(t, "size", 1)
    return [t.types[0]]


def _mean(x: Array, axes: tuple[int, ...]) -> Array:
    """Mean over axes, kept; NaN of nothing, without NumPy's warning."""
    count = math.prod(x.shape[axis] for axis in axes)
    return np.asarray(np.sum(x, axis=axes, keepdims=True) / x.dtype.type(count))


def _centred(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    """Zero mean and unit variance over axes."""
    centred = x - _mean(x, axes)
    variance = _mean(np.square(centred), axes)
    return np.asarray(centred / np.sqrt(variance + x.dtype.type(epsilon)))


def _scaled(normal: Array, inputs: Sequence[Array]) -> Sequence[Array]:
    """Scale and bias, when given, then the operands' type."""
    if len(inputs) > 1:
        normal = normal * widen(inputs[1])
    if len(inputs) > 2:
        normal = normal + widen(inputs[2])
    return [normal.astype(inputs[0].dtype)]


def _layer_norm_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x = widen(inputs[0])
    axes = tuple(range(attrs["axis"] % x.ndim, x.ndim))
    return _scaled(_centred(x, axes, attrs["epsilon"]), inputs)


def _rms_norm_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x = widen(inputs[0])
    axes = tuple(range(attrs["axis"] % x.ndim, x.ndim))
    square = _mean(np.square(x), axes)
    return _scaled(x / np.sqrt(square + x.dtype.type(attrs["epsilon"])), inputs)


def _columns(x: Array, vectors: Sequence[Array]) -> list[Array]:
    """Per-channel vectors shaped to broadcast against `[N, C, *S]`."""
    return [v.reshape(-1, *[1] * (x.ndim - 2)) for v in vectors]


def _instance_norm_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x = inputs[0]
    normal = _centred(widen(x), tuple(range(2, x.ndim)), attrs["epsilon"])
    return _scaled(normal, [x, *_columns(x, inputs[1:])])


def _group_norm_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, groups = inputs[0], attrs["groups"]
    channels = x.shape[1] // groups
    grouped = widen(x).reshape(x.shape[0], groups, channels, *x.shape[2:])
    normal = _centred(grouped, tuple(range(2, grouped.ndim)), attrs["epsilon"])
    return _scaled(normal.reshape(x.shape), [x, *_columns(x, inputs[1:])])


def _batch_norm_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x = inputs[0]
    wide = widen(x)
    scale, bias, mean, variance = map(widen, _columns(x, inputs[1:]))
    factor = scale / np.sqrt(variance + wide.dtype.type(attrs["epsilon"]))
    return [((wide - mean) * factor + bias).astype(x.dtype)]


def _lrn_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, size = widen(inputs[0]), attrs["size"]
    before = (size - 1) // 2
    padding = [(0, 0), (before, size - 1 - before), *[(0, 0)] * (x.ndim - 2)]
    squares = np.pad(np.square(x), padding)
    total = sum((squares[:, i : i + x.shape[1]] for i in range(size)), np.zeros_like(x))
    factor = x.dtype.type(attrs["alpha"] / size)
    power = np.power(x.dtype.type(attrs["bias"]) + factor * total, x.dtype.type(attrs["beta"]))
    return [(x / power).astype(inputs[0].dtype)]


_X = Operand("x", FLOATS)
_SCALE = Operand("scale", FLOATS)
_BIAS = Operand("bias", FLOATS)
_AXIS = Attr("axis", AttrKind.INT, -1, "first of the axes that are normalised together")
_EPSILON = Attr("epsilon", AttrKind.FLOAT, 1e-5, "added to the variance (or mean square)")

OPS = (
    OpDef(
        name="softmax",
        operands=(_X,),
        attrs=(Attr("axis", AttrKind.INT, -1, "axis along which the result sums to 1"),),
        infer=_along_axis_type,
        reference=_softmax_reference,
        fusion=Fusion.REDUCTION,
        doc="`exp(x) / sum(exp(x))` along an axis.",
    ),
    OpDef(
        name="log_softmax",
        operands=(_X,),
        attrs=(Attr("axis", AttrKind.INT, -1, "axis along which the exponentials sum to 1"),),
        infer=_along_axis_type,
        reference=_log_softmax_reference,
        fusion=Fusion.REDUCTION,
        doc="Logarithm of `softmax`.",
    ),
    OpDef(
        name="layer_norm",
        operands=(
            _X,
            Operand("scale", FLOATS, optional=True),
            Operand("bias", FLOATS, optional=True),
        ),
        attrs=(_AXIS, _EPSILON),
        infer=_trailing_type,
        reference=_layer_norm_reference,
        fusion=Fusion.REDUCTION,
        doc="`(x - mean) / sqrt(variance + epsilon) * scale + bias` over the axes from `axis` to "
        "the last; scale and bias broadcast to those axes.",
    ),
    OpDef(
        name="rms_norm",
        operands=(_X, Operand("scale", FLOATS, optional=True)),
        attrs=(_AXIS, _EPSILON),
        infer=_trailing_type,
        reference=_rms_norm_reference,
        fusion=Fusion.REDUCTION,
        doc="`x / sqrt(mean(x**2) + epsilon) * scale` over the axes from `axis` to the last; scale "
        "broadcasts to those axes.",
    ),
    OpDef(
        name="instance_norm",
        operands=(_X, _SCALE, _BIAS),
        attrs=(_EPSILON,),
        infer=_per_channel_type,
        reference=_instance_norm_reference,
        fusion=Fusion.REDUCTION,
        doc="`[N, C, *S]` normalised over `*S`, then scale and bias of each channel.",
    ),
    OpDef(
        name="group_norm",
        operands=(_X, _SCALE, _BIAS),
        attrs=(Attr("groups", AttrKind.INT, doc="groups of channels; divides C"), _EPSILON),
        infer=_group_norm_type,
        reference=_group_norm_reference,
        fusion=Fusion.REDUCTION,
        doc="`[N, C, *S]` normalised over `*S` and the channels of a group, then scale and bias of "
        "each channel.",
    ),
    OpDef(
        name="batch_norm",
        operands=(_X, _SCALE, _BIAS, Operand("mean", FLOATS), Operand("variance", FLOATS)),
        attrs=(_EPSILON,),
        infer=_per_channel_type,
        reference=_batch_norm_reference,
        fusion=Fusion.REDUCTION,
        doc="`(x - mean) / sqrt(variance + epsilon) * scale + bias` with one of each for every "
        "channel (axis 1): batch normalisation at inference.",
    ),
    OpDef(
        name="lrn",
        operands=(_X,),
        attrs=(
            Attr("size", AttrKind.INT, doc="channels in the window"),
            Attr("alpha", AttrKind.FLOAT, 1e-4, "weight of the squares' sum, divided by `size`"),
            Attr("beta", AttrKind.FLOAT, 0.75, "exponent"),
            Attr("bias", AttrKind.FLOAT, 1.0, "added to the sum"),
        ),
        infer=_lrn_type,
        reference=_lrn_reference,
        fusion=Fusion.REDUCTION,
        doc="`x / (bias + alpha / size * s)**beta`, where s is the sum of squares over a window of "
        "channels around the element: local response normalisation.",
    ),
)
