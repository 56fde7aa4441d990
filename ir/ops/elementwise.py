"""Element-wise ops: element i of the result depends on element i of the (broadcast) operands."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from bireme.ir.dtypes import ANY, FLOATS, INTEGERS, NUMERIC, WIDE, DType
from bireme.ir.narrow import ROUND_MODES, to_narrow, widen_narrow
from bireme.ir.opdef import Array, Attr, AttrKind, Attrs, Fusion, OpDef, Operand, Typing
from bireme.ir.ops._numeric import (
    divide,
    elementwise,
    erf,
    modulo,
    power,
    predicate,
    sigmoid,
    widen,
)
from bireme.ir.ops._rules import BOOLS, broadcast_type, one_of, same_dtype, same_type
from bireme.ir.types import TensorType

_SIGNED = tuple(t for t in NUMERIC if t.is_signed)


def _unary(
    name: str,
    function: Callable[..., Array],
    dtypes: tuple[DType, ...],
    doc: str,
    attrs: tuple[Attr, ...] = (),
) -> OpDef:
    return OpDef(
        name=name,
        operands=(Operand("x", dtypes),),
        attrs=attrs,
        infer=same_type,
        reference=elementwise(function),
        fusion=Fusion.POINTWISE,
        doc=doc,
    )


def _binary(
    name: str,
    function: Callable[..., Array],
    dtypes: tuple[DType, ...],
    doc: str,
    attrs: tuple[Attr, ...] = (),
    *,
    commutative: bool = False,
) -> OpDef:
    return OpDef(
        name=name,
        operands=(Operand("x", dtypes), Operand("y", dtypes)),
        attrs=attrs,
        infer=broadcast_type,
        reference=elementwise(function),
        fusion=Fusion.POINTWISE,
        doc=f"{doc} The operands broadcast as in NumPy and have one element type.",
        commutative=commutative,
    )


def _comparison(
    name: str, function: Callable[..., Array], doc: str, *, commutative: bool = False
) -> OpDef:
    return OpDef(
        name=name,
        operands=(Operand("x", WIDE), Operand("y", WIDE)),
        attrs=(),
        infer=lambda t: [r.with_dtype(DType.BOOL) for r in broadcast_type(t)],
        reference=predicate(function),
        fusion=Fusion.POINTWISE,
        doc=f"{doc}, as bool. The operands broadcast as in NumPy and have one element type.",
        commutative=commutative,
    )


def _classifier(
    name: str, function: Callable[..., Array], doc: str, attrs: tuple[Attr, ...] = ()
) -> OpDef:
    return OpDef(
        name=name,
        operands=(Operand("x", FLOATS),),
        attrs=attrs,
        infer=lambda t: [t.types[0].with_dtype(DType.BOOL)],
        reference=predicate(function),
        fusion=Fusion.POINTWISE,
        doc=doc,
    )


def _gelu(x: Array, approximate: bool) -> Array:
    number = x.dtype.type
    if approximate:
        inner = number(math.sqrt(2 / math.pi)) * (x + number(0.044715) * x * x * x)
        return np.asarray(number(0.5) * x * (1 + np.tanh(inner)))
    return np.asarray(number(0.5) * x * (1 + erf(x * number(math.sqrt(0.5)))))


def _is_inf(x: Array, positive: bool, negative: bool) -> Array:
    return (np.isposinf(x) & positive) | (np.isneginf(x) & negative)


def _cast_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    (x,), dtype = inputs, attrs["dtype"]
    source = DType.of(x)
    if source is dtype:
        return [x]
    # bfloat16 goes through float32: NumPy has no direct way from it to every type.
    wide = widen_narrow(x, source) if source.is_narrow else widen(x)
    if dtype.is_narrow:
        return [to_narrow(wide, dtype, saturate=attrs["saturate"], round_mode=attrs["round_mode"])]
    return [wide.astype(dtype.numpy)]


def _cast_type(t: Typing) -> Sequence[TensorType]:
    one_of(t, "round_mode", ROUND_MODES)
    return [t.types[0].with_dtype(t.attrs["dtype"])]


def _bitcast_type(t: Typing) -> Sequence[TensorType]:
    (x,), dtype = t.types, t.attrs["dtype"]
    if x.dtype.value_bits != dtype.value_bits:
        raise t.fail(f"{x.dtype.label} and {dtype.label} differ in width", "BM2003")
    return [x.with_dtype(dtype)]


def _bitcast_reference(inputs: Sequence[Array], attrs: Attrs) -> Sequence[Array]:
    bits = np.ascontiguousarray(inputs[0]).reshape(inputs[0].shape)
    if attrs["dtype"] is DType.BOOL:
        return [bits.view(np.uint8) != 0]
    return [bits.view(attrs["dtype"].numpy)]


def _where_reference(inputs: Sequence[Array], _attrs: Attrs) -> Sequence[Array]:
    condition, x, y = inputs
    return [np.where(condition, x, y)]


def _where_type(t: Typing) -> Sequence[TensorType]:
    condition, x, y = t.types
    dtype = same_dtype(t, (x, y))
    return [TensorType(dtype, t.broadcast(condition.shape, x.shape, y.shape))]


_UNARY = (
    _unary("neg", np.negative, _SIGNED, "`-x`; the least integer stays as it is."),
    _unary("abs", np.abs, _SIGNED, "Absolute value; the least integer stays as it is."),
    _unary("sign", np.sign, _SIGNED, "-1, 0 or 1; NaN stays NaN."),
    _unary(
        "relu", lambda x: np.maximum(x, x.dtype.type(0)), _SIGNED, "`max(x, 0)`; NaN stays NaN."
    ),
    _unary("exp", np.exp, FLOATS, "e to the power `x`."),
    _unary("log", np.log, FLOATS, "Natural logarithm."),
    _unary("sqrt", np.sqrt, FLOATS, "Square root."),
    _unary("rsqrt", lambda x: 1 / np.sqrt(x), FLOATS, "`1 / sqrt(x)`."),
    _unary("reciprocal", lambda x: 1 / x, FLOATS, "`1 / x`."),
    _unary("sin", np.sin, FLOATS, "Sine of an angle in radians."),
    _unary("cos", np.cos, FLOATS, "Cosine of an angle in radians."),
    _unary("tan", np.tan, FLOATS, "Tangent of an angle in radians."),
    _unary("asin", np.arcsin, FLOATS, "Arc sine in radians; NaN outside [-1, 1]."),
    _unary("acos", np.arccos, FLOATS, "Arc cosine in radians; NaN outside [-1, 1]."),
    _unary("atan", np.arctan, FLOATS, "Arc tangent in radians."),
    _unary("sinh", np.sinh, FLOATS, "Hyperbolic sine."),
    _unary("cosh", np.cosh, FLOATS, "Hyperbolic cosine."),
    _unary("tanh", np.tanh, FLOATS, "Hyperbolic tangent."),
    _unary("asinh", np.arcsinh, FLOATS, "Inverse hyperbolic sine."),
    _unary("acosh", np.arccosh, FLOATS, "Inverse hyperbolic cosine; NaN below 1."),
    _unary("atanh", np.arctanh, FLOATS, "Inverse hyperbolic tangent; NaN outside [-1, 1]."),
    _unary("erf", erf, FLOATS, "Gauss error function."),
    _unary("sigmoid", sigmoid, FLOATS, "`1 / (1 + exp(-x))`."),
    _unary("ceil", np.ceil, FLOATS, "Least whole number not below `x`."),
    _unary("floor", np.floor, FLOATS, "Greatest whole number not above `x`."),
    _unary("round", np.rint, FLOATS, "Nearest whole number; halves go to the even one."),
    _unary(
        "gelu",
        _gelu,
        FLOATS,
        "`x / 2 * (1 + erf(x / sqrt(2)))`, Gaussian error linear unit.",
        (
            Attr(
                "approximate",
                AttrKind.BOOL,
                False,
                "use `x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))`",
            ),
        ),
    ),
    _unary("logical_not", np.logical_not, BOOLS, "`not x`."),
    _unary("bitwise_not", np.bitwise_not, INTEGERS, "Every bit inverted."),
    _classifier("is_nan", np.isnan, "Whether an element is not a number."),
    _classifier(
        "is_inf",
        _is_inf,
        "Whether an element is infinite.",
        (
            Attr("positive", AttrKind.BOOL, True, "count plus infinity"),
            Attr("negative", AttrKind.BOOL, True, "count minus infinity"),
        ),
    ),
    OpDef(
        name="cast",
        operands=(Operand("x"),),
        attrs=(
            Attr("dtype", AttrKind.DTYPE, doc="element type of the result"),
            Attr(
                "saturate",
                AttrKind.BOOL,
                True,
                "to a float of 8 bits: the largest stands for what is beyond, not infinity or NaN",
            ),
            Attr(
                "round_mode",
                AttrKind.STR,
                "up",
                f"to float8_e8m0fnu, between two powers of two: {', '.join(ROUND_MODES)}",
            ),
        ),
        infer=_cast_type,
        reference=_cast_reference,
        fusion=Fusion.POINTWISE,
        doc="Another element type. Floats become integers by rounding toward zero (out of range "
        "and NaN: any value), integers wrap, and anything but 0 becomes true. Floats of 8 bits or "
        "fewer are rounded to nearest, halves to even; without a NaN, NaN becomes 0. In "
        "float8_e8m0fnu 0 becomes the least number, and numbers below 0 become NaN. A cast to the "
        "operand's own type changes nothing.",
    ),
    OpDef(
        name="bitcast",
        operands=(Operand("x"),),
        attrs=(Attr("dtype", AttrKind.DTYPE, doc="element type of the result, as wide as `x`'s"),),
        infer=_bitcast_type,
        reference=_bitcast_reference,
        fusion=Fusion.POINTWISE,
        doc="The same bits as another element type of the same width. bool counts as 8 bits, and "
        "anything but 0 becomes true. A signalling NaN of 16 bits may become a quiet one.",
    ),
)

_BINARY = (
    _binary("add", np.add, NUMERIC, "`x + y`; integers wrap.", commutative=True),
    _binary("sub", np.subtract, NUMERIC, "`x - y`; integers wrap."),
    _binary("mul", np.multiply, NUMERIC, "`x * y`; integers wrap.", commutative=True),
    _binary(
        "div", divide, NUMERIC, "`x / y`; integers round toward zero, and divided by 0 give 0."
    ),
    _binary(
        "pow",
        power,
        NUMERIC,
        "`x` to the power `y`; integers wrap, and to a negative power round toward zero.",
    ),
    _binary(
        "mod",
        modulo,
        NUMERIC,
        "Remainder of `x / y`; integers modulo 0 give 0.",
        (
            Attr(
                "fmod",
                AttrKind.BOOL,
                False,
                "the result has the sign of `x` as in C, not that of `y` as in Python",
            ),
        ),
    ),
    _binary("minimum", np.minimum, NUMERIC, "The lesser; NaN if either is.", commutative=True),
    _binary("maximum", np.maximum, NUMERIC, "The greater; NaN if either is.", commutative=True),
    _binary("logical_and", np.logical_and, BOOLS, "`x and y`.", commutative=True),
    _binary("logical_or", np.logical_or, BOOLS, "`x or y`.", commutative=True),
    _binary("logical_xor", np.logical_xor, BOOLS, "Exactly one of both.", commutative=True),
    _binary("bitwise_and", np.bitwise_and, INTEGERS, "Bits set in both.", commutative=True),
    _binary("bitwise_or", np.bitwise_or, INTEGERS, "Bits set in either.", commutative=True),
    _binary("bitwise_xor", np.bitwise_xor, INTEGERS, "Bits set in one of both.", commutative=True),
    _binary(
        "shift_left",
        np.left_shift,
        INTEGERS,
        "`x` moved up by `y` bits; 0 when `y` is the width or more. `y` is not negative.",
    ),
    _binary(
        "shift_right",
        np.right_shift,
        INTEGERS,
        "`x` moved down by `y` bits, keeping its sign; `y` may exceed the width. `y` is not "
        "negative.",
    ),
    _comparison("equal", np.equal, "`x == y`", commutative=True),
    _comparison("not_equal", np.not_equal, "`x != y`", commutative=True),
    _comparison("less", np.less, "`x < y`"),
    _comparison("less_equal", np.less_equal, "`x <= y`"),
    _comparison("greater", np.greater, "`x > y`"),
    _comparison("greater_equal", np.greater_equal, "`x >= y`"),
)

OPS = (
    *_UNARY,
    *_BINARY,
    OpDef(
        name="where",
        operands=(Operand("condition", BOOLS), Operand("x", ANY), Operand("y", ANY)),
        attrs=(),
        infer=_where_type,
        reference=_where_reference,
        fusion=Fusion.POINTWISE,
        doc="`x` where the condition holds, else `y`. All three broadcast as in NumPy.",
    ),
)
