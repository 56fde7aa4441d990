"""Bounds of dimension expressions, and the choices that follow from them."""

from __future__ import annotations

from dataclasses import replace

from bireme.ir import Dim, DimExpr, SymbolRange, ceildiv, evaluate, maximum, minimum
from bireme.ir.dims import Monomial, floordiv, symbols_of

# A size without a stated bound stays below what a 32-bit index can hold.
_UNBOUNDED = 2**31 - 2
_INFINITE = 1 << 200
# Beyond any size, and within int64.
_FAR = 1 << 40
# Least sizes that models ask for are sought up to here.
_MOST_SOUGHT = 1 << 10
# ONNX writes "to the end" as the largest int32 or int64, give or take one.
_END = 2**31 - 1

Interval = tuple[int, int]


class Bounds:
    """Interval arithmetic over symbols whose ranges are given. `require` narrows those ranges.

    `data_sizes` are the symbols of sizes that the data decides, with the most each can be,
    `equalities` pairs of sizes that are then found to be equal.
    """

    def __init__(self, ranges: dict[str, SymbolRange]) -> None:
        self._ranges = ranges
        self._known: dict[DimExpr, Interval] = {}
        self.data_sizes: dict[str, Dim] = {}
        self.equalities: list[tuple[Dim, Dim]] = []

    def add(self, stem: str, most: Dim) -> str:
        """A new symbol, named after `stem`, for a size that the data decides: 0 to `most`."""
        name, number = stem, 1
        while name in self._ranges:
            number += 1
            name = f"{stem}_{number}"
        high = self.of(most)[1]
        self.data_sizes[name] = most
        self._ranges[name] = SymbolRange(0, high if high < _UNBOUNDED else None)
        return name

    def of(self, dim: Dim) -> Interval:
        """Least and greatest value, both inclusive."""
        if not isinstance(dim, DimExpr):
            return dim, dim
        if dim not in self._known:
            low = high = 0
            for monomial, factor in dim.terms.items():
                a, b = self._monomial(monomial)
                low += min(a * factor, b * factor)
                high += max(a * factor, b * factor)
            self._known[dim] = _limited(low), _limited(high)
        return self._known[dim]

    def _monomial(self, monomial: Monomial) -> Interval:
        low, high = 1, 1
        for atom in monomial:
            if isinstance(atom, str):
                sizes = self._ranges.get(atom, SymbolRange())
                a, b = sizes.least, _UNBOUNDED if sizes.most is None else sizes.most
            else:
                a, b = self._form(*atom)
            corners = [low * a, low * b, high * a, high * b]
            low, high = _limited(min(corners)), _limited(max(corners))
        return low, high

    def _form(self, op: str, left: Dim, right: Dim) -> Interval:
        (a, b), (c, d) = self.of(left), self.of(right)
        if op == "min":
            return min(a, c), min(b, d)
        if op == "max":
            return max(a, c), max(b, d)
        if c <= 0:
            return -_INFINITE, _INFINITE
        if op == "%":
            return 0, min(b, d - 1) if a >= 0 else d - 1
        corners = [a // c, a // d, b // c, b // d]
        return min(corners), max(corners)

    def require(self, dim: Dim, least: int) -> None:
        """Notes that `dim >= least` in every run that succeeds.

        Where that says of one symbol that it has a least size, its range says so from here on: a
        convolution of 3 taps without padding needs 3 elements, and arithmetic on them relies on it.
        """
        names = symbols_of(dim)
        if len(names) != 1 or self.of(dim)[0] >= least:
            return
        (name,) = names
        sizes = self._ranges.get(name, SymbolRange())
        if sizes.least == 0:  # empty tensors were asked for: nothing is sure of them
            return
        last = _MOST_SOUGHT if sizes.most is None else min(sizes.most, _MOST_SOUGHT)
        enough = (s for s in range(sizes.least, last + 1) if evaluate(dim, {name: s}) >= least)
        first = next(enough, sizes.least)
        if first > sizes.least:
            self._ranges[name] = replace(sizes, least=first)
            self._known.clear()

    def minimum(self, a: Dim, b: Dim) -> Dim:
        """The smaller one, as plainly as the intervals allow."""
        low, high = self.of(a - b)
        return a if high <= 0 else b if low >= 0 else minimum(a, b)

    def maximum(self, a: Dim, b: Dim) -> Dim:
        """The greater one, as plainly as the intervals allow."""
        low, high = self.of(a - b)
        return a if low >= 0 else b if high <= 0 else maximum(a, b)

    def less(self, a: Dim, b: Dim) -> bool | None:
        """Whether `a < b`; None when that depends on the symbols."""
        low, high = self.of(a - b)
        return True if high < 0 else False if low >= 0 else None

    def equal(self, a: Dim, b: Dim) -> bool | None:
        """Whether `a == b`; None when that depends on the symbols."""
        if a == b:
            return True
        low, high = self.of(a - b)
        return False if low > 0 or high < 0 else None

    def from_start(self, index: Dim, size: Dim) -> Dim:
        """`index` with negative values counted from the end of an axis of `size` elements."""
        low, high = self.of(index)
        if low >= 0:
            return index
        if high < 0:
            return index + size
        # -1 for a negative index, else 0.
        return index - size * floordiv(index, _FAR)

    def slice(self, start: Dim, end: Dim, step: int, size: Dim) -> tuple[Dim, Dim]:
        """First element and number of elements of `start:end:step` on an axis of `size` elements.

        ONNX semantics (Slice-13): out-of-range ends are clamped. `step` is not 0.
        """
        first, last = (0, size) if step > 0 else (-1, size - 1)
        begin = self._clamped(start, size, 0, last)
        stop = self._clamped(end, size, first, last)
        span = stop - begin if step > 0 else begin - stop
        return begin, self.maximum(ceildiv(span, abs(step)), 0)

    def _clamped(self, index: Dim, size: Dim, low: Dim, high: Dim) -> Dim:
        if isinstance(index, int) and index >= _END:
            return high
        if isinstance(index, int) and index <= -_END:
            return self.minimum(low, high)
        return self.minimum(self.maximum(self.from_start(index, size), low), high)


def _limited(value: int) -> int:
    return max(-_INFINITE, min(_INFINITE, value))
