"""Arithmetic that the NumPy references share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np

from bireme.ir.opdef import Array, Attrs

_HALVES = frozenset({np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)})


def is_float(x: Array) -> bool:
    """Whether the elements are floats; NumPy itself does not count bfloat16 as one."""
    return x.dtype.kind == "f" or x.dtype in _HALVES


def widen(x: Array) -> Array:
    """Float16 and bfloat16 as float32, all else as it is: the type that references compute in."""
    return x.astype(np.float32) if x.dtype in _HALVES else x


def elementwise(function: Callable[..., Array]) -> Callable[[Sequence[Array], Attrs], list[Array]]:
    """Reference that computes in the widened type and rounds once to the operands' type."""

    def reference(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
        result = function(*map(widen, inputs), **attrs)
        return [np.asarray(result).astype(inputs[0].dtype, copy=False)]

    return reference


def predicate(function: Callable[..., Array]) -> Callable[[Sequence[Array], Attrs], list[Array]]:
    """Reference whose result is bool."""

    def reference(inputs: Sequence[Array], attrs: Attrs) -> list[Array]:
        return [np.asarray(function(*map(widen, inputs), **attrs), dtype=np.bool_)]

    return reference


def erf(x: Array) -> Array:
    """Gauss error function, correctly rounded from float64."""
    values = np.fromiter(map(math.erf, x.ravel().tolist()), np.float64, x.size)
    return values.reshape(x.shape).astype(x.dtype)


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def divide(x: Array, y: Array) -> Array:
    """`x / y`; integers round toward zero and give 0 for a divisor of 0."""
    if is_float(x):
        return np.divide(x, y)
    below = np.floor_divide(x, y)
    inexact = below * y != x
    return np.where(y == 0, 0, below + (inexact & ((x < 0) != (y < 0)))).astype(x.dtype)


def power(x: Array, y: Array) -> Array:
    """`x ** y`; integers to a negative power are `1 / x ** -y` rounded toward zero."""
    if is_float(x) or x.dtype.kind == "u":
        return np.power(x, y)
    positive = np.power(x, np.where(y < 0, 0, y).astype(x.dtype))
    unit = np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), 0)
    return np.where(y < 0, unit, positive).astype(x.dtype)


def modulo(x: Array, y: Array, fmod: bool) -> Array:
    """Remainder with the sign of `y`, or of `x` when `fmod`; integers modulo 0 give 0."""
    return np.fmod(x, y) if fmod else np.mod(x, y)


def lowest(dtype: np.dtype[Any]) -> float | int | bool:
    """The least value of a type: minus infinity for floats."""
    if dtype.kind == "b":
        return False
    return int(np.iinfo(dtype).min) if dtype.kind in "iu" else -math.inf


def highest(dtype: np.dtype[Any]) -> float | int | bool:
    """The greatest value of a type: infinity for floats."""
    if dtype.kind == "b":
        return True
    return int(np.iinfo(dtype).max) if dtype.kind in "iu" else math.inf
