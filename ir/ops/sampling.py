"""Ops that read an image at fractional places given by data."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from bireme.ir.dtypes import FLOATS, DType
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import at_least, has_rank, one_of, rank_at_least, same_dtype, same_shape
from bireme.ir.ops.resize import FILTERS, MODES
from bireme.ir.types import TensorType

PADDINGS = ("zeros", "border", "reflection")
COORDINATES = ("half_pixel", "output_half_pixel")
_CUBIC_A = -0.75


def _grid_sample_type(t: Typing) -> Sequence[TensorType]:
    x, grid = t.types
    one_of(t, "mode", MODES)
    one_of(t, "padding", PADDINGS)
    rank_at_least(t, x, 3, "x")
    has_rank(t, grid, x.rank, "grid")
    batch = t.same(x.shape[0], grid.shape[0], f"batches of {x} and {grid}")
    t.same(grid.shape[-1], x.rank - 2, f"last size of {grid} against the spatial axes of {x}")
    _check_not_empty(t, x)
    return [x.with_shape((batch, x.shape[1], *grid.shape[1:-1]))]


def _check_not_empty(t: Typing, x: TensorType) -> None:
    if any(size == 0 for size in x.shape[2:]):
        raise t.fail(f"a spatial axis of {x} is empty")


def _reflected(x: Array, low: float, high: float) -> Array:
    """Coordinates mirrored at `low` and `high` until they lie between."""
    if high == low:
        return np.full_like(x, low)
    turns, rest = np.divmod(np.abs(x - low), high - low)
    return np.where(turns % 2 == 0, low + rest, high - rest)


def _coordinates(grid: Array, size: int, attrs: Attrs) -> tuple[Array, float, float]:
    """Coordinates in elements of an axis from those in [-1, 1], and the axis's borders."""
    if attrs["align_corners"]:
        low, high, x = 0.0, size - 1.0, (grid + 1) / 2 * (size - 1)
    else:
        low, high, x = -0.5, size - 0.5, ((grid + 1) * size - 1) / 2
    if attrs["mode"] == "cubic":
        # Its taps are brought inside one by one.
        return x, low, high
    if attrs["mode"] == "nearest":
        x = np.rint(x)
    outside = (x < low) | (x > high)
    if attrs["padding"] == "border":
        x = np.where(outside, np.clip(x, 0, size - 1), x)
    elif attrs["padding"] == "reflection":
        x = np.where(outside, _reflected(x, low, high), x)
    return x, low, high


def _axis_taps(grid: Array, size: int, attrs: Attrs) -> list[tuple[Array, Array]]:
    """(place, weight) of each tap along an axis."""
    x, low, high = _coordinates(grid, size, attrs)
    if attrs["mode"] == "nearest":
        places, weights = [np.rint(x)], [np.ones_like(x)]
    else:
        weigh, support = FILTERS[attrs["mode"]]
        base = np.floor(x)
        places = [base + i for i in range(1 - support, support + 1)]
        weights = [np.asarray(weigh(p - x, _CUBIC_A), x.dtype) for p in places]
    found = []
    for place, weight in zip(places, weights, strict=True):
        if attrs["padding"] == "zeros":
            weight = np.where((place >= 0) & (place < size), weight, 0)
        elif attrs["padding"] == "reflection":
            outside = (place < low) | (place > high)
            place = np.where(outside, np.trunc(_reflected(place, low, high)), place)
        # NaN coordinates read element 0; their weight is NaN already.
        index = np.clip(np.nan_to_num(place), 0, size - 1).astype(np.intp)
        found.append((index, weight))
    return found


def _grid_sample_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, grid = map(widen, inputs)
    rank = x.ndim - 2
    # The last axis of the grid names the spatial axes from the last to the first.
    each = [_axis_taps(grid[..., rank - 1 - i], x.shape[2 + i], attrs) for i in range(rank)]
    batch = np.arange(x.shape[0]).reshape(-1, *[1] * rank)
    result = np.zeros((*grid.shape[:-1], x.shape[1]), x.dtype)
    for combination in itertools.product(*each):
        weight = np.ones(grid.shape[:-1], x.dtype)
        for _, w in combination:
            weight = weight * w
        places: tuple[Any, ...] = (batch, slice(None), *(i for i, _ in combination))
        result += x[places] * weight[..., np.newaxis]
    return [np.moveaxis(result, -1, 1).astype(inputs[0].dtype)]


def _roi_align_type(t: Typing) -> Sequence[TensorType]:
    x, rois, batches = t.types
    same_dtype(t, (x, rois))
    one_of(t, "mode", ("avg", "max"))
    one_of(t, "coordinate", COORDINATES)
    for name, least in (("output_height", 1), ("output_width", 1), ("sampling_ratio", 0)):
        at_least(t, name, least)
    has_rank(t, x, 4, "x")
    has_rank(t, batches, 1, "batch_indices")
    _check_not_empty(t, x)
    same_shape(t, rois.shape, (batches.shape[0], 4), "rois")
    return [
        x.with_shape((rois.shape[0], x.shape[1], t.attrs["output_height"], t.attrs["output_width"]))
    ]


def _samples(start: float, length: float, bins: int, grid: int) -> Array:
    """Coordinates of the samples of one axis of a region: `grid` in each of the bins."""
    steps = np.arange(bins)[:, np.newaxis] + (np.arange(grid) + 0.5) / max(grid, 1)
    return (start + steps * (length / bins)).ravel()


