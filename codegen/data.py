"""Made-up data of a model's inputs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from bireme.ir import Array, DType

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
