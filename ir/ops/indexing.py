"""Ops whose elements come from, or go to, places that a tensor of indices names."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dtypes import NUMERIC
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import widen
from bireme.ir.ops._rules import (
    INDEX,
    has_rank,
    one_of,
    rank_at_least,
    same_dtype,
    same_shape,
)
from bireme.ir.types import TensorType

_REDUCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}
REDUCTION_NAMES = ("none", *_REDUCTIONS)


def _wrapped(indices: Array, size: int, what: str) -> Array:
    """Indices with negative ones counted from the end.

    Raises BM6003 for one that does not exist.
    """
    wrong = indices[(indices < -size) | (indices >= size)]
    if wrong.size:
        raise BiremeError("BM6003", f"{what}: index {wrong.flat[0]} is outside [{-size}, {size})")
    return np.where(indices < 0, indices + size, indices).astype(np.intp)


def _gather_type(t: Typing) -> Sequence[TensorType]:
    data, indices = t.types
    rank_at_least(t, data, 1, "data")
    axis = t.axis(t.attrs["axis"], data.rank)
    return [data.with_shape(data.shape[:axis] + indices.shape + data.shape[axis + 1 :])]


def _gather_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    data, indices = inputs
    axis = attrs["axis"] % data.ndim
    return [data.take(_wrapped(indices, data.shape[axis], f"axis {axis}"), axis)]


def _gather_elements_type(t: Typing) -> Sequence[TensorType]:
    data, indices = t.types
    rank_at_least(t, data, 1, "data")
    _check_inside(t, data, indices)
    return [data.with_shape(indices.shape)]


def _check_inside(t: Typing, data: TensorType, indices: TensorType) -> None:
    """Along every axis but the indexed one, `indices` is no longer than `data`."""
    has_rank(t, indices, data.rank, "indices")
    axis = t.axis(t.attrs["axis"], data.rank)
    for i, (size, count) in enumerate(zip(data.shape, indices.shape, strict=True)):
        spare = size - count
        if i != axis and isinstance(spare, int) and spare < 0:
            raise t.fail(f"axis {i} of indices {indices} is longer than that of {data}")


def _element_places(indices: Array, shape: tuple[int, ...], axis: int) -> tuple[Array, ...]:
    """For each index, its full coordinates in a tensor of `shape`. Raises BM6003."""
    for i, (size, count) in enumerate(zip(shape, indices.shape, strict=True)):
        if i != axis and count > size:
            raise BiremeError("BM6003", f"axis {i}: {count} indices for {size} elements")
    places = list(np.ogrid[tuple(slice(n) for n in indices.shape)])
    places[axis] = _wrapped(indices, shape[axis], f"axis {axis}")
    return tuple(places)


def _gather_elements_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    data, indices = inputs
    return [data[_element_places(indices, data.shape, attrs["axis"] % data.ndim)]]


def _tuple_length(t: Typing, indices: TensorType, most: int) -> int:
    """How many axes one row of an n-d index names."""
    rank_at_least(t, indices, 1, "indices")
    length = indices.shape[-1]
    if not isinstance(length, int):
        raise t.fail(f"the last size of indices {indices} must be known", "BM1007")
    if not 0 <= length <= most:
        raise t.fail(f"rows of indices {indices} name {length} axes; at most {most} are there")
    return length


def _gather_nd_type(t: Typing) -> Sequence[TensorType]:
    data, indices = t.types
    batch = t.attrs["batch_dims"]
    if not 0 <= batch < max(min(data.rank, indices.rank), 1):
        raise t.fail(f"batch_dims {batch} is outside the axes of {data} and {indices}", "BM1006")
    length = _tuple_length(t, indices, data.rank - batch)
    same_shape(t, data.shape[:batch], indices.shape[:batch], "batch axes")
    return [data.with_shape(indices.shape[:-1] + data.shape[batch + length :])]


def _tuple_places(indices: Array, shape: tuple[int, ...], first: int) -> list[Array]:
    """The columns of n-d indices, checked against the axes from `first` on."""
    return [
        _wrapped(indices[..., i], shape[first + i], f"axis {first + i}")
        for i in range(indices.shape[-1])
    ]


def _gather_nd_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    data, indices = inputs
    batch = attrs["batch_dims"]
    rows = indices.shape[:-1]
    places = list(np.ogrid[tuple(slice(n) for n in rows)])[:batch]
    places += _tuple_places(indices, data.shape, batch)
    if not places:
        return [np.broadcast_to(data, (*rows, *data.shape)).copy()]
    return [data[tuple(np.broadcast_to(p, rows) for p in places)]]


def _scatter(data: Array, places: tuple[Array, ...], updates: Array, reduction: str) -> Array:
    """A copy of `data` with the updates combined into the places; float16 sums are kept wide."""
    if reduction == "none":
        result = data.copy()
        result[places] = updates
        return result
    wide = np.array(widen(data))
    getattr(_REDUCTIONS[reduction], "at")(wide, places, widen(updates))  # noqa: B009
    return wide.astype(data.dtype)


def _check_reduction(t: Typing) -> None:
    one_of(t, "reduction", REDUCTION_NAMES)
    if t.attrs["reduction"] != "none" and t.types[0].dtype not in NUMERIC:
        raise t.fail(
            f"reduction {t.attrs['reduction']!r} takes numbers; found {t.types[0]}", "BM2003"
        )


def _scatter_elements_type(t: Typing) -> Sequence[TensorType]:
    data, indices, updates = t.types
    same_dtype(t, (data, updates))
    _check_reduction(t)
    rank_at_least(t, data, 1, "data")
    _check_inside(t, data, indices)
    same_shape(t, indices.shape, updates.shape, "indices and updates")
    return [data]


def _scatter_elements_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    data, indices, updates = inputs
    places = _element_places(indices, data.shape, attrs["axis"] % data.ndim)
    return [_scatter(data, places, updates, attrs["reduction"])]


def _scatter_nd_type(t: Typing) -> Sequence[TensorType]:
    data, indices, updates = t.types
    same_dtype(t, (data, updates))
    _check_reduction(t)
    length = _tuple_length(t, indices, data.rank)
    same_shape(t, updates.shape, indices.shape[:-1] + data.shape[length:], "updates")
    return [data]


def _scatter_nd_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    data, indices, updates = inputs
    places = tuple(_tuple_places(indices, data.shape, 0))
    if not places:
        # A row that names no axis is the whole tensor: each update is one of its size.
        rows = np.zeros(indices.shape[:-1], np.intp)
        return [_scatter(data[np.newaxis], (rows,), updates, attrs["reduction"])[0]]
    return [_scatter(data, places, updates, attrs["reduction"])]


def _reverse_sequence_type(t: Typing) -> Sequence[TensorType]:
    x, lengths = t.types
    rank_at_least(t, x, 2, "x")
    batch = t.axis(t.attrs["batch_axis"], x.rank, "batch_axis")
    time = t.axis(t.attrs["time_axis"], x.rank, "time_axis")
    if batch == time:
        raise t.fail(f"batch_axis and time_axis are both {batch}", "BM1006")
    same_shape(t, lengths.shape, (x.shape[batch],), "lengths")
    return [x]


def _reverse_sequence_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x, lengths = inputs
    batch, time = attrs["batch_axis"] % x.ndim, attrs["time_axis"] % x.ndim
    steps = np.arange(x.shape[time])
    ends = np.clip(lengths, 0, x.shape[time])[:, np.newaxis]
    source = np.where(steps < ends, ends - 1 - steps, steps)
    shape = [1] * x.ndim
    shape[batch], shape[time] = source.shape
    source = (source if batch < time else source.T).reshape(shape)
    return [np.take_along_axis(x, np.broadcast_to(source, x.shape), time)]


_REDUCTION = Attr(
    "reduction",
    AttrKind.STR,
    "none",
    "how an update joins what is there: `none` (replaces it; of several for one place any one "
    "stays), `add`, `mul`, `max` or `min`",
)
_COUNTED = "Negative indices count from the end; one that does not exist is a fault at run time."

OPS = (
    OpDef(
        name="gather",
        operands=(Operand("data"), Operand("indices", INDEX)),
        attrs=(Attr("axis", AttrKind.INT, 0, "axis of `data` that is indexed"),),
        infer=_gather_type,
        reference=_gather_reference,
        fusion=Fusion.INJECTIVE,
        doc="Slices of `data` along an axis; the axes of `indices` take the place of it. "
        + _COUNTED,
    ),
    OpDef(
        name="gather_elements",
        operands=(Operand("data"), Operand("indices", INDEX)),
        attrs=(Attr("axis", AttrKind.INT, doc="axis of `data` that is indexed"),),
        infer=_gather_elements_type,
        reference=_gather_elements_reference,
        fusion=Fusion.INJECTIVE,
        doc="For each place of `indices`, the element of `data` at that place with the coordinate "
        "of one axis replaced by the index. " + _COUNTED,
    ),
    OpDef(
        name="gather_nd",
        operands=(Operand("data"), Operand("indices", INDEX)),
        attrs=(
            Attr("batch_dims", AttrKind.INT, 0, "leading axes that `data` and `indices` share"),
        ),
        infer=_gather_nd_type,
        reference=_gather_nd_reference,
        fusion=Fusion.INJECTIVE,
        doc="Each row of `indices` (its last axis, of known size) names the leading coordinates of "
        "a slice of `data`. " + _COUNTED,
    ),
    OpDef(
        name="scatter_elements",
        operands=(Operand("data"), Operand("indices", INDEX), Operand("updates")),
        attrs=(Attr("axis", AttrKind.INT, doc="axis of `data` that is indexed"), _REDUCTION),
        infer=_scatter_elements_type,
        reference=_scatter_elements_reference,
        fusion=Fusion.OPAQUE,
        doc="`data` with each update put at its own place, the coordinate of one axis replaced by "
        "the index. " + _COUNTED,
    ),
    OpDef(
        name="scatter_nd",
        operands=(Operand("data"), Operand("indices", INDEX), Operand("updates")),
        attrs=(_REDUCTION,),
        infer=_scatter_nd_type,
        reference=_scatter_nd_reference,
        fusion=Fusion.OPAQUE,
        doc="`data` with each slice of the updates put where its row of `indices` (the last axis, "
        "of known size) says. " + _COUNTED,
    ),
    OpDef(
        name="reverse_sequence",
        operands=(Operand("x"), Operand("lengths", INDEX)),
        attrs=(
            Attr("batch_axis", AttrKind.INT, doc="axis that `lengths` has an entry for"),
            Attr("time_axis", AttrKind.INT, doc="axis that is reversed"),
        ),
        infer=_reverse_sequence_type,
        reference=_reverse_sequence_reference,
        fusion=Fusion.INJECTIVE,
        doc="For each batch entry, the first `lengths[b]` steps in reverse order, then the rest as "
        "is. Lengths are clamped to the axis.",
    ),
)
