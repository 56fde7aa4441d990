"""Functions of float32 as expressions without branches or calls, which LLVM keeps in vectors.

Methods are the classical ones (W. J. Cody and W. Waite, "Software Manual for the Elementary
Functions", and S. Moshier's Cephes): an argument is reduced to a short interval, where a polynomial
takes over. The polynomials are our own minimax fits. Errors are given in units in the last place
(ulp) against float64, as measured over all magnitudes at instruction sets with and without fused
multiply-add. Infinities, NaN, subnormal numbers and overflow behave as in C.

Every function takes the emitter, to name intermediate values, and a scalar or vector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tvm import tirx

from bireme.codegen.tir import Emitter, Expr, cast, const, lanes_of, match, reinterpret, select

Function = Callable[[Emitter, Expr], Expr]

# 1.5 * 2**23: added to a small number, it leaves the nearest whole number in the lowest bits.
_ROUNDER = 12582912.0
_LOG2E = 1.44269504088896341
# ln 2 in two parts; products of the first with whole numbers below 2**15 are exact.
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440054690583e-4
_LEAST_NORMAL = 2.0**-126
_LEAST_NORMAL_LOG = -87.33654022216797

_EXP = (
    0.4999999403953552,
    0.1666652113199234,
    0.04166838899254799,
    0.0083687175065279,
    0.0013814596459269524,
)
_EXPM1 = (
    0.5,
    0.1666666567325592,
    0.041666362434625626,
    0.008333389647305012,
    0.0013940627686679363,
    0.00019845877250190824,
)
_LOG = (
    0.3333331048488617,
    -0.24999986588954926,
    0.20002226531505585,
    -0.16669249534606934,
    0.14218655228614807,
    -0.12384368479251862,
    0.11873012781143188,
    -0.11789704859256744,
    0.06915165483951569,
)
_SIN = (-0.1666666716337204, 0.008333329111337662, -0.00019839311426039785, 2.7181142741028452e-06)
_COS = (0.0416666679084301, -0.0013888883404433727, 2.4799459424684756e-05, -2.7205680908082286e-07)
_ASIN = (
    0.16666752099990845,
    0.07495297491550446,
    0.045470356941223145,
    0.024179603904485703,
    0.04216616600751877,
)
_ATAN = (
    -0.33333316445350647,
    0.19998469948768616,
    -0.14243511855602264,
    0.10593642294406891,
    -0.06077763810753822,
)
_SINH = (0.1666666716337204, 0.008333349600434303, 0.0001983615948120132, 2.8169511097075883e-06)
_ASINH = (
    -0.1666666567325592,
    0.0749988928437233,
    -0.044613249599933624,
    0.030012954026460648,
    -0.019979989156126976,
    0.009167719632387161,
)
_ATANH = (
    0.33333301544189453,
    0.20002518594264984,
    0.1422276496887207,
    0.11823713034391403,
    0.05135883390903473,
    0.17669039964675903,
)
_ACOSH = (
    1.4142135381698608,
    -0.1178508996963501,
    0.02651095576584339,
    -0.00784249510616064,
    0.0024824198335409164,
    -0.0005795872421003878,
)
# (erf(x) / x - 1) in powers of x * x on [0, 1].
_ERF = (
    0.1283791065216064,
    -0.3761262595653534,
    0.1128358542919159,
    -0.026853816583752632,
    0.005188334733247757,
    -0.0008010247838683426,
    7.854026625864208e-05,
)
# log(1 - erf(x)) on [1, 4], where 1 - erf(x) is below half an ulp of 1.
_LOG_ERFC = (
    -0.00035370892146602273,
    -1.1270400285720825,
    -0.6382256150245667,
    -0.10303743928670883,
    0.021805351600050926,
    -0.0029396158643066883,
    0.0001855748996604234,
)
# erf(x / sqrt(2)) / x as a quotient, in powers of x * x on [0, 32]; beyond, it exceeds 1 / x.
_GELU = (
    0.7978845238685608,
    0.06842880696058273,
    0.00938717182725668,
    0.000343245716067031,
    0.0000125762098832638,
    0.00000004390206242987915,
)
_GELU_BELOW = (
    1.0,
    0.2524290680885315,
    0.02883758768439293,
    0.0019009157549589872,
    0.00007409882528008893,
    0.0000011693820169966784,
)


def _f(value: float, x: Expr) -> Expr:
    """A constant with the type and lanes of `x`."""
    found, _ = match(const(value, str(x.ty.dtype).split("x")[0]), x)
    return found


def _i(value: int, x: Expr) -> Expr:
    found, _ = match(const(value, "int32"), x)
    return found


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """`c[0] + c[1] * x + ...` by Horner's rule."""
    *rest, total = [_f(c, x) for c in coefficients]
    for coefficient in reversed(rest):
        total = total * x + coefficient
    return total


