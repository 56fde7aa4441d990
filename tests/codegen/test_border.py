"""Kernels that put a border around rows: sizes, types, borders on some axes, ops in front."""

from __future__ import annotations

import numpy as np
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


def padded(shape, before, after, dtype=DType.F32):
    return group([TensorType(dtype, shape)], lambda b, x: b.pad(x, before=before, after=after))


CASES = [
    ((3, 20, 37), (0, 1, 1), (0, 1, 1)),
    ((2, 5, 7), (1, 2, 3), (0, 3, 20)),
    ((4, 6, 16), (0, 1, 0), (0, 0, 0)),
    ((9, 33), (0, 0), (0, 1)),
    ((9, 1), (17, 0), (0, 0)),
    ((3, 0, 5), (0, 2, 0), (0, 0, 1)),
    ((1, 3, 9, 300), (0, 0, 3, 3), (0, 0, 3, 3)),
]


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize(("shape", "before", "after"), CASES)
def test_sizes(shape, before, after, level):
    kernel = padded(shape, before, after)
    assert kind(kernel) == "border"
    check(kernel, level=level, split=3)


@pytest.mark.parametrize(("h", "w"), [(0, 5), (3, 0), (1, 1), (4, 16), (5, 61)])
def test_symbolic_sizes(h, w):
    kernel = padded((2, H, W), (0, 1, 2), (0, 2, 1))
    assert kind(kernel) == "border"
    check(kernel, sizes={"h": h, "w": w})


@pytest.mark.parametrize("dtype", DType, ids=lambda d: d.label)
def test_types(dtype):
    kernel = padded((3, 5, 37), (0, 1, 1), (0, 1, 2), dtype)
    assert kind(kernel) == "border"
    check(kernel)


def test_value_and_ops_in_front():
    types = [TensorType(DType.F32, s) for s in ((6, 50), (6, 1), ())]

    def body(b, x, column, value):
        return b.pad(b.add(b.exp(x), column), value, before=(2, 3), after=(1, 0))

    kernel = group(types, body)
    assert kind(kernel) == "border"
    (found,) = check(kernel, [np.zeros((6, 50), "f"), np.ones((6, 1), "f"), np.float32(-np.inf)])
    assert np.isneginf(found[:2]).all()
    assert (found[2:8, 3:] == 2).all()


@pytest.mark.parametrize(
    ("side", "mode"), [(1, "reflect"), (1, "edge"), (1, "wrap"), (0, "constant")]
)
def test_other_pads_are_not_borders(side, mode):
    kernel = group(
        [TensorType(DType.F32, (4, 20))],
        lambda b, x: b.pad(x, before=(0, side), after=(0, side), mode=mode),
    )
    assert kind(kernel) != "border"
    check(kernel)