def _corners(x: Array, size: int) -> tuple[Array, Array, Array, Array]:
    """(lower place, upper place, their weights); outside the image both weigh 0."""
    inside = (x >= -1) & (x <= size)
    x = np.clip(x, 0, size - 1)
    low = np.floor(x).astype(np.intp)
    high = np.minimum(low + 1, size - 1)
    rest = x - low
    return low, high, np.where(inside, 1 - rest, 0), np.where(inside, rest, 0)


def _pooled_region(image: Array, roi: Array, attrs: Attrs) -> Array:
    """`[C, H, W]` and one region to `[C, output_height, output_width]`."""
    half = attrs["coordinate"] == "half_pixel"
    left, top, right, bottom = roi * attrs["spatial_scale"] - (0.5 if half else 0.0)
    parts = []
    for start, end, bins, size in (
        (top, bottom, attrs["output_height"], image.shape[1]),
        (left, right, attrs["output_width"], image.shape[2]),
    ):
        # Regions of less than one element count as one, except in the newer coordinates.
        length = end - start if half else max(end - start, 1.0)
        grid = attrs["sampling_ratio"] or max(int(np.ceil(length / bins)), 0)
        parts.append((grid, _corners(_samples(start, length, bins, grid), size)))
    (rows, (y0, y1, wy0, wy1)), (columns, (x0, x1, wx0, wx1)) = parts
    terms = [
        image[:, y][:, :, x] * (wy[:, np.newaxis] * wx).astype(image.dtype)
        for y, wy in ((y0, wy0), (y1, wy1))
        for x, wx in ((x0, wx0), (x1, wx1))
    ]
    bins_shape = (image.shape[0], attrs["output_height"], rows, attrs["output_width"], columns)
    if attrs["mode"] == "avg":
        total = sum(terms, np.zeros((), image.dtype)).reshape(bins_shape).sum((2, 4))
        return np.asarray(total / max(rows * columns, 1), image.dtype)
    if rows * columns == 0:
        return np.zeros((*bins_shape[:2], bins_shape[3]), image.dtype)
    greatest = np.maximum.reduce(terms).reshape(bins_shape)
    return np.asarray(greatest.max((2, 4)), image.dtype)


def _roi_align_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, rois, batches = widen(inputs[0]), widen(inputs[1]), inputs[2]
    wrong = batches[(batches < 0) | (batches >= x.shape[0])]
    if wrong.size:
        raise BiremeError("BM6003", f"batch_indices: {wrong[0]} is outside [0, {x.shape[0]})")
    size = (len(rois), x.shape[1], attrs["output_height"], attrs["output_width"])
    result = np.zeros(size, x.dtype)
    for number, (roi, batch) in enumerate(zip(rois, batches, strict=True)):
        result[number] = _pooled_region(x[batch], roi.astype(np.float64), attrs)
    return [result.astype(inputs[0].dtype)]


OPS = (
    OpDef(
        name="grid_sample",
        operands=(Operand("x", FLOATS), Operand("grid", FLOATS)),
        attrs=(
            Attr("mode", AttrKind.STR, "linear", f"interpolation: {', '.join(MODES)}"),
            Attr("padding", AttrKind.STR, "zeros", f"what lies outside `x`: {', '.join(PADDINGS)}"),
            Attr(
                "align_corners",
                AttrKind.BOOL,
                False,
                "-1 and 1 are the centres of the corner elements, not their outer edges",
            ),
        ),
        infer=_grid_sample_type,
        reference=_grid_sample_reference,
        fusion=Fusion.OPAQUE,
        doc="`x [N, C, *S]` read at the places of `grid [N, *O, r]`, to `[N, C, *O]`. The last "
        "axis of the grid names the r spatial axes from the last to the first, each in [-1, 1].",
    ),
    OpDef(
        name="roi_align",
        operands=(
            Operand("x", FLOATS),
            Operand("rois", FLOATS),
            Operand("batch_indices", (DType.I64,)),
        ),
        attrs=(
            Attr("mode", AttrKind.STR, "avg", "what is taken of a bin's samples: avg, max"),
            Attr("output_height", AttrKind.INT, 1, "bins of a region from top to bottom"),
            Attr("output_width", AttrKind.INT, 1, "bins of a region from left to right"),
            Attr(
                "sampling_ratio",
                AttrKind.INT,
                0,
                "samples along an axis of a bin; 0: as many as fit",
            ),
            Attr("spatial_scale", AttrKind.FLOAT, 1.0, "elements of `x` per unit of `rois`"),
            Attr(
                "coordinate",
                AttrKind.STR,
                "half_pixel",
                "`half_pixel`: element centres lie at half units; `output_half_pixel`: at whole "
                "ones",
            ),
        ),
        infer=_roi_align_type,
        reference=_roi_align_reference,
        fusion=Fusion.OPAQUE,
        doc="Regions `rois [R, 4]` (left, top, right, bottom) of the images `x [N, C, H, W]` that "
        "`batch_indices [R]` names, each pooled to `[C, output_height, output_width]` from "
        "bilinear samples. In mode `max` the four weighted neighbours of a sample count one by "
        "one, as in ONNX.",
    ),
)