def _bits(x: Expr) -> Expr:
    return reinterpret(x, "int32")


def _clamped(emit: Emitter, x: Expr, low: float, high: float) -> Expr:
    """`x` within bounds; NaN passes."""
    x = emit.bind(select(x < _f(low, x), _f(low, x), x))
    return emit.bind(select(x > _f(high, x), _f(high, x), x))


def _with_sign(magnitude: Expr, x: Expr) -> Expr:
    """A magnitude (its own sign bit clear) with the sign of `x`."""
    sign = tirx.bitwise_and(_bits(x), _i(-0x80000000, x))
    return reinterpret(tirx.bitwise_or(_bits(magnitude), sign), "float32")


def _magnitude(emit: Emitter, x: Expr) -> Expr:
    return emit.bind(tirx.abs(x))


# --- exponentials -------------------------------------------------------------------------------


def _reduced(emit: Emitter, x: Expr) -> tuple[Expr, Expr, Expr]:
    """(n, n as float, r) with `x = n * ln 2 + r`."""
    shifted = emit.opaque(x * _f(_LOG2E, x) + _f(_ROUNDER, x))
    n = emit.opaque(shifted - _f(_ROUNDER, x))
    whole = emit.opaque(_bits(shifted) - _i(0x4B400000, x))
    high = emit.opaque(x - n * _f(_LN2_HIGH, x))
    return whole, n, emit.opaque(high - n * _f(_LN2_LOW, x))


def _power_of_two(n: Expr) -> Expr:
    """`2 ** n` for n in [-126, 127]."""
    biased = cast(n + _i(127, n), "uint32")
    (shift, _) = match(const(23, "uint32"), biased)
    return reinterpret(tirx.shift_left(biased, shift), "float32")


def _scaled(emit: Emitter, x: Expr, n: Expr) -> Expr:
    """`x * 2 ** n` for n in [-252, 254].

    Two steps, so that the result may be subnormal or infinite.
    """
    half = emit.opaque(tirx.shift_right(n, _i(1, n)))
    rest = emit.opaque(n - half)
    return x * _power_of_two(half) * _power_of_two(rest)


def _exp_times(emit: Emitter, x: Expr, doublings: int) -> Expr:
    """`exp(x) * 2 ** doublings`."""
    x = _clamped(emit, x, -105.0, 91.0)
    n, _, r = _reduced(emit, x)
    value = emit.opaque(r * r * polynomial(r, _EXP) + r + _f(1.0, x))
    return _scaled(emit, value, n + _i(doublings, x) if doublings else n)


def exp(emit: Emitter, x: Expr) -> Expr:
    """1.0 ulp."""
    return _exp_times(emit, x, 0)


def exp_below_one(emit: Emitter, x: Expr) -> Expr:
    """`exp(x)` for x of at most 0: 1.0 ulp; 0 where the result would be below the normal numbers.

    Without the care for large and subnormal results it takes half the time of `exp`.
    """
    x = emit.bind(x)
    limit = _f(_LEAST_NORMAL_LOG, x)
    near = emit.bind(select(x < limit, limit, x))
    n, _, r = _reduced(emit, near)
    value = emit.opaque(r * r * polynomial(r, _EXP) + r + _f(1.0, x))
    return select(x < limit, _f(0.0, x), value * _power_of_two(n))


