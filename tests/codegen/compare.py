"""Compares a kernel's native code with the reference interpreter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bireme.codegen import accuracy
from bireme.ir import DType, Op, TensorType, evaluate
from bireme.ir.reference import run
from bireme.targets.description import InstructionSet
from bireme.targets.x86.chips import LEVELS
from tests.codegen.kernels import Array, run_kernel

# Relative to an element and to the largest one of a result.
TOLERANCE = {dtype: allowed.kernel for dtype, allowed in accuracy.TOLERANCE.items()}


def sample(tensor: TensorType, sizes: Mapping[str, int], seed: int = 0) -> Array:
    """Test data of a type: small integers, so that ties occur, or normally distributed floats."""
    rng = np.random.default_rng(seed)
    shape = [evaluate(d, sizes) for d in tensor.shape]
    if tensor.dtype.is_float:
        return rng.standard_normal(shape).astype(tensor.dtype.numpy)
    low = -7 if tensor.dtype.is_signed else 0
    high = 2 if tensor.dtype is DType.BOOL else 8
    return rng.integers(low, high, shape).astype(tensor.dtype.numpy)


def check(
    kernel: Op,
    inputs: Sequence[Array] | None = None,
    sizes: Mapping[str, int] | None = None,
    *,
    level: InstructionSet = LEVELS[0],
    split: int = 2,
    **tolerance: Any,
) -> list[Array]:
    """Runs a kernel natively and by its reference; asserts that both agree. Gives the results."""
    sizes = sizes or {}
    if inputs is None:
        inputs = [sample(v.type, sizes, seed) for seed, v in enumerate(kernel.operands)]
    names = kernel.graph.input_names
    expected = list(run(kernel.graph, dict(zip(names, inputs, strict=True))).values())
    status, results = run_kernel(kernel, inputs, sizes, level, split)
    assert status == 0
    for found, wanted, value in zip(results, expected, kernel.results, strict=True):
        assert found.shape == wanted.shape
        if not value.type.dtype.is_float:
            np.testing.assert_array_equal(found, wanted)
            continue
        found, wanted = found.astype(np.float64), wanted.astype(np.float64)
        finite = np.abs(wanted[np.isfinite(wanted)])
        scale = float(finite.max()) if finite.size else 0.0
        bound = TOLERANCE.get(value.type.dtype, 0.0)
        options = {"rtol": bound, "atol": bound * scale, **tolerance}
        np.testing.assert_allclose(found, wanted, **options)
    return results
