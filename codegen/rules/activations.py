"""Activations of recurrent layers as expressions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tvm import tirx

from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.transcendental import FUNCTIONS
from bireme.codegen.tir import Emitter, Expr, select
from bireme.ir.ops.recurrent import ACTIVATIONS

Activation = Callable[[Emitter, Expr], Expr]
# Parameters come as alpha, beta; an activation takes those it has.
_Form = Callable[..., Expr]


def _hard_sigmoid(emit: Emitter, x: Expr, alpha: float, beta: float) -> Expr:
    line = a.like(alpha, x) * x + a.like(beta, x)
    return a.minimum(a.maximum(line, a.like(0, x)), a.like(1, x))


def _elu(emit: Emitter, x: Expr, alpha: float) -> Expr:
    negative = select(x < a.like(0, x), x, a.like(0, x))
    below = a.like(alpha, x) * (FUNCTIONS["exp"](emit, negative) - a.like(1, x))
    return select(x < a.like(0, x), below, x)


def _softplus(emit: Emitter, x: Expr) -> Expr:
    """`log(1 + exp(x))`, of which the exponential never overflows."""
    size = emit.bind(tirx.abs(x))
    power = FUNCTIONS["exp"](emit, a.negative(size))
    return a.maximum(x, a.like(0, x)) + FUNCTIONS["log"](emit, a.like(1, x) + power)


_FORMS: Mapping[str, _Form] = {
    "sigmoid": lambda emit, x: FUNCTIONS["sigmoid"](emit, x),
    "tanh": lambda emit, x: FUNCTIONS["tanh"](emit, x),
    "relu": lambda emit, x: a.maximum(x, a.like(0, x)),
    "affine": lambda emit, x, alpha, beta: a.like(alpha, x) * x + a.like(beta, x),
    "leakyrelu": lambda emit, x, alpha: select(x < a.like(0, x), a.like(alpha, x) * x, x),
    "thresholdedrelu": lambda emit, x, alpha: select(x > a.like(alpha, x), x, a.like(0, x)),
    "scaledtanh": lambda emit, x, alpha, beta: (
        a.like(alpha, x) * FUNCTIONS["tanh"](emit, emit.bind(a.like(beta, x) * x))
    ),
    "hardsigmoid": _hard_sigmoid,
    "elu": _elu,
    "softsign": lambda emit, x: x / (a.like(1, x) + tirx.abs(x)),
    "softplus": _softplus,
}


def activations(attrs: Mapping[str, Any]) -> list[Activation]:
    """Activations of a recurrent op; `alphas` and `betas` go to those that take one, in turn."""
    alphas, betas = iter(attrs["alphas"]), iter(attrs["betas"])
    bound: list[Activation] = []
    for name in attrs["activations"]:
        kind, values = ACTIVATIONS[name], []
        if kind.alpha is not None:
            values.append(next(alphas, kind.alpha))
        if kind.beta is not None:
            values.append(next(betas, kind.beta))
        bound.append(_bind(_FORMS[name], values))
    return bound


def _bind(form: _Form, values: list[float]) -> Activation:
    return lambda emit, x: form(emit, x, *values)