def _expm1_positive(emit: Emitter, x: Expr) -> Expr:
    """`exp(x) - 1` for x in [0, 64]."""
    n, _, r = _reduced(emit, x)
    small = r * r * polynomial(r, _EXPM1) + r
    power = emit.opaque(_power_of_two(n))
    return emit.opaque(small * power + (power - _f(1.0, x)))


def sigmoid(emit: Emitter, x: Expr) -> Expr:
    """2.0 ulp; 0 below -88.8, where the exponential overflows."""
    # Above 30, exp(-x) no longer changes 1: the exponent never needs to be scaled in two steps.
    n, _, r = _reduced(emit, _clamped(emit, x * _f(-1.0, x), -30.0, 89.0))
    value = emit.opaque(r * r * polynomial(r, _EXP) + r + _f(1.0, x))
    power = emit.opaque((value + value) * _power_of_two(n - _i(1, n)))
    return _f(1.0, x) / (_f(1.0, x) + power)


def tanh(emit: Emitter, x: Expr) -> Expr:
    """`t / (t + 2)` with `t = exp(2 * abs(x)) - 1`; 1 from 10 on. 2.3 ulp."""
    size = _clamped(emit, _magnitude(emit, x), 0.0, 10.0)
    t = _expm1_positive(emit, emit.bind(size + size))
    return _with_sign(t / (t + _f(2.0, x)), x)


def sinh(emit: Emitter, x: Expr) -> Expr:
    """1.6 ulp."""
    size = _magnitude(emit, x)
    square = emit.bind(x * x)
    small = size + size * square * polynomial(square, _SINH)
    half = emit.opaque(_exp_times(emit, size, -1))
    large = half - _f(0.25, x) / half
    return _with_sign(select(size < _f(1.0, x), small, large), x)


def cosh(emit: Emitter, x: Expr) -> Expr:
    """1.4 ulp."""
    half = emit.opaque(_exp_times(emit, _magnitude(emit, x), -1))
    return half + _f(0.25, x) / half


def erf(emit: Emitter, x: Expr) -> Expr:
    """A polynomial below 1; above, 1 less the exponential of one. 2.0 ulp."""
    size = _clamped(emit, _magnitude(emit, x), 0.0, 4.0)
    square = emit.bind(size * size)
    small = size + size * polynomial(square, _ERF)
    large = _f(1.0, x) - exp(emit, emit.bind(polynomial(size, _LOG_ERFC)))
    return _with_sign(select(size < _f(1.0, x), small, large), x)


def gelu(emit: Emitter, x: Expr) -> Expr:
    """`x / 2 * (1 + erf(x / sqrt(2)))`; wrong by 4e-7 of `x` at most. The error function is a
    quotient: one, which the sum with 1 forgives, is less work than two polynomials and an `exp`.
    """
    inner = _clamped(emit, x, -5.94, 5.94)
    square = emit.bind(inner * inner)
    quotient = polynomial(square, _GELU) / polynomial(square, _GELU_BELOW)
    erf = _clamped(emit, inner * quotient, -1.0, 1.0)
    return _f(0.5, x) * x * (_f(1.0, x) + erf)


# --- logarithms ---------------------------------------------------------------------------------


def log(emit: Emitter, x: Expr) -> Expr:
    """0.8 ulp."""
    return _log_plus(emit, x, 0)


