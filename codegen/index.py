"""Arithmetic on indices that may be vectors.

A vector of consecutive positions stays a `Ramp` through additions and multiplications by scalars,
since only a load at a ramp is one vector load. Sizes and positions are never negative unless said
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import sym, tirx
from tvm.tirx import stmt as ts

from bireme.codegen.tir import Emitter, Expr, cast, compute, const, index, is_int, lanes_of, match
from bireme.codegen.tir import plus as plus
from bireme.codegen.tir import times as times
from bireme.ir import DType


def is_ramp(i: Expr) -> bool:
    """Whether an index is a vector of evenly spaced positions, and seen to be one."""
    return isinstance(i, tirx.Ramp)


def lanes_in(at: Sequence[Expr]) -> int:
    """Lanes of an index: those of its one vector, else 1."""
    return max((lanes_of(i) for i in at), default=1)


def consecutive(first: Any, lanes: int) -> Expr:
    """`first, first + 1, ...`; with one lane, `first` itself."""
    return tirx.Ramp(index(first), index(1), lanes) if lanes > 1 else index(first)


def widen(value: Expr, lanes: int) -> Expr:
    """A scalar in every lane; vectors pass."""
    return tirx.Broadcast(value, lanes) if lanes > lanes_of(value) else value


def minus(a: Any, b: Any) -> Expr:
    """`a - b`, which may be negative."""
    return plus(a, times(b, -1))


def clamp(i: Expr, size: Any) -> Expr:
    """The nearest position in [0, size); `i` may be negative."""
    low, high, i = match(index(0), index(size) - index(1), i)
    return tirx.max(low, tirx.min(i, high))


def multiple_of(i: Expr, number: int) -> bool:
    """Whether a scalar is certainly a multiple of `number`."""
    known = sym.Analyzer().modular_set(i)
    return int(known.coeff) % number == 0 and int(known.base) % number == 0


@dataclass(frozen=True)
class _Spread:
    """Positions `base + offsets`: a scalar, and an int32 vector of small numbers up to `most`.

    The offsets do not fall from lane to lane. `aligned`: the base is a multiple of the lanes.
    """

    base: Expr
    offsets: Expr
    most: int
    aligned: bool = False


def divide(emit: Emitter, i: Expr, size: Any) -> tuple[Expr, Expr]:
    """`i // size` and `i % size`."""
    outer, inner = unravel(emit, i, [index(0), index(size)])
    return outer, inner


def unravel(emit: Emitter, flat: Expr, sizes: Sequence[Any]) -> list[Expr]:
    """A row-major number as an index into `sizes`; the first size does not matter."""
    at: list[Expr] = []
    rest: Any = flat
    if is_ramp(flat) and is_int(flat.stride) and int(flat.stride) == 1:
        steps = tirx.Ramp(const(0, "int32"), const(1, "int32"), int(flat.lanes))
        lanes = int(flat.lanes)
        rest = _Spread(emit.bind(flat.base), steps, lanes - 1, multiple_of(flat.base, lanes))
    for size in reversed([index(s) for s in sizes[1:]]):
        if is_int(size) and int(size) == 1:
            at.append(index(0))
            continue
        if isinstance(rest, _Spread):
            rest, inner = _divide_spread(emit, rest, size)
        else:
            value, divisor = match(rest, size)
            quotient = emit.bind(tirx.truncdiv(value, divisor), "q")
            rest, inner = quotient, emit.bind(value - quotient * divisor, "i")
        at.append(inner)
    first = _joined(emit, rest) if isinstance(rest, _Spread) else rest
    return [first, *reversed(at)] if sizes else []


def _joined(emit: Emitter, spread: _Spread) -> Expr:
    if is_ramp(spread.offsets):
        return consecutive(spread.base, spread.most + 1)
    base, offsets = match(spread.base, cast(spread.offsets, "int64"))
    return emit.bind(base + offsets, "i")


def _divide_spread(emit: Emitter, spread: _Spread, size: Expr) -> tuple[_Spread | Expr, Expr]:
    """Divides the scalar, then carries: the quotients of neighbours hardly differ."""
    lanes = lanes_of(spread.offsets)
    known = int(size) if is_int(size) else None
    base = emit.bind(tirx.truncdiv(spread.base, size), "q")
    left = emit.bind(spread.base - base * size, "i")
    if known and spread.aligned and known % lanes == 0:
        return base, consecutive(left, lanes)
    if known and known > spread.most:
        limit = cast(tirx.min(size - left, index(spread.most + 1)), "int32")
        limit, offsets = match(limit, spread.offsets)
        carries = emit.bind(cast(offsets >= limit, "int32"), "carry")
        most = 1
    else:
        # Exact: all numbers are far below 2**53, so that no quotient is rounded up to a whole one.
        divisor, start, offsets = match(
            cast(size, "float64"), cast(left, "float64"), cast(spread.offsets, "float64")
        )
        carries = emit.bind(cast((start + offsets) / divisor, "int32"), "carry")
        most = spread.most if known is None else (known - 1 + spread.most) // known
    start, offsets, carry, wide = match(
        left, cast(spread.offsets, "int64"), cast(carries, "int64"), size
    )
    inner = emit.bind(start + offsets - carry * wide, "i")
    return _Spread(base, carries, most), inner


def all_of(*conditions: Expr) -> Expr:
    """Whether all hold; lanes are matched."""
    found, *rest = conditions
    for condition in rest:
        left, right = match(found, condition)
        found = tirx.And(left, right)
    return found


Branch = tuple[Expr, Callable[[], Expr]]


def choose(
    emit: Emitter,
    dtype: DType,
    lanes: int,
    branches: Sequence[Branch],
    otherwise: Callable[[], Expr],
) -> Expr:
    """The value of the first branch whose (scalar) condition holds; only that one is evaluated."""
    kind = "uint8" if dtype is DType.BOOL else compute(dtype)
    buffer = emit.scratch("chosen", kind, lanes)
    place = consecutive(0, lanes)

    def keep(make: Callable[[], Expr]) -> None:
        emit.add(ts.BufferStore(buffer, widen(cast(make(), kind), lanes), [place]))

    def nest(rest: Sequence[Branch]) -> None:
        if not rest:
            keep(otherwise)
            return
        condition, make = rest[0]
        with emit.when(condition):
            keep(make)
        with emit.when(tirx.Not(condition)):
            nest(rest[1:])

    nest(branches)
    value = emit.bind(tirx.BufferLoad(buffer, [place]), "chosen")
    return cast(value, compute(dtype))
