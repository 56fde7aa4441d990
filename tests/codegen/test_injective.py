"""Ops that move elements, by themselves and between element-wise ops, at odd, empty and symbolic
sizes.
"""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, evaluate, symbol
from bireme.ir.dtypes import NUMERIC
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import group, run_kernel

N, H, W = symbol("n"), symbol("h"), symbol("w")
SIZES = {"n": 3, "h": 5, "w": 37}
EMPTY = {"n": 0, "h": 5, "w": 37}


def f32(*shape):
    return TensorType(DType.F32, shape)


# name: (operand shape, op on it)
CASES = {
    "reshape_merge": (f32(N, 3, H, W), lambda b, x: b.reshape(x, shape=(N, 3 * H * W))),
    "reshape_split": (f32(N, 6 * W), lambda b, x: b.reshape(x, shape=(N, 2, 3, W))),
    "reshape_ones": (f32(1, N, 1, W), lambda b, x: b.reshape(x, shape=(N, 1, W, 1))),
    "reshape_regroup": (f32(6, 35), lambda b, x: b.reshape(x, shape=(10, 21))),
    "reshape_small": (f32(4, 9, 5), lambda b, x: b.reshape(x, shape=(3, 60))),
    "reshape_scalar": (f32(1, 1), lambda b, x: b.reshape(x, shape=())),
    "transpose_2d": (f32(N, W), lambda b, x: b.transpose(x, perm=(1, 0))),
    "transpose_last": (f32(N, H, W), lambda b, x: b.transpose(x, perm=(1, 0, 2))),
    "transpose_nhwc": (f32(N, 3, H, W), lambda b, x: b.transpose(x, perm=(0, 2, 3, 1))),
    "transpose_heads": (f32(N, 17, 4, 16), lambda b, x: b.transpose(x, perm=(0, 2, 1, 3))),
    "slice": (f32(7, W), lambda b, x: b.slice(x, starts=(2, 1), sizes=(3, W - 2), steps=(1, 1))),
    "slice_steps": (f32(7, W), lambda b, x: b.slice(x, starts=(0, 3), sizes=(4, 17), steps=(2, 2))),
    "slice_back": (
        f32(N, W),
        lambda b, x: b.slice(x, starts=(N - 1, W - 1), sizes=(N, W), steps=(-1, -1)),
    ),
    "slice_nothing": (
        f32(7, W),
        lambda b, x: b.slice(x, starts=(2, 1), sizes=(0, W - 2), steps=(1, 1)),
    ),
    "expand": (f32(N, 1, W), lambda b, x: b.expand(x, shape=(2, N, 5, W))),
    "expand_inner": (f32(N, H, 1), lambda b, x: b.expand(x, shape=(N, H, 37))),
    "tile": (f32(2, 5), lambda b, x: b.tile(x, repeats=(3, 7))),
    "tile_symbolic": (f32(N, W), lambda b, x: b.tile(x, repeats=(2, 2))),
    "pad": (f32(N, H, W), lambda b, x: b.pad(x, before=(0, 1, 2), after=(1, 0, 3))),
    "pad_rows": (f32(N, H, W), lambda b, x: b.pad(x, before=(0, 1, 0), after=(0, 2, 0))),
    "pad_reflect": (
        f32(4, W),
        lambda b, x: b.pad(x, before=(3, 20), after=(3, 30), mode="reflect"),
    ),
    "pad_edge": (f32(4, W), lambda b, x: b.pad(x, before=(3, 20), after=(3, 50), mode="edge")),
    "pad_wrap": (f32(4, W), lambda b, x: b.pad(x, before=(3, 20), after=(4, 30), mode="wrap")),
    "pad_empty": (f32(0, 5), lambda b, x: b.pad(x, before=(1, 1), after=(1, 20))),
    "pack": (f32(N, 35, H, W), lambda b, x: b.pack_channels(x, block=16)),
    "pack_full": (f32(N, 32, 7), lambda b, x: b.pack_channels(x, block=8)),
    "pack_symbolic": (f32(2, N, W), lambda b, x: b.pack_channels(x, block=4)),
    "unpack": (f32(N, 3, H, W, 16), lambda b, x: b.unpack_channels(x, channels=35)),
    "unpack_small": (f32(2, 3, 5, 4), lambda b, x: b.unpack_channels(x, channels=11)),
    "shuffle": (
        f32(2, 8, H, W),
        lambda b, x: b.reshape(
            b.transpose(b.reshape(x, shape=(2, 2, 2, 2, H, W)), perm=(0, 3, 4, 1, 5, 2)),
            shape=(2, 2, 2 * H, 2 * W),
        ),
    ),
}