def _log_plus(emit: Emitter, x: Expr, doublings: int | Expr) -> Expr:
    """`log(x * 2 ** doublings)`."""
    tiny = x < _f(_LEAST_NORMAL, x)
    normal = emit.bind(select(tiny, x * _f(2.0**23, x), x))
    # The exponent that leaves a mantissa in [sqrt(1/2), sqrt(2)).
    bits = emit.opaque(_bits(normal))
    n = emit.opaque(tirx.shift_right(bits - _i(0x3F3504F3, x), _i(23, x)))
    up = cast(tirx.shift_left(cast(n, "uint32"), cast(_i(23, x), "uint32")), "int32")
    mantissa = reinterpret(bits - up, "float32")
    r = emit.opaque(mantissa - _f(1.0, x))
    extra = n + (_i(doublings, x) if isinstance(doublings, int) else doublings)
    whole = emit.bind(cast(select(tiny, extra - _i(23, x), extra), "float32"))
    square = emit.bind(r * r)
    low = square * r * polynomial(r, _LOG) + whole * _f(_LN2_LOW, x)
    low = emit.opaque(low - _f(0.5, x) * square)
    value = (r + low) + whole * _f(_LN2_HIGH, x)
    # Infinity and NaN are their own logarithms.
    value = select(x < _f(math.inf, x), value, x)
    value = select(tirx.EQ(x, _f(0.0, x)), _f(-math.inf, x), value)
    return select(x < _f(0.0, x), _f(math.nan, x), value)


def asinh(emit: Emitter, x: Expr) -> Expr:
    """3.5 ulp."""
    size = _magnitude(emit, x)
    square = emit.bind(size * size)
    small = size + size * square * polynomial(square, _ASINH)
    return _with_sign(select(size < _f(0.5, x), small, _area(emit, size, 1.0)), x)


def acosh(emit: Emitter, x: Expr) -> Expr:
    """2.0 ulp; NaN below 1."""
    over = emit.bind(x - _f(1.0, x))
    small = tirx.sqrt(over) * polynomial(over, _ACOSH)
    return select(x < _f(1.5, x), small, _area(emit, x, -1.0))


def _area(emit: Emitter, x: Expr, sign: float) -> Expr:
    """`log(x + sqrt(x * x + sign))` without overflow of the square."""
    huge = emit.bind(x > _f(2.0**14, x))
    inner = select(huge, _f(0.0, x), x * x + _f(sign, x))
    return _log_plus(emit, emit.bind(x + tirx.sqrt(inner)), select(huge, _i(1, x), _i(0, x)))


def atanh(emit: Emitter, x: Expr) -> Expr:
    """1.3 ulp; NaN outside [-1, 1]."""
    size = _magnitude(emit, x)
    square = emit.bind(size * size)
    small = size + size * square * polynomial(square, _ATANH)
    one = _f(1.0, x)
    large = _f(0.5, x) * log(emit, emit.bind((one + size) / (one - size)))
    return select(
        size > one, _f(math.nan, x), _with_sign(select(size < _f(0.5, x), small, large), x)
    )


# --- trigonometry -------------------------------------------------------------------------------

# pi / 2 in two parts for float64; products of the first with whole numbers below 2**20 are exact.
_HALF_PI_HIGH, _HALF_PI_LOW = 1.57079632673412561417, 6.07710050650619224932e-11
# Beyond this many radians the reduction is left to the C library.
LARGEST_ANGLE = 1.0e6


def _quarter_turns(emit: Emitter, x: Expr) -> tuple[Expr, Expr]:
    """(q, r) with `x = q * pi / 2 + r`; r in [-pi / 4, pi / 4]."""
    wide = emit.opaque(cast(x, "float64"))
    q = emit.opaque(tirx.nearbyint(wide * _f(2 / math.pi, wide)))
    high = emit.opaque(wide - q * _f(_HALF_PI_HIGH, wide))
    r = emit.opaque(cast(high - q * _f(_HALF_PI_LOW, wide), "float32"))
    return emit.opaque(cast(q, "int32")), r


def _sin_cos(emit: Emitter, r: Expr) -> tuple[Expr, Expr]:
    square = emit.bind(r * r)
    sine = emit.bind(r + r * square * polynomial(square, _SIN))
    flat = _f(1.0, r) - _f(0.5, r) * square
    return sine, emit.bind(square * square * polynomial(square, _COS) + flat)


def _turned(emit: Emitter, x: Expr, turns: int) -> Expr:
    """The sine of `x + turns * pi / 2`."""
    return _sine_behind(emit, *_quarter_turns(emit, x), turns)


