"""Initial values of parameters: frozen descriptions that draw an array from a generator.

Xavier: Glorot & Bengio, "Understanding the difficulty of training deep feedforward neural
networks", 2010. Kaiming: He et al., "Delving Deep into Rectifiers", 2015. A weight's fan-in is the
number of inputs that one output element sums over: `shape[1]` times the kernel's size, for shapes
[out, in, *kernel].
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bireme.ir import Array


class Initializer(Protocol):
    """Draws float values of a shape; the same generator state gives the same array."""

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array: ...


@dataclass(frozen=True)
class Constant:
    """The same value everywhere."""

    value: float

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:  # noqa: ARG002
        return np.full(shape, self.value, np.float32)


@dataclass(frozen=True)
class Normal:
    """Gaussian values; `cut` drops the tails beyond that many standard deviations."""

    std: float = 1.0
    mean: float = 0.0
    cut: float | None = None

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        z = rng.standard_normal(shape, np.float32)
        if self.cut is not None:
            outside = np.abs(z) > self.cut
            while outside.any():
                z[outside] = rng.standard_normal(int(outside.sum()), np.float32)
                outside = np.abs(z) > self.cut
        return np.float32(self.mean) + np.float32(self.std) * z


@dataclass(frozen=True)
class Uniform:
    """Values evenly spread over [low, high)."""

    low: float
    high: float

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        unit = rng.random(shape, np.float32)
        return np.float32(self.low) + np.float32(self.high - self.low) * unit


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan-in, fan-out) of a weight [out, in, *kernel]; a vector counts as one input each."""
    if len(shape) < 2:
        return 1, 1
    kernel = math.prod(shape[2:])
    return shape[1] * kernel, shape[0] * kernel


@dataclass(frozen=True)
class Xavier:
    """Keeps variance in both directions for layers that are followed by no rectifier."""

    uniform: bool = True
    gain: float = 1.0

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return _draw(rng, shape, self.gain * math.sqrt(2.0 / sum(fans(shape))), self.uniform)


@dataclass(frozen=True)
class Kaiming:
    """Keeps variance forward through a leaky rectifier of slope `slope` (1: no rectifier)."""

    uniform: bool = False
    slope: float = 0.0

    def __call__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        std = math.sqrt(2.0 / (1.0 + self.slope**2) / fans(shape)[0])
        return _draw(rng, shape, std, self.uniform)


def _draw(rng: np.random.Generator, shape: tuple[int, ...], std: float, uniform: bool) -> Array:
    """Values of standard deviation `std`, uniform or Gaussian."""
    bound = math.sqrt(3.0) * std
    shape_of: Initializer = Uniform(-bound, bound) if uniform else Normal(std)
    return shape_of(rng, shape)


def fan_in_uniform(fan_in: int) -> Uniform:
    """±1/sqrt(fan-in): what PyTorch gives biases, linear and recurrent weights by default."""
    bound = 1.0 / math.sqrt(fan_in) if fan_in > 0 else 0.0
    return Uniform(-bound, bound)


ZEROS = Constant(0.0)
ONES = Constant(1.0)
