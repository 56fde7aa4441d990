"""Node tests whose expected numbers are those of NumPy's generator, which no other can match.

ONNX leaves the generator open. Element types and shapes are compared as always; instead of the
numbers, what they must have in common with those expected, over many runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from bireme.ir import Array

RUNS = 200
# Standard deviations; a right generator is further off in one of 10**9 samples.
_FAR = 6.0

Inputs = Mapping[str, Array]
# What is wrong with the outputs of all runs, or "".
Check = Callable[[Inputs, Sequence[Mapping[str, Array]]], str]


@dataclass(frozen=True)
class Drawn:
    """How the tests whose names match `pattern` are judged: `text` for the page, and `check`."""

    pattern: str
    text: str
    check: Check


def _bernoulli(inputs: Inputs, runs: Sequence[Mapping[str, Array]]) -> str:
    found = np.stack([run["y"].astype(np.float64) for run in runs])
    if not np.isin(found, (0, 1)).all():
        return "elements other than 0 and 1"
    return _share(found, inputs["x"].astype(np.float64))


def _bernoulli_body(inputs: Inputs, runs: Sequence[Mapping[str, Array]]) -> str:
    return _bernoulli({"x": 1 - inputs["x"]}, runs)


def _dropout(inputs: Inputs, runs: Sequence[Mapping[str, Array]]) -> str:
    x, ratio = inputs["x"], float(inputs["r"])
    kept = np.stack([run["y"] != 0 for run in runs])
    for run, mask in zip(runs, kept, strict=True):
        if not np.allclose(run["y"], np.where(mask, x / (1 - ratio), 0), rtol=1e-6):
            return "elements other than 0 and x / (1 - ratio)"
        if "z" in run and not np.array_equal(run["z"], mask):
            return "the mask does not say which elements are kept"
    return _share(kept.astype(np.float64), np.full(x.shape, 1 - ratio))


def _share(found: Array, expected: Array) -> str:
    """How often the elements are 1: in one run after the other, unless all are the same."""
    if (found == found[0]).all():
        found = found[:1]
    sigma = math.sqrt(float((expected * (1 - expected)).mean()) / found.size)
    off = abs(float(found.mean() - expected.mean())) / max(sigma, 1e-12)
    return f"the mean is off by {off:.1f} standard deviations" if off > _FAR else ""


DRAWN = (
    Drawn(
        "test_bernoulli*_expanded",
        "every element is 0 or 1, and 0 as often as the input says: the body that ONNX gives the "
        "operator is 1 where the number drawn is above the input",
        _bernoulli_body,
    ),
    Drawn(
        "test_bernoulli*",
        "every element is 0 or 1, and 1 as often as the input says",
        _bernoulli,
    ),
    Drawn(
        "test_training_dropout*",
        "every element is 0 or x / (1 - ratio), as often as the ratio says, and the mask agrees",
        _dropout,
    ),
)


def drawn_by(name: str) -> Drawn | None:
    """How a test is judged, if its expected numbers are random."""
    return next((d for d in DRAWN if fnmatchcase(name, d.pattern)), None)
