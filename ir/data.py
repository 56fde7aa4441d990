"""Made-up data of a model's inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bireme.ir.dims import evaluate
from bireme.ir.dtypes import DType
from bireme.ir.graph import Graph
from bireme.ir.opdef import Array

# Values of integers, both inclusive, where no range is given: valid as indices of most tables.
_INTEGERS = (0, 1)


def random_arrays(
    inputs: Iterable[tuple[str, np.dtype[Any], tuple[int, ...]]],
    *,
    seed: int = 0,
    value_range: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """An array for each (name, element type, shape): integers and floats uniform in `value_range`,
    both ends included; without one, integers of 0 and 1 and normally distributed floats.
    """
    generator = np.random.default_rng(seed)
    low, high = value_range or _INTEGERS
    feed: dict[str, Array] = {}
    for name, dtype, shape in inputs:
        if dtype == np.bool_:
            data: Array = generator.integers(0, 2, shape)
        elif DType.of(dtype).is_integer:
            data = generator.integers(low, high, shape, endpoint=True)
        elif value_range:
            data = generator.uniform(low, high, shape)
        else:
            data = generator.standard_normal(shape, np.float32)
        feed[name] = np.asarray(data).astype(dtype)
    return feed


def made_up_inputs(
    graph: Graph,
    sizes: Mapping[str, int] | None = None,
    *,
    seed: int = 0,
    value_range: tuple[int, int] | None = None,
) -> dict[str, Array]:
    """An array for each input of a graph, as of `random_arrays`; symbols without one of `sizes`
    have their typical size.
    """
    known = {**{name: s.typical for name, s in graph.symbols.items()}, **(sizes or {})}
    types = [
        (name, v.type.dtype.numpy, tuple(evaluate(d, known) for d in v.type.shape))
        for name, v in zip(graph.input_names, graph.inputs, strict=True)
    ]
    return random_arrays(types, seed=seed, value_range=value_range)
