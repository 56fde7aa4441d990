"""Activation functions, composed of element-wise ops."""

from __future__ import annotations

from collections.abc import Callable

from bireme.frontend.onnx.emit import Emitter, Tensor
from bireme.frontend.onnx.node import Converter, Node
from bireme.frontend.onnx.ops.elementwise import cast, unary
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import DType


def hard_sigmoid(b: Emitter, x: Tensor, alpha: float, beta: float) -> Tensor:
    """max(0, min(1, alpha x + beta))."""
    line = b.add(b.mul(x, alpha), beta)
    return b.maximum(b.minimum(line, 1.0), 0.0)


def softplus(b: Emitter, x: Tensor) -> Tensor:
    """log(1 + exp(x)) without overflow."""
    tail = b.log(b.add(b.exp(b.neg(b.abs(x))), 1.0))
    return b.add(b.maximum(x, 0.0), tail)


def _wide(function: Callable[[Node, Tensor], Tensor]) -> Converter:
    """An activation of several steps, in float32 where the input has 16 bits."""

    def convert(n: Node) -> Tensor:
        x = n[0]
        if not x.dtype.is_float or x.dtype.bits > 16:
            return function(n, x)
        return cast(n, function(n, cast(n, x, DType.F32)), x.dtype)

    return convert


def _leaky_relu(n: Node, x: Tensor) -> Tensor:
    return n.b.where(n.b.less(x, 0.0), n.b.mul(x, n.number("alpha", 0.01)), x)


def _prelu(n: Node) -> Tensor:
    x = n[0]
    return n.b.where(n.b.less(x, 0), n.b.mul(x, n[1]), x)


def _elu(n: Node, x: Tensor) -> Tensor:
    low = n.b.mul(n.b.sub(n.b.exp(n.b.minimum(x, 0.0)), 1.0), n.number("alpha", 1.0))
    return n.b.where(n.b.less(x, 0.0), low, x)


def _celu(n: Node, x: Tensor) -> Tensor:
    alpha = n.number("alpha", 1.0)
    low = n.b.mul(n.b.sub(n.b.exp(n.b.div(n.b.minimum(x, 0.0), alpha)), 1.0), alpha)
    return n.b.where(n.b.less(x, 0.0), low, x)


def _selu(n: Node, x: Tensor) -> Tensor:
    alpha = n.number("alpha", 1.67326319217681884765625)
    gamma = n.number("gamma", 1.05070102214813232421875)
    low = n.b.mul(n.b.sub(n.b.exp(n.b.minimum(x, 0.0)), 1.0), alpha)
    return n.b.mul(n.b.where(n.b.less(x, 0.0), low, x), gamma)


def _thresholded_relu(n: Node, x: Tensor) -> Tensor:
    return n.b.where(n.b.greater(x, n.number("alpha", 1.0)), x, 0.0)


def _hard_sigmoid(n: Node, x: Tensor) -> Tensor:
    return hard_sigmoid(n.b, x, n.number("alpha", 0.2), n.number("beta", 0.5))


def _hard_swish(n: Node, x: Tensor) -> Tensor:
    return n.b.mul(x, hard_sigmoid(n.b, x, 1 / 6, 0.5))


def _softsign(n: Node, x: Tensor) -> Tensor:
    return n.b.div(x, n.b.add(n.b.abs(x), 1.0))


def _mish(n: Node, x: Tensor) -> Tensor:
    return n.b.mul(x, n.b.tanh(softplus(n.b, x)))


def _swish(n: Node, x: Tensor) -> Tensor:
    alpha = n.number("alpha", 1.0)
    return n.b.mul(x, n.b.sigmoid(x if alpha == 1.0 else n.b.mul(x, alpha)))


def _gelu(n: Node) -> Tensor:
    tanh = n.choice("approximate", "none", ("none", "tanh")) == "tanh"
    return n.b.gelu(n[0], approximate=tanh)


def _shrink(n: Node, x: Tensor) -> Tensor:
    limit, bias = n.number("lambd", 0.5), n.number("bias", 0.0)
    above = n.b.where(n.b.greater(x, limit), n.b.sub(x, bias), 0)
    return n.b.where(n.b.less(x, -limit), n.b.add(x, bias), above)


TABLE: Table = {
    "Celu": _wide(_celu),
    "Elu": _wide(_elu),
    "Gelu": _gelu,
    "HardSigmoid": _wide(_hard_sigmoid),
    "HardSwish": _wide(_hard_swish),
    "LeakyRelu": _wide(_leaky_relu),
    "Mish": _wide(_mish),
    "PRelu": _prelu,
    "Relu": unary("relu"),
    "Selu": _wide(_selu),
    "Shrink": _wide(_shrink),
    "Sigmoid": unary("sigmoid"),
    "Softplus": _wide(lambda n, x: softplus(n.b, x)),
    "Softsign": _wide(_softsign),
    "Swish": _wide(_swish),
    "Tanh": unary("tanh"),
    "ThresholdedRelu": _wide(_thresholded_relu),
}
