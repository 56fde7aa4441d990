"""NumPy's basic indexing as one slice, one reshape and at most one gather."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bireme.ir import BiremeError, Dim, DimExpr, ceildiv, maximum, minimum
from bireme.ir.dims import symbols_of

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


def plan(index: Any, shape: Sequence[Dim]) -> Plan:
    """The plan of `x[index]` for x of this shape. Raises BM1006."""
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
            start, length, step = _range(part, size)
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


def _at_least_one(dim: Dim) -> Dim:
    """The least value of an expression whose symbols are 1 or more, when that is plain to see."""
    if isinstance(dim, int):
        return dim
    plain = all(isinstance(a, str) for m in dim.terms for a in m)
    rising = all(f > 0 for m, f in dim.terms.items() if m)
    return sum(dim.terms.values()) if plain and rising else dim


def _smaller(a: Dim, b: Dim) -> Dim:
    """`min(a, b)` where traced sizes are 1 or more."""
    least = _at_least_one(a - b) if isinstance(a - b, DimExpr) else a - b
    if isinstance(least, int) and least >= 0:
        return b
    most = _at_least_one(b - a) if isinstance(b - a, DimExpr) else b - a
    if isinstance(most, int) and most >= 0:
        return a
    return minimum(a, b)


def _bound(end: Any, size: Dim, default: Dim) -> Dim:
    """A slice's start or stop as a position in [0, size]."""
    if end is None:
        return default
    position: Dim = end if isinstance(end, DimExpr) else int(end)
    if _is_negative(position):
        position = position + size
        return _larger_zero(position)
    return _smaller(position, size)


def _larger_zero(dim: Dim) -> Dim:
    least = _at_least_one(dim)
    if isinstance(least, int) and least >= 0:
        return dim
    return maximum(dim, 0)


def _range(part: slice, size: Dim) -> tuple[Dim, Dim, int]:
    """(first index, length, step) of a slice."""
    step = 1 if part.step is None else int(part.step)
    if isinstance(size, int) and not any(map(_has_symbols, (part.start, part.stop))):
        numbers = range(*part.indices(size))
        return (numbers.start if len(numbers) else 0), len(numbers), step
    if step < 0 and (part.start is not None or part.stop is not None):
        raise BiremeError("BM1006", "a negative step with bounds on a symbolic axis", hint=_HINT)
    if step < 0:
        return size - 1, ceildiv(size, -step), step
    start, stop = _bound(part.start, size, 0), _bound(part.stop, size, size)
    return start, ceildiv(_larger_zero(stop - start), step), step


def _has_symbols(dim: Any) -> bool:
    return isinstance(dim, DimExpr) and bool(symbols_of(dim))