@pytest.mark.parametrize("sizes", [SIZES, EMPTY], ids=["odd", "empty"])
@pytest.mark.parametrize("name", CASES)
def test_one_op(name, sizes):
    operand, op = CASES[name]
    if sizes is EMPTY and "n" not in operand.symbols:
        pytest.skip("the case has no size that may be 0")
    check(group([operand], op), sizes=sizes)


@pytest.mark.parametrize("name", CASES)
def test_between_pointwise(name):
    """No op may depend on its operand being in memory, nor on its result going there."""
    operand, op = CASES[name]
    if "empty" in name:
        pytest.skip("there are no elements to compute")
    kernel = group([operand], lambda b, x: b.neg(op(b, b.add(x, x))))
    check(kernel, sizes=SIZES, split=3)


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.label)
def test_types(dtype, level):
    kernel = group(
        [TensorType(dtype, (3, W))],
        lambda b, x: b.pad(b.transpose(x, perm=(1, 0)), before=(2, 1), after=(0, 20)),
    )
    check(kernel, sizes=SIZES, level=level)


def test_pad_value():
    kernel = group([f32(N, W), f32()], lambda b, x, v: b.pad(x, v, before=(1, 1), after=(1, 17)))
    check(kernel, sizes=SIZES)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("counts", [(2, 3), (1, 40, 5), (0, 3), (7,)])
def test_concat(counts, axis):
    shapes = []
    for count in counts:
        shape = [3, 4, 21]
        shape[axis] = count
        shapes.append(f32(*shape))
    check(group(shapes, lambda b, *xs: b.concat(*xs, axis=axis)))
    check(group(shapes, lambda b, *xs: b.neg(b.concat(*map(b.neg, xs), axis=axis))))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("n", [0, 1, 50])
def test_concat_symbolic(n, axis):
    shapes = [f32(N, W), f32(3, W)] if axis == 0 else [f32(H, N), f32(H, 3)]
    kernel = group(shapes, lambda b, *xs: b.abs(b.concat(*xs, axis=axis)))
    check(kernel, sizes={**SIZES, "n": n})


@pytest.mark.parametrize("dtype", [DType.I32, DType.I64], ids=lambda d: d.label)
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather(axis, dtype):
    x = np.random.default_rng(0).standard_normal((5, 7, 37), np.float32)
    indices = np.random.default_rng(1).integers(-x.shape[axis], x.shape[axis], (2, 19))
    types = [f32(*x.shape), TensorType(dtype, indices.shape)]
    kernel = group(types, lambda b, x, i: b.gather(x, i, axis=axis))
    check(kernel, [x, indices.astype(dtype.numpy)])


@pytest.mark.parametrize("axis", [0, 1])
def test_gather_elements(axis):
    x = np.random.default_rng(0).standard_normal((5, 37), np.float32)
    indices = np.random.default_rng(1).integers(-x.shape[axis], x.shape[axis], (4, 33))
    types = [f32(*x.shape), TensorType(DType.I64, indices.shape)]
    check(group(types, lambda b, x, i: b.gather_elements(x, i, axis=axis)), [x, indices])


@pytest.mark.parametrize(("batch", "length"), [(0, 1), (0, 2), (1, 1), (1, 2), (0, 0)])
def test_gather_nd(batch, length):
    x = np.random.default_rng(0).standard_normal((4, 5, 21), np.float32)
    indices = np.random.default_rng(1).integers(-4, 4, (4, 3, length))
    types = [f32(*x.shape), TensorType(DType.I64, indices.shape)]
    kernel = group(types, lambda b, x, i: b.gather_nd(x, i, batch_dims=batch))
    check(kernel, [x, indices])


