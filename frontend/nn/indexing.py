"""NumPy's basic indexing as one slice, one reshape and at most one gather."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bireme.ir import BiremeError, Dim, DimExpr, SymbolRange, ceildiv, maximum, minimum
from bireme.ir.dims import is_nonnegative, substitute, symbol, symbols_of

Ranges = Mapping[str, SymbolRange]

_HINT = "index with integers, slices, None, ... and at most one integer tensor"


@dataclass
class Plan:
    """`slice(starts, sizes, steps)`, then `reshape(shape)`, then `gather(indices)` along `axis`."""

    starts: list[Dim] = field(default_factory=list)
    sizes: list[Dim] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    shape: tuple[Dim, ...] = ()
    sliced: bool = False
    indices: Any = None
    axis: int = 0


def plan(index: Any, shape: Sequence[Dim], ranges: Ranges) -> Plan:
    """The plan of `x[index]` for x of this shape; `ranges` bound its symbols. Raises BM1006."""
    parts = _full(index if isinstance(index, tuple) else (index,), len(shape))
    result = Plan()
    kept: list[Dim] = []
    axes = iter(shape)
    for part in parts:
        if part is None:
            kept.append(1)
            continue
        size = next(axes)
        if isinstance(part, slice):
            start, length, step = _range(part, size, ranges)
        elif _is_size(part):
            start, length, step = _element(part, size), 1, 1
        else:
            if result.indices is not None:
                raise BiremeError("BM1006", "two tensors stand in one index", hint=_HINT)
            _check_indices(part)
            result.indices, result.axis = part, len(kept)
            start, length, step = 0, size, 1
        result.starts.append(start)
        result.sizes.append(length)
        result.steps.append(step)
        result.sliced |= (start, length, step) != (0, size, 1)
        if not _is_size(part):
            kept.append(length)
    result.shape = tuple(kept)
    return result


def _full(parts: tuple[Any, ...], rank: int) -> list[Any]:
    """One entry for each axis, with None for new axes; `...` is written out."""
    named = sum(p is not None and p is not Ellipsis for p in parts)
    if named > rank or sum(p is Ellipsis for p in parts) > 1:
        raise BiremeError("BM1006", f"{named} indices for {rank} axes", hint=_HINT)
    whole = [slice(None)] * (rank - named)
    at = next((i for i, p in enumerate(parts) if p is Ellipsis), None)
    if at is None:
        return [*parts, *whole]
    return [*parts[:at], *whole, *parts[at + 1 :]]


def _is_size(part: Any) -> bool:
    return isinstance(part, DimExpr) or (
        hasattr(part, "__index__") and not hasattr(part, "shape") and not isinstance(part, bool)
    )


def _check_indices(part: Any) -> None:
    dtype = str(getattr(part, "dtype", type(part).__name__))
    if "int" not in dtype:
        detail = f"an index of type {dtype}"
        raise BiremeError("BM1006", detail, hint=f"{_HINT}; for masks use nn.functional.where")


def _element(index: Dim, size: Dim) -> Dim:
    if isinstance(index, int) and isinstance(size, int) and not -size <= index < size:
        raise BiremeError("BM1006", f"index {index} is outside an axis of size {size}")
    return index + size if _is_negative(index) else index


def _is_negative(dim: Dim) -> bool:
    """Counted from the end: a negative number, or an expression without positive terms."""
    if isinstance(dim, int):
        return dim < 0
    return all(factor < 0 for factor in dim.terms.values())


def _is_nonnegative(dim: Dim, ranges: Ranges) -> bool:
    """Whether `dim` is certainly 0 or more for every size that the symbols may have."""
    known = {name: ranges.get(name, SymbolRange()) for name in symbols_of(dim)}
    # Each symbol as its least size plus a part that is 0 or more.
    above = substitute(dim, {name: symbol(name) + sizes.least for name, sizes in known.items()})
    return is_nonnegative(above) or _lower_bound(above, known) >= 0


def _lower_bound(dim: Dim, ranges: Ranges) -> float:
    """A number that `dim` is not below, its symbols being counted from their least sizes."""
    if isinstance(dim, int):
        return dim
    total = 0.0
    for monomial, factor in dim.terms.items():
        size = 1.0
        for atom in monomial:
            if not isinstance(atom, str):
                return -math.inf
            most = ranges[atom].most
            size *= math.inf if most is None else most - ranges[atom].least
        # A positive multiple of a symbol is at least 0; a number is itself.
        total += factor * size if factor < 0 or not monomial else 0.0
    return total


def _smaller(a: Dim, b: Dim, ranges: Ranges) -> Dim:
    if _is_nonnegative(b - a, ranges):
        return a
    return b if _is_nonnegative(a - b, ranges) else minimum(a, b)


def _above_zero(dim: Dim, ranges: Ranges) -> Dim:
    return dim if _is_nonnegative(dim, ranges) else maximum(dim, 0)


def _bound(end: Any, size: Dim, default: Dim, ranges: Ranges) -> Dim:
    """A slice's start or stop as a position in [0, size]."""
    if end is None:
        return default
    position: Dim = end if isinstance(end, DimExpr) else int(end)
    if _is_negative(position):
        return _above_zero(position + size, ranges)
    return _smaller(position, size, ranges)


def _range(part: slice, size: Dim, ranges: Ranges) -> tuple[Dim, Dim, int]:
    """(first index, length, step) of a slice."""
    step = 1 if part.step is None else int(part.step)
    bounds = (part.start, part.stop)
    if isinstance(size, int) and not any(isinstance(b, DimExpr) for b in bounds):
        numbers = range(*part.indices(size))
        return (numbers.start if len(numbers) else 0), len(numbers), step
    if step < 0 and bounds != (None, None):
        raise BiremeError("BM1006", "a negative step with bounds on a symbolic axis", hint=_HINT)
    if step < 0:
        return size - 1, ceildiv(size, -step), step
    start = _bound(part.start, size, 0, ranges)
    stop = _bound(part.stop, size, size, ranges)
    return start, ceildiv(_above_zero(stop - start, ranges), step), step
