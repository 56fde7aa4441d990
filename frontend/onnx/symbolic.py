"""Shape arithmetic: ops of the dialect on small tensors whose elements are dimension expressions.

Each function takes object arrays of `Dim` (or `Ratio`, where a model computes sizes in floating
point) and gives such an array, or raises `UndecidedError` when only run time can tell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bireme.frontend.onnx.bounds import Bounds
from bireme.ir import Array, BiremeError, Dim, DimExpr, DType, ceildiv
from bireme.ir.dims import floordiv, mod

Attrs = Mapping[str, Any]
_MOST_PARTS, _MOST = 256, 1 << 63


class _Unknown:
    """Stands for an element that only run time knows."""

    def __repr__(self) -> str:
        return "?"


UNKNOWN = _Unknown()


class UndecidedError(Exception):
    """The result is not a dimension expression."""


@dataclass(frozen=True)
class Ratio:
    """A size divided by a number: what floating-point shape arithmetic passes through."""

    top: Dim
    bottom: int


def _ratio(value: Any) -> Ratio:
    if isinstance(value, Ratio):
        return value
    if isinstance(value, DimExpr):
        return Ratio(value, 1)
    if isinstance(value, float) and not np.isfinite(value):
        raise UndecidedError
    exact = Fraction(value)
    return Ratio(exact.numerator, exact.denominator)


def _simple(value: Ratio) -> Any:
    """A `Ratio` as a `Dim` where it is whole, or a float where it is known."""
    if isinstance(value.top, int):
        exact = Fraction(value.top, value.bottom)
        return int(exact) if exact.denominator == 1 else float(exact)
    whole = floordiv(value.top, value.bottom)
    return whole if whole * value.bottom == value.top else value


def _small(dim: Dim) -> Dim:
    """`dim`, unless repeated arithmetic has made it larger than any real size expression."""
    if isinstance(dim, DimExpr):
        if dim.parts > _MOST_PARTS:
            raise UndecidedError
        numbers = list(dim.terms.values())
    else:
        numbers = [dim]
    if any(abs(n) > _MOST for n in numbers):
        raise UndecidedError
    return dim


def _add(a: Any, b: Any) -> Any:
    p, q = _ratio(a), _ratio(b)
    return _simple(Ratio(_small(p.top * q.bottom + q.top * p.bottom), p.bottom * q.bottom))


def _mul(a: Any, b: Any) -> Any:
    p, q = _ratio(a), _ratio(b)
    return _simple(Ratio(_small(p.top * q.top), p.bottom * q.bottom))


def _neg(a: Any) -> Any:
    p = _ratio(a)
    return _simple(Ratio(-p.top, p.bottom))


def _floor(a: Any) -> Any:
    p = _ratio(a)
    return _small(floordiv(p.top, p.bottom))


def _ceil(a: Any) -> Any:
    p = _ratio(a)
    return _small(ceildiv(p.top, p.bottom))


class Symbolic:
    """Evaluates ops on dimension expressions whose symbols have the given bounds."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds

    def run(self, name: str, inputs: Sequence[Array], attrs: Attrs, dtype: DType) -> Array:
        """Op `name` on object arrays; `dtype` is the result's. Raises UndecidedError."""
        try:
            return self._calculated(name, inputs, attrs, dtype)
        except BiremeError as error:
            if error.code != "BM2012":
                raise
            raise UndecidedError from None

    def partly(
        self, name: str, inputs: Sequence[Array], attrs: Attrs, dtype: DType
    ) -> Array | None:
        """Like `run` where elements are UNKNOWN; None where no element follows."""
        try:
            if name in _MOVES:
                return self.run(name, inputs, attrs, dtype)
            if self._elementwise(name, attrs) is None:
                return None
            arrays = np.broadcast_arrays(*inputs)
            rows = list(zip(*(a.ravel() for a in arrays), strict=True))
            return object_array(
                [self._element(name, row, attrs, dtype) for row in rows], arrays[0].shape
            )
        except (UndecidedError, ValueError):
            return None

    def _element(self, name: str, row: Sequence[Any], attrs: Attrs, dtype: DType) -> Any:
        """One element of an elementwise op's result."""
        read = [row[0], row[1] if row[0] else row[2]] if name == "where" else row
        if UNKNOWN in read:
            return UNKNOWN
        try:
            (found,) = self.run(name, [object_array([v], (1,)) for v in row], attrs, dtype)
        except UndecidedError:
            return UNKNOWN
        return found

    def _elementwise(self, name: str, attrs: Attrs) -> Callable[..., Any] | None:
        name = "fmod" if attrs.get("fmod") else name
        return getattr(self, f"_{name}", None) or _ELEMENTWISE.get(name)

    def _calculated(self, name: str, inputs: Sequence[Array], attrs: Attrs, dtype: DType) -> Array:
        elementwise = self._elementwise(name, attrs)
        if elementwise is not None:
            arrays = np.broadcast_arrays(*inputs)
            flat = [
                elementwise(*row) if name not in _TYPED else elementwise(*row, dtype)
                for row in zip(*(a.ravel() for a in arrays), strict=True)
            ]
            return object_array(flat, arrays[0].shape)
        if name in _MOVES:
            if any(
                isinstance(d, DimExpr) for v in attrs.values() if isinstance(v, tuple) for d in v
            ):
                raise UndecidedError
            return np.asarray(_MOVES[name](inputs, attrs), dtype=object)
        if name in ("reduce_sum", "reduce_prod", "reduce_max", "reduce_min"):
            return self._reduce(name, inputs[0], attrs)
        raise UndecidedError

    def _div(self, a: Any, b: Any, dtype: DType) -> Any:
        p, q = _ratio(a), _ratio(b)
        if dtype.is_float:
            if not isinstance(q.top, int) or q.top == 0:
                raise UndecidedError
            sign = 1 if q.top > 0 else -1
            return _simple(Ratio(p.top * q.bottom * sign, p.bottom * q.top * sign))
        return self._truncated(p.top, q.top)

    def _truncated(self, a: Dim, b: Dim) -> Dim:
        """`a / b` towards zero, as integers are divided in ONNX."""
        if self.bounds.of(b)[0] <= 0:
            raise UndecidedError
        above, below = self.bounds.maximum(a, 0), self.bounds.maximum(-a, 0)
        quotient = floordiv(above, b)
        if self.bounds.less(below, b):
            return _small(quotient)
        return _small(quotient - floordiv(below, b))

    def _mod(self, a: Any, b: Any) -> Any:
        p, q = _ratio(a), _ratio(b)
        if p.bottom != 1 or q.bottom != 1 or self.bounds.of(q.top)[0] <= 0:
            raise UndecidedError
        return _small(mod(p.top, q.top))

    def _fmod(self, a: Any, b: Any) -> Any:
        p, q = _ratio(a), _ratio(b)
        if p.bottom != 1 or q.bottom != 1:
            raise UndecidedError
        return _add(p.top, _neg(_mul(q.top, self._truncated(p.top, q.top))))

    def _abs(self, a: Any) -> Any:
        low, high = self.bounds.of(_ratio(a).top)
        if low >= 0:
            return a
        if high <= 0:
            return _neg(a)
        raise UndecidedError

    def _minimum(self, a: Any, b: Any) -> Any:
        return self._extreme(a, b, self.bounds.minimum)

    def _maximum(self, a: Any, b: Any) -> Any:
        return self._extreme(a, b, self.bounds.maximum)

    def _extreme(self, a: Any, b: Any, pick: Callable[[Dim, Dim], Dim]) -> Any:
        p, q = _ratio(a), _ratio(b)
        top = _small(pick(p.top * q.bottom, q.top * p.bottom))
        return _simple(Ratio(top, p.bottom * q.bottom))

    def _compare(self, a: Any, b: Any, test: Callable[[Dim, Dim], bool | None]) -> bool:
        p, q = _ratio(a), _ratio(b)
        found = test(p.top * q.bottom, q.top * p.bottom)
        if found is None:
            raise UndecidedError
        return found

    def _equal(self, a: Any, b: Any) -> Any:
        return self._compare(a, b, self.bounds.equal)

    def _not_equal(self, a: Any, b: Any) -> Any:
        return not self._equal(a, b)

    def _less(self, a: Any, b: Any) -> Any:
        return self._compare(a, b, self.bounds.less)

    def _greater(self, a: Any, b: Any) -> Any:
        return self._less(b, a)

    def _less_equal(self, a: Any, b: Any) -> Any:
        return not self._less(b, a)

    def _greater_equal(self, a: Any, b: Any) -> Any:
        return not self._less(a, b)

    def _cast(self, a: Any, dtype: DType) -> Any:
        if dtype is DType.BOOL:
            return self._not_equal(a, 0)
        if dtype.is_narrow:
            raise UndecidedError
        if dtype.is_float or not isinstance(a, Ratio):
            return int(a) if dtype.is_integer and isinstance(a, float) else a
        if self.bounds.of(a.top)[0] < 0:  # integers are cut towards zero
            raise UndecidedError
        return _floor(a)

    def _reduce(self, name: str, array: Array, attrs: Attrs) -> Array:
        function = {
            "reduce_sum": _add, "reduce_prod": _mul, "reduce_max": self._maximum,
            "reduce_min": self._minimum,
        }[name]  # fmt: skip
        result = array
        for axis in attrs["axes"]:
            if result.shape[axis] == 0:
                raise UndecidedError
            total = np.take(result, [0], axis)
            for index in range(1, result.shape[axis]):
                row = np.take(result, [index], axis)
                pairs = zip(total.ravel(), row.ravel(), strict=True)
                total = object_array([function(a, b) for a, b in pairs], total.shape)
            result = total
        return result if attrs["keepdims"] else np.squeeze(result, attrs["axes"])