def cos_turns(emit: Emitter, x: Expr) -> Expr:
    """The cosine of so many whole turns, in [0, 1]. 1.6 ulp where `4 * x` is exact."""
    quarters = emit.opaque(x * _f(4.0, x))
    q = emit.opaque(tirx.nearbyint(quarters))
    r = emit.opaque((quarters - q) * _f(math.pi / 2, x))
    return _sine_behind(emit, emit.opaque(cast(q, "int32")), r, 1)


def _sine_behind(emit: Emitter, q: Expr, r: Expr, turns: int) -> Expr:
    """The sine of `(q + turns) * pi / 2 + r`."""
    sine, cosine = _sin_cos(emit, r)
    q = emit.opaque(q + _i(turns, q) if turns else q)
    odd = tirx.EQ(tirx.bitwise_and(q, _i(1, q)), _i(1, q))
    back = tirx.EQ(tirx.bitwise_and(q, _i(2, q)), _i(2, q))
    value = emit.bind(select(odd, cosine, sine))
    return select(back, value * _f(-1.0, r), value)


def sin(emit: Emitter, x: Expr) -> Expr:
    """1.5 ulp up to `LARGEST_ANGLE`."""
    return _turned(emit, x, 0)


def cos(emit: Emitter, x: Expr) -> Expr:
    """1.6 ulp up to `LARGEST_ANGLE`."""
    return _turned(emit, x, 1)


def tan(emit: Emitter, x: Expr) -> Expr:
    """3.3 ulp up to `LARGEST_ANGLE`."""
    q, r = _quarter_turns(emit, x)
    sine, cosine = _sin_cos(emit, r)
    odd = emit.bind(tirx.EQ(tirx.bitwise_and(q, _i(1, q)), _i(1, q)))
    return select(odd, cosine * _f(-1.0, x), sine) / select(odd, sine, cosine)


def _asin_parts(emit: Emitter, size: Expr) -> tuple[Expr, Expr]:
    """(is large, a): the arc sine of `size` is `a`, or `pi / 2 - 2 * a` where it is over 1/2."""
    large = emit.bind(size > _f(0.5, size))
    square = emit.bind(select(large, _f(0.5, size) - _f(0.5, size) * size, size * size))
    root = emit.bind(select(large, tirx.sqrt(square), size))
    return large, emit.bind(root + root * square * polynomial(square, _ASIN))


def asin(emit: Emitter, x: Expr) -> Expr:
    """2.4 ulp; NaN outside [-1, 1]."""
    large, a = _asin_parts(emit, _magnitude(emit, x))
    return _with_sign(select(large, _f(math.pi / 2, x) - (a + a), a), x)


def acos(emit: Emitter, x: Expr) -> Expr:
    """1.3 ulp; NaN outside [-1, 1]."""
    large, a = _asin_parts(emit, _magnitude(emit, x))
    double = emit.bind(a + a)
    negative = emit.bind(x < _f(0.0, x))
    far = select(negative, _f(math.pi, x) - double, double)
    near = _f(math.pi / 2, x) - select(negative, a * _f(-1.0, x), a)
    return select(large, far, near)


def atan(emit: Emitter, x: Expr) -> Expr:
    """Above tan(pi / 8), that of `(x - 1) / (x + 1)` or `-1 / x` and pi / 4 or pi / 2.

    2.5 ulp.
    """
    size = _magnitude(emit, x)
    one = _f(1.0, x)
    far = emit.bind(size > _f(2.414213562373095, x))
    middle = emit.bind(size > _f(0.414213562373095, x))
    above = select(far, _f(-1.0, x), select(middle, size - one, size))
    below = select(far, size, select(middle, size + one, one))
    r = emit.bind(above / below)
    start = select(far, _f(math.pi / 2, x), select(middle, _f(math.pi / 4, x), _f(0.0, x)))
    square = emit.bind(r * r)
    return _with_sign(start + (r + r * square * polynomial(square, _ATAN)), x)


# --- powers -------------------------------------------------------------------------------------

_LN2 = math.log(2)
# 2 * atanh(s) / s in powers of s * s, and exp, both for float64 at the precision of float32.
_LOG_SERIES = tuple(2 / (2 * i + 1) for i in range(8))
_EXP_SERIES = tuple(1 / math.factorial(i) for i in range(9))


