"""Which form a convolution is calculated in: direct, or Winograd's with tiles of 2×2 or 4×4.

An analytic choice between costs in multiply-adds of a core. Winograd's form spends fewer products
a result, but transforms inputs and outputs, calculates outputs of whole tiles whether they exist or
not, and reads filters that are (m + 2)² / 9 times as large. It is float32; a direct convolution may
multiply smaller elements, several times as many in the same time.
"""

from __future__ import annotations

from dataclasses import dataclass

from bireme.ir.winograd import POINTS, TAPS

DIRECT = 0

# Multiply-adds that take as long as the transforms of one channel of one tile, measured on a core
# with 512-bit registers: of an input tile, and of an output tile.
_TRANSFORMS = {2: (60, 50), 4: (200, 150)}
# Multiply-adds that take as long as reading a byte of filters. Each is read once, from memory or
# the third-level cache.
_A_BYTE = 2


@dataclass(frozen=True)
class Convolution:
    """A 3×3 convolution at every place: its channels, filters, and the size of its result."""

    channels: int
    filters: int
    batch: int
    height: int
    width: int


def choose_form(conv: Convolution, rate: int = 1) -> int:
    """Outputs along a side of a Winograd tile, or DIRECT, whichever costs least."""
    return min((DIRECT, *POINTS), key=lambda form: cost(conv, form, rate))


def cost(conv: Convolution, form: int, rate: int = 1) -> int:
    """Multiply-adds of float32 that take as long as the convolution in a form. A direct one
    calculates `rate` products in the time of one, of elements `rate` times as small.
    """
    products, filters = conv.channels * conv.filters, 4 * conv.channels * conv.filters
    if form == DIRECT:
        outputs = conv.batch * conv.height * conv.width
        return TAPS**2 * (outputs * products + _A_BYTE * filters) // rate
    tiles = conv.batch * -(-conv.height // form) * -(-conv.width // form)
    points = (form + TAPS - 1) ** 2
    of_input, of_output = _TRANSFORMS[form]
    transforms = of_input * conv.channels + of_output * conv.filters
    return tiles * (points * products + transforms) + _A_BYTE * points * filters
