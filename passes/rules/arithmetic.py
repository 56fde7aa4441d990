"""Identities of element-wise arithmetic.

Exact for integers. For floats every rule keeps the infinities and NaNs of its operands; what may
differ from the op by op result is the sign of a zero (`x + 0` is `x`) and, where constants divide
or are combined, rounding and the overflow of a sum half way.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bireme.ir import Array, Builder, DType, Op, Value
from bireme.ir.reference import run_op
from bireme.passes.rewrite import Rule, rule
from bireme.passes.values import producer, producer_for_one, uniform, weight_name

# op -> the number that, as an operand, changes nothing; True where it may be the left one too.
_NEUTRAL: dict[str, tuple[float, bool]] = {
    "add": (0, True),
    "sub": (0, False),
    "mul": (1, True),
    "div": (1, False),
    "pow": (1, False),
    "bitwise_or": (0, True),
    "bitwise_xor": (0, True),
    "shift_left": (0, False),
    "shift_right": (0, False),
    "logical_or": (False, True),
    "logical_xor": (False, True),
    "logical_and": (True, True),
}


@rule(*_NEUTRAL)
def _neutral_operand(op: Op, _b: Builder) -> Value | None:
    number, commutes = _NEUTRAL[op.name]
    x, y = op.operands
    for kept, other in ((x, y), (y, x))[: 2 if commutes else 1]:
        if kept.type == op.result.type and uniform(other) == number:
            return kept
    return None


# Unary ops that undo themselves, and those that do nothing the second time.
_INVOLUTIONS = ("neg", "logical_not", "bitwise_not")
_IDEMPOTENT = ("abs", "relu", "ceil", "floor", "round", "sign")


@rule(*_INVOLUTIONS)
def _twice_is_nothing(op: Op, _b: Builder) -> Value | None:
    inner = producer(op.operands[0], op.name)
    return inner.operands[0] if inner else None


@rule(*_IDEMPOTENT)
def _twice_is_once(op: Op, _b: Builder) -> Value | None:
    return op.operands[0] if producer(op.operands[0], op.name) else None


@rule("abs")
def _abs_of_neg(op: Op, b: Builder) -> Value | None:
    inner = producer(op.operands[0], "neg")
    return b.op("abs", inner.operands).result if inner else None


@rule("cast")
def _cast_to_own_type(op: Op, _b: Builder) -> Value | None:
    (x,) = op.operands
    return x if x.type == op.result.type else None


@rule("cast")
def _cast_of_widening(op: Op, b: Builder) -> Value | None:
    """A cast that loses nothing before another cast makes no difference."""
    inner = producer(op.operands[0], "cast")
    if inner is None:
        return None
    (x,) = inner.operands
    if not _holds(inner.result.type.dtype, x.type.dtype):
        return None
    return b.op("cast", [x], **op.attrs).result


# Binary digits that a float keeps of an integer.
_DIGITS = {DType.F16: 11, DType.BF16: 8, DType.F32: 24, DType.F64: 53}


def _holds(wide: DType, narrow: DType) -> bool:
    """Whether `wide` has every value of `narrow`."""
    if narrow is wide:
        return True
    if wide.is_narrow:
        return False
    if narrow is DType.BOOL:
        return True
    if wide is DType.BOOL or (narrow.is_float and wide.is_integer):
        return False
    if narrow is DType.F8E8M0FNU:
        return wide is not DType.F16
    if narrow.is_float:
        return wide.bits > narrow.bits
    digits = narrow.value_bits - narrow.is_signed
    if wide.is_float:
        return digits <= _DIGITS[wide]
    return digits <= wide.bits - wide.is_signed and wide.is_signed >= narrow.is_signed


@rule("where")
def _where_decided(op: Op, _b: Builder) -> Value | None:
    condition, x, y = op.operands
    if x == y and x.type == op.result.type:
        return x
    chosen = uniform(condition)
    if chosen is None:
        return None
    kept = x if chosen else y
    return kept if kept.type == op.result.type else None


@rule("sub")
def _subtracted_constant(op: Op, b: Builder) -> Value | None:
    """X - c = x + (-c), so that constants can be combined."""
    x, y = op.operands
    array = y.constant
    if array is None or x.constant is not None:
        return None
    (negative,) = run_op("neg", [array]) if y.type.dtype.is_signed else (None,)
    if negative is None:
        return None
    result: Value = b.add(x, b.constant(negative, weight_name(y)))
    return result


@rule("div")
def _divided_by_constant(op: Op, b: Builder) -> Value | None:
    """Makes x * (1 / c) of x / c where that is the same bits: for powers of two.

    Another c would be a rounding apart, which a quantisation of the result makes a whole step.
    """
    x, y = op.operands
    array = y.constant
    if array is None or y.type.dtype not in (DType.F32, DType.F64) or array.size == 0:
        return None
    if (np.abs(np.frexp(array)[0]) != 0.5).any():
        return None
    with np.errstate(all="ignore"):
        inverse = np.reciprocal(array)
    usual = np.abs(inverse) >= np.finfo(array.dtype).tiny
    if not (usual & np.isfinite(inverse)).all():
        return None
    result: Value = b.mul(x, b.constant(inverse, weight_name(y)))
    return result


@rule("pow")
def _small_power(op: Op, b: Builder) -> Value | None:
    x, exponent = op.operands
    if x.type != op.result.type:
        return None
    number = uniform(exponent)
    if number == 2:
        return b.op("mul", [x, x]).result
    if number == 3:
        return b.op("mul", [b.mul(x, x), x]).result
    return None


@rule("maximum")
def _maximum_with_zero(op: Op, b: Builder) -> Value | None:
    for x, other in (op.operands, op.operands[::-1]):
        if x.type == op.result.type and x.type.dtype.is_signed and uniform(other) == 0:
            return b.op("relu", [x]).result
    return None


_COMBINED = ("add", "mul", "minimum", "maximum", "logical_and", "logical_or")


@rule(*_COMBINED)
def _combined_constants(op: Op, b: Builder) -> Value | None:
    """(x + c) + d = x + (c + d), and the same for other associative ops."""
    split = _with_constant(op)
    if split is None:
        return None
    value, outer = split
    inner = producer_for_one(value, op.name)
    if inner is None:
        return None
    deeper = _with_constant(inner)
    if deeper is None:
        return None
    x, first = deeper
    arrays = [v.constant for v in (first, outer)]
    (combined,) = run_op(op.name, [a for a in arrays if a is not None])
    if combined.size > max(a.size for a in arrays if a is not None):
        return None
    if op.name == "mul" and not _keeps_range(combined, [a for a in arrays if a is not None]):
        return None
    larger = first if first.type.rank >= outer.type.rank else outer
    return b.op(op.name, [x, b.constant(combined, weight_name(larger))]).result


def _keeps_range(product: Array, factors: Sequence[Array]) -> bool:
    """Whether a product of constants neither overflows nor vanishes where its factors do not."""
    if product.dtype.kind in "iu":
        return True
    usual = np.isfinite(product) & (product != 0)
    return bool((usual | ~np.logical_and(*(np.isfinite(f) & (f != 0) for f in factors))).all())


def _with_constant(op: Op) -> tuple[Value, Value] | None:
    """The operands of a commutative op as (value, constant), when one is constant."""
    x, y = op.operands
    if (x.constant is None) == (y.constant is None):
        return None
    return (x, y) if y.constant is not None else (y, x)


RULES: list[Rule] = [
    _neutral_operand,
    _twice_is_nothing,
    _twice_is_once,
    _abs_of_neg,
    _cast_to_own_type,
    _cast_of_widening,
    _where_decided,
    _subtracted_constant,
    _divided_by_constant,
    _small_power,
    _maximum_with_zero,
    _combined_constants,
]