def _where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


_TYPED = frozenset({"div", "cast"})
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": _add,
    "sub": lambda a, b: _add(a, _neg(b)),
    "mul": _mul,
    "neg": _neg,
    "floor": _floor,
    "ceil": _ceil,
    "where": _where,
}


def _slice(inputs: Sequence[Array], attrs: Attrs) -> Array:
    result = inputs[0]
    triples = zip(attrs["starts"], attrs["sizes"], attrs["steps"], strict=True)
    for axis, (start, size, step) in enumerate(triples):
        result = np.take(result, [start + step * i for i in range(size)], axis)
    return result


def _gather(inputs: Sequence[Array], attrs: Attrs) -> Array:
    data, indices = inputs
    if not all(isinstance(i, int | np.integer) for i in indices.ravel()):
        raise UndecidedError
    try:
        return np.take(data, indices.astype(np.int64), attrs["axis"])
    except IndexError:
        raise UndecidedError from None


_MOVES: dict[str, Callable[[Sequence[Array], Attrs], Array]] = {
    "reshape": lambda i, a: i[0].reshape(a["shape"]),
    "transpose": lambda i, a: np.transpose(i[0], a["perm"]),
    "expand": lambda i, a: np.broadcast_to(i[0], a["shape"]),
    "tile": lambda i, a: np.tile(i[0], a["repeats"]),
    "concat": lambda i, a: np.concatenate(i, a["axis"]),
    "slice": _slice,
    "gather": _gather,
}


def object_array(elements: Sequence[Any], shape: Sequence[int]) -> Array:
    """An object array with the given elements in row-major order."""
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(tuple(shape))


def _whole(value: Any) -> bool:
    return not isinstance(value, DimExpr | Ratio)


def settled(array: Array, dtype: DType) -> Array:
    """`array` as numbers when none of its elements is symbolic, else unchanged."""
    if all(_whole(v) for v in array.ravel()):
        return array.astype(dtype.numpy)
    return array
