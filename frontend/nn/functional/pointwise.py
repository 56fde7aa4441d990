"""Element by element: the op table's pointwise ops, and activations composed of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from bireme.frontend.nn.tensor import Tensor, TensorLike, binary, op, promote, tensor
from bireme.ir import OPS

Unary = Callable[[TensorLike], Tensor]
Binary = Callable[[TensorLike, TensorLike], Tensor]


def _named(name: str, function: Any) -> Any:
    function.__name__ = function.__qualname__ = name
    function.__doc__ = OPS[name].doc
    return function


def _unary(name: str) -> Unary:
    """The op of one operand; integers become float32 where the op takes floats only."""

    def apply(x: TensorLike) -> Tensor:
        value = tensor(x)
        takes = OPS[name].operands[0].dtypes
        return op(name, value if value.dtype in takes else value.astype("float32"))

    result: Unary = _named(name, apply)
    return result


def _binary(name: str) -> Binary:
    def apply(x: TensorLike, y: TensorLike) -> Tensor:
        return binary(name, x, y)

    result: Binary = _named(name, apply)
    return result


abs = _unary("abs")  # noqa: A001 - NumPy's name
acos = _unary("acos")
acosh = _unary("acosh")
asin = _unary("asin")
asinh = _unary("asinh")
atan = _unary("atan")
atanh = _unary("atanh")
ceil = _unary("ceil")
cos = _unary("cos")
cosh = _unary("cosh")
erf = _unary("erf")
exp = _unary("exp")
floor = _unary("floor")
isnan = _unary("is_nan")
log = _unary("log")
logical_not = _unary("logical_not")
neg = _unary("neg")
reciprocal = _unary("reciprocal")
relu = _unary("relu")
round = _unary("round")  # noqa: A001 - NumPy's name
rsqrt = _unary("rsqrt")
sigmoid = _unary("sigmoid")
sign = _unary("sign")
sin = _unary("sin")
sinh = _unary("sinh")
sqrt = _unary("sqrt")
tan = _unary("tan")
tanh = _unary("tanh")

logical_and = _binary("logical_and")
logical_or = _binary("logical_or")
logical_xor = _binary("logical_xor")
maximum = _binary("maximum")
minimum = _binary("minimum")


def isinf(x: TensorLike) -> Tensor:
    """Whether each element is plus or minus infinity."""
    return op("is_inf", x)


def where(condition: TensorLike, x: TensorLike, y: TensorLike) -> Tensor:
    """`x` where the condition holds, else `y`, broadcast together."""
    a, b = promote(x, y)
    return op("where", condition, a, b)


def clip(x: TensorLike, low: TensorLike | None = None, high: TensorLike | None = None) -> Tensor:
    """Bounded to [low, high]; None means no bound."""
    value = tensor(x)
    if low is not None:
        value = maximum(value, low)
    return value if high is None else minimum(value, high)


def gelu(x: TensorLike, approximate: str = "none") -> Tensor:
    """x·Φ(x) (Hendrycks & Gimpel, 2016); `approximate="tanh"` for the tanh form."""
    return op("gelu", x, approximate=approximate == "tanh")


def relu6(x: TensorLike) -> Tensor:
    """min(max(x, 0), 6)."""
    return clip(x, 0.0, 6.0)


def leaky_relu(x: TensorLike, negative_slope: float = 0.01) -> Tensor:
    """The tensor where it is positive, else `negative_slope` times it."""
    value = tensor(x)
    return where(value < 0.0, value * negative_slope, value)


def prelu(x: TensorLike, weight: TensorLike) -> Tensor:
    """A leaky ReLU with one slope, or one for each channel (axis 1)."""
    value, slope = tensor(x), tensor(weight)
    if slope.ndim == 1 and slope.shape[0] != 1 and value.ndim > 2:
        slope = slope.reshape(slope.shape[0], *[1] * (value.ndim - 2))
    return where(value < 0.0, value * slope, value)


def elu(x: TensorLike, alpha: float = 1.0) -> Tensor:
    """The tensor where it is positive, else alpha · (exp(x) - 1) (Clevert et al., 2015)."""
    value = tensor(x)
    # exp of a large positive number would be infinite, so only the negative part goes in.
    return where(value < 0.0, (exp(minimum(value, 0.0)) - 1.0) * alpha, value)


def selu(x: TensorLike) -> Tensor:
    """Klambauer et al., 2017."""
    return elu(x, 1.6732632423543772) * 1.0507009873554805


def silu(x: TensorLike) -> Tensor:
    """X · sigmoid(x), also called swish."""
    value = tensor(x)
    return value * sigmoid(value)


def softplus(x: TensorLike) -> Tensor:
    """log(1 + exp(x)), without overflow."""
    value = tensor(x)
    return maximum(value, 0.0) + log(exp(-abs(value)) + 1.0)


def log_sigmoid(x: TensorLike) -> Tensor:
    """Logarithm of the sigmoid, without underflow."""
    return -softplus(-tensor(x))


def mish(x: TensorLike) -> Tensor:
    """X · tanh(softplus(x)) (Misra, 2019)."""
    value = tensor(x)
    return value * tanh(softplus(value))


def softsign(x: TensorLike) -> Tensor:
    """X / (1 + |x|)."""
    value = tensor(x)
    return value / (abs(value) + 1.0)


def hardsigmoid(x: TensorLike) -> Tensor:
    """clip(x / 6 + 1/2, 0, 1), as MobileNetV3 has it."""
    return clip(tensor(x) * (1.0 / 6.0) + 0.5, 0.0, 1.0)


def hardswish(x: TensorLike) -> Tensor:
    """X · hardsigmoid(x) (Howard et al., 2019)."""
    value = tensor(x)
    return value * hardsigmoid(value)


def hardtanh(x: TensorLike, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Bounded to [min_val, max_val]."""
    return clip(x, min_val, max_val)


def glu(x: TensorLike, axis: int = -1) -> Tensor:
    """The first half of an axis times the sigmoid of the second (Dauphin et al., 2017)."""
    value = tensor(x)
    half = value.shape[axis] // 2
    before = (slice(None),) * (axis % value.ndim)
    return value[(*before, slice(0, half))] * sigmoid(value[(*before, slice(half, None))])


def log2(x: TensorLike) -> Tensor:
    """Logarithm to base 2."""
    return log(x) * (1.0 / math.log(2.0))
