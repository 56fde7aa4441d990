"""Comparing what a compiled, or rewritten, graph gives with what the reference gives.

The bound is the one of `tests.codegen.compare`. Rounding is amplified by some graphs (a difference
of two nearly equal sums, the logarithm of it, and so on) beyond any bound. How much is measured,
not guessed: the reference runs a second time with every float type replaced by float64 and a third
time by float32. An element is judged only where these agree much better than the bound asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bireme.ir import Array, DType
from bireme.ir.reference import run
from tests.codegen.compare import TOLERANCE
from tests.random.example import Example

# A unit in the last place of float64 is so much of one of float32.
_FINER = 2.0**-29
# How much better than the bound the runs in other precisions must agree.
_MARGIN = 8


@dataclass(frozen=True)
class Expected:
    """A result of the reference; where it is judged, and how far off an element may be."""

    array: Array
    judged: Array
    bound: Array


def expectations(example: Example, sizes: Mapping[str, int]) -> dict[str, Expected]:
    """What each output that is judged must be at these sizes."""
    results = _results(example, "", sizes)
    judged = {
        name: Expected(array, np.ones(array.shape, bool), np.zeros(array.shape))
        for name, array in results.items()
        if not DType.of(array).is_float
    }
    floats = results.keys() - judged.keys()
    if floats and _takes_every_float(example):
        wide, narrow = (_results(example, dtype, sizes) for dtype in ("f64", "f32"))
        judged |= {name: _judged(results[name], wide[name], narrow[name]) for name in floats}
    return judged


def _takes_every_float(example: Example) -> bool:
    """Whether no op is for float32 alone."""
    kinds = (o.dtypes for op in example.graph().walk() for o in op.definition.operands)
    return all(DType.F64 in kind or DType.F32 not in kind for kind in kinds)


def _results(example: Example, floats: str, sizes: Mapping[str, int]) -> dict[str, Array]:
    """Results of the reference, on the same data whatever the float types are replaced with."""
    graph = example.graph(floats)
    return run(graph, example.inputs(graph, sizes))


def _judged(array: Array, wide: Array, narrow: Array) -> Expected:
    exact, wide, narrow = (x.astype(np.float64) for x in (array, wide, narrow))
    finite = np.abs(exact[np.isfinite(exact)])
    scale = float(finite.max()) if finite.size else 0.0
    with np.errstate(all="ignore"):
        bound = TOLERANCE.get(DType.of(array), 0.0) * (np.abs(exact) + scale)
        unsure = np.abs(exact - wide) + np.abs(exact - narrow) * _FINER
    same = (exact == wide) | np.isnan(exact) & np.isnan(wide)
    judged = same | (unsure * _MARGIN <= bound)
    return Expected(array, judged, bound)


def assert_agrees(name: str, found: Array, expected: Expected) -> None:
    """Integers must be equal; floats within the bound, and infinite or NaN in the same places."""
    wanted = expected.array
    assert found.dtype == wanted.dtype, name
    assert found.shape == wanted.shape, name
    if not DType.of(wanted).is_float:
        np.testing.assert_array_equal(found, wanted, err_msg=name)
        return
    a, b = (x.astype(np.float64)[expected.judged] for x in (found, wanted))
    with np.errstate(all="ignore"):
        off = np.abs(a - b) / np.maximum(expected.bound[expected.judged], np.finfo(float).tiny)
    same = (a == b) | np.isnan(a) & np.isnan(b)
    wrong = ~(same | (off <= 1))
    if wrong.any():
        at = int(np.argmax(wrong))
        raise AssertionError(
            f"{name}: {wrong.sum()} of {wrong.size} judged elements are off; the first is {a[at]}, "
            f"expected {b[at]}, {off[at]:.3g} times the bound"
        )
