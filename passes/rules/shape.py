"""Moves of data that do nothing, or less than they say. All rules are exact."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.ir import BiremeError, Builder, Dim, Op, Value
from bireme.passes.rewrite import Rule, rule
from bireme.passes.values import pads_with_zeros, producer, producer_for_one, uniform


def _does_nothing(op: Op) -> bool:
    """Whether a move of its first operand changes neither shape nor order."""
    attrs = op.attrs
    match op.name:
        case "transpose":
            return bool(attrs["perm"] == tuple(range(len(attrs["perm"]))))
        case "slice":
            return all(d == 0 for d in attrs["starts"]) and all(s == 1 for s in attrs["steps"])
        case "pad":
            return all(d == 0 for d in (*attrs["before"], *attrs["after"]))
        case "tile":
            return all(r == 1 for r in attrs["repeats"])
        case _:
            return True


@rule("reshape", "transpose", "slice", "pad", "expand", "tile")
def _move_of_nothing(op: Op, _b: Builder) -> Value | None:
    x = op.operands[0]
    return x if x.type == op.result.type and _does_nothing(op) else None


@rule("concat")
def _concat_of_one(op: Op, _b: Builder) -> Value | None:
    return op.operands[0] if len(op.operands) == 1 else None


@rule("reshape")
def _reshape_of_reshape(op: Op, b: Builder) -> Value | None:
    inner = producer(op.operands[0], "reshape")
    if inner is None:
        return None
    return b.op("reshape", inner.operands, shape=op.attrs["shape"]).result


@rule("transpose")
def _transpose_of_transpose(op: Op, b: Builder) -> Value | None:
    inner = producer(op.operands[0], "transpose")
    if inner is None:
        return None
    first = inner.attrs["perm"]
    perm = tuple(first[axis] for axis in op.attrs["perm"])
    return b.op("transpose", inner.operands, perm=perm).result


@rule("transpose")
def _transpose_of_unit_axes(op: Op, b: Builder) -> Value | None:
    """Moving only axes of size 1 leaves the elements in order: a view."""
    shape = op.operands[0].type.shape
    moved = [axis for axis in op.attrs["perm"] if shape[axis] != 1]
    if moved != sorted(moved):
        return None
    return b.op("reshape", op.operands, shape=op.result.type.shape).result


@rule("slice")
def _slice_of_slice(op: Op, b: Builder) -> Value | None:
    inner = producer(op.operands[0], "slice")
    if inner is None:
        return None
    outer, first = op.attrs, inner.attrs
    starts = [
        s + o * step
        for s, step, o in zip(first["starts"], first["steps"], outer["starts"], strict=True)
    ]
    steps = [a * c for a, c in zip(first["steps"], outer["steps"], strict=True)]
    return b.op("slice", inner.operands, starts=starts, sizes=outer["sizes"], steps=steps).result


@rule("pad")
def _pad_of_pad(op: Op, b: Builder) -> Value | None:
    """Two paddings with the same constant."""
    inner = producer_for_one(op.operands[0], "pad")
    if inner is None or op.attrs["mode"] != "constant" or inner.attrs["mode"] != "constant":
        return None
    values = [uniform(p.operands[1]) if len(p.operands) > 1 else 0 for p in (op, inner)]
    if values[0] is None or values[0] != values[1]:
        return None
    sides = {
        side: [a + c for a, c in zip(op.attrs[side], inner.attrs[side], strict=True)]
        for side in ("before", "after")
    }
    return b.op("pad", [inner.operands[0], *op.operands[1:]], **sides).result


@rule("conv")
def _pad_into_conv(op: Op, b: Builder) -> Value | None:
    """Zeros around the spatial axes are what a convolution's own padding adds."""
    pad = producer(op.operands[0], "pad")
    if pad is None or op.attrs["out_block"] > 1 or not pads_with_zeros(pad):
        return None
    before, after = pad.attrs["before"], pad.attrs["after"]
    spatial = (*before[2:], *after[2:])
    if any(d != 0 for d in (*before[:2], *after[:2])):
        return None
    if not all(isinstance(d, int) for d in spatial):
        return None
    pads = [a + d for a, d in zip(op.attrs["pads"], spatial, strict=True)]
    attrs = {**op.attrs, "pads": pads}
    return b.at([pad, op]).op("conv", [pad.operands[0], op.operands[1]], **attrs).result


