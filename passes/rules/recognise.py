"""Recognises what a model spells out: normalisations, softmax, GELU, hard swish.

The composed form and the op differ by rounding only, with one exception: `softmax` and the norms
read a row more than once but subtract and divide the same numbers, so infinities and NaNs come out
alike.
"""

from __future__ import annotations

from math import isclose, sqrt

import numpy as np

from bireme.ir import Builder, Op, Value
from bireme.passes.rewrite import Rule, rule
from bireme.passes.values import producer, uniform, weight_name


def _trailing_mean(op: Op | None) -> int | None:
    """The first axis of a mean that runs to the last axis and keeps its axes, else None."""
    if op is None or not op.attrs["keepdims"]:
        return None
    axes, rank = op.attrs["axes"], op.operands[0].type.rank
    return int(axes[0]) if axes == tuple(range(axes[0], rank)) else None


def _square_of(value: Value) -> Value | None:
    op = producer(value, "mul", "pow")
    if op is None:
        return None
    x, y = op.operands
    if op.name == "mul":
        return x if x == y else None
    return x if uniform(y) == 2 else None


def _plus_constant(value: Value) -> tuple[Value, float] | None:
    op = producer(value, "add")
    if op is None:
        return None
    for x, other in (op.operands, op.operands[::-1]):
        number = uniform(other)
        if number is not None:
            return x, float(number)
    return None


def _divided_by_root(op: Op) -> tuple[Value, Value] | None:
    """(x, v) when the op is x / sqrt(v), however it is spelt."""
    if op.name == "div":
        root = producer(op.operands[1], "sqrt")
        return (op.operands[0], root.operands[0]) if root else None
    for x, other in (op.operands, op.operands[::-1]):
        inverse = producer(other, "rsqrt")
        if inverse is not None:
            return x, inverse.operands[0]
        inverse = producer(other, "reciprocal")
        root = producer(inverse.operands[0], "sqrt") if inverse else None
        if root is not None:
            return x, root.operands[0]
        inverse = producer(other, "div")
        root = producer(inverse.operands[1], "sqrt") if inverse else None
        if inverse is not None and root is not None and uniform(inverse.operands[0]) == 1:
            return x, root.operands[0]
    return None


@rule("div", "mul")
def _normalised(op: Op, b: Builder) -> Value | None:
    """X / sqrt(mean(x * x) + epsilon); with x = y - mean(y) it is layer_norm, else rms_norm."""
    parts = _divided_by_root(op)
    shifted = _plus_constant(parts[1]) if parts else None
    if parts is None or shifted is None:
        return None
    x, (variance, epsilon) = parts[0], shifted
    mean = producer(variance, "reduce_mean")
    axis = _trailing_mean(mean)
    square = _square_of(mean.operands[0]) if mean else None
    if axis is None or square is None or x.type != op.result.type:
        return None
    centred = _centred(x, axis)
    if centred is not None and (square == x or _centred(square, axis) == centred):
        return b.op("layer_norm", [centred], axis=axis, epsilon=epsilon).result
    if square == x:
        return b.op("rms_norm", [x], axis=axis, epsilon=epsilon).result
    return None


def _centred(value: Value, axis: int) -> Value | None:
    """X when the value is x - mean(x) over the axes from `axis`."""
    op = producer(value, "sub")
    mean = producer(op.operands[1], "reduce_mean") if op else None
    if op is None or mean is None or mean.operands[0] != op.operands[0]:
        return None
    return op.operands[0] if _trailing_mean(mean) == axis else None


@rule("mul")
def _norm_scale(op: Op, b: Builder) -> Value | None:
    for value, scale in (op.operands, op.operands[::-1]):
        norm = producer(value, "layer_norm", "rms_norm")
        if norm is not None and len(norm.operands) == 1 and _fits_row(norm, scale, op):
            return b.op(norm.name, [*norm.operands, scale], **norm.attrs).result
    return None


@rule("add")
def _norm_bias(op: Op, b: Builder) -> Value | None:
    for value, bias in (op.operands, op.operands[::-1]):
        norm = producer(value, "layer_norm")
        if norm is None or len(norm.operands) > 2 or not _fits_row(norm, bias, op):
            continue
        x, *scale = norm.operands
        if not scale:
            scale = [b.constant(np.ones((), x.type.dtype.numpy))]
        return b.op("layer_norm", [x, *scale, bias], **norm.attrs).result
    return None