GATHERS = {
    "gather": lambda b, x, i: b.gather(x, i, axis=0),
    "gather_elements": lambda b, x, i: b.gather_elements(x, i, axis=0),
    "gather_nd": lambda b, x, i: b.gather_nd(b.reshape(x, shape=(5,)), b.reshape(i, shape=(20, 1))),
}


@pytest.mark.parametrize("wrong", [5, -6, 1 << 40])
@pytest.mark.parametrize("name", GATHERS)
@pytest.mark.parametrize("where", [0, 19])
def test_fault(name, wrong, where):
    """An index that does not exist, in the vector part or in the tail, is reported."""
    x = np.arange(5, dtype=np.float32)
    indices = np.zeros(20, np.int64)
    kernel = group([f32(5), TensorType(DType.I64, (20,))], GATHERS[name])
    status, _ = run_kernel(kernel, [x, indices])
    assert status == 0
    indices[where] = wrong
    status, _ = run_kernel(kernel, [x, indices])
    assert status == -1


@pytest.mark.parametrize("n", [0, 4])
def test_gather_from_nothing(n):
    """Any index into an empty axis is a fault; nothing is read."""
    kernel = group([f32(N, 9), TensorType(DType.I64, (2,))], lambda b, x, i: b.gather(x, i))
    status, _ = run_kernel(kernel, [np.ones((n, 9), np.float32), np.zeros(2, np.int64)], {"n": n})
    assert status == (-1 if n == 0 else 0)


@pytest.mark.parametrize(("batch", "time"), [(0, 1), (1, 0), (1, 2), (2, 0)])
def test_reverse_sequence(batch, time):
    x = np.random.default_rng(0).standard_normal((4, 5, 19), np.float32)
    lengths = np.arange(x.shape[batch]) + 1
    types = [f32(*x.shape), TensorType(DType.I64, lengths.shape)]
    kernel = group(
        types, lambda b, x, n: b.reverse_sequence(x, n, batch_axis=batch, time_axis=time)
    )
    check(kernel, [x, lengths])


@pytest.mark.parametrize("dtype", NUMERIC, ids=lambda d: d.label)
@pytest.mark.parametrize("axis", [0, 1])
def test_iota(axis, dtype):
    kernel = group(
        [TensorType(dtype, (3, W))],
        lambda b, x: b.where(b.equal(x, x), b.iota(shape=(3, W), axis=axis, dtype=dtype), x),
    )
    check(kernel, sizes=SIZES)


def test_dim_values():
    kernel = group(
        [TensorType(DType.I64, (3,)), f32(N, W)],
        lambda b, x, _: b.add(x, b.dim_values(values=(N, W * 2, 7))),
    )
    check(kernel, sizes=SIZES)


@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.label)
def test_constants(dtype):
    """Constants become part of the code."""
    one = np.asarray(1, dtype.numpy)
    row = (np.arange(5) % 2).astype(dtype.numpy)

    def wide(b, x):
        return b.cast(x, dtype=DType.F32) if dtype.is_narrow else x

    kernel = group(
        [TensorType(dtype, (3, 5))],
        lambda b, x: b.where(b.equal(wide(b, x), wide(b, b.constant(row))), b.constant(one), x),
    )
    check(kernel)


def test_indices_from_arithmetic():
    """Indices that are calculated in the same kernel."""
    kernel = group(
        [f32(6, W), TensorType(DType.I64, (4,))],
        lambda b, x, i: b.gather(x, b.add(i, i), axis=0),
    )
    x = np.random.default_rng(0).standard_normal((6, evaluate(W, SIZES)), np.float32)
    check(kernel, [x, np.array([0, 2, -1, -3])], SIZES)


@pytest.mark.parametrize("step", [-3, -2, -1, 2, 3, 4, 5])
@pytest.mark.parametrize("dtype", [DType.BOOL, DType.F32, DType.BF16, DType.F64], ids=str)
def test_strides(dtype, step):
    """Vectors of elements that do not lie side by side, up to both ends of the operand."""
    count = 40
    size = (count - 1) * abs(step) + 1
    start = 0 if step > 0 else size - 1
    kernel = group(
        [TensorType(dtype, (2, size))],
        lambda b, x: b.slice(x, starts=(0, start), sizes=(2, count), steps=(1, step)),
    )
    check(kernel)
