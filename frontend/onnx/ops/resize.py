"""Resizing and sampling of images."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from bireme.frontend.onnx.emit import Tensor
from bireme.frontend.onnx.node import Node
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


def _scales(n: Node, place: int) -> list[Any]:
    known = n[place].known
    if known is None:
        raise n.unknown(place)
    return list(known.ravel().tolist())


def _upsample(n: Node) -> Tensor:
    x = n[0]
    mode = n.choice("mode", "nearest", ("nearest", "linear"))
    scales = n.numbers("scales") if n.opset < 9 else _scales(n, 1)
    return _resized(n, x, scales, {"mode": mode, "coordinate": "asymmetric", "nearest": "floor"})


def _resize10(n: Node) -> Tensor:
    mode = n.choice("mode", "nearest", ("nearest", "linear"))
    options = {"mode": mode, "coordinate": "asymmetric", "nearest": "floor"}
    return _resized(n, n[0], _scales(n, 1), options)


def _resized(n: Node, x: Tensor, scales: list[Any], options: dict[str, Any]) -> Tensor:
    if len(scales) != x.rank:
        raise BiremeError("BM1006", f"{len(scales)} scales for {x.type}")
    pairs = [_scaled(d, s) for d, s in zip(x.shape, scales, strict=True)]
    shape, factors = (tuple(column) for column in zip(*pairs, strict=True))
    return _interpolated(n, x, shape=shape, scales=factors, **options)


def _interpolated(n: Node, x: Tensor, **options: Any) -> Tensor:
    """The resize, through float32 where integers are averaged, as ONNX Runtime does it."""
    if x.dtype.is_float or options["mode"] == "nearest":
        return n.b.resize(x, **options)
    return n.b.cast(n.b.resize(n.b.cast(x, dtype=DType.F32), **options), dtype=x.dtype)


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
    given: list[Any] = _scales(n, 2) if has_scales else n.dims(3)
    if len(given) != len(axes):
        raise BiremeError("BM1006", f"{len(given)} scales or sizes for {len(axes)} axes")
    shape, factors = list(x.shape), [1.0] * x.rank
    if has_scales:
        for axis, scale in zip(axes, given, strict=True):
            shape[axis], factors[axis] = _scaled(shape[axis], scale)
    elif policy == "stretch":
        for axis, size in zip(axes, given, strict=True):
            shape[axis] = size
            factors[axis] = 1.0 if size == x.shape[axis] else 0.0
    else:
        _keep_aspect(x, axes, given, policy, shape, factors)
    return _interpolated(n, x, shape=tuple(shape), scales=tuple(factors), **options)


def _keep_aspect(
    x: Tensor,
    axes: list[int],
    given: list[Any],
    policy: str,
    shape: list[Dim],
    factors: list[float],
) -> None:
    """One scale for all axes, so that no side is larger (or smaller) than asked for."""
    sizes = [x.shape[a] for a in axes]
    if not all(isinstance(d, int) and d > 0 for d in [*sizes, *given]):
        raise BiremeError("BM1007", f"keeping the aspect ratio of {x.type} needs known sizes")
    ratios = [float(g) / float(str(d)) for g, d in zip(given, sizes, strict=True)]
    scale = min(ratios) if policy == "not_larger" else max(ratios)
    for axis in axes:
        shape[axis] = int(scale * float(str(x.shape[axis])) + 0.5)
        factors[axis] = scale


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
    "Resize": ((10, _resize10), (11, _resize)),
    "RoiAlign": _roi_align,
    "Upsample": _upsample,
}
