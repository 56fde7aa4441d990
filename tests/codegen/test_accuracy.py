"""Measures of difference."""

from __future__ import annotations

from math import inf, log10, sqrt

import numpy as np
import pytest

from bireme.codegen.accuracy import TOLERANCE, difference, model_difference, tolerance_of
from bireme.ir import DType


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def test_measures_of_a_known_difference():
    expected, found = f32(3, 4, 0), f32(3, 3, 0)
    measured = difference(expected, found, 0.1)
    assert measured.elements == 3
    assert measured.wrong == 1
    assert measured.max_abs == 1
    assert measured.max_rel == 0.25
    assert measured.cosine == pytest.approx(21 / (5 * sqrt(18)))
    assert measured.sqnr == pytest.approx(10 * log10(25))
    assert not measured.agrees
    assert difference(expected, found, 0.125).agrees  # of 4, and of the largest, which is 4 too


def test_equal_tensors_have_no_error():
    measured = difference(f32(1, -2), f32(1, -2), 0.0)
    assert (measured.wrong, measured.max_abs, measured.sqnr) == (0, 0, inf)
    assert measured.cosine == pytest.approx(1)
    nothing = difference(f32(), f32(), 0.0)
    assert nothing.agrees
    assert nothing.sqnr == inf


@pytest.mark.parametrize(
    ("expected", "found", "agrees"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.nan, 1, False),
        (1, np.nan, False),
        (np.inf, 3e38, False),
        (1, np.inf, False),
    ],
)
def test_what_is_not_finite_must_be_the_same(expected, found, agrees):
    measured = difference(f32(expected, 5), f32(found, 5), 0.5)
    assert measured.agrees is agrees
    assert (measured.max_abs == 0) is agrees


def test_integers_are_exact_beyond_float64():
    big = np.array([2**62], np.int64)
    assert not difference(big, big + 1, 0.0).agrees
    assert difference(big, big, 0.0).agrees


def test_a_step_of_the_grid_is_allowed_on_demand_only():
    a, b = np.array([7], np.uint8), np.array([6], np.uint8)
    assert not difference(a, b, 0.0).agrees
    assert difference(a, b, 0.0, 1).agrees
    assert not difference(a, b - 1, 0.0, 1).agrees


def test_slack_may_differ_from_element_to_element():
    a, b = f32(1, 1), f32(1.5, 1.5)
    assert difference(a, b, 0.0, np.array([0.6, 0.6])).agrees
    assert difference(a, b, 0.0, np.array([0.6, 0.4])).wrong == 1


def test_noise_is_no_difference_of_a_model():
    a, b = f32(1e-9, 2e-9), f32(3e-7, 0)
    assert model_difference(a, b).agrees
    assert not model_difference(a * 1e5, b * 1e5).agrees
    assert model_difference(np.int8([1]), np.int8([2])).wrong == 1


def test_other_shapes_never_agree():
    assert not difference(f32(1), f32(1, 1), 1.0).agrees
    assert not difference(f32(), f32(1), 1.0).agrees


def test_narrower_types_are_allowed_more_and_integers_nothing():
    order = (DType.F64, DType.F32, DType.F16, DType.BF16)
    kernels, models = zip(*((TOLERANCE[t].kernel, TOLERANCE[t].model) for t in order), strict=True)
    assert list(kernels) == sorted(kernels)
    assert list(models) == sorted(models)
    assert all(k < m for k, m in zip(kernels, models, strict=True))
    assert tolerance_of(DType.I32).kernel == tolerance_of(DType.BOOL).model == 0
