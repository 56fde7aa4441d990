"""Operators that make tensors from nothing but attributes and sizes."""

from __future__ import annotations

import math

import numpy as np
from onnx import AttributeProto

from bireme.frontend.onnx.emit import Tensor, data
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.at_run_time import decided, vector
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType, ceildiv

MOST_ELEMENTS = 1 << 32
_VALUES = {
    "value_float": (AttributeProto.FLOAT, np.float32),
    "value_floats": (AttributeProto.FLOATS, np.float32),
    "value_int": (AttributeProto.INT, np.int64),
    "value_ints": (AttributeProto.INTS, np.int64),
}


def _constant(n: Node) -> Tensor:
    if n.has("value"):
        return data(n.tensor("value"), n.proto.output[0])
    for name, (kind, dtype) in _VALUES.items():
        if n.has(name):
            return data(np.array(n.attr(name, kind, None), dtype), n.proto.output[0])
    names = ", ".join(a.name for a in n.proto.attribute) or "no value"
    raise BiremeError("BM1003", f"a constant with {names}")


def _constant_of_shape(n: Node) -> Tensor:
    value = n.tensor("value", np.zeros(1, np.float32))
    if value.size != 1:
        raise BiremeError("BM1006", f"'value' must have one element; found {value.size}")
    given = n.sizes(0)
    asked = vector(n, 0) if None in given else data([])
    shape = decided(n.b, asked, given, n.most_of_axis)
    known = tuple(d for d in shape if isinstance(d, int))
    if any(d < 0 for d in known):
        raise BiremeError("BM1006", f"shape {shape} is not allowed")
    if math.prod(known) > MOST_ELEMENTS:
        raise BiremeError("BM1006", f"a constant of shape {shape}")
    if len(known) == len(shape):
        return data(np.broadcast_to(value.reshape(()), known), n.proto.output[0])
    return n.b.expand(data(value.reshape(())), shape=tuple(shape))


def _range(n: Node) -> Tensor:
    dtype = n[0].dtype
    arrays = [n[i].array for i in range(3)]
    if n.has("stash_type"):
        n.dtype("stash_type", DType.F32)
    if all(a is not None for a in arrays):
        start, limit, delta = (n.scalar(i) for i in range(3))
        if delta == 0:
            raise BiremeError("BM1006", "delta is 0")
        count = max(0, int(np.ceil((limit - start) / delta)))
        if count > 1 << 24:
            raise BiremeError("BM1006", f"a range of {count} elements")
        steps = start + np.arange(count) * delta
        return data(steps.astype(dtype.numpy))
    if dtype.is_float or any(n[i].dims is None for i in range(3)):
        return _range_of_data(n)
    first, last, step = (_size(n, i) for i in range(3))
    low, high = n.b.bounds.of(step)
    if low <= 0 <= high:
        raise BiremeError("BM1007", f"the sign of delta {step} is not known")
    span, stride = (last - first, step) if low > 0 else (first - last, -step)
    length = n.b.bounds.maximum(ceildiv(span, stride), 0)
    line = n.b.iota(shape=(length,), axis=0, dtype=dtype)
    if step != 1:
        line = n.b.mul(line, n.b.reshape(n[2], shape=()))
    return line if first == 0 else n.b.add(line, n.b.reshape(n[0], shape=()))


def _range_of_data(n: Node) -> Tensor:
    """A range whose length the data decides: the user says how long it can be."""
    for i in range(3):
        if n[i].guess:
            raise n.unknown(i)
    most = n.most_allowed(
        "the length of the range is not known when the model is compiled",
        "say how long it can be with --dim {node}=0..LENGTH",
    )
    b = n.b
    first, last, step = (b.reshape(n[i], shape=()) for i in range(3))
    start, end, stride = (b.cast(t, dtype=DType.F64) for t in (first, last, step))
    length = b.ceil(b.div(b.sub(end, start), stride))
    # More than there can be is a fault when the model runs.
    count = b.cast(b.minimum(b.maximum(length, 0), most + 1), dtype=DType.I64)
    (size,) = b.bind(count, [most])
    line = b.iota(shape=(size,), axis=0, dtype=n[0].dtype)
    result: Tensor = b.add(b.mul(line, step), first)
    return result


def _size(n: Node, index: int) -> Dim:
    dims = n.dims(index)
    if len(dims) != 1:
        raise BiremeError("BM1006", f"{n.label(index)} must be a scalar: {n[index].type}")
    return dims[0]


TABLE: Table = {
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Range": _range,
}