def power(emit: Emitter, x: Expr, y: Expr) -> Expr:
    """Like C's `pow`: `exp(y * log(abs(x)))` in float64 and its special cases. 0.51 ulp."""
    base, exponent = emit.opaque(cast(x, "float64")), emit.opaque(cast(y, "float64"))
    size = emit.bind(tirx.abs(base))
    one, zero, infinity = _f(1.0, base), _f(0.0, base), _f(math.inf, base)
    logarithm = emit.bind(_log_wide(emit, size))
    logarithm = select(tirx.EQ(size, zero), infinity * _f(-1.0, base), logarithm)
    logarithm = emit.bind(select(tirx.EQ(size, infinity), infinity, logarithm))
    value = emit.bind(_exp_wide(emit, emit.bind(exponent * logarithm)))
    whole = tirx.EQ(tirx.floor(exponent), exponent)
    half = emit.bind(exponent * _f(0.5, base))
    odd = tirx.And(whole, tirx.floor(half) < half)
    negative = emit.opaque(cast(_bits(x) < _i(0, x), "uint8"))
    negative = negative > match(const(0, "uint8"), x)[0]
    value = emit.bind(select(tirx.And(negative, odd), value * _f(-1.0, base), value))
    value = emit.bind(select(tirx.isnan(base), base, value))
    undefined = tirx.And(tirx.And(base < zero, base > infinity * _f(-1.0, base)), tirx.Not(whole))
    value = emit.bind(select(undefined, _f(math.nan, base), value))
    endless = tirx.EQ(tirx.abs(exponent), infinity)
    sure = tirx.Or(tirx.EQ(exponent, zero), tirx.EQ(base, one))
    sure = tirx.Or(sure, tirx.And(tirx.EQ(size, one), endless))
    return cast(select(sure, one, value), "float32")


def _log_wide(emit: Emitter, x: Expr) -> Expr:
    """Logarithm of a positive finite float64 with an error below 1e-12."""
    bits = emit.opaque(reinterpret(x, "int64"))
    offset, shift, _ = match(const(0x3FE6A09E667F3BCD, "int64"), const(52, "int64"), bits)
    n = emit.opaque(tirx.shift_right(bits - offset, shift))
    up = cast(tirx.shift_left(cast(n, "uint64"), cast(shift, "uint64")), "int64")
    mantissa = emit.opaque(reinterpret(bits - up, "float64"))
    s = emit.bind((mantissa - _f(1.0, x)) / (mantissa + _f(1.0, x)))
    whole = cast(cast(n, "int32"), "float64")
    return s * polynomial(emit.bind(s * s), _LOG_SERIES) + whole * _f(_LN2, x)


def _exp_wide(emit: Emitter, x: Expr) -> Expr:
    """Exponential for float64 with a relative error below 1e-9, within the range of float32."""
    x = _clamped(emit, x, -300.0, 300.0)
    n = emit.opaque(tirx.nearbyint(x * _f(_LOG2E, x)))
    r = emit.opaque(x - n * _f(_LN2, x))
    whole = cast(cast(n, "int32"), "int64")
    bias, shift, _ = match(const(1023, "int64"), const(52, "int64"), whole)
    scale = reinterpret(tirx.shift_left(whole + bias, shift), "float64")
    return polynomial(r, _EXP_SERIES) * scale


def any_lane(condition: Expr) -> Expr:
    """Whether a condition holds in some lane, as a scalar."""
    if lanes_of(condition) == 1:
        return condition
    flags = cast(condition, "uint32")
    some = tirx.call_llvm_pure_intrin("uint32", "llvm.vector.reduce.or", flags)
    return some > const(0, "uint32")


FUNCTIONS: dict[str, Function] = {
    "exp": exp,
    "log": log,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "sinh": sinh,
    "cosh": cosh,
    "erf": erf,
    "asinh": asinh,
    "acosh": acosh,
    "atanh": atanh,
    "sin": sin,
    "cos": cos,
    "tan": tan,
    "asin": asin,
    "acos": acos,
    "atan": atan,
}
