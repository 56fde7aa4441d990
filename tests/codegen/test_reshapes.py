"""Reshapes leave a kernel where they only describe memory."""

from __future__ import annotations

from bireme.codegen.reshapes import without_reshapes
from bireme.codegen.spec import kernel_spec
from bireme.ir import DType, TensorType, symbol
from tests.codegen.compare import check
from tests.codegen.kernels import group

N = symbol("n")


def f32(*shape):
    return TensorType(DType.F32, shape)


def ops_left(kernel):
    return [op.name for op in without_reshapes(kernel_spec(kernel).graph()).body.ops]


def test_between_pointwise():
    kernel = group(
        [f32(N, 6, 35), f32(N, 210)], lambda b, x, y: b.add(b.reshape(b.exp(x), shape=(N, 210)), y)
    )
    assert ops_left(kernel) == ["exp", "add"]
    check(kernel, sizes={"n": 3})


def test_at_both_ends():
    kernel = group(
        [f32(10, 21)],
        lambda b, x: b.reshape(
            b.transpose(b.reshape(x, shape=(2, 5, 21)), perm=(0, 2, 1)), shape=(210,)
        ),
    )
    assert ops_left(kernel) == ["transpose"]
    check(kernel)


def test_argument_read_in_two_shapes():
    kernel = group(
        [f32(6, 20)],
        lambda b, x: b.add(b.reshape(x, shape=(20, 6)), b.transpose(x, perm=(1, 0))),
    )
    assert sorted(ops_left(kernel)) == ["add", "reshape", "transpose"]
    check(kernel)


def test_value_used_twice():
    """What is calculated once stays so."""
    kernel = group(
        [f32(6, 20)],
        lambda b, x: (lambda y: (b.reshape(y, shape=(120,)), b.reshape(b.neg(y), shape=(120,))))(
            b.exp(x)
        ),
    )
    assert ops_left(kernel).count("exp") == 1
    check(kernel)


def test_broadcast_operand():
    """A reshape does not pass an op that broadcasts; a scalar does not matter."""
    kernel = group(
        [f32(6, 20), f32(20), f32()],
        lambda b, x, row, one: b.reshape(b.mul(b.add(b.neg(x), row), one), shape=(4, 30)),
    )
    check(kernel)
    kernel = group(
        [f32(6, 20), f32(20), f32()],
        lambda b, x, row, one: b.sin(b.reshape(b.mul(b.add(b.neg(x), row), one), shape=(4, 30))),
    )
    check(kernel)