@rule("expand")
def _expand_of_expand(op: Op, b: Builder) -> Value | None:
    inner = producer(op.operands[0], "expand")
    if inner is None:
        return None
    return b.op("expand", inner.operands, shape=op.attrs["shape"]).result


_BROADCASTING = (
    "add", "sub", "mul", "div", "pow", "mod", "minimum", "maximum", "where", "equal", "not_equal",
    "less", "less_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_xor",
    "bitwise_and", "bitwise_or", "bitwise_xor", "matmul",
)  # fmt: skip


@rule(*_BROADCASTING)
def _broadcast_by_itself(op: Op, b: Builder) -> Value | None:
    """An `expand` that the op would do by itself."""
    for index, value in enumerate(op.operands):
        expand = producer(value, "expand")
        if expand is None:
            continue
        operands = [*op.operands]
        operands[index] = expand.operands[0]
        if _result_shape(op, operands) == op.result.type.shape:
            return b.op(op.name, operands, **op.attrs).result
    return None


def _result_shape(op: Op, operands: Sequence[Value]) -> tuple[Dim, ...] | None:
    try:
        return op.definition.result_types([v.type for v in operands], op.attrs)[0].shape
    except BiremeError:
        return None


@rule("concat")
def _concat_of_concat(op: Op, b: Builder) -> Value | None:
    axis = op.attrs["axis"]
    flat: list[Value] = []
    for value in op.operands:
        inner = producer_for_one(value, "concat")
        same = inner is not None and inner.attrs["axis"] == axis
        flat += inner.operands if inner is not None and same else [value]
    if len(flat) == len(op.operands):
        return None
    return b.op("concat", flat, axis=axis).result


@rule("reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod")
def _reduction_of_unit_axes(op: Op, b: Builder) -> Value | None:
    shape = op.operands[0].type.shape
    if any(shape[axis] != 1 for axis in op.attrs["axes"]):
        return None
    return b.op("reshape", op.operands, shape=op.result.type.shape).result


@rule("avg_pool", "max_pool")
def _pool_of_everything(op: Op, b: Builder) -> Value | None:
    """One window that is the whole picture: a reduction."""
    (x,), attrs = op.operands, op.attrs
    spatial = x.type.shape[2:]
    if attrs["kernel"] != spatial or any(attrs["pads"]) or set(attrs["dilations"]) != {1}:
        return None
    if attrs["block"] > 1 or len(op.results) > 1:
        return None
    name = "reduce_mean" if op.name == "avg_pool" else "reduce_max"
    return b.op(name, [x], axes=range(2, x.type.rank), keepdims=True).result


@rule("gather")
def _gather_of_one(op: Op, b: Builder) -> Value | None:
    """One index that is known and exists: a slice."""
    data, indices = op.operands
    number, axis = uniform(indices), op.attrs["axis"] % data.type.rank
    size = data.type.shape[axis]
    if number is None or indices.type.elements != 1 or not isinstance(size, int):
        return None
    index = int(number) + (size if number < 0 else 0)
    if not 0 <= index < size:
        return None
    shape = data.type.shape
    starts = [index if i == axis else 0 for i in range(len(shape))]
    sizes = [1 if i == axis else n for i, n in enumerate(shape)]
    taken = b.op("slice", [data], starts=starts, sizes=sizes, steps=[1] * len(shape)).result
    return b.op("reshape", [taken], shape=op.result.type.shape).result


@rule("unpack_channels")
def _unpack_of_pack(op: Op, _b: Builder) -> Value | None:
    inner = producer(op.operands[0], "pack_channels")
    if inner is None or inner.operands[0].type != op.result.type:
        return None
    return inner.operands[0]


RULES: list[Rule] = [
    _move_of_nothing,
    _concat_of_one,
    _reshape_of_reshape,
    _transpose_of_transpose,
    _transpose_of_unit_axes,
    _slice_of_slice,
    _pad_of_pad,
    _pad_into_conv,
    _expand_of_expand,
    _broadcast_by_itself,
    _concat_of_concat,
    _reduction_of_unit_axes,
    _pool_of_everything,
    _gather_of_one,
    _unpack_of_pack,
]
