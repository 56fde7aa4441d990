"""Winograd's transforms: exact identities, and what they cost in accuracy."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir.ops.contraction import convolve
from bireme.ir.reference import run_op
from bireme.ir.winograd import POINTS, transform_filters, transforms
from bireme.passes.winograd import pack_winograd

UNIT = {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "groups": 1}


@pytest.mark.parametrize("tile", POINTS)
def test_a_tile_is_the_convolution(tile):
    random = np.random.default_rng(tile)
    matrices = transforms(tile)
    data, taps = random.standard_normal((tile + 2, tile + 2)), random.standard_normal((3, 3))
    points = (matrices.filter @ taps @ matrices.filter.T) * (
        matrices.input @ data @ matrices.input.T
    )
    direct = [[np.sum(data[y : y + 3, x : x + 3] * taps) for x in range(tile)] for y in range(tile)]
    np.testing.assert_allclose(matrices.output @ points @ matrices.output.T, direct, rtol=1e-13)


@pytest.mark.parametrize("tile", POINTS)
def test_matrices_that_kernels_hold_are_exact(tile):
    for matrix in (transforms(tile).input, transforms(tile).output):
        np.testing.assert_array_equal(matrix, matrix.astype(np.float32).astype(np.float64))


@pytest.mark.parametrize(("height", "width"), [(3, 3), (6, 6), (9, 12)])
@pytest.mark.parametrize("tile", POINTS)
def test_reference(tile, height, width):
    """Also where the last tiles reach outside."""
    random = np.random.default_rng(1)
    x = random.standard_normal((2, 8, height, width))
    w = random.standard_normal((4, 8, 3, 3))
    packed = pack_winograd(w, tile, 4)
    blocked = np.moveaxis(x.reshape(2, 2, 4, height, width), 2, -1)
    attrs = {**UNIT, "in_block": 4, "out_block": 4, "winograd": tile}
    (found,) = run_op("conv", [np.ascontiguousarray(blocked), packed], attrs)
    expected = convolve(x, w, (1, 1), (0, 0, 0, 0), (1, 1), 1)
    np.testing.assert_allclose(found[:, 0].transpose(0, 3, 1, 2), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("channels", [64, 256])
@pytest.mark.parametrize(("tile", "multiple"), [(2, 1.0), (4, 3.0)])
def test_rounding_error_against_a_direct_sum(tile, multiple, channels):
    """Root mean square of the errors in float32, as a multiple of those of a direct sum."""
    random = np.random.default_rng(channels)
    places, filters, single = 48, 16, np.float32
    data = random.standard_normal((places, channels, tile + 2, tile + 2)).astype(single)
    weights = random.standard_normal((filters, channels, 3, 3)).astype(single)
    exact = np.zeros((places, filters, tile, tile))
    direct = np.zeros((places, filters, tile, tile), single)
    for c in range(channels):
        for y, x in np.ndindex(3, 3):
            window = data[:, None, c, y : y + tile, x : x + tile]
            tap = weights[None, :, c, y, x, None, None]
            direct += window * tap
            exact += window.astype(np.float64) * tap
    matrices = transforms(tile)
    into, out = matrices.input.astype(single), matrices.output.astype(single)
    points, taps = into @ data @ into.T, transform_filters(weights, tile)
    sums = np.zeros((places, filters, tile + 2, tile + 2), single)
    for c in range(channels):
        sums += points[:, None, c] * taps[None, :, c]
    found = out @ sums @ out.T

    def error(result):
        return float(np.sqrt(np.mean((result - exact) ** 2)))

    assert found.dtype == single
    assert error(found) <= multiple * error(direct)
