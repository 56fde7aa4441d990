"""Element-wise kernels against NumPy, at odd shapes and with symbolic sizes."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType, evaluate, symbol
from bireme.targets.x86.chips import LEVELS
from tests.codegen.kernels import group, run_kernel

N, H = symbol("n"), symbol("h")


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize(
    ("shape", "other"),
    [
        ((N, 3, H, 37), (3, 1, 1)),
        ((N, H), (N, H)),
        ((5, 7), (7,)),
        ((1000, 1), (1, 1)),
        ((0, 3), (3,)),
    ],
)
def test_broadcast(shape, other, level):
    kernel = group(
        [TensorType(DType.F32, shape), TensorType(DType.F32, other)],
        lambda b, x, y: b.mul(b.add(x, y), x),
    )
    sizes = {"n": 2, "h": 9}
    rng = np.random.default_rng(0)
    x = rng.standard_normal([evaluate(d, sizes) for d in shape]).astype(np.float32)
    y = rng.standard_normal([evaluate(d, sizes) for d in other]).astype(np.float32)
    status, (result,) = run_kernel(kernel, [x, y], sizes, level, split=3)
    assert status == 0
    np.testing.assert_allclose(result, (x + y) * x, rtol=1e-6)
