"""How far compiled results may be from the reference, and measures of how far they are."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10, nan

import numpy as np

from bireme.ir import Array, DType


@dataclass(frozen=True)
class Tolerance:
    """Allowed differences, relative to an element and to the largest element of its tensor.

    `kernel` is for one kernel on the very operands that the reference had: a sum in another order
    differs by so much. `model` is for a whole model, in which differences accumulate; `noise` is
    allowed there besides, whatever the size of the elements: functions such as the logistic one
    are only so exact where their results are nearly 0.
    """

    kernel: float
    model: float
    noise: float


# Integers, and types that are not listed, must be equal.
TOLERANCE = {
    DType.F64: Tolerance(1e-12, 1e-10, 1e-14),
    DType.F32: Tolerance(2e-5, 1e-3, 1e-6),
    DType.F16: Tolerance(2e-3, 2e-2, 1e-4),
    DType.BF16: Tolerance(1e-2, 1e-1, 1e-3),
}
EXACT = Tolerance(0.0, 0.0, 0.0)


def tolerance_of(dtype: DType) -> Tolerance:
    """The tolerance of an element type."""
    return TOLERANCE.get(dtype, EXACT)


@dataclass(frozen=True)
class Difference:
    """How a tensor differs from the expected one.

    `max_abs` and `max_rel` are the largest differences, `max_rel` over the size of the expected
    element, where that is not 0. `cosine` is the cosine of the angle between the two as vectors,
    `sqnr` the ratio of signal and error in decibels. `wrong` counts the elements beyond the
    tolerance that was asked for.
    """

    elements: int
    wrong: int
    max_abs: float
    max_rel: float
    cosine: float
    sqnr: float

    @property
    def agrees(self) -> bool:
        """Whether every element is within the tolerance."""
        return self.wrong == 0


def model_difference(expected: Array, found: Array, reduced: DType | None = None) -> Difference:
    """Measures a result of a whole model, by the tolerance of its element type; of `reduced` for
    floats of a model that multiplies elements of that type.
    """
    own = DType.of(expected)
    allowed = tolerance_of(reduced if reduced is not None and own.is_float else own)
    return difference(expected, found, allowed.model, allowed.noise)


def difference(
    expected: Array, found: Array, tolerance: float, slack: float | Array = 0.0
) -> Difference:
    """Measures `found` against `expected`, whose shape it should have.

    NaN equals NaN, and an infinity itself. `slack` is allowed besides, for all or for each element.
    """
    if found.shape != expected.shape:
        return Difference(expected.size, max(expected.size, 1), inf, inf, nan, -inf)
    with np.errstate(all="ignore"):
        a, b = (np.asarray(x).astype(np.float64).ravel() for x in (expected, found))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.abs(a - b))
        if expected.dtype.kind in "iu" and found.dtype == expected.dtype:
            # float64 cannot hold every int64. The larger less the smaller fits in as many bits.
            larger, smaller = np.maximum(expected, found), np.minimum(expected, found)
            bits = (larger - smaller).view(f"u{expected.dtype.itemsize}").ravel()
            same, apart = bits == 0, bits.astype(np.float64)
        apart = np.where(np.isnan(apart), inf, apart)
        finite = np.isfinite(a) & np.isfinite(b)
        sizes = np.abs(a[np.isfinite(a)])
        scale = float(sizes.max(initial=0.0))
        wrong = ~same & ~(finite & (apart <= tolerance * (np.abs(a) + scale) + np.ravel(slack)))
        relative = apart[a != 0] / np.abs(a[a != 0])
        x, y = a[finite], b[finite]
        signal, error = float(x @ x), float((x - y) @ (x - y))
        length = float(np.sqrt(signal) * np.sqrt(y @ y))
    return Difference(
        elements=a.size,
        wrong=int(np.count_nonzero(wrong)),
        max_abs=float(apart.max(initial=0.0)),
        max_rel=float(relative.max(initial=0.0)),
        cosine=float(x @ y) / length if length else 1.0 if not error else 0.0,
        sqnr=10 * log10(signal / error) if error and signal else -inf if error else inf,
    )
