"""Windows that slide over the spatial axes of `[N, C, *S]`: size rules and views.

The padding of axis i is `pads[i]` before and `pads[rank + i]` after, as in ONNX.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from bireme.ir.dims import Dim, ceildiv, minimum
from bireme.ir.opdef import Array, Attr, AttrKind, Typing
from bireme.ir.ops._rules import at_least, one_per_axis

STRIDES = Attr("strides", AttrKind.INTS, doc="for each spatial axis, distance of two windows")
DILATIONS = Attr("dilations", AttrKind.INTS, doc="for each spatial axis, distance of two taps")
PADS = Attr(
    "pads",
    AttrKind.INTS,
    doc="elements added before each spatial axis, then those added after each",
)
KERNEL = Attr("kernel", AttrKind.INTS, doc="for each spatial axis, taps of the window")


def check_window(t: Typing, rank: int) -> None:
    """The attributes that every window op has, for `rank` spatial axes."""
    one_per_axis(t, "strides", rank)
    one_per_axis(t, "dilations", rank)
    one_per_axis(t, "pads", 2 * rank)
    at_least(t, "strides", 1)
    at_least(t, "dilations", 1)
    at_least(t, "pads", 0)


def window_counts(
    t: Typing, sizes: Sequence[Dim], kernel: Sequence[Dim], ceil_mode: bool = False
) -> list[Dim]:
    """How many windows fit along each spatial axis."""
    pads, strides, dilations = t.attrs["pads"], t.attrs["strides"], t.attrs["dilations"]
    counts: list[Dim] = []
    for i, (size, taps) in enumerate(zip(sizes, kernel, strict=True)):
        before, after = pads[i], pads[len(sizes) + i]
        if isinstance(taps, int) and taps < 1:
            raise t.fail(f"spatial axis {i}: a window has no taps")
        span = (taps - 1) * dilations[i] + 1
        spare = size + before + after - span
        if isinstance(spare, int) and spare < 0:
            raise t.fail(
                f"spatial axis {i}: a window of {taps} taps with dilation {dilations[i]} is larger "
                f"than {size} elements with padding {before} + {after}"
            )
        counts.append(window_count(size, span, strides[i], before, after, ceil_mode))
    return counts


def window_count(
    size: Dim, span: Dim, stride: int, before: int, after: int, ceil_mode: bool = False
) -> Dim:
    """How many windows that span so many elements fit along one axis."""
    spare = size + before + after - span
    if not ceil_mode:
        return spare // stride + 1
    # A window that would start in the padding after the last element is left out.
    return minimum(ceildiv(spare, stride) + 1, ceildiv(size + before, stride))


def padded(x: Array, pads: Sequence[int], value: float | int, spare: Sequence[int] = ()) -> Array:
    """`[N, C, *S]` with padding on the spatial axes, and `spare` more elements after each."""
    rank = x.ndim - 2
    extra = list(spare) or [0] * rank
    if not any(pads) and not any(extra):
        return x
    shape = [pads[i] + x.shape[2 + i] + pads[rank + i] + extra[i] for i in range(rank)]
    result = np.full((*x.shape[:2], *shape), value, x.dtype)
    inner = tuple(slice(pads[i], pads[i] + x.shape[2 + i]) for i in range(rank))
    result[(slice(None), slice(None), *inner)] = x
    return result


def windows(
    x: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Array:
    """A view `[N, C, *windows, *kernel]` of a padded `[N, C, *S]`."""
    spans = [(taps - 1) * step + 1 for taps, step in zip(kernel, dilations, strict=True)]
    view = np.lib.stride_tricks.sliding_window_view(x, spans, tuple(range(2, x.ndim)))
    picked = [slice(None, None, step) for step in (*strides, *dilations)]
    return view[(slice(None), slice(None), *picked)]


def taps(
    x: Array,
    counts: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> Iterator[tuple[tuple[int, ...], Array]]:
    """For each tap of the kernel, its place and the view `[N, C, *counts]` of what it reads."""
    for place in itertools.product(*map(range, kernel)):
        picked = tuple(
            slice(p * d, p * d + (n - 1) * s + 1 if n else p * d, s)
            for p, d, n, s in zip(place, dilations, counts, strides, strict=True)
        )
        yield place, x[(slice(None), slice(None), *picked)]
