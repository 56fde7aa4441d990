"""Resize: interpolation onto a grid of another size, as ONNX defines it.

Interpolation is separable: each axis has, for every place of the result, a few places of the
operand (*taps*) and their weights. Coordinates and weights are computed in float64, then weights
are rounded to the type that is summed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bireme.ir.dtypes import WIDE, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import at_least, one_of, one_per_axis, same_shape
from bireme.ir.types import TensorType


@dataclass(frozen=True)
class Axis:
    """One axis of a resize: sizes, the scale that coordinates use, and the region of interest."""

    size: int
    result: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def length(self) -> float:
        """Size of the result before it was rounded to a whole number."""
        return self.size * self.scale


def _align_corners(x: Array, axis: Axis) -> Array:
    return x * (axis.size - 1) / (axis.length - 1) if axis.length != 1 else np.zeros_like(x)


def _half_pixel(x: Array, axis: Axis) -> Array:
    return (x + 0.5) / axis.scale - 0.5


def _pytorch_half_pixel(x: Array, axis: Axis) -> Array:
    return _half_pixel(x, axis) if axis.result > 1 else np.zeros_like(x)


def _half_pixel_symmetric(x: Array, axis: Axis) -> Array:
    return axis.size / 2 * (1 - axis.result / axis.length) + _half_pixel(x, axis)


def _crop_and_resize(x: Array, axis: Axis) -> Array:
    first, last = axis.start * (axis.size - 1), axis.end * (axis.size - 1)
    if axis.length == 1:
        return np.full_like(x, (first + last) / 2)
    return first + x * (last - first) / (axis.length - 1)


# place in the result -> coordinate in the operand
COORDINATES: dict[str, Callable[[Array, Axis], Array]] = {
    "half_pixel": _half_pixel,
    "asymmetric": lambda x, axis: x / axis.scale,
    "align_corners": _align_corners,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "tf_crop_and_resize": _crop_and_resize,
}

# coordinate in the operand -> nearest place
NEAREST: dict[str, Callable[[Array], Array]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _linear(x: Array, a: float) -> Array:  # noqa: ARG001
    """Weight of a tap at distance `x`."""
    return np.asarray(np.maximum(1 - np.abs(x), 0))


def _cubic(x: Array, a: float) -> Array:
    """Weight of a tap at distance `x`: Keys' cubic convolution with coefficient `a`."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


# mode -> (weight of a tap at a distance, distance from which it is zero)
FILTERS: dict[str, tuple[Callable[[Array, float], Array], int]] = {
    "linear": (_linear, 1),
    "cubic": (_cubic, 2),
}
MODES = ("nearest", *FILTERS)


@dataclass(frozen=True)
class Taps:
    """For each place of the result: operand places `[result, taps]`, weights, and whether it is
    inside.
    """

    places: Array
    weights: Array
    inside: Array


def taps(axis: Axis, attrs: Attrs) -> Taps:
    """The taps of one axis."""
    coordinates = COORDINATES[attrs["coordinate"]](np.arange(axis.result, dtype=np.float64), axis)
    inside = np.ones(axis.result, np.bool_)
    if attrs["coordinate"] == "tf_crop_and_resize":
        inside = (coordinates >= 0) & (coordinates <= axis.size - 1)
    if attrs["mode"] == "nearest":
        places = NEAREST[attrs["nearest"]](coordinates)[:, np.newaxis]
        weights = np.ones_like(places)
    else:
        places, weights = _filtered(coordinates, axis, attrs)
    clamped = np.clip(places, 0, axis.size - 1).astype(np.intp)
    if attrs["exclude_outside"] and attrs["mode"] != "nearest":
        weights = np.where(clamped == places, weights, 0)
        weights = weights / weights.sum(1, keepdims=True)
    return Taps(clamped, weights, inside)


def _filtered(coordinates: Array, axis: Axis, attrs: Attrs) -> tuple[Array, Array]:
    weigh, support = FILTERS[attrs["mode"]]
    # Shrinking with antialias widens the filter to cover every operand element.
    shrink = min(axis.scale, 1.0) if attrs["antialias"] else 1.0
    first = int(np.floor(-support / shrink)) + 1
    places = np.floor(coordinates)[:, np.newaxis] + np.arange(first, 2 - first)
    weights = weigh((places - coordinates[:, np.newaxis]) * shrink, attrs["cubic_a"])
    return places, weights / weights.sum(1, keepdims=True)


