"""Interpolating ops in every mode, at odd and symbolic sizes."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, symbol
from bireme.ir.dtypes import WIDE
from bireme.ir.ops.resize import COORDINATES, NEAREST
from bireme.ir.ops.sampling import PADDINGS
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import group, run_kernel

H, W = symbol("h"), symbol("w")
ROI = (0.0, 0.0, 0.1, -0.2, 1.0, 1.0, 0.8, 1.1)


def resize(operand, shape, **attrs):
    attrs = {"scales": (0.0,) * len(shape), **attrs}
    return group([operand], lambda b, x: b.resize(x, shape=shape, **attrs))


@pytest.mark.parametrize("shape", [(2, 3, 11, 37), (2, 3, 10, 34), (2, 3, 3, 9), (2, 3, 1, 1)])
@pytest.mark.parametrize("nearest", NEAREST)
@pytest.mark.parametrize("coordinate", COORDINATES)
def test_nearest(coordinate, nearest, shape):
    operand = TensorType(DType.F32, (2, 3, 5, 17))
    kernel = resize(operand, shape, coordinate=coordinate, nearest=nearest, roi=ROI)
    check(kernel, rtol=0, atol=0)


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("coordinate", COORDINATES)
def test_filters(coordinate, mode, exclude):
    operand = TensorType(DType.F32, (2, 1, 5, 17))
    attrs = {"coordinate": coordinate, "mode": mode, "exclude_outside": exclude, "roi": ROI}
    check(resize(operand, (2, 1, 8, 37), extrapolation=7.0, **attrs))


@pytest.mark.parametrize("exclude", [False, True])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("shape", [(1, 2, 3, 5), (1, 2, 9, 40), (1, 2, 7, 3)])
def test_antialias(shape, mode, exclude):
    operand = TensorType(DType.F32, (1, 2, 7, 17))
    check(resize(operand, shape, mode=mode, antialias=True, exclude_outside=exclude))


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_symbolic(mode, level):
    """Twice the size, a given scale, and channels in blocks, which are not resized."""
    operand = TensorType(DType.F32, (2, H, W, 16))
    sizes = {"h": 4, "w": 9}
    check(resize(operand, (2, 2 * H, 2 * W, 16), mode=mode), sizes=sizes, level=level)
    operand = TensorType(DType.F32, (2, 3, H, W))
    check(resize(operand, (2, 3, H, 2 * W), mode=mode), sizes=sizes, level=level)
    scales = (1.0, 1.0, 1.5, 1.5)
    kernel = resize(operand, (2, 3, H * 3 // 2, W * 3 // 2), scales=scales, mode=mode)
    check(kernel, sizes=sizes, level=level)


@pytest.mark.parametrize("dtype", WIDE, ids=lambda d: d.label)
def test_types(dtype):
    check(resize(TensorType(dtype, (3, 17)), (5, 40), nearest="floor"))
    if dtype.is_float:
        check(resize(TensorType(dtype, (3, 17)), (5, 40), mode="linear"))


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("align", [False, True])
def test_grid_sample(align, padding, mode):
    types = [TensorType(DType.F32, s) for s in ((2, 3, 5, 9), (2, 4, 19, 2))]
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 9), np.float32)
    grid = np.random.default_rng(1).uniform(-1.6, 1.6, (2, 4, 19, 2)).astype(np.float32)
    kernel = group(
        types,
        lambda b, x, g: b.grid_sample(x, g, mode=mode, padding=padding, align_corners=align),
    )
    check(kernel, [x, grid])


def test_grid_sample_of_volumes():
    types = [TensorType(DType.F32, s) for s in ((1, 2, 3, 4, 5), (1, 2, 3, 17, 3))]
    grid = np.random.default_rng(1).uniform(-1.3, 1.3, (1, 2, 3, 17, 3)).astype(np.float32)
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 4, 5), np.float32)
    check(group(types, lambda b, x, g: b.grid_sample(x, g)), [x, grid])


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("coordinate", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align(ratio, coordinate, mode):
    x = np.random.default_rng(0).standard_normal((2, 3, 12, 14), np.float32)
    rois = np.array([[1, 2, 9, 11], [-3, 0, 30, 5], [4, 4, 4.5, 4.2]], np.float32)
    types = [
        TensorType(DType.F32, x.shape),
        TensorType(DType.F32, (3, 4)),
        TensorType(DType.I64, (3,)),
    ]
    attrs = {"mode": mode, "coordinate": coordinate, "sampling_ratio": ratio, "spatial_scale": 0.5}
    kernel = group(types, lambda b, *a: b.roi_align(*a, output_height=3, output_width=5, **attrs))
    check(kernel, [x, rois, np.array([1, 0, 1])])
    status, _ = run_kernel(kernel, [x, rois, np.array([1, 2, 1])])
    assert status == -1
