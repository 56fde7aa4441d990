"""Register-tiled convolutions and matrix products, at sizes around the tiles."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.codegen.collapse import flatten_rows
from bireme.codegen.kernel import template_of
from bireme.codegen.spec import kernel_spec
from bireme.codegen.templates.tiles import COLUMNS, choose_tile
from bireme.ir import DType, TensorType, symbol
from bireme.passes.pack_matmul import pack_columns
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check, sample
from tests.codegen.kernels import group, run_kernel

F32 = DType.F32
N, H, W = symbol("n"), symbol("h"), symbol("w")


def conv_group(
    x,
    filters,
    stride=1,
    dilation=1,
    depthwise=False,
    plain=False,
    pad=0,
    residual=False,
    groups=1,
    dtype=F32,
    spare=0,
):
    """Conv → + bias → (+ residual) → relu → (pad), on channel blocks."""
    rank = len(filters) - 1
    channels = x[1] if plain else x[1] * COLUMNS
    if depthwise:
        w = (x[1], *filters[1:], COLUMNS)
    else:
        inner = 1 if plain else COLUMNS
        w = (filters[0], channels // groups // inner, *filters[1:], inner, COLUMNS)
    attrs = {
        "strides": (stride,) * rank,
        "pads": (0,) * 2 * rank,
        "dilations": (dilation,) * rank,
        "groups": channels if depthwise else groups,
        "in_block": 1 if plain else COLUMNS,
        "out_block": COLUMNS,
        "spare": spare,
    }
    bias = (w[0], *(1,) * rank, COLUMNS)
    inputs = [TensorType(dtype, shape) for shape in (x, w, bias)]
    if residual:
        spatial = [
            (size - (k - 1) * dilation - 1) // stride + 1
            for size, k in zip(x[2 : 2 + rank], filters[1:], strict=True)
        ]
        inputs.append(TensorType(dtype, (x[0], w[0], *spatial, COLUMNS)))

    def body(b, x, w, bias, *rest):
        y = b.add(b.conv(x, w, **attrs), bias)
        for other in rest:
            y = b.add(y, other)
        y = b.relu(y)
        if pad:
            border = (0, 0, *(pad,) * rank, 0)
            y = b.pad(y, before=border, after=border, mode="constant")
        return y

    return group(inputs, body, "contraction")


@pytest.mark.parametrize(
    ("case", "sizes"),
    [
        (conv_group((1, 2, 9, 17, 16), (3, 3, 3)), {}),
        (conv_group((2, 1, 7, 7, 16), (2, 1, 1), residual=True), {}),
        (conv_group((1, 2, 13, 29, 16), (1, 3, 3), stride=2, residual=True), {}),
        (conv_group((1, 1, 12, 16, 16), (5, 3, 1), dilation=2), {}),
        (conv_group((1, 3, 21, 15), (2, 7, 7), stride=2, plain=True), {}),
        (conv_group((1, 2, 10, 8, 16), (2, 1, 1), pad=1), {}),
        # Sums that are written out.
        (conv_group((1, 3, 21, 37), (2, 3, 3), stride=2, plain=True, pad=1), {}),
        (conv_group((N, 3, H, W), (1, 3, 3), plain=True), {"n": 2, "h": 7, "w": 24}),
        # Weights that are fetched ahead.
        (conv_group((1, 16, 7, 7, 16), (19, 1, 1), residual=True), {}),
        (conv_group((N, 17, H, W, 16), (18, 1, 1)), {"n": 2, "h": 8, "w": 13}),
        (conv_group((1, 2, 9, 30, 16), (2, 3, 3), pad=2), {}),
        (conv_group((1, 3, 10, 19, 16), (3, 3, 3), depthwise=True), {}),
        (conv_group((1, 2, 11, 9, 16), (2, 5, 5), stride=2, depthwise=True, pad=1), {}),
        (conv_group((N, 2, H, W, 16), (2, 3, 3), pad=1), {"n": 2, "h": 8, "w": 19}),
        (conv_group((N, 2, H, W, 16), (2, 1, 1), residual=True), {"n": 1, "h": 9, "w": 11}),
        (conv_group((1, 2, H, W, 16), (2, 3, 3), depthwise=True), {"h": 3, "w": 40}),
        (conv_group((1, 1, H, W, 16), (1, 3, 3)), {"h": 3, "w": 3}),
        (conv_group((2, 4, 7, 9, 16), (6, 3, 3), groups=2, pad=1), {}),
        (conv_group((N, 3, H, W, 16), (3, 3, 3), groups=3), {"n": 2, "h": 5, "w": 18}),
        (conv_group((2, 2, 300, 16), (3, 5), pad=2, residual=True), {}),
        (conv_group((1, 4, 200, 16), (4, 3), stride=2, groups=2, pad=1), {}),
        (conv_group((N, 2, W, 16), (2, 3), dilation=2, pad=3), {"n": 2, "w": 150}),
        (conv_group((1, 1, 170), (2, 10), stride=5, plain=True), {}),
        (conv_group((1, 2, W, 16), (2, 7), depthwise=True, pad=3), {"w": 131}),
        (conv_group((2, 2, 5, 6, 9, 16), (2, 3, 3, 3), residual=True), {}),
        (conv_group((1, 2, N, H, W, 16), (1, 2, 3, 3), stride=2), {"n": 5, "h": 7, "w": 21}),
        (conv_group((1, 3, 4, 8, 8), (1, 3, 3, 3), plain=True), {}),
        (conv_group((2, 2, 60, 1, 16), (2, 5, 1), residual=True), {}),
        (conv_group((1, 2, 3, H, 1, 16), (1, 3, 3, 1), stride=2), {"h": 70}),
        (conv_group((1, 2, 9, 1, 16), (2, 3, 1), depthwise=True, pad=1), {}),
        (conv_group((2, 2, 1, 1, 16), (2, 1, 1)), {}),
        (conv_group((1, 2, 4, 5, 6, 16), (2, 3, 3, 3), depthwise=True), {}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_convolution(case, sizes):
    assert template_of(kernel_spec(case).graph()).name == "convolution"
    check(case, sizes=sizes)


@pytest.mark.parametrize(
    ("case", "sizes"),
    [
        (conv_group((1, 2, 9, 17, 16), (2, 1, 1), spare=8), {}),
        (conv_group((2, 1, 9, 17, 16), (3, 3, 3), spare=15, pad=1), {}),
        (conv_group((1, 3, H, W, 16), (2, 3, 3), stride=2, spare=1), {"h": 11, "w": 35}),
        (conv_group((1, 3, 40, 16), (2, 5), spare=4), {}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_channels_that_do_not_exist_are_left_out(case, sizes):
    """Infinities there would show; the filters are zero."""
    arrays = [sample(v.type, sizes, seed) for seed, v in enumerate(case.operands)]
    (conv,) = (op for op in case.blocks[0].ops if op.name == "conv")
    missing = COLUMNS - conv.attrs["spare"]
    arrays[0][:, -1, ..., missing:] = 0
    arrays[1][:, -1, ..., missing:, :] = 0
    expected = check(case, arrays, sizes)
    arrays[0][:, -1, ..., missing:] = np.inf
    status, found = run_kernel(case, arrays, sizes)
    assert status == 0
    np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("level", LEVELS[1:], ids=lambda level: level.name)
def test_convolution_on_older_levels(level):
    check(conv_group((1, 2, 9, 17, 16), (3, 3, 3), pad=1), level=level)
    check(conv_group((1, 3, 10, 19, 16), (3, 3, 3), depthwise=True), level=level)


def matmul_group(a, b, transposed=False, epilogue=True, dtype=F32):
    columns = b[-2] if transposed else b[-1]

    def body(builder, x, y, bias):
        if transposed:
            rank = y.type.rank
            y = builder.transpose(y, perm=(*range(rank - 2), rank - 1, rank - 2))
        product = builder.matmul(x, y)
        return builder.relu(builder.add(product, bias)) if epilogue else product

    types = [TensorType(dtype, shape) for shape in (a, b, (columns,))]
    return group(types, body, "contraction")


@pytest.mark.parametrize(
    ("case", "sizes"),
    [
        (matmul_group((5, 7), (7, 33)), {}),
        (matmul_group((1, 40), (40, 50)), {}),
        (matmul_group((100, 300), (300, 150)), {}),
        (matmul_group((2, 3, 15, 8), (2, 3, 17, 8), transposed=True), {}),
        (matmul_group((2, 1, 5, 7), (3, 7, 3)), {}),
        (matmul_group((N, H), (H, W)), {"n": 29, "h": 13, "w": 47}),
        (matmul_group((2, N, 8), (2, N, 8), transposed=True, epilogue=False), {"n": 19}),
        (matmul_group((3, 0), (0, 5)), {}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_matmul(case, sizes):
    assert template_of(kernel_spec(case).graph()).name == "matmul"
    check(case, sizes=sizes)


@pytest.mark.parametrize("columns", [16, 33])
@pytest.mark.parametrize("rows", [1, 3, 90])
def test_packed_matmul(rows, columns):
    rng = np.random.default_rng(2)
    a = rng.standard_normal((rows, 21)).astype(np.float32)
    b = rng.standard_normal((21, columns)).astype(np.float32)
    packed = pack_columns(b, COLUMNS)
    kernel = group(
        [TensorType(F32, a.shape), TensorType(F32, packed.shape)],
        lambda builder, x, y: builder.matmul(x, y, block=COLUMNS, columns=columns),
        "contraction",
    )
    status, (result,) = run_kernel(kernel, [a, packed])
    assert status == 0
    np.testing.assert_allclose(result, a @ b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("rows", [None, 1, 7, 49, 56, 84, 1000])
def test_tile_fits_the_registers(level, rows):
    tile = choose_tile(level, rows, 8, 512, grouped=rows is None or rows > 84)
    vectors = max(1, COLUMNS * 32 // level.vector_bits)
    assert (tile.rows * tile.blocks + tile.blocks) * vectors + 1 <= level.registers
    assert tile.rows <= (rows or tile.rows)


@pytest.mark.parametrize(
    "case",
    [conv_group((0, 1, 5, 5, 16), (1, 3, 3)), matmul_group((0, 4), (4, 5))],
    ids=["conv", "matmul"],
)
def test_nothing_to_sum_into(case):
    check(case)


def linear_layer(rows, depth, columns):
    """A product with packed columns, a bias, and what is added to every element and to each row."""

    def body(b, x, w, bias, shortcut, mask):
        y = b.add(b.matmul(x, w, block=COLUMNS, columns=columns), bias)
        return b.relu(b.mul(b.add(y, shortcut), mask))

    packed = (-(-columns // COLUMNS), depth, COLUMNS)
    shapes = [(*rows, depth), packed, (columns,), (*rows, columns), (*(1 for _ in rows), columns)]
    return group([TensorType(F32, shape) for shape in shapes], body, "contraction")


@pytest.mark.parametrize("n", [1, 2, 3, 7, 13, 14, 15, 27, 30, 85])
@pytest.mark.parametrize("level", LEVELS[:2], ids=lambda level: level.name)
def test_rows_of_all_matrices_are_one_run_of_tiles(n, level):
    check(linear_layer((N, H), 35, 33), sizes={"n": n, "h": 3}, level=level)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 6, 7, 8, 85, 86])
def test_a_few_rows_of_any_number(rows):
    check(linear_layer((1, N), 300, 150), sizes={"n": rows})


@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [
        ((128,), 768, 128),  # one part, whole tiles of rows, whole stretches of the sum
        ((2, 171), 300, 450),  # several parts of unequal length, a call in several steps
        ((45,), 1000, 129),  # a last block with one column, an incomplete run of terms
        ((9,), 257, 130),
    ],
)
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_large_packed_product(level, rows, depth, columns):
    check(linear_layer(rows, depth, columns), level=level, split=3)


@pytest.mark.parametrize("n", [0, 5, 64, 84, 200])
def test_large_packed_product_of_any_number_of_rows(n):
    check(linear_layer((N, H), 300, 150), sizes={"n": n, "h": 2}, split=5)


def test_flattened_rows():
    spec = kernel_spec(linear_layer((N, H, 2), 8, 16))
    flat = flatten_rows(spec.graph())
    rows = 2 * symbol("s0") * symbol("s1")
    assert [v.type.shape for v in flat.inputs] == [(rows, 8), (1, 8, 16), (16,), (rows, 16), (16,)]


def test_rows_that_stay_apart():
    def per_matrix(b, x, w, scale):
        return b.mul(b.matmul(x, w, block=COLUMNS, columns=16), scale)

    kernel = group(
        [TensorType(F32, s) for s in ((N, H, 8), (1, 8, 16), (N, 1, 16))], per_matrix, "contraction"
    )
    graph = kernel_spec(kernel).graph()
    assert flatten_rows(graph) is graph
    check(kernel, sizes={"n": 3, "h": 5})


@pytest.mark.parametrize(("depth", "columns"), [(64, 128), (40, 197), (16, 16), (15, 40)])
@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_columns_that_lie_along_the_sum(level, depth, columns):
    check(matmul_group((2, 30, depth), (2, columns, depth), transposed=True), level=level)
