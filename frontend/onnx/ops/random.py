"""Operators that draw random numbers.

ONNX leaves the generator open. Numbers come from the dialect's (ir/ops/random.py): with the
attribute `seed` the same ones in every run, without it new ones in every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from onnx import AttributeProto, NodeProto

from bireme.frontend.onnx.emit import Tensor, data, scalar, sizes
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops.elementwise import cast
from bireme.frontend.onnx.ops.source import MOST_ELEMENTS
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType
from bireme.ir.dtypes import FLOATS
from bireme.ir.ops.random import SIGNIFICAND


def _key(n: Node, kind: int = AttributeProto.FLOAT) -> Tensor:
    """What the node draws with. The bits of a float are its seed, so that 0.5 and 0.25 differ."""
    seed = n.attr("seed", kind, None)
    if seed is None:
        return n.b.random_key(stream=n.scope.importer.new_stream())
    whole = np.float32(seed).view(np.uint32) if kind == AttributeProto.FLOAT else abs(seed)
    return n.b.random_key(stream=0, seed=int(whole))


def _draw(n: Node, op: str, key: Tensor, shape: Sequence[Dim], dtype: DType) -> Tensor:
    """A tensor of random numbers."""
    places = n.b.iota(shape=tuple(shape), dtype=DType.I64)
    (drawn,) = n.b.op(op, [places, key], dtype=dtype)
    return drawn


def _uniform_of(n: Node, key: Tensor, shape: Sequence[Dim], dtype: DType) -> Tensor:
    """Numbers in [0, 1)."""
    return _draw(n, "random_uniform", key, shape, dtype)


def _normal(n: Node, shape: Sequence[Dim], dtype: DType) -> Tensor:
    mean, scale = n.number("mean", 0.0), n.number("scale", 1.0)
    drawn = _draw(n, "random_normal", _key(n), shape, dtype)
    if scale != 1:
        drawn = n.b.mul(drawn, scale)
    return drawn if mean == 0 else n.b.add(drawn, mean)


def _uniform(n: Node, shape: Sequence[Dim], dtype: DType) -> Tensor:
    low, high = n.number("low", 0.0), n.number("high", 1.0)
    if not low <= high:
        raise BiremeError("BM1006", f"low {low} is above high {high}")
    drawn = _uniform_of(n, _key(n), shape, dtype)
    if high - low != 1:
        drawn = n.b.mul(drawn, high - low)
    if low != 0:
        drawn = n.b.add(drawn, low)
    return n.b.minimum(drawn, _below(high, dtype)) if _rounds_up(low, high, dtype) else drawn


def _rounds_up(low: float, high: float, dtype: DType) -> bool:
    """Whether the largest number drawn, scaled, may round to `high` itself."""
    most = (1 - 2.0 ** -SIGNIFICAND[dtype]) * (high - low)
    # Where it is added in the same step, the product is not rounded.
    sums = [_as(dtype, product + low) for product in (most, _as(dtype, most))]
    return low < high and max(sums) >= _as(dtype, high)


def _as(dtype: DType, number: float) -> float:
    return float(np.float64(number).astype(dtype.numpy))


def _below(high: float, dtype: DType) -> Tensor:
    """The largest number below `high`."""
    least = np.array(-np.inf, dtype.numpy)
    return data(np.nextafter(np.array(high, dtype.numpy), least))


Draw = Callable[[Node, Sequence[Dim], DType], Tensor]


def _of_shape(draw: Draw) -> Converter:
    def convert(n: Node) -> Tensor:
        shape = n.integers("shape")
        if any(d < 0 for d in shape) or math.prod(shape) > MOST_ELEMENTS:
            raise BiremeError("BM1006", f"shape {shape} is not allowed")
        return draw(n, shape, _float(n, DType.F32))

    return convert


def _like(draw: Draw) -> Converter:
    return lambda n: draw(n, n[0].shape, _float(n, n[0].dtype))


def _float(n: Node, default: DType) -> DType:
    dtype = n.dtype("dtype", default)
    if dtype not in FLOATS:
        raise BiremeError("BM1006", f"random numbers of type {dtype.label}: give a float 'dtype'")
    return dtype


def _precision(dtype: DType) -> DType:
    """The type to compare with probabilities of a type in."""
    return DType.F64 if dtype is DType.F64 else DType.F32


def _bernoulli(n: Node) -> Tensor:
    x, kind = n[0], _precision(n[0].dtype)
    hit = n.b.less(_uniform_of(n, _key(n), x.shape, kind), cast(n, x, kind))
    return cast(n, hit, n.dtype("dtype", x.dtype))


def _multinomial(n: Node) -> Tensor:
    """The inverse of the distribution function, summed in float64: the number of classes whose
    share, with those before, is not above the number drawn.
    """
    x, count = n[0], n.integer("sample_size", 1)
    if x.rank != 2 or x.shape[1] == 0 or not 0 <= count <= MOST_ELEMENTS:
        raise BiremeError("BM1006", f"{count} samples of {x.type}: expected [batch, classes]")
    rows, classes = x.shape
    b, logits = n.b, cast(n, x, DType.F64)
    shares = b.exp(b.sub(logits, b.reduce_max(logits, axes=(1,), keepdims=True)))
    sums = b.cumsum(shares, axis=1)
    total = b.slice(sums, starts=(0, classes - 1), sizes=(rows, 1), steps=(1, 1))
    drawn = b.mul(_uniform_of(n, _key(n), (rows, count), DType.F64), total)
    passed = b.less_equal(
        b.reshape(sums, shape=(rows, 1, classes)), b.reshape(drawn, shape=(rows, count, 1))
    )
    found = b.reduce_sum(b.cast(passed, dtype=DType.I32), axes=(2,), keepdims=False)
    # The number drawn may be rounded to the whole sum.
    last = sizes([classes - 1], DType.I32)
    return cast(n, b.minimum(found, last), n.dtype("dtype", DType.I32))


def _dropout(n: Node) -> list[Tensor]:
    """The identity, unless the model asks for training mode."""
    x, training, given = n[0], n.get(2), n.get(1)
    ratio = scalar(n.number("ratio", 0.5), DType.F32) if given is None else given
    never = training is None or (training.array is not None and not training.array.any())
    if never or (ratio.array is not None and not ratio.array.any()):
        n.integer("seed", 0)
        ones = scalar(1, DType.BOOL if n.opset >= 10 else x.dtype)
        return [x, n.b.expand(ones, shape=x.shape)] if n.wants(1) else [x]
    if x.dtype not in FLOATS:
        raise BiremeError("BM1003", f"training mode on {x.type}")
    b, kind = n.b, _precision(x.dtype)
    lost = b.where(training, b.reshape(cast(n, ratio, kind), shape=()), 0.0)
    key = _key(n, AttributeProto.INT)
    kept = b.greater_equal(_uniform_of(n, key, x.shape, kind), lost)
    scale = cast(n, b.div(1.0, b.sub(1.0, lost)), x.dtype)
    return [b.where(kept, b.mul(x, scale), 0.0), kept]


def draws(node: NodeProto) -> bool:
    """Whether a node's result is random."""
    if node.domain not in ("", "ai.onnx") or node.op_type not in TABLE:
        return False
    return node.op_type != "Dropout" or len(node.input) > 2


TABLE: Table = {
    "Bernoulli": _bernoulli,
    "Dropout": _dropout,
    "Multinomial": _multinomial,
    "RandomNormal": _of_shape(_normal),
    "RandomNormalLike": _like(_normal),
    "RandomUniform": _of_shape(_uniform),
    "RandomUniformLike": _like(_uniform),
}
