"""What interleaved times say in spite of noise: ratios with an error, and a verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bireme.ir import Array

# A gain below this is not worth a record, whatever its error.
LEAST_GAIN = 0.01
# Standard errors that a ratio must be away from 1 to be believed.
_CERTAINTY = 3.0
# Of a normal distribution: its deviation over the median of absolute ones; the error of a median
# over that of a mean.
_DEVIATION, _MEDIAN = 1.4826, 1.2533


@dataclass(frozen=True)
class Ratio:
    """The time of one thing over that of another, and the standard error of that."""

    value: float
    error: float

    @property
    def is_faster(self) -> bool:
        """Whether it is less than 1 beyond doubt."""
        return self.value + _CERTAINTY * self.error < 1 - LEAST_GAIN

    @property
    def is_slower(self) -> bool:
        """Whether it is more than 1 beyond doubt."""
        return self.value - _CERTAINTY * self.error > 1


def ratio(times: Array, yardstick: Array) -> Ratio:
    """The ratio of two series of times, of which those with one index were measured together.

    What slows the machine down for longer than a round slows both, so the median of the rounds'
    ratios is taken; its error comes from their median deviation, which outliers do not move.
    """
    ratios = np.asarray(times, np.float64) / np.maximum(1.0, np.asarray(yardstick, np.float64))
    middle = float(np.median(ratios))
    deviation = _DEVIATION * float(np.median(np.abs(ratios - middle)))
    return Ratio(middle, _MEDIAN * deviation / max(1.0, len(ratios) - 1) ** 0.5)
