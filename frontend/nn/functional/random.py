"""Random numbers: new ones in every run of a compiled model (its session has the seed).

Outside of a trace they come from the seed in force (`nn.seed`), as the values of variables do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bireme.frontend.nn.dispatch import TRACER
from bireme.frontend.nn.tensor import Tensor, TensorLike, op, tensor
from bireme.frontend.nn.variable import next_number
from bireme.ir import Dim, DType
from bireme.ir.philox import draw_key


def rand(shape: Sequence[Dim], dtype: Any = "float32") -> Tensor:
    """Uniformly distributed in [0, 1); the shape may be symbolic."""
    return _draw("random_uniform", shape, dtype)


def randn(shape: Sequence[Dim], dtype: Any = "float32") -> Tensor:
    """Normally distributed, mean 0 and variance 1; the shape may be symbolic."""
    return _draw("random_normal", shape, dtype)


def rand_like(x: TensorLike) -> Tensor:
    """`rand` of the shape and type of `x`, which is a float."""
    like = tensor(x)
    return rand(like.shape, like.dtype)


def randn_like(x: TensorLike) -> Tensor:
    """`randn` of the shape and type of `x`, which is a float."""
    like = tensor(x)
    return randn(like.shape, like.dtype)


def bernoulli(p: TensorLike) -> Tensor:
    """1 with probability `p`, else 0, in the float type of `p`."""
    chance = tensor(p)
    wide = "float64" if chance.dtype is DType.F64 else "float32"
    return (rand(chance.shape, wide) < chance.astype(wide)).astype(chance.dtype)


def _draw(name: str, shape: Sequence[Dim], dtype: Any) -> Tensor:
    tracer = TRACER.get()
    if tracer is None:
        seed, number = next_number()
        key = Tensor(draw_key(seed, 0, 1, number))
    else:
        key = op("random_key", stream=tracer.new_stream())
    places = op("iota", shape=tuple(shape), dtype="int64")
    return op(name, places, key, dtype=dtype)
