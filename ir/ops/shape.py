"""Ops that move elements without looking at them: shapes, slices, padding, channel blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bireme.ir.dims import Dim, ceildiv, maximum
from bireme.ir.dtypes import NUMERIC
from bireme.ir.errors import BiremeError
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._rules import (
    at_least,
    fits,
    has_rank,
    one_of,
    one_per_axis,
    rank_at_least,
    same_dtype,
)
from bireme.ir.types import TensorType

PAD_MODES = ("constant", "reflect", "edge", "wrap")


def _reshape_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    result = x.with_shape(t.attrs["shape"])
    at_least(t, "shape", 0)
    t.same(x.elements, result.elements, f"elements of {x} as {result}")
    return [result]


def _transpose_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    perm = t.attrs["perm"]
    if sorted(perm) != list(range(x.rank)):
        raise t.fail(f"perm {perm} is not a permutation of the {x.rank} axes of {x}", "BM1006")
    return [x.with_shape([x.shape[axis] for axis in perm])]


def _slice_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    for name in ("starts", "sizes", "steps"):
        one_per_axis(t, name, x.rank)
    at_least(t, "sizes", 0)
    for axis, (start, size, step) in enumerate(_slice_axes(t.attrs)):
        if step == 0:
            raise t.fail(f"the step of axis {axis} is 0", "BM1006")
        last = start + (size - 1) * step
        # A size that is not known can only be 0 where there is nothing.
        empty = size == 0 or (x.shape[axis] == 0 and not isinstance(size, int))
        for index in (start, last):
            # Only what is certain at compile time can be refused; an empty slice reads nothing.
            room = (index, x.shape[axis] - 1 - index)
            if not empty and any(isinstance(r, int) and r < 0 for r in room):
                raise t.fail(f"axis {axis}: elements {start} to {last} of {x} do not all exist")
    return [x.with_shape(t.attrs["sizes"])]


def _slice_axes(attrs: Attrs) -> list[tuple[Any, Any, int]]:
    """(start, size, step) of each axis: Dims in the type rule, numbers in the reference."""
    return list(zip(attrs["starts"], attrs["sizes"], attrs["steps"], strict=True))


def _slice_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    result = inputs[0]
    for axis, (start, size, step) in enumerate(_slice_axes(attrs)):
        length, last = result.shape[axis], start + (size - 1) * step
        if size and not (0 <= start < length and 0 <= last < length):
            detail = f"axis {axis}: elements {start} to {last} of {length} do not all exist"
            raise BiremeError("BM6003", detail)
        if (start, size, step) != (0, length, 1):
            result = result.take(np.arange(size) * step + start, axis)
    return [result]


def _pad_type(t: Typing) -> Sequence[TensorType]:
    x = t.types[0]
    same_dtype(t, t.types)
    if len(t.types) == 2:
        has_rank(t, t.types[1], 0, "the value")
    one_of(t, "mode", PAD_MODES)
    for name in ("before", "after"):
        one_per_axis(t, name, x.rank)
        at_least(t, name, 0)
        for axis, amount in enumerate(t.attrs[name]):
            _check_pad_source(t, x, axis, amount)
    before, after = t.attrs["before"], t.attrs["after"]
    return [x.with_shape([b + n + a for b, n, a in zip(before, x.shape, after, strict=True)])]


def _check_pad_source(t: Typing, x: TensorType, axis: int, amount: Dim) -> None:
    """Modes that copy elements need elements to copy."""
    most: dict[str, Dim] = {
        "reflect": maximum(x.shape[axis] - 1, 0),
        "wrap": x.shape[axis],
        "edge": amount if x.shape[axis] != 0 else 0,
    }
    room = most.get(t.attrs["mode"], amount) - amount
    if isinstance(room, int) and room < 0:
        raise t.fail(f"axis {axis} of {x} is too short to pad {amount} in mode {t.attrs['mode']}")


def _pad_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    x = inputs[0]
    widths = list(zip(attrs["before"], attrs["after"], strict=True))
    if attrs["mode"] != "constant":
        return [np.pad(x, widths, mode=attrs["mode"])] if any(map(any, widths)) else [x]
    shape = [b + n + a for (b, a), n in zip(widths, x.shape, strict=True)]
    result = np.zeros(shape, x.dtype)
    if len(inputs) == 2:
        result[...] = inputs[1]
    result[tuple(slice(b, b + n) for (b, _), n in zip(widths, x.shape, strict=True))] = x
    return [result]


def _expand_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    at_least(t, "shape", 0)
    fits(t, x, t.attrs["shape"], "operand")
    return [x.with_shape(t.attrs["shape"])]


def _tile_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    one_per_axis(t, "repeats", x.rank)
    at_least(t, "repeats", 0)
    return [x.with_shape([n * r for n, r in zip(x.shape, t.attrs["repeats"], strict=True)])]


def _concat_type(t: Typing) -> Sequence[TensorType]:
    if not t.types:
        raise t.fail("concat takes 1 operand or more; found 0", "BM2001")
    first = t.types[0]
    dtype = same_dtype(t, t.types)
    rank_at_least(t, first, 1, "operand 0")
    axis = t.axis(t.attrs["axis"], first.rank)
    shape = list(first.shape)
    for number, x in enumerate(t.types[1:], 1):
        has_rank(t, x, first.rank, f"operand {number}")
        for i, size in enumerate(x.shape):
            if i == axis:
                shape[i] = shape[i] + size
            else:
                shape[i] = t.same(shape[i], size, f"operand {number}, axis {i}")
    return [TensorType(dtype, tuple(shape))]


def _pack_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    block = t.attrs["block"]
    rank_at_least(t, x, 2, "operand")
    at_least(t, "block", 1)
    batch, channels, *spatial = x.shape
    return [x.with_shape([batch, ceildiv(channels, block), *spatial, block])]


def pack(x: Array, block: int) -> Array:
    """`[N, C, *S]` as `[N, ceil(C / block), *S, block]`; missing channels are zero."""
    batch, channels, *spatial = x.shape
    blocks = -(-channels // block)
    full = np.zeros((batch, blocks * block, *spatial), x.dtype)
    full[:, :channels] = x
    return np.moveaxis(full.reshape(batch, blocks, block, *spatial), 2, -1)


def _unpack_type(t: Typing) -> Sequence[TensorType]:
    (x,) = t.types
    rank_at_least(t, x, 3, "operand")
    batch, blocks, *spatial, block = x.shape
    channels = t.attrs["channels"]
    at_least(t, "channels", 0)
    if block == 0:
        raise t.fail(f"the blocks of {x} are empty")
    t.same(ceildiv(channels, block), blocks, f"{channels} channels in blocks of {x}")
    return [x.with_shape([batch, channels, *spatial])]


def unpack(x: Array, channels: int) -> Array:
    """`[N, B, *S, block]` as `[N, channels, *S]`."""
    batch, blocks, *spatial, block = x.shape
    full = np.moveaxis(x, -1, 2).reshape(batch, blocks * block, *spatial)
    return full[:, :channels]


OPS = (
    OpDef(
        name="reshape",
        operands=(Operand("x"),),
        attrs=(Attr("shape", AttrKind.DIMS, doc="shape of the result, with as many elements"),),
        infer=_reshape_type,
        reference=lambda inputs, attrs: [inputs[0].reshape(attrs["shape"])],
        fusion=Fusion.VIEW,
        doc="The same elements in the same (row-major) order under another shape.",
    ),
    OpDef(
        name="transpose",
        operands=(Operand("x"),),
        attrs=(Attr("perm", AttrKind.INTS, doc="for each axis of the result, the operand's axis"),),
        infer=_transpose_type,
        reference=lambda inputs, attrs: [inputs[0].transpose(attrs["perm"])],
        fusion=Fusion.INJECTIVE,
        doc="The axes in another order.",
    ),
    OpDef(
        name="slice",
        operands=(Operand("x"),),
        attrs=(
            Attr("starts", AttrKind.DIMS, doc="for each axis, index of the first element taken"),
            Attr("sizes", AttrKind.DIMS, doc="for each axis, how many elements are taken"),
            Attr("steps", AttrKind.INTS, doc="for each axis, distance of two elements; not 0"),
        ),
        infer=_slice_type,
        reference=_slice_reference,
        fusion=Fusion.INJECTIVE,
        doc="Element i along an axis is `x[start + i * step]`. Every index must exist: nothing is "
        "clamped, and negative starts do not count from the end.",
    ),
    OpDef(
        name="pad",
        operands=(Operand("x"), Operand("value", optional=True)),
        attrs=(
            Attr("before", AttrKind.DIMS, doc="for each axis, elements added before the first"),
            Attr("after", AttrKind.DIMS, doc="for each axis, elements added after the last"),
            Attr(
                "mode",
                AttrKind.STR,
                "constant",
                "`constant`: the scalar `value`, 0 when not given; `reflect`: mirrored about the "
                "edge element; `edge`: the edge element; `wrap`: from the other end",
            ),
        ),
        infer=_pad_type,
        reference=_pad_reference,
        fusion=Fusion.INJECTIVE,
        doc="Elements added at both ends of each axis.",
    ),
    OpDef(
        name="expand",
        operands=(Operand("x"),),
        attrs=(Attr("shape", AttrKind.DIMS, doc="shape of the result"),),
        infer=_expand_type,
        reference=lambda inputs, attrs: [np.broadcast_to(inputs[0], attrs["shape"])],
        fusion=Fusion.INJECTIVE,
        doc="Broadcasting to a shape: axes of size 1 and missing leading axes are repeated.",
    ),
    OpDef(
        name="tile",
        operands=(Operand("x"),),
        attrs=(Attr("repeats", AttrKind.DIMS, doc="for each axis, how often it is repeated"),),
        infer=_tile_type,
        reference=lambda inputs, attrs: [np.tile(inputs[0], attrs["repeats"])],
        fusion=Fusion.INJECTIVE,
        doc="Whole axes repeated one after the other.",
    ),
    OpDef(
        name="concat",
        operands=(Operand("xs", variadic=True),),
        attrs=(Attr("axis", AttrKind.INT, doc="axis along which the operands are joined"),),
        infer=_concat_type,
        reference=lambda inputs, attrs: [np.concatenate(inputs, attrs["axis"])],
        fusion=Fusion.INJECTIVE,
        doc="Operands one after the other along an axis; their other axes are equal.",
    ),
    OpDef(
        name="pack_channels",
        operands=(Operand("x", NUMERIC),),
        attrs=(Attr("block", AttrKind.INT, doc="channels in a block"),),
        infer=_pack_type,
        reference=lambda inputs, attrs: [pack(inputs[0], attrs["block"])],
        fusion=Fusion.INJECTIVE,
        doc="`[N, C, *S]` to the channel-blocked `[N, ceil(C / block), *S, block]`; channels that "
        "are missing in the last block are zero.",
    ),
    OpDef(
        name="unpack_channels",
        operands=(Operand("x", NUMERIC),),
        attrs=(Attr("channels", AttrKind.INT, doc="channels that are real"),),
        infer=_unpack_type,
        reference=lambda inputs, attrs: [unpack(inputs[0], attrs["channels"])],
        fusion=Fusion.INJECTIVE,
        doc="`[N, B, *S, block]` back to `[N, channels, *S]`; the rest of the last block is "
        "dropped.",
    ),
)
