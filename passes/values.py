"""Questions that several passes ask of values."""

from __future__ import annotations

from math import prod

import numpy as np

from bireme.ir import Fusion, Graph, Op, TensorType, Value
from bireme.ir.dims import symbols_of
from bireme.ir.opdef import Array, AttrKind

# A symbol whose typical size nobody gave has hint 1, at which a picture would cost nothing.
_LEAST_SIZE = 16


def typical_sizes(graph: Graph) -> dict[str, int]:
    """Sizes of symbols at which costs are weighed."""
    return {name: max(s.typical, _LEAST_SIZE) for name, s in graph.all_symbols.items()}


def static_bytes(tensor: TensorType) -> int:
    """Size of a tensor whose shape is known."""
    return prod(tensor.static_shape) * tensor.dtype.bytes


def producer(value: Value, *names: str) -> Op | None:
    """The op that makes `value` when it has one of these names."""
    owner = value.owner
    return owner if owner is not None and owner.name in names else None


def producer_for_one(value: Value, *names: str) -> Op | None:
    """Like `producer`, when the value has one use only."""
    return producer(value, *names) if len(value.uses) == 1 else None


def per_channel(value: Value, rank: int, axis: int) -> Array | None:
    """The vector of a constant that, broadcast to `rank` axes, varies along `axis` only.

    The vector has length 1 when the constant does not vary at all.
    """
    array = value.constant
    if array is None or array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for i, size in enumerate(shape) if i != axis):
        return None
    return array.reshape(-1)


def convolution_behind(value: Value) -> Op | None:
    """The convolution that a value comes from through element-wise ops of its own shape."""
    waiting, seen = [value], {value}
    while waiting:
        owner = waiting.pop().owner
        if owner is None:
            continue
        if owner.name == "conv":
            return owner
        if owner.definition.fusion is not Fusion.POINTWISE:
            continue
        for operand in owner.operands:
            if operand not in seen and operand.type.shape == value.type.shape:
                seen.add(operand)
                waiting.append(operand)
    return None


def symbols_used(op: Op) -> set[str]:
    """Names of the symbols in an op's types and attributes, those inside its regions included."""
    names = set[str]().union(*(v.type.symbols for v in (*op.operands, *op.results)))
    for attr in op.definition.attrs:
        if attr.kind is AttrKind.DIMS:
            names.update(*(symbols_of(dim) for dim in op.attrs[attr.name]))
    for block in op.blocks:
        names.update(*(v.type.symbols for v in block.arguments))
        names.update(*(symbols_used(inner) for inner in block.ops))
    return names


def weight_name(constant: Value) -> str:
    """Key of a constant in the weight table; what is made from it takes the name along."""
    owner = constant.owner
    assert owner is not None
    return str(owner.attrs["name"])


def along(vector: Array, rank: int, axis: int) -> Array:
    """A vector shaped to broadcast along `axis` of a tensor of `rank` axes."""
    return vector.reshape([-1] + [1] * (rank - 1 - axis))


def uniform(value: Value) -> float | int | bool | None:
    """The number that every element of a constant equals bit for bit, else None."""
    array = value.constant
    if array is None or array.size == 0:
        return None
    first = array.reshape(-1)[0]
    if array.size > 1 and not np.array_equal(array, np.full_like(array, first)):
        return None
    number: float | int | bool = first.item()
    return number


def pads_with_zeros(op: Op) -> bool:
    """Whether an op is a `pad` that surrounds its operand with zeros."""
    if op.name != "pad" or op.attrs["mode"] != "constant":
        return False
    return len(op.operands) == 1 or uniform(op.operands[1]) == 0
