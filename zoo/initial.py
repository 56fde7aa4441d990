"""Random weights that behave like trained ones, for tests and benchmarks without a download.

Two things are done to a model's own initial values. Whatever starts at a constant (biases 0, scales
and variances 1) is spread around it, so that a compiler that forgot such a term would be seen to be
wrong. And the last scale of each residual branch is 1/sqrt(number of branches), as De & Smith,
"Batch Normalization Biases Residual Blocks Towards the Identity Function", 2020, suggest: together
they multiply the variance by about e, where with scales of 1 each would double it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bireme.frontend import nn
from bireme.frontend.nn import init
from bireme.ir import Array

SPREAD = 0.1


@dataclass(frozen=True)
class Around:
    """Evenly spread over value ± spread."""

    value: float
    spread: float

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return init.Uniform(self.value - self.spread, self.value + self.spread)(rng, shape)


def residual_scale(branches: int) -> init.Constant:
    """What the last scale of each of this many residual branches starts at."""
    return init.Constant(branches**-0.5)


def spread_constants(module: nn.Module) -> None:
    """Gives every variable that would start at a constant c values within 10 % of c (0: ± 0.1)."""
    for _, variable in module.named_variables():
        start = variable.initializer
        if isinstance(start, init.Constant):
            variable.initializer = Around(start.value, SPREAD * (abs(start.value) or 1.0))
