"""Resize, grid sampling and region pooling against ONNX Runtime and ONNX's own reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from onnx.reference.ops import op_resize

from bireme.ir import Array
from bireme.ir.ops.resize import COORDINATES, NEAREST
from bireme.ir.reference import run_op
from tests.ir.peer import peer

_random = np.random.default_rng(17)


def floats(*shape: int) -> Array:
    return _random.standard_normal(shape).astype(np.float32)


def close(x: Array, y: Array, tolerance: float = 2e-5) -> None:
    assert x.dtype == y.dtype
    assert x.shape == y.shape
    np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance)


SIZES = [(8, 12), (3, 4), (5, 13), (1, 6)]
# Whole result sizes of 4 × 8: ONNX Runtime rounds sizes where the standard does not. Exact in
# float32, so that its coordinates are the ones meant.
SCALES = [(2.0, 2.0), (0.5, 0.5), (1.5, 0.75), (3.0, 1.0)]


def resized(x: Array, shape: Sequence[int], scales: Sequence[float], **attrs: Any) -> Array:
    (found,) = run_op("resize", [x], {"shape": shape, "scales": scales, **attrs})
    return found


def peer_resize(x: Array, operands: Sequence[Any], attrs: dict[str, Any]) -> Array:
    names = {
        "coordinate": "coordinate_transformation_mode",
        "nearest": "nearest_mode",
        "cubic_a": "cubic_coeff_a",
        "extrapolation": "extrapolation_value",
    }
    onnx_attrs = {names.get(k, k): int(v) if isinstance(v, bool) else v for k, v in attrs.items()}
    return peer("Resize", [x, *operands], **onnx_attrs)[0]


def by_size(x: Array, size: Sequence[int], attrs: dict[str, Any]) -> None:
    shape = (*x.shape[:2], *size)
    expected = peer_resize(x, [None, None, np.array(shape, np.int64)], attrs)
    close(resized(x, shape, (0.0,) * 4, **attrs), expected)


def by_scale(x: Array, scale: Sequence[float], attrs: dict[str, Any]) -> None:
    scales = (1.0, 1.0, *scale)
    expected = peer_resize(x, [None, np.array(scales, np.float32)], attrs)
    close(resized(x, expected.shape, scales, **attrs), expected)


PLAIN = [c for c in COORDINATES if c != "tf_crop_and_resize"]


@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_nearest(coordinate: str, nearest: str, dtype: Any) -> None:
    x = (floats(1, 2, 4, 8) * 40).astype(np.int32).astype(dtype)
    attrs = {"mode": "nearest", "coordinate": coordinate, "nearest": nearest}
    for size in [(8, 16), (2, 4), (4, 24)]:
        by_size(x, size, attrs)
    for scale in SCALES:
        by_scale(x, scale, attrs)


@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation_to_a_size(coordinate: str, size: Any, mode: str) -> None:
    by_size(floats(2, 3, 4, 6), size, {"mode": mode, "coordinate": coordinate})


@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_interpolation_by_a_scale(coordinate: str, scale: Any, mode: str) -> None:
    by_scale(floats(2, 3, 4, 8), scale, {"mode": mode, "coordinate": coordinate})


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_antialias(mode: str, size: Any) -> None:
    attrs = {"mode": mode, "antialias": True, "exclude_outside": True}
    by_size(floats(1, 2, 9, 14), size, attrs)


@pytest.mark.parametrize("exclude_outside", [False, True])
@pytest.mark.parametrize("cubic_a", [-0.75, -0.5])
def test_cubic_options(exclude_outside: bool, cubic_a: float) -> None:
    attrs = {"mode": "cubic", "exclude_outside": exclude_outside, "cubic_a": cubic_a}
    by_size(floats(1, 2, 5, 7), (9, 4), attrs)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("size", [(4, 3), (1, 9)], ids=str)
def test_crop_and_resize(mode: str, size: Any) -> None:
    x = floats(1, 2, 5, 7)
    roi = (0.0, 0.0, 0.25, -0.1, 1.0, 1.0, 0.75, 1.2)
    attrs = {"mode": mode, "coordinate": "tf_crop_and_resize", "extrapolation": 10.0}
    shape = (1, 2, *size)
    operands = [np.array(roi, np.float32), None, np.array(shape, np.int64)]
    expected = peer_resize(x, operands, attrs)
    close(resized(x, shape, (0.0,) * 4, roi=roi, **attrs), expected)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("exclude_outside", [False, True])
@pytest.mark.parametrize("coordinate", PLAIN)
@pytest.mark.parametrize("scale", [0.6, 0.3, 1.7])
def test_one_axis_as_in_onnx(
    mode: str, antialias: bool, exclude_outside: bool, coordinate: str, scale: float
) -> None:
    """The standard's own (slow, one-dimensional) reference, where its runtime differs."""
    x = _random.standard_normal(11)
    size = int(11 * scale)
    coefficients = {
        ("nearest", False): op_resize._nearest_coeffs,
        ("nearest", True): op_resize._nearest_coeffs,
        ("linear", False): op_resize._linear_coeffs,
        ("linear", True): op_resize._linear_coeffs_antialias,
        ("cubic", False): op_resize._cubic_coeffs,
        ("cubic", True): op_resize._cubic_coeffs_antialias,
    }[mode, antialias]
    takes_scale = antialias and mode != "nearest"
    expected = [
        op_resize._interpolate_1d_with_x(
            x,
            scale,
            size,
            i,
            # Weights at whole coordinates are integers there, and are then divided in place.
            lambda ratio, s: coefficients(float(ratio), *[s] * takes_scale),
            coordinate_transformation_mode=coordinate,
            exclude_outside=exclude_outside and mode != "nearest",
        )
        for i in range(size)
    ]
    found = resized(
        x, (size,), (scale,), mode=mode, antialias=antialias, exclude_outside=exclude_outside,
        coordinate=coordinate,
    )  # fmt: skip
    np.testing.assert_allclose(found, np.ravel(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_grid_sample(mode: str, padding: str, align_corners: bool) -> None:
    x, grid = floats(2, 3, 5, 6), floats(2, 4, 7, 2)
    attrs = {"mode": mode, "padding": padding, "align_corners": align_corners}
    (found,) = run_op("grid_sample", [x, grid], attrs)
    (expected,) = peer(
        "GridSample", [x, grid], mode=mode, padding_mode=padding, align_corners=int(align_corners)
    )
    close(found, expected, 1e-4)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align_corners", [False, True])
def test_grid_sample_of_volumes(mode: str, padding: str, align_corners: bool) -> None:
    x, grid = floats(1, 2, 3, 4, 5), floats(1, 2, 3, 2, 3)
    attrs = {"mode": mode, "padding": padding, "align_corners": align_corners}
    (found,) = run_op("grid_sample", [x, grid], attrs)
    (expected,) = peer(
        "GridSample", [x, grid], mode=mode, padding_mode=padding, align_corners=int(align_corners)
    )
    close(found, expected, 1e-4)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("sampling_ratio", [0, 1, 3])
@pytest.mark.parametrize("coordinate", ["half_pixel", "output_half_pixel"])
def test_roi_align(mode: str, sampling_ratio: int, coordinate: str) -> None:
    x = floats(2, 3, 9, 8)
    rois = np.float32([[0, 0, 15, 13], [3, 4, 5, 4.5], [-6, 2, 30, 40], [2, 2, 2, 2]])
    batches = np.array([1, 0, 1, 0])
    attrs = {
        "mode": mode,
        "sampling_ratio": sampling_ratio,
        "output_height": 3,
        "output_width": 2,
        "spatial_scale": 0.5,
    }
    (found,) = run_op("roi_align", [x, rois, batches], {**attrs, "coordinate": coordinate})
    attrs["coordinate_transformation_mode"] = coordinate
    (expected,) = peer("RoiAlign", [x, rois, batches], opset=16, **attrs)
    close(found, expected)
