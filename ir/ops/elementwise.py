"""Element-wise ops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dtypes import NUMERIC, DType
from bireme.ir.opdef import Array, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.types import TensorType


def _broadcast_type(t: Typing) -> Sequence[TensorType]:
    x, y = t.types
    if x.dtype is not y.dtype:
        raise t.fail(f"operands have different element types: {x} and {y}", "BM2003")
    return [TensorType(x.dtype, t.broadcast(x.shape, y.shape))]


def _numpy(function: Callable[..., Array]) -> Callable[..., Sequence[Array]]:
    return lambda inputs, attrs: [function(*inputs)]


def _binary(
    name: str, function: Callable[..., Array], doc: str, dtypes: tuple[DType, ...] = NUMERIC
) -> OpDef:
    return OpDef(
        name=name,
        operands=(Operand("x", dtypes), Operand("y", dtypes)),
        attrs=(),
        infer=_broadcast_type,
        reference=_numpy(function),
        fusion=Fusion.POINTWISE,
        doc=doc,
    )


OPS = (
    _binary("add", np.add, "x + y"),
    _binary("mul", np.multiply, "x * y"),
)
