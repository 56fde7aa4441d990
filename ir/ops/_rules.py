"""Checks that type rules share."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.ir.dims import Dim
from bireme.ir.dtypes import DType
from bireme.ir.errors import counted
from bireme.ir.opdef import Typing
from bireme.ir.types import TensorType

INDEX = (DType.I32, DType.I64)
BOOLS = (DType.BOOL,)


def same_type(t: Typing) -> Sequence[TensorType]:
    """The result is like the first operand."""
    return [t.types[0]]


def same_dtype(t: Typing, types: Sequence[TensorType]) -> DType:
    """The one element type of several operands."""
    for tensor in types[1:]:
        if tensor.dtype is not types[0].dtype:
            raise t.fail(
                f"operands have different element types: {types[0]} and {tensor}", "BM2003"
            )
    return types[0].dtype


def broadcast_type(t: Typing) -> Sequence[TensorType]:
    """Operands of one element type, broadcast together."""
    return [TensorType(same_dtype(t, t.types), t.broadcast(*(x.shape for x in t.types)))]


def rank_at_least(t: Typing, tensor: TensorType, least: int, what: str) -> None:
    if tensor.rank < least:
        raise t.fail(f"{what} must have {counted(least, 'axis', 'axes')} or more; found {tensor}")


def has_rank(t: Typing, tensor: TensorType, rank: int, what: str) -> None:
    if tensor.rank != rank:
        raise t.fail(f"{what} must have {counted(rank, 'axis', 'axes')}; found {tensor}")


def one_per_axis(t: Typing, name: str, rank: int) -> None:
    """An attribute that holds one entry for each axis."""
    found = t.attrs[name]
    if len(found) != rank:
        wanted = counted(rank, "entry", "entries")
        raise t.fail(f"{name} must have {wanted}; found {len(found)}", "BM1006")


def at_least(t: Typing, name: str, least: int) -> None:
    """An attribute whose entries (or whose one value) are not below `least`, as far as is known."""
    found = t.attrs[name]
    for value in found if isinstance(found, tuple) else (found,):
        if isinstance(value, int) and value < least:
            raise t.fail(f"{name} must not be below {least}; found {value}", "BM1006")


def one_of(t: Typing, name: str, allowed: Sequence[str]) -> None:
    """A string attribute with a fixed set of values."""
    if t.attrs[name] not in allowed:
        raise t.fail(
            f"{name} must be one of {', '.join(allowed)}; found {t.attrs[name]!r}", "BM1006"
        )


def multiple(t: Typing, size: Dim, factor: int, what: str) -> None:
    """A size that `factor` divides."""
    rest = size % factor
    if isinstance(rest, int) and rest != 0:
        raise t.fail(f"{what}: {size} is not a multiple of {factor}")
    t.same(rest, 0, what)


def same_shape(t: Typing, a: Sequence[Dim], b: Sequence[Dim], what: str) -> tuple[Dim, ...]:
    """One of two shapes that must be equal."""
    if len(a) != len(b):
        raise t.fail(f"{what}: {_text(a)} and {_text(b)} differ in rank")
    return tuple(
        t.same(x, y, f"{what}, axis {i}") for i, (x, y) in enumerate(zip(a, b, strict=True))
    )


def fits(t: Typing, tensor: TensorType, shape: Sequence[Dim], what: str) -> None:
    """`tensor` broadcasts to `shape` without making it larger."""
    if tensor.rank > len(shape):
        raise t.fail(f"{what} {tensor} does not broadcast to {_text(shape)}")
    for size, wanted in zip(tensor.shape[::-1], tuple(shape)[::-1], strict=False):
        if size != 1:
            t.same(size, wanted, f"{what} {tensor} against {_text(shape)}")


def _text(shape: Sequence[Dim]) -> str:
    return f"[{', '.join(map(str, shape))}]"
