"""Ops without operands."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bireme.ir.dtypes import NUMERIC, DType
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Typing
from bireme.ir.ops._rules import at_least
from bireme.ir.types import TensorType


def _constant_type(t: Typing) -> Sequence[TensorType]:
    return [TensorType(t.attrs["dtype"], t.attrs["shape"])]


def _constant_reference(_inputs: Sequence[Array], _attrs: Attrs) -> Sequence[Array]:
    raise NotImplementedError("the interpreter reads constants from the graph's weight table")


def _iota_type(t: Typing) -> Sequence[TensorType]:
    at_least(t, "shape", 0)
    if t.attrs["axis"] is not None:
        t.axis(t.attrs["axis"], len(t.attrs["shape"]))
    if t.attrs["dtype"] not in NUMERIC:
        raise t.fail(f"iota makes numbers, not {t.attrs['dtype'].label}", "BM2003")
    return [TensorType(t.attrs["dtype"], t.attrs["shape"])]


def _iota_reference(_inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    shape, axis = attrs["shape"], attrs["axis"]
    if axis is None:
        positions = np.arange(math.prod(shape)).astype(attrs["dtype"].numpy)
        return [positions.reshape(shape)]
    column = [1] * len(shape)
    column[axis] = shape[axis]
    steps = np.arange(shape[axis]).astype(attrs["dtype"].numpy).reshape(column)
    return [np.ascontiguousarray(np.broadcast_to(steps, shape))]


def _dim_values_type(t: Typing) -> Sequence[TensorType]:
    return [TensorType(DType.I64, (len(t.attrs["values"]),))]


def _dim_values_reference(_inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    return [np.array(attrs["values"], np.int64)]


OPS = (
    OpDef(
        name="constant",
        operands=(),
        attrs=(
            Attr("name", AttrKind.STR, doc="key in the graph's weight table"),
            Attr("dtype", AttrKind.DTYPE, doc="element type of the data"),
            Attr("shape", AttrKind.INTS, doc="shape of the data"),
        ),
        infer=_constant_type,
        reference=_constant_reference,
        fusion=Fusion.CONSTANT,
        doc="Data known when the model is compiled. The IR holds its name, the weight table its "
        "array.",
    ),
    OpDef(
        name="iota",
        operands=(),
        attrs=(
            Attr("shape", AttrKind.DIMS, doc="shape of the result"),
            Attr(
                "axis",
                AttrKind.INT,
                None,
                "axis whose index the elements are; none: they are their places in row-major order",
            ),
            Attr("dtype", AttrKind.DTYPE, doc="element type of the result, a numeric one"),
        ),
        infer=_iota_type,
        reference=_iota_reference,
        fusion=Fusion.CONSTANT,
        doc="The index along `axis`, or in the whole tensor, at every element.",
    ),
    OpDef(
        name="dim_values",
        operands=(),
        attrs=(Attr("values", AttrKind.DIMS, doc="the sizes"),),
        infer=_dim_values_type,
        reference=_dim_values_reference,
        fusion=Fusion.CONSTANT,
        doc="Sizes as data: a vector of dimension expressions evaluated at run time.",
    ),
)
