"""Bounds of sizes that the data decides, as expressions of other sizes.

A size is a polynomial over symbols and need not grow with each of them, so its value where every
symbol is largest is no bound. `most` and `least` bound it from the bounds of its parts: a symbol
that the data decides lies between 0 and its bound, which is an expression of other symbols. Where
a product of such symbols is known to equal another size, it is bounded by that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bireme.ir.dims import (
    Atom,
    Dim,
    DimExpr,
    Monomial,
    floordiv,
    is_nonnegative,
    maximum,
    minimum,
    product,
    symbols_of,
)


class Capacity:
    """Bounds of expressions, free of the symbols in `bounds`.

    `equal` are pairs of sizes that are the same: the first is bounded by what bounds the second.
    """

    def __init__(self, bounds: Mapping[str, Dim], equal: Iterable[tuple[Dim, Dim]] = ()) -> None:
        self._bounds = bounds
        self._products: list[tuple[Monomial, Dim]] = []
        for a, b in equal:
            ((monomial, factor), *more) = a.terms.items() if isinstance(a, DimExpr) else [((), 0)]
            if len(monomial) > 1 and factor > 0 and not more:
                self._products.append((monomial, floordiv(self.most(b), factor)))

    def depends(self, dim: Dim) -> bool:
        """Whether the data decides `dim`."""
        return not self._bounds.keys().isdisjoint(symbols_of(dim))

    def most(self, dim: Dim) -> Dim:
        """An expression that `dim` is never above."""
        return self._bound(dim, 1)

    def least(self, dim: Dim) -> Dim:
        """An expression that `dim` is never below."""
        return self._bound(dim, -1)

    def _bound(self, dim: Dim, side: int) -> Dim:
        if not isinstance(dim, DimExpr) or not self.depends(dim):
            return dim
        total: Dim = 0
        for monomial, factor in dim.terms.items():
            total = total + factor * self._product(monomial, side if factor > 0 else -side)
        return total

    def _product(self, monomial: Monomial, side: int) -> Dim:
        lows, highs = zip(*(self._atom(atom) for atom in monomial), strict=True) if monomial else (
            (), ())  # fmt: skip
        result: Dim = 1
        if all(is_nonnegative(low) for low in lows):
            if side < 0:
                return product(lows)
            rest = list(monomial)
            for known, most in self._products:
                while all(rest.count(atom) >= known.count(atom) for atom in known):
                    result = result * most
                    for atom in known:
                        rest.remove(atom)
            return result * product([self._atom(atom)[1] for atom in rest])
        for low, high in zip(lows, highs, strict=True):
            result = result * maximum(high, -low)
        return side * result

    def _atom(self, atom: Atom) -> tuple[Dim, Dim]:
        """Least and greatest value of a factor."""
        own: Dim = DimExpr({(atom,): 1})
        if isinstance(atom, str):
            return (0, self.most(self._bounds[atom])) if atom in self._bounds else (own, own)
        if not self.depends(own):
            return own, own
        op, left, right = atom
        low, high = self.least(left), self.most(left)
        if op in ("min", "max"):
            choose = minimum if op == "min" else maximum
            return choose(low, self.least(right)), choose(high, self.most(right))
        if op == "%":
            return 0, self.most(right)
        # A divisor is at least 1; one that is a number divides exactly.
        if isinstance(right, int) and right > 0:
            return floordiv(low, right), floordiv(high, right)
        return minimum(low, 0), maximum(high, 0)
