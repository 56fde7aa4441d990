"""Winograd convolutions: every step of the kernel at sizes around tiles, blocks and tasks."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.codegen.kernel import template_of
from bireme.codegen.spec import kernel_spec
from bireme.codegen.templates.tiles import COLUMNS
from bireme.ir import DType, TensorType, symbol
from bireme.ir.winograd import transform_filters
from bireme.passes.layout import pack_filters
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group, run_kernel

F32 = DType.F32
N, H, W = symbol("n"), symbol("h"), symbol("w")
UNIT = {"strides": (1, 1), "pads": (0,) * 4, "dilations": (1, 1), "groups": 1}


def winograd_group(x, blocks, tile, pad=(), residual=False, both=False, spare=0):
    """Conv → + bias → (+ residual) → relu → (pad), on channel blocks; `both` gives the result
    before relu, too.
    """
    points = tile + 2
    weights = (blocks, points, points, x[1], COLUMNS, COLUMNS)
    inputs = [TensorType(F32, shape) for shape in (x, weights, (blocks, 1, 1, COLUMNS))]
    if residual:
        inputs.append(TensorType(F32, (x[0], blocks, x[2] - 2, x[3] - 2, COLUMNS)))

    def body(b, x, w, bias, *rest):
        y = b.conv(x, w, **UNIT, in_block=COLUMNS, out_block=COLUMNS, winograd=tile, spare=spare)
        y = b.add(y, bias)
        for other in rest:
            y = b.add(y, other)
        z = b.relu(y)
        if pad:
            top, left, bottom, right = pad
            before, after = (0, 0, top, left, 0), (0, 0, bottom, right, 0)
            z = b.pad(z, before=before, after=after, mode="constant")
        return [y, z] if both else z

    return group(inputs, body, "contraction")


def inputs_of(case, sizes, tile):
    """Random data, with filters that are transforms of 3×3 ones: edges count on that."""
    types = [v.type for v in case.operands]
    x, _, *others = (sample(t, sizes, seed) for seed, t in enumerate(types))
    filters, depth = (types[1].shape[axis] * COLUMNS for axis in (0, 3))
    plain = np.random.default_rng(7).standard_normal((filters, depth, 3, 3)).astype(np.float32)
    (conv,) = (op for op in case.blocks[0].ops if op.name == "conv")
    plain[:, depth - conv.attrs["spare"] :] = 0
    packed = pack_filters(transform_filters(plain, tile), COLUMNS, COLUMNS)
    return [x, np.ascontiguousarray(np.moveaxis(packed, 1, 3)), *others]


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [
        ({"x": (1, 1, 3, 3, 16), "blocks": 1}, {}),
        ({"x": (1, 2, 10, 14, 16), "blocks": 2}, {}),
        ({"x": (1, 2, 9, 17, 16), "blocks": 3, "pad": (1, 1, 1, 1)}, {}),
        ({"x": (2, 1, 7, 6, 16), "blocks": 2, "residual": True}, {}),
        ({"x": (3, 2, 15, 13, 16), "blocks": 5, "residual": True, "both": True}, {}),
        ({"x": (2, 1, 8, 9, 16), "blocks": 1, "pad": (2, 0, 1, 3)}, {}),
        ({"x": (1, 16, 58, 30, 16), "blocks": 16}, {}),
        ({"x": (1, 2, 9, 10, 16), "blocks": 2, "spare": 5}, {}),
        ({"x": (N, 2, H, W, 16), "blocks": 2}, {"n": 2, "h": 8, "w": 19}),
        ({"x": (N, 1, H, W, 16), "blocks": 3, "pad": (1, 1, 1, 1)}, {"n": 3, "h": 3, "w": 40}),
        ({"x": (1, 9, H, W, 16), "blocks": 4, "residual": True}, {"h": 33, "w": 22}),
    ],
    ids=str,
)
def test_winograd(arguments, sizes, tile):
    case = winograd_group(tile=tile, **arguments)
    assert template_of(kernel_spec(case).graph()).name == "winograd"
    for split in (1, 3):
        check(case, inputs_of(case, sizes, tile), sizes, split=split)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
def test_winograd_on_older_levels(level, tile):
    case = winograd_group((2, 3, 9, 17, 16), 3, tile, pad=(1, 1, 1, 1))
    check(case, inputs_of(case, {}, tile), level=level)


@pytest.mark.parametrize("tile", [2, 4])
def test_nan_reaches_what_reads_it_and_no_tile_that_does_not(tile):
    case = winograd_group((1, 1, 15, 18, 16), 1, tile)
    arrays = inputs_of(case, {}, tile)
    (expected,) = check(case, arrays)
    y, x = 6, 7
    arrays[0][0, 0, y, x, 3] = np.nan
    status, (found,) = run_kernel(case, arrays)
    assert status == 0
    assert np.isnan(found[:, :, y - 2 : y + 1, x - 2 : x + 1]).all()
    rows, columns = (np.arange(size) // tile * tile for size in found.shape[2:4])
    reads = (rows[:, None] <= y) & (y < rows[:, None] + tile + 2)
    reads = reads & (columns <= x) & (x < columns + tile + 2)
    np.testing.assert_array_equal(found[:, :, ~reads], expected[:, :, ~reads])
