"""Parameters and buffers: tensors that belong to a module and stand in its state dict.

A variable's array is drawn when it is first read, from a generator keyed by the seed in force and
the variable's number under that seed, so building a model costs nothing and values do not depend on
the order in which they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import Any

import numpy as np

from bireme.frontend.nn.dispatch import Weight
from bireme.frontend.nn.init import Initializer
from bireme.frontend.nn.tensor import Tensor
from bireme.ir import Array, BiremeError, DType, TensorType

# (seed, numbers of what draws from it)
_STREAM: ContextVar[tuple[int, Iterator[int]]] = ContextVar("stream", default=(0, count()))


@contextmanager
def seed(value: int) -> Iterator[None]:
    """Variables made inside draw their initial values from this seed: `with nn.seed(7): ...`. So
    do random functions outside of a trace.

    Raises BM6002 for a negative seed.
    """
    if value < 0:
        raise BiremeError("BM6002", f"a seed is 0 or more; found {value}", where="seed")
    token = _STREAM.set((value, count()))
    try:
        yield
    finally:
        _STREAM.reset(token)


def next_number() -> tuple[int, int]:
    """The seed in force, and the number of what draws from it next."""
    value, numbers = _STREAM.get()
    return value, next(numbers)


class Variable(Tensor):
    """A tensor with a name in a state dict. Made from an array, or a shape and an initialiser."""

    __slots__ = ("_initializer", "key")

    def __init__(
        self,
        value: Any,
        initializer: Initializer | None = None,
        dtype: Any = None,
    ) -> None:
        self.key = next_number()
        self._initializer = initializer
        if initializer is None:
            array = Tensor(value, dtype).numpy()
            self._source: Weight = Weight(TensorType(DType.of(array), array.shape), lambda: array)
            return
        shape = tuple(int(size) for size in value)
        kind = DType.of(dtype or "float32")
        self._source = Weight(TensorType(kind, shape), self._draw)

    @property
    def initializer(self) -> Initializer | None:
        """What draws its first values, None if it was made from an array. Assign to draw anew."""
        return self._initializer

    @initializer.setter
    def initializer(self, value: Initializer) -> None:
        self._initializer = value
        self._source = Weight(self.type, self._draw)

    def _draw(self) -> Array:
        assert self._initializer is not None
        rng = np.random.default_rng(self.key)
        tensor = self._source.type
        return self._initializer(rng, tensor.static_shape).astype(tensor.dtype.numpy, copy=False)

    @property
    def data(self) -> Array:
        """The array, not a copy. Assign to replace it by one of the same shape and type."""
        return self._source.array

    @data.setter
    def data(self, value: Array) -> None:
        found = TensorType(DType.of(value), value.shape)
        if found != self.type:
            raise BiremeError("BM1009", f"expected {self.type}; found {found}")
        self._source.array = value

    def cast(self, dtype: Any) -> None:
        """Changes the element type in place."""
        kind = DType.of(dtype)
        array = self._source.array.astype(kind.numpy)
        self._source = Weight(self.type.with_dtype(kind), lambda: array)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.type})"


class Parameter(Variable):
    """A learnt tensor. `Parameter(array)` or `Parameter((64, 3), init.Kaiming())`."""

    __slots__ = ()


class Buffer(Variable):
    """A tensor that is kept but not learnt, such as running statistics.

    One that is not `persistent` stays out of state dicts.
    """

    __slots__ = ("persistent",)

    def __init__(
        self,
        value: Any,
        initializer: Initializer | None = None,
        dtype: Any = None,
        *,
        persistent: bool = True,
    ) -> None:
        super().__init__(value, initializer, dtype)
        self.persistent = persistent


def shape_or_none(
    present: bool, shape: Sequence[int], initializer: Initializer
) -> Parameter | None:
    """A parameter, or None where a layer was asked to do without it."""
    return Parameter(shape, initializer) if present else None
