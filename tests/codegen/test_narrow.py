"""Conversions of narrow element types: every bit pattern, and numbers at and beside every step."""

from __future__ import annotations

import numpy as np
import pytest

from bireme.ir import DType, TensorType
from bireme.ir.dtypes import NARROW
from bireme.ir.narrow import ROUND_MODES
from bireme.ir.reference import run_op
from tests.codegen.compare import check
from tests.codegen.kernels import Array, group, run_kernel

FLOATS = tuple(t for t in NARROW if t.is_float and t is not DType.F8E8M0FNU)
WIDE = (DType.F16, DType.BF16, DType.F32, DType.F64)


def everything(dtype: DType) -> Array:
    """All elements of a narrow type."""
    return np.arange(1 << dtype.value_bits, dtype=np.uint8).view(dtype.numpy)


def beside(steps: Array, dtype: DType) -> Array:
    """The steps, the middles between them, and the next numbers of `dtype` on both sides."""
    steps = np.unique(steps[np.isfinite(steps)])
    middles = np.concatenate([steps, (steps[1:] + steps[:-1]) / 2, 1.1 * steps, 2 * steps])
    if dtype in (DType.F32, DType.F64):
        middles = middles.astype(dtype.numpy)
        near = [np.nextafter(middles, dtype.numpy.type(way)) for way in (-np.inf, np.inf)]
        middles = np.concatenate([middles, *near])
    special = [0.0, -0.0, np.inf, -np.inf, np.nan]
    return np.concatenate([middles.astype(dtype.numpy), np.array(special, dtype.numpy)])


def identical(found: Array, wanted: Array, numbers: Array) -> None:
    """The same bits, except for what NaN became."""
    kept = ~np.isnan(numbers.astype(np.float64))
    np.testing.assert_array_equal(found.view(np.uint8)[kept], wanted.view(np.uint8)[kept])


@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("source", WIDE, ids=lambda d: d.label)
@pytest.mark.parametrize("target", FLOATS, ids=lambda d: d.label)
def test_floats_round_as_the_specification_says(target, source, saturate):
    x = beside(everything(target).astype(np.float64), source)
    kernel = group(
        [TensorType(source, x.shape)], lambda b, x: b.cast(x, dtype=target, saturate=saturate)
    )
    (found,) = check(kernel, [x])
    # `check` compares numbers; here the signs of zeros count too.
    (expected,) = run_op("cast", [x], {"dtype": target, "saturate": saturate})
    identical(found, expected, x)


@pytest.mark.parametrize("mode", ROUND_MODES)
@pytest.mark.parametrize("saturate", [True, False])
@pytest.mark.parametrize("source", [*WIDE, DType.I64], ids=lambda d: d.label)
def test_powers_of_two(source, saturate, mode):
    if source is DType.I64:
        x = np.array([0, 1, 2, 3, 5, 6, 7, (1 << 40) + 1, 1 << 62, -1], np.int64)
    else:
        x = beside(everything(DType.F8E8M0FNU).astype(np.float64), source)
    attrs = {"dtype": DType.F8E8M0FNU, "saturate": saturate, "round_mode": mode}
    check(group([TensorType(source, x.shape)], lambda b, x: b.cast(x, **attrs)), [x])


@pytest.mark.parametrize("target", NARROW, ids=lambda d: d.label)
@pytest.mark.parametrize("source", NARROW, ids=lambda d: d.label)
def test_narrow_types_among_themselves(source, target):
    x = everything(source)
    if source.is_float and target.is_integer:
        wide = x.astype(np.float32)
        x = x[np.isfinite(wide) & (np.abs(wide) < 2**31)]
    check(group([TensorType(source, x.shape)], lambda b, x: b.cast(x, dtype=target)), [x])


SUB_BYTE = tuple(t for t in NARROW if t.value_bits < 8)


@pytest.mark.parametrize("source", SUB_BYTE, ids=lambda d: d.label)
def test_unused_bits_of_an_element_do_not_matter(source):
    clean = everything(source)
    dirty = (clean.view(np.uint8) | np.uint8(0xFF << source.value_bits & 0xFF)).view(source.numpy)
    kernel = group([TensorType(source, clean.shape)], lambda b, x: b.cast(x, dtype=DType.F32))
    _, (found,) = run_kernel(kernel, [dirty])
    np.testing.assert_array_equal(found, clean.astype(np.float32))
