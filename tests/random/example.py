"""A random graph with all that decides its results: what a failing test prints."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any
from zlib import crc32

import numpy as np

from bireme.ir import Array, DType, Graph, TensorType, evaluate

_FLOAT = re.compile(r"([0-9?]x|tensor<|dtype = )(bf16|f16|f32|f64)\b")


@dataclass(frozen=True)
class Fill:
    """How the elements of an input or a constant, of type `dtype`, are chosen.

    `kind` is `normal` (floats around 0, small integers), `special` (floats, of which some are NaN,
    infinite or 0), `wide` (the whole range of the type), `positive` (0.5 to 2), `range` (integers
    from `low` up to, not including, `high`), `full` (all `low`) or `shuffled` (0, 1, 2, ... in
    random order along the first axis).
    """

    kind: str = "normal"
    low: int = 0
    high: int = 0
    dtype: str = "float32"

    def array(self, shape: tuple[int, ...], name: str, seed: int) -> Array:
        """The elements, as the seed and the name of the value decide."""
        rng = np.random.default_rng([seed, crc32(name.encode())])
        dtype = DType.of(self.dtype)
        return _FILLS[self.kind](self, dtype, shape, rng).astype(dtype.numpy)


def _normal(fill: Fill, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if dtype.is_float:
        return rng.standard_normal(shape)
    if dtype is DType.BOOL:
        return rng.integers(0, 2, shape)
    low, high = dtype.limits
    return rng.integers(max(low, -7), min(high, 7), shape, endpoint=True)


def _wide(fill: Fill, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    if not dtype.is_integer:
        return _normal(fill, dtype, shape, rng)
    low, high = dtype.limits
    return rng.integers(low, high, shape, np.int64 if low else np.uint64, endpoint=True)


def _special(fill: Fill, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    numbers = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], shape)
    return np.where(rng.random(shape) < 0.2, numbers, rng.standard_normal(shape))


def _shuffled(fill: Fill, dtype: DType, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    order = rng.permutation(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(order, shape)


_FILLS = {
    "normal": _normal,
    "special": _special,
    "wide": _wide,
    "positive": lambda fill, dtype, shape, rng: rng.uniform(0.5, 2, shape),
    "range": lambda fill, dtype, shape, rng: rng.integers(fill.low, fill.high, shape),
    "full": lambda fill, dtype, shape, rng: np.full(shape, fill.low),
    "shuffled": _shuffled,
}


@dataclass(frozen=True)
class Example:
    """A graph as text; what its inputs and constants hold, by name; the sizes it is run at.

    Its repr is a Python expression that makes it again.
    """

    text: str
    fills: Mapping[str, Fill]
    sizes: tuple[Mapping[str, int], ...]
    seed: int

    def graph(self, floats: str = "") -> Graph:
        """The graph, constants included; with every float type replaced by `floats` when given.

        Always the same one: not to be changed.
        """
        if floats not in self._graphs:
            self._graphs[floats] = self._new_graph(floats)
        return self._graphs[floats]

    @cached_property
    def _graphs(self) -> dict[str, Graph]:
        return {}

    def _new_graph(self, floats: str) -> Graph:
        graph = Graph(_text=_FLOAT.sub(rf"\1{floats}", self.text) if floats else self.text)
        for op in graph.walk():
            if op.name == "constant":
                name = op.attrs["name"]
                graph.weights[name] = self._array(name, op.result.type, {})
        graph.verify()
        return graph

    def in_float32(self, *types: str) -> Example:
        """The example with float32 in the place of some types (`"f16"`), on the same data."""
        text = self.text
        for each in types:
            text = re.sub(rf"([0-9?]x|tensor<|dtype = ){each}\b", r"\1f32", text)
        return replace(self, text=text)

    def inputs(self, graph: Graph, sizes: Mapping[str, int]) -> dict[str, Array]:
        """Data for the inputs of the graph, or of one with other float types."""
        names = zip(graph.input_names, graph.inputs, strict=True)
        return {name: self._array(name, value.type, sizes) for name, value in names}

    def _array(self, name: str, tensor: TensorType, sizes: Mapping[str, int]) -> Array:
        """The same data whatever the float type: as the example's own type holds it."""
        shape = tuple(evaluate(d, sizes) for d in tensor.shape)
        own = self.fills[name].array(shape, name, self.seed)
        return own.astype(tensor.dtype.numpy, copy=False)

    def __repr__(self) -> str:
        text = self.text.rstrip().replace("\\", "\\\\")
        fills = "".join(f"        {k!r}: {v!r},\n" for k, v in self.fills.items())
        return (
            f'Example(\n    """{text}\n""",\n    fills={{\n{fills}    }},\n'
            f"    sizes={self.sizes!r},\n    seed={self.seed},\n)"
        )

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:
        """What Hypothesis prints of a failing example."""
        printer.text(repr(self))
