"""Dimensions of tensors: an int, or an integer expression over named symbols.

An expression is kept as a polynomial with integer coefficients whose atoms are symbols and the
non-linear forms `a // b`, `a % b`, `min(a, b)`, `max(a, b)`; equal expressions that simplify to the
same polynomial compare equal. Symbols stand for sizes, so they are never negative; division rounds
towards minus infinity.
"""

from __future__ import annotations

import ast
import keyword
from collections.abc import Callable, Mapping
from functools import lru_cache, reduce
from typing import Union

from bireme.ir.errors import BiremeError

Dim = Union[int, "DimExpr"]
# A factor of a monomial: a symbol's name, or a non-linear form of two expressions.
Atom = str | tuple[str, "Dim", "Dim"]
Monomial = tuple[Atom, ...]

# Real size expressions have some ten parts; arithmetic that squares again and again has no end.
_MOST_PARTS = 1000


class DimExpr:
    """A dimension that is not a plain number. Immutable and hashable; always holds a symbol.

    `parts` is how many symbols, numbers and operations it is made of, about. Making one of more
    than 1000 raises BM2012.
    """

    __slots__ = ("_hash", "_terms", "parts")

    def __init__(self, terms: Mapping[Monomial, int]) -> None:
        self.parts = sum(1 + sum(map(_atom_parts, monomial)) for monomial in terms)
        if self.parts > _MOST_PARTS:
            raise BiremeError("BM2012", f"an expression of {self.parts} parts")
        self._terms = tuple(sorted(terms.items(), key=lambda t: (len(t[0]), _key(t[0]))))
        self._hash = hash(self._terms)

    @property
    def terms(self) -> dict[Monomial, int]:
        return dict(self._terms)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DimExpr) and self._terms == other._terms

    def __hash__(self) -> int:
        return self._hash

    def __add__(self, other: Dim) -> Dim:
        terms = self.terms
        for monomial, factor in _terms(other).items():
            terms[monomial] = terms.get(monomial, 0) + factor
        return _make(terms)

    def __mul__(self, other: Dim) -> Dim:
        terms: dict[Monomial, int] = {}
        for left, a in self._terms:
            for right, b in _terms(other).items():
                monomial = tuple(sorted(left + right, key=lambda atom: _key((atom,))))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _make(terms)

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + (-other)

    def __rsub__(self, other: Dim) -> Dim:
        return (-self) + other

    def __floordiv__(self, other: Dim) -> Dim:
        return floordiv(self, other)

    def __rfloordiv__(self, other: Dim) -> Dim:
        return floordiv(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return mod(self, other)

    def __rmod__(self, other: Dim) -> Dim:
        return mod(other, self)

    def __str__(self) -> str:
        text = ""
        for monomial, factor in reversed(self._terms):
            size = abs(factor)
            alone = len(monomial) == 1 and factor == 1
            body = _atom_text(monomial[0]) if alone else "*".join(map(_factor_text, monomial))
            piece = str(size) if not body else body if size == 1 else f"{size}*{body}"
            sign = "-" if factor < 0 else "+"
            text += f" {sign} {piece}" if text else (f"-{piece}" if factor < 0 else piece)
        return text

    __repr__ = __str__


def _atom_parts(atom: Atom) -> int:
    return 1 if isinstance(atom, str) else 1 + _parts(atom[1]) + _parts(atom[2])


def _parts(dim: Dim) -> int:
    return dim.parts if isinstance(dim, DimExpr) else 1


def _key(monomial: Monomial) -> str:
    return "*".join(a if isinstance(a, str) else f"~{_atom_text(a)}" for a in monomial)


def _atom_text(atom: Atom) -> str:
    if isinstance(atom, str):
        return atom
    op, left, right = atom
    if op in ("min", "max"):
        return f"{op}({left}, {right})"
    return f"{_operand_text(left)} {op} {_operand_text(right)}"


def _is_division(atom: Atom) -> bool:
    return not isinstance(atom, str) and atom[0] in ("//", "%")


def _factor_text(atom: Atom) -> str:
    """Inside a product, or after a minus sign."""
    return f"({_atom_text(atom)})" if _is_division(atom) else _atom_text(atom)


def _operand_text(dim: Dim) -> str:
    """Beside `//` or `%`: whatever is no single number, symbol, `min` or `max` in parentheses."""
    if isinstance(dim, DimExpr):
        ((monomial, factor), *more) = dim.terms.items()
        plain = not more and factor == 1 and len(monomial) == 1 and not _is_division(monomial[0])
        return str(dim) if plain else f"({dim})"
    return str(dim)


def _terms(dim: Dim) -> dict[Monomial, int]:
    if isinstance(dim, DimExpr):
        return dim.terms
    return {(): dim} if dim else {}


def _make(terms: Mapping[Monomial, int]) -> Dim:
    kept = {m: c for m, c in terms.items() if c}
    if not kept:
        return 0
    if set(kept) == {()}:
        return kept[()]
    return DimExpr(kept)


def _form(op: str, left: Dim, right: Dim) -> Dim:
    return DimExpr({((op, left, right),): 1})


def symbol(name: str) -> DimExpr:
    """The dimension named `name`: an ASCII identifier that Python does not reserve."""
    if not (name.isascii() and name.isidentifier()) or keyword.iskeyword(name):
        raise BiremeError("BM2006", f"{name!r} is not a symbol's name")
    return DimExpr({(name,): 1})


def floordiv(a: Dim, b: Dim) -> Dim:
    """`a // b`, rounded towards minus infinity; `b` must not be 0."""
    if isinstance(b, int) and b == 0:
        raise BiremeError("BM2006", f"division of {a} by zero")
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 1 or a == 0:
        return a
    exact = _exact_quotient(a, b)
    if exact is not None:
        return exact
    if not isinstance(b, int) or b < 0:
        return _form("//", a, b)
    # b*q + r: whole multiples of b leave the division.
    whole: dict[Monomial, int] = {}
    rest: dict[Monomial, int] = {}
    for monomial, factor in _terms(a).items():
        if not monomial:
            whole[monomial], rest[monomial] = divmod(factor, b)
        elif factor % b == 0:
            whole[monomial] = factor // b
        else:
            rest[monomial] = factor
    left = _make(rest)
    outer = _make(whole)
    if isinstance(left, int):
        return left // b + outer
    # (x // c + k) // b == (x + c*k) // (c*b)
    inner = {m: f for m, f in left.terms.items() if m}
    if len(inner) == 1:
        ((monomial, factor),) = inner.items()
        atom = monomial[0]
        if factor == 1 and len(monomial) == 1 and isinstance(atom, tuple) and atom[0] == "//":
            _, x, c = atom
            if isinstance(c, int) and c > 0:
                return floordiv(x + c * left.terms.get((), 0), c * b) + outer
    return _form("//", left, b) + outer


def _exact_quotient(a: Dim, b: Dim) -> Dim | None:
    """`a / b` when `b` is a monomial that divides every term of `a`, or equals `a`."""
    if a == b:
        return 1
    divisor = _terms(b)
    if len(divisor) != 1:
        return None
    ((monomial, factor),) = divisor.items()
    quotient: dict[Monomial, int] = {}
    for term, coefficient in _terms(a).items():
        rest = list(term)
        for atom in monomial:
            if atom not in rest:
                return None
            rest.remove(atom)
        if coefficient % factor:
            return None
        quotient[tuple(rest)] = coefficient // factor
    return _make(quotient)


def ceildiv(a: Dim, b: Dim) -> Dim:
    """`a / b` rounded up, for positive `b`."""
    return floordiv(a + b - 1, b)


def mod(a: Dim, b: Dim) -> Dim:
    """`a - b * (a // b)`; `b` must not be 0."""
    if isinstance(b, int) and b == 0:
        raise BiremeError("BM2006", f"{a} modulo zero")
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if _exact_quotient(a, b) is not None:
        return 0
    if not isinstance(b, int):
        return _form("%", a, b)
    rest = _make({m: (c % b if not m else c) for m, c in _terms(a).items() if not m or c % b})
    return rest % b if isinstance(rest, int) else _form("%", rest, b)


def _extreme(op: str, pick: int, a: Dim, b: Dim) -> Dim:
    difference = a - b
    if isinstance(difference, int):
        return a if difference * pick >= 0 else b
    if is_nonnegative(difference):
        return a if pick > 0 else b
    if is_nonnegative(-difference):
        return b if pick > 0 else a
    first, second = sorted((a, b), key=str)
    return _form(op, first, second)


def is_nonnegative(dim: Dim) -> bool:
    """Whether `dim` is certainly not below 0, whatever sizes its symbols have; False if unknown."""
    if isinstance(dim, int):
        return dim >= 0
    return all(
        factor >= 0 and all(map(_is_nonnegative_atom, monomial))
        for monomial, factor in dim.terms.items()
    )


def _is_nonnegative_atom(atom: Atom) -> bool:
    if isinstance(atom, str):
        return True
    op, left, right = atom
    match op:
        case "//":
            return is_nonnegative(left) and is_nonnegative(right)
        case "%":
            return is_nonnegative(right)
        case "max":
            return is_nonnegative(left) or is_nonnegative(right)
        case _:
            return is_nonnegative(left) and is_nonnegative(right)


def minimum(a: Dim, b: Dim) -> Dim:
    """The lesser of two dimensions."""
    return _extreme("min", -1, a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    """The greater of two dimensions."""
    return _extreme("max", 1, a, b)


def product(dims: tuple[Dim, ...] | list[Dim]) -> Dim:
    """Number of elements of a shape."""
    return reduce(lambda a, b: a * b, dims, 1)


_FORMS = {"//": floordiv, "%": mod, "min": minimum, "max": maximum}


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """`dim` with the named symbols replaced."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, factor in dim.terms.items():
        term: Dim = factor
        for atom in monomial:
            if isinstance(atom, str):
                term = term * values.get(atom, DimExpr({(atom,): 1}))
            else:
                op, left, right = atom
                term = term * _FORMS[op](substitute(left, values), substitute(right, values))
        total = total + term
    return total


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The number `dim` stands for. Raises BM2007 when a symbol has no value."""
    result = substitute(dim, values)
    if isinstance(result, int):
        return result
    missing = ", ".join(sorted(symbols_of(result) - set(values)))
    raise BiremeError("BM2007", f"{dim} needs a value for {missing or 'a division'}")


def symbols_of(dim: Dim) -> set[str]:
    """Names of the symbols in `dim`."""
    names: set[str] = set()
    for monomial in _terms(dim):
        for atom in monomial:
            if isinstance(atom, str):
                names.add(atom)
            else:
                names |= symbols_of(atom[1]) | symbols_of(atom[2])
    return names


_BINARY: dict[type[ast.operator], Callable[[Dim, Dim], Dim]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.FloorDiv: floordiv,
    ast.Mod: mod,
}


@lru_cache(maxsize=1 << 14)
def parse(text: str) -> Dim:
    """Reads what `str` of a dimension prints. Raises BM2006."""
    try:
        return _read(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BiremeError("BM2006", f"{text!r}: {error}") from None


def _read(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(number)) if not isinstance(number, bool):
            return number
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub()):
            return -_read(node.operand)
        case ast.BinOp() if type(node.op) in _BINARY:
            combine = _BINARY[type(node.op)]
            return combine(_read(node.left), _read(node.right))
        case ast.Call(func=ast.Name(id=("min" | "max") as name), args=[left, right]):
            return _FORMS[name](_read(left), _read(right))
        case _:
            raise ValueError(f"{ast.unparse(node)} is not allowed in a dimension")