def _fits_row(norm: Op, parameter: Value, op: Op) -> bool:
    """Whether a constant broadcasts to the axes of a norm that nothing else reads."""
    shape = norm.result.type.shape[norm.attrs["axis"] % norm.result.type.rank :]
    if parameter.constant is None or parameter.type.rank > len(shape):
        return False
    if len(norm.result.uses) > 1 or norm.result.type != op.result.type:
        return False
    pairs = zip(reversed(parameter.type.shape), reversed(shape), strict=False)
    return all(n in (1, size) for n, size in pairs)


@rule("div")
def _softmax(op: Op, b: Builder) -> Value | None:
    """exp(x - max(x)) / sum(exp(x - max(x)))"""
    power, total = op.operands
    exp, add = producer(power, "exp"), producer(total, "reduce_sum")
    if exp is None or add is None or add.operands[0] != power or not add.attrs["keepdims"]:
        return None
    shift = producer(exp.operands[0], "sub")
    top = producer(shift.operands[1], "reduce_max") if shift else None
    if shift is None or top is None or top.operands[0] != shift.operands[0]:
        return None
    axes = add.attrs["axes"]
    if len(axes) != 1 or top.attrs["axes"] != axes or not top.attrs["keepdims"]:
        return None
    return b.op("softmax", [shift.operands[0]], axis=axes[0]).result


@rule("mul")
def _gelu(op: Op, b: Builder) -> Value | None:
    """0.5 * x * (1 + erf(x / sqrt(2))), in any order of the factors."""
    factors = _factors(op.result, 3)
    numbers = [n for v in factors if (n := uniform(v)) is not None]
    others = [v for v in factors if uniform(v) is None]
    if len(others) != 2 or len(numbers) != 1 or numbers[0] != 0.5:
        return None
    for x, one_plus in (others, others[::-1]):
        shifted = _plus_constant(one_plus)
        erf = producer(shifted[0], "erf") if shifted and shifted[1] == 1 else None
        if erf is not None and x.type == op.result.type and _scaled(erf.operands[0], x):
            return b.op("gelu", [x]).result
    return None


def _factors(value: Value, most: int) -> list[Value]:
    """Factors of a product of products, which are read only there."""
    op = producer(value, "mul")
    if op is None or most < 2:
        return [value]
    found: list[Value] = []
    for operand in op.operands:
        alone = len(operand.uses) == 1
        found += _factors(operand, most - 1) if alone else [operand]
    return found


def _scaled(value: Value, x: Value) -> bool:
    """Whether the value is x / sqrt(2)."""
    op = producer(value, "mul", "div")
    if op is None:
        return False
    wanted = sqrt(0.5) if op.name == "mul" else sqrt(2.0)
    pairs = (op.operands, op.operands[::-1]) if op.name == "mul" else (op.operands,)
    for other, constant in pairs:
        number = uniform(constant)
        if other == x and number is not None and isclose(number, wanted, rel_tol=1e-3):
            return True
    return False


@rule("div")
def _hard_swish(op: Op, b: Builder) -> Value | None:
    """Hard swish, x * min(relu(x + 3), 6) / 6, multiplies by 1/6, as ONNX defines it: a division
    takes long.
    """
    scaled, top = op.operands
    limit, product = uniform(top), producer(scaled, "mul")
    if limit is None or limit <= 0 or product is None or not top.type.dtype.is_float:
        return None
    for x, gate in (product.operands, product.operands[::-1]):
        inner = _clipped(gate, limit)
        shifted = _plus_constant(inner) if inner is not None else None
        if shifted is not None and shifted[0] == x:
            assert top.constant is not None
            inverse = np.reciprocal(top.constant)
            result: Value = b.mul(scaled, b.constant(inverse, weight_name(top)))
            return result
    return None


def _clipped(value: Value, top: float) -> Value | None:
    """The operand of min(relu(operand), top)."""
    op = producer(value, "minimum")
    if op is None:
        return None
    for low, high in (op.operands, op.operands[::-1]):
        relu = producer(low, "relu")
        if relu is not None and uniform(high) == top:
            return relu.operands[0]
    return None


RULES: list[Rule] = [_normalised, _norm_scale, _norm_bias, _softmax, _gelu, _hard_swish]
