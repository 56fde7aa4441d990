"""Resizing and sampling of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bireme.frontend.onnx.emit import Tensor, data, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.at_run_time import decided, vector
from bireme.frontend.onnx.ops.gather import index
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.symbolic import Ratio
from bireme.ir import BiremeError, Dim, DimExpr, DType
from bireme.ir.dims import floordiv

_COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
    "tf_crop_and_resize",
)  # fmt: skip
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_POLICIES = ("stretch", "not_larger", "not_smaller")


def _scaled(size: Dim, scale: Any) -> tuple[Dim, float]:
    """`floor(size * scale)`, and the scale as a number (0.0 where it is an expression)."""
    if isinstance(scale, Ratio):
        return floordiv(size * scale.top, scale.bottom), 0.0
    if isinstance(scale, DimExpr):
        return size * scale, 0.0
    if not scale > 0 or scale > 1 << 20:
        raise BiremeError("BM1006", f"scale {scale} is not allowed")
    exact = Fraction(scale)
    return floordiv(size * exact.numerator, exact.denominator), float(scale)


def _scales(n: Node, place: int) -> list[Any] | None:
    """The scales of an input; None where they are data."""
    known = n[place].known
    if known is None and (n[place].guess or not n[place].type.is_static):
        raise n.unknown(place)
    return None if known is None else list(known.ravel().tolist())


@dataclass(frozen=True)
class _Grid:
    """Shape of a result and the factors of coordinates; 0.0 for those of a tensor, or a ratio."""

    shape: list[Dim]
    factors: list[float]
    data: Tensor | None = None


def _grid_of_data(n: Node, x: Tensor, axes: Sequence[int], scales: Tensor) -> _Grid:
    """Scales that only run time knows, of `axes`."""
    b = n.b
    if scales.shape != (len(axes),):
        raise BiremeError("BM1006", f"scales {scales.type} for {len(axes)} axes")
    scales = b.cast(scales, dtype=DType.F64)
    length = b.mul(b.cast(sizes([x.shape[a] for a in axes]), dtype=DType.F64), scales)
    return _grid_of_lengths(n, x, axes, b.floor(length), scales)


def _grid_of_lengths(
    n: Node, x: Tensor, axes: Sequence[int], lengths: Tensor, scales: Tensor
) -> _Grid:
    b, shape, factors = n.b, list(x.shape), [1.0] * x.rank
    found = decided(
        b, b.cast(lengths, dtype=DType.I64), [None] * len(axes), lambda i: n.most_of_axis(axes[i])
    )
    for axis, size in zip(axes, found, strict=True):
        shape[axis], factors[axis] = size, 0.0
    places = [axes.index(a) if a in axes else len(axes) for a in range(x.rank)]
    with_one = b.concat(scales, data(np.ones(1)), axis=0)  # 1 for axes that keep their size
    return _Grid(shape, factors, b.gather(with_one, data(places), axis=0))


_OLD_OPTIONS = {"coordinate": "asymmetric", "nearest": "floor"}


def _upsample_attributes(n: Node) -> Tensor:
    mode = n.choice("mode", "nearest", ("nearest", "linear"))
    shape, factors = list(n[0].shape), [1.0] * n[0].rank
    scales = n.numbers("scales")
    if len(scales) != n[0].rank:
        raise BiremeError("BM1006", f"{len(scales)} scales for {n[0].type}")
    for axis, scale in enumerate(scales):
        shape[axis], factors[axis] = _scaled(shape[axis], scale)
    return _interpolated(n, n[0], _Grid(shape, factors), {"mode": mode, **_OLD_OPTIONS})


def _upsample(n: Node) -> Tensor:
    mode = n.choice("mode", "nearest", ("nearest", "linear"))
    grid = _grid_of_scales(n, n[0], range(n[0].rank), 1)
    return _interpolated(n, n[0], grid, {"mode": mode, **_OLD_OPTIONS})


def _grid_of_scales(n: Node, x: Tensor, axes: Sequence[int], place: int) -> _Grid:
    given = _scales(n, place)
    if given is None:
        return _grid_of_data(n, x, axes, n[place])
    if len(given) != len(axes):
        raise BiremeError("BM1006", f"{len(given)} scales for {len(axes)} axes of {x.type}")
    shape, factors = list(x.shape), [1.0] * x.rank
    for axis, scale in zip(axes, given, strict=True):
        shape[axis], factors[axis] = _scaled(shape[axis], scale)
    return _Grid(shape, factors)


def _grid_of_sizes(n: Node, x: Tensor, axes: Sequence[int], policy: str) -> _Grid:
    given = n.sizes(3)
    if len(given) != len(axes):
        raise BiremeError("BM1006", f"{len(given)} sizes for {len(axes)} axes")
    if policy != "stretch":
        return _keep_aspect(n, x, axes, policy)
    asked = vector(n, 3) if None in given else data([])
    found = decided(n.b, asked, given, lambda i: n.most_of_axis(axes[i]))
    shape, factors = list(x.shape), [1.0] * x.rank
    for axis, size in zip(axes, found, strict=True):
        factors[axis] = 1.0 if size == shape[axis] else 0.0
        shape[axis] = size
    return _Grid(shape, factors)


def _interpolated(n: Node, x: Tensor, grid: _Grid, options: dict[str, Any]) -> Tensor:
    """The resize, through float32 where integers are averaged, as ONNX Runtime does it."""
    options = {**options, "shape": tuple(grid.shape), "scales": tuple(grid.factors)}
    factors = [] if grid.data is None else [grid.data]
    if x.dtype.is_float or options["mode"] == "nearest":
        return n.b.resize(x, *factors, **options)
    wide = n.b.resize(n.b.cast(x, dtype=DType.F32), *factors, **options)
    return n.b.cast(wide, dtype=x.dtype)


def _resize(n: Node) -> Tensor:
    x = n[0]
    options: dict[str, Any] = {
        "mode": n.choice("mode", "nearest", ("nearest", "linear", "cubic")),
        "coordinate": n.choice("coordinate_transformation_mode", "half_pixel", _COORDINATES),
        "nearest": n.choice("nearest_mode", "round_prefer_floor", _NEAREST),
        "cubic_a": n.number("cubic_coeff_a", -0.75),
        "exclude_outside": n.flag("exclude_outside"),
        "extrapolation": n.number("extrapolation_value", 0.0),
        "antialias": n.flag("antialias"),
    }
    axes = n.integers("axes", list(range(x.rank)))
    policy = n.choice("keep_aspect_ratio_policy", "stretch", _POLICIES)
    n.axes(axes, x.rank)
    axes = [a % x.rank for a in axes]
    if options["coordinate"] == "tf_crop_and_resize":
        options["roi"] = _roi(n, axes)
    has_scales = n.get(2) is not None and n[2].shape != (0,)
    if has_scales == (n.get(3) is not None and n[3].shape != (0,)):
        raise BiremeError("BM1006", "exactly one of scales and sizes must be given")
    if has_scales:
        grid = _grid_of_scales(n, x, axes, 2)
    else:
        grid = _grid_of_sizes(n, x, axes, policy)
    return _interpolated(n, x, grid, options)


def _keep_aspect(n: Node, x: Tensor, axes: Sequence[int], policy: str) -> _Grid:
    """One scale for all axes, so that no side is larger (or smaller) than asked for."""
    have, wanted = [x.shape[a] for a in axes], n.sizes(3)
    shape, factors = list(x.shape), [1.0] * x.rank
    known = [(float(d), float(g)) for d, g in zip(have, wanted, strict=True)
             if isinstance(d, int) and isinstance(g, int) and d > 0 and g > 0]  # fmt: skip
    pick = "minimum" if policy == "not_larger" else "maximum"
    if len(known) == len(axes):
        scale = (min if pick == "minimum" else max)(g / d for d, g in known)
        for axis, (size, _) in zip(axes, known, strict=True):
            shape[axis], factors[axis] = int(scale * size + 0.5), scale
        return _Grid(shape, factors)
    b = n.b
    sides = b.cast(sizes(have), dtype=DType.F64)
    ratios = b.div(b.cast(vector(n, 3), dtype=DType.F64), sides)
    reduce = b.reduce_min if pick == "minimum" else b.reduce_max
    scales = b.expand(reduce(ratios, axes=(0,)), shape=(len(axes),))
    return _grid_of_lengths(n, x, axes, b.floor(b.add(b.mul(sides, scales), 0.5)), scales)


def _roi(n: Node, axes: list[int]) -> tuple[float, ...]:
    values = [float(v) for v in n.array(1).ravel()]
    if len(values) != 2 * len(axes):
        raise BiremeError("BM1006", f"roi has {len(values)} numbers for {len(axes)} axes")
    rank = n[0].rank
    full = [0.0] * rank + [1.0] * rank
    for i, axis in enumerate(axes):
        full[axis], full[rank + axis] = values[i], values[len(axes) + i]
    return tuple(full)


_SAMPLE_MODES = {"bilinear": "linear", "bicubic": "cubic", "linear": "linear", "cubic": "cubic",
                 "nearest": "nearest"}  # fmt: skip


def _grid_sample(n: Node) -> Tensor:
    mode = n.choice("mode", "linear", tuple(_SAMPLE_MODES))
    padding = n.choice("padding_mode", "zeros", ("zeros", "border", "reflection"))
    corners = n.flag("align_corners")
    grid = n[1] if n[1].dtype is n[0].dtype else n.b.cast(n[1], dtype=n[0].dtype)
    return n.b.grid_sample(
        n[0], grid, mode=_SAMPLE_MODES[mode], padding=padding, align_corners=corners
    )


def _roi_align(n: Node) -> Tensor:
    batch = index(n, n[2])
    if batch.dtype is not DType.I64:
        batch = n.b.cast(batch, dtype=DType.I64)
    default = "half_pixel" if n.opset >= 16 else "output_half_pixel"
    return n.b.roi_align(
        n[0],
        n[1],
        batch,
        mode=n.choice("mode", "avg", ("avg", "max")),
        output_height=n.integer("output_height", 1),
        output_width=n.integer("output_width", 1),
        sampling_ratio=n.integer("sampling_ratio", 0),
        spatial_scale=n.number("spatial_scale", 1.0),
        coordinate=n.choice("coordinate_transformation_mode", default,
                            ("half_pixel", "output_half_pixel")),
    )  # fmt: skip


TABLE: Table = {
    "GridSample": _grid_sample,
    "Resize": ((10, _upsample), (11, _resize)),
    "RoiAlign": _roi_align,
    "Upsample": ((7, _upsample_attributes), (9, _upsample)),
}
