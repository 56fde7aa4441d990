"""Ops that hold regions: control flow, recurrence, and fused kernels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.ir.dtypes import DType
from bireme.ir.errors import counted
from bireme.ir.opdef import (
    Array,
    Attr,
    AttrKind,
    Attrs,
    Fusion,
    OpDef,
    Operand,
    Region,
    Typing,
)
from bireme.ir.types import TensorType


def _same_types(t: Typing, a: Sequence[TensorType], b: Sequence[TensorType], what: str) -> None:
    if len(a) != len(b):
        raise t.fail(f"{what}: {counted(len(a), 'value')} against {len(b)}")
    for index, (x, y) in enumerate(zip(a, b, strict=True)):
        if x.dtype is not y.dtype or x.rank != y.rank:
            raise t.fail(f"{what}: value {index} is {x} against {y}")
        for p, q in zip(x.shape, y.shape, strict=True):
            t.same(p, q, f"{what}: value {index}")


def _if_type(t: Typing) -> Sequence[TensorType]:
    (condition,) = t.types
    if condition.rank != 0:
        raise t.fail(f"the condition must be a scalar; found {condition}")
    then, other = t.regions
    _same_types(t, then.yields, other.yields, "branches")
    return then.yields


def _if_reference(
    inputs: Sequence[Array], _attrs: Attrs, regions: Sequence[Region]
) -> Sequence[Array]:
    return regions[0 if bool(inputs[0]) else 1]()


def _while_type(t: Typing) -> Sequence[TensorType]:
    condition, body = t.regions
    _same_types(t, t.types, condition.arguments, "condition arguments")
    _same_types(t, t.types, body.arguments, "body arguments")
    _same_types(t, t.types, body.yields, "body results")
    if len(condition.yields) != 1 or condition.yields[0] != TensorType(DType.BOOL, ()):
        raise t.fail("the condition must yield one bool scalar")
    return body.yields


def _while_reference(
    inputs: Sequence[Array], _attrs: Attrs, regions: Sequence[Region]
) -> Sequence[Array]:
    condition, body = regions
    carried = list(inputs)
    while bool(condition(*carried)[0]):
        carried = list(body(*carried))
    return carried


def _scan_type(t: Typing) -> Sequence[TensorType]:
    carries = t.attrs["carries"]
    if not 0 <= carries <= len(t.types):
        raise t.fail(f"carries is {carries} with {counted(len(t.types), 'operand')}", "BM1006")
    carried, xs = t.types[:carries], t.types[carries:]
    if t.attrs["conditional"]:
        if t.attrs["reverse"]:
            raise t.fail("a conditional scan cannot start from the end", "BM1006")
        if not carried or carried[0] != TensorType(DType.BOOL, ()):
            raise t.fail("what is carried first must be a bool scalar")
    if not xs or any(x.rank == 0 for x in xs):
        raise t.fail("scan needs at least one tensor with a leading axis to scan over")
    length = xs[0].shape[0]
    for x in xs[1:]:
        length = t.same(length, x.shape[0], "scan length")
    (body,) = t.regions
    slices = [x.with_shape(x.shape[1:]) for x in xs]
    _same_types(t, [*carried, *slices], body.arguments, "body arguments")
    _same_types(t, carried, body.yields[:carries], "body's carried results")
    return [*carried, *(y.with_shape((length, *y.shape)) for y in body.yields[carries:])]


def _scan_reference(
    inputs: Sequence[Array], attrs: Attrs, regions: Sequence[Region]
) -> Sequence[Array]:
    carries = attrs["carries"]
    carried, xs = list(inputs[:carries]), inputs[carries:]
    steps = range(xs[0].shape[0])
    rows: list[Sequence[Array]] = []
    for step in reversed(steps) if attrs["reverse"] else steps:
        if attrs["conditional"] and not bool(carried[0]):
            break
        results = regions[0](*carried, *(x[step] for x in xs))
        carried = list(results[:carries])
        rows.append(results[carries:])
    if attrs["reverse"]:
        rows.reverse()
    stacked = []
    for number, row in enumerate(regions[0].yields[carries:]):
        column = np.zeros((len(steps), *row.static_shape), row.dtype.numpy)
        for step, made in enumerate(rows):
            column[step] = made[number]
        stacked.append(column)
    return [*carried, *stacked]


def _kernel_type(t: Typing) -> Sequence[TensorType]:
    (body,) = t.regions
    _same_types(t, t.types, body.arguments, "kernel arguments")
    return body.yields


def _kernel_reference(
    inputs: Sequence[Array], _attrs: Attrs, regions: Sequence[Region]
) -> Sequence[Array]:
    return regions[0](*inputs)


OPS = (
    OpDef(
        name="if",
        operands=(Operand("condition", (DType.BOOL,)),),
        attrs=(),
        infer=_if_type,
        reference=_if_reference,
        fusion=Fusion.CONTROL,
        doc="The results of the first region when the condition holds, else of the second. The "
        "regions have no arguments and may read values defined outside.",
        regions=2,
    ),
    OpDef(
        name="while",
        operands=(Operand("carried", variadic=True),),
        attrs=(),
        infer=_while_type,
        reference=_while_reference,
        fusion=Fusion.CONTROL,
        doc="Repeats the second region on the carried values while the first region yields true.",
        regions=2,
    ),
    OpDef(
        name="scan",
        operands=(Operand("carried_and_sequences", variadic=True),),
        attrs=(
            Attr("carries", AttrKind.INT, doc="how many leading operands are carried"),
            Attr("reverse", AttrKind.BOOL, False, "from the last step to the first"),
            Attr("conditional", AttrKind.BOOL, False, "whether the first carried value can end it"),
        ),
        infer=_scan_type,
        reference=_scan_reference,
        fusion=Fusion.CONTROL,
        doc="Runs the region once for each step along the leading axis of the sequences. It gets "
        "the carried values and a slice of each sequence; it yields the carried values and one row "
        "of each stacked result. If `conditional`, the first carried value is a bool that says "
        "before every step whether it is taken; from the first that is not, rows are not "
        "specified (zero in the reference).",
        regions=1,
    ),
    OpDef(
        name="kernel",
        operands=(Operand("inputs", variadic=True),),
        attrs=(Attr("kind", AttrKind.STR, doc="what the group is built around"),),
        infer=_kernel_type,
        reference=_kernel_reference,
        fusion=Fusion.CONTROL,
        doc="A group of ops that becomes one kernel. The region reads only its arguments.",
        regions=1,
    ),
)
