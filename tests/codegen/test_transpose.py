"""Kernels that turn tiles in registers: sizes around a tile's side, fused ops, every dtype."""

from __future__ import annotations

import pytest

from bireme.codegen.kernel import emit_kernel
from bireme.codegen.spec import kernel_spec
from bireme.ir import DType, TensorType, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.compare import check
from tests.codegen.kernels import group

H, W = symbol("h"), symbol("w")


def kind(kernel):
    return emit_kernel(kernel_spec(kernel), LEVELS[0]).kind


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("shape", [(4, 5), (16, 16), (17, 33), (70, 15), (3, 40, 7), (2, 300, 90)])
def test_sizes(shape, level):
    operand = TensorType(DType.F32, shape)
    perm = (*range(len(shape) - 2), len(shape) - 1, len(shape) - 2)
    kernel = group([operand], lambda b, x: b.transpose(x, perm=perm))
    assert kind(kernel) == "transpose"
    check(kernel, level=level, split=3)


@pytest.mark.parametrize(("h", "w"), [(0, 5), (3, 5), (16, 3), (15, 40), (40, 17), (16, 16)])
def test_symbolic_sizes(h, w):
    kernel = group([TensorType(DType.F32, (2, H, W))], lambda b, x: b.transpose(x, perm=(0, 2, 1)))
    assert kind(kernel) == "transpose"
    check(kernel, sizes={"h": h, "w": w})


@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.label)
def test_types(dtype):
    kernel = group([TensorType(dtype, (37, 50))], lambda b, x: b.transpose(x, perm=(1, 0)))
    assert kind(kernel) == "transpose"
    check(kernel)


def test_fused_ops():
    """Ops before, after and beside the transpose, and a second result."""
    types = [TensorType(DType.F32, s) for s in ((37, 50), (50, 1), (37,))]

    def body(b, x, column, row):
        turned = b.transpose(b.exp(x), perm=(1, 0))
        return b.mul(b.add(turned, column), row), b.less(turned, column)

    kernel = group(types, body)
    assert kind(kernel) == "transpose"
    check(kernel)


def test_axes_between():
    kernel = group(
        [TensorType(DType.F32, (2, 19, 3, 24))], lambda b, x: b.transpose(x, perm=(0, 3, 2, 1))
    )
    assert kind(kernel) == "transpose"
    check(kernel, split=2)


def test_reads_of_both_kinds():
    """An operand that lies like the result outweighs the one that does not: no tiles."""
    types = [TensorType(DType.F32, s) for s in ((40, 30), (30, 40), (30, 40))]
    kernel = group(types, lambda b, x, y, z: b.add(b.add(b.transpose(x, perm=(1, 0)), y), z))
    assert kind(kernel) == "pointwise"
    check(kernel)


@pytest.mark.parametrize("channels", [16, 35, 7])
def test_channel_blocks(channels):
    plain, blocked = (2, channels, 5, 9), (2, -(-channels // 16), 5, 9, 16)
    pack = group([TensorType(DType.F32, plain)], lambda b, x: b.pack_channels(x, block=16))
    assert kind(pack) == "transpose"
    check(pack)
    unpack = group(
        [TensorType(DType.F32, blocked)],
        lambda b, x: b.relu(b.unpack_channels(x, channels=channels)),
    )
    assert kind(unpack) == "transpose"
    check(unpack)
