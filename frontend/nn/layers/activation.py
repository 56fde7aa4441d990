"""Activations as modules, for nn.Sequential."""

from __future__ import annotations

from collections.abc import Callable

from bireme.frontend.nn import functional as F  # noqa: N812 - its usual name
from bireme.frontend.nn.module import Layer
from bireme.frontend.nn.tensor import Tensor


class Activation(Layer):
    """A function of each element; subclasses name it."""

    function: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x)


class Hardsigmoid(Activation):
    """clip(x / 6 + 1/2, 0, 1)."""

    function = staticmethod(F.hardsigmoid)


class Hardswish(Activation):
    """x · hardsigmoid(x) (Howard et al., 2019)."""

    function = staticmethod(F.hardswish)


class Mish(Activation):
    """x · tanh(softplus(x)) (Misra, 2019)."""

    function = staticmethod(F.mish)


class ReLU(Activation):
    """max(x, 0)."""

    function = staticmethod(F.relu)


class ReLU6(Activation):
    """min(max(x, 0), 6)."""

    function = staticmethod(F.relu6)


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    function = staticmethod(F.sigmoid)


class SiLU(Activation):
    """x · sigmoid(x)."""

    function = staticmethod(F.silu)


class Softplus(Activation):
    """log(1 + exp(x))."""

    function = staticmethod(F.softplus)


class Tanh(Activation):
    """Hyperbolic tangent."""

    function = staticmethod(F.tanh)


class ELU(Layer):
    """x for x > 0, else alpha · (exp(x) - 1) (Clevert et al., 2015)."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class GELU(Layer):
    """x·Φ(x); `approximate="tanh"` for the tanh form."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class LeakyReLU(Layer):
    """x for x > 0, else negative_slope · x."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class Softmax(Layer):
    """exp(x) over its sum along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"


class LogSoftmax(Layer):
    """Logarithm of the softmax along an axis."""

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(x, self.axis)

    def extra_repr(self) -> str:
        return f"axis={self.axis}"