def resize_axes(shape: Sequence[int], attrs: Attrs) -> list[Axis]:
    """The axes of a resize of an operand of `shape`; `attrs["shape"]` must be numbers."""
    rank = len(shape)
    roi = attrs["roi"] or (0.0,) * rank + (1.0,) * rank
    return [
        Axis(n, attrs["shape"][i], attrs["scales"][i] or attrs["shape"][i] / max(n, 1), roi[i],
             roi[rank + i])
        for i, n in enumerate(shape)
    ]  # fmt: skip


def _resize_type(t: Typing) -> Sequence[TensorType]:
    x, *factors = t.types
    for each in factors:
        same_shape(t, each.shape, (x.rank,), "factors of the axes")
    one_per_axis(t, "shape", x.rank)
    one_per_axis(t, "scales", x.rank)
    at_least(t, "shape", 0)
    at_least(t, "scales", 0)
    one_of(t, "mode", MODES)
    one_of(t, "coordinate", tuple(COORDINATES))
    one_of(t, "nearest", tuple(NEAREST))
    if t.attrs["roi"] or t.attrs["coordinate"] == "tf_crop_and_resize":
        one_per_axis(t, "roi", 2 * x.rank)
    if t.attrs["mode"] != "nearest" and not x.dtype.is_float:
        raise t.fail(f"mode {t.attrs['mode']!r} takes floats; found {x}", "BM2003")
    for axis, (size, result) in enumerate(zip(x.shape, t.attrs["shape"], strict=True)):
        if size == 0 and result != 0:
            raise t.fail(f"axis {axis} of {x} is empty and cannot be resized to {result}")
    return [x.with_shape(t.attrs["shape"])]


def _resize_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, *factors = inputs
    if factors:
        rows = zip(attrs["scales"], factors[0].tolist(), strict=True)
        attrs = {**attrs, "scales": tuple(given or found for given, found in rows)}
    result = x if attrs["mode"] == "nearest" else widen(x)
    outside = np.zeros((1,) * x.ndim, np.bool_)
    for number, axis in enumerate(resize_axes(x.shape, attrs)):
        if axis.size == axis.result == 0:
            continue
        found = taps(axis, attrs)
        result = _interpolated(result, number, found)
        column = [1] * x.ndim
        column[number] = axis.result
        outside = outside | ~found.inside.reshape(column)
    if outside.any():
        result = np.where(outside, result.dtype.type(attrs["extrapolation"]), result)
    return [result.astype(x.dtype, copy=False)]


def _interpolated(x: Array, axis: int, found: Taps) -> Array:
    """`x` resized along one axis: the weighted sum of what its taps read."""
    count = found.places.shape[1]
    if count == 1:
        return x.take(found.places[:, 0], axis)
    column = [1] * x.ndim
    column[axis] = found.places.shape[0]
    total = np.zeros((*x.shape[:axis], column[axis], *x.shape[axis + 1 :]), x.dtype)
    for number in range(count):
        weight = found.weights[:, number].astype(x.dtype).reshape(column)
        if weight.any():
            total += x.take(found.places[:, number], axis) * weight
    return total


OPS = (
    OpDef(
        name="resize",
        operands=(Operand("x", WIDE), Operand("factors", (DType.F64,), optional=True)),
        attrs=(
            Attr("shape", AttrKind.DIMS, doc="shape of the result"),
            Attr(
                "scales",
                AttrKind.FLOATS,
                doc="for each axis the factor that coordinates use; 0.0 for that in `factors`, or "
                "without them result size / operand size",
            ),
            Attr("mode", AttrKind.STR, "nearest", f"interpolation: {', '.join(MODES)}"),
            Attr(
                "coordinate",
                AttrKind.STR,
                "half_pixel",
                f"where a place of the result lies in the operand: {', '.join(COORDINATES)}",
            ),
            Attr(
                "nearest",
                AttrKind.STR,
                "round_prefer_floor",
                f"how mode `nearest` rounds a coordinate: {', '.join(NEAREST)}",
            ),
            Attr("cubic_a", AttrKind.FLOAT, -0.75, "coefficient of the cubic filter"),
            Attr(
                "exclude_outside",
                AttrKind.BOOL,
                False,
                "taps outside weigh nothing, else the edge's",
            ),
            Attr("antialias", AttrKind.BOOL, False, "widen the filter when the operand is shrunk"),
            Attr(
                "roi",
                AttrKind.FLOATS,
                (),
                "for `tf_crop_and_resize`: normalised start of each axis, then end of each",
            ),
            Attr(
                "extrapolation",
                AttrKind.FLOAT,
                0.0,
                "for `tf_crop_and_resize`: value of elements outside the operand",
            ),
        ),
        infer=_resize_type,
        reference=_resize_reference,
        fusion=Fusion.INJECTIVE,
        doc="Interpolation onto a grid of another size. Modes `linear` and `cubic` take floats.",
    ),
)
