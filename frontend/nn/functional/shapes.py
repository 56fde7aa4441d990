"""Making, joining, cutting and moving tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bireme.frontend.nn.dispatch import place
from bireme.frontend.nn.tensor import Tensor, TensorLike, op, ops, promote, tensor
from bireme.ir import BiremeError, Dim, DType


def full(shape: Sequence[Dim], value: float | int | bool, dtype: Any = "float32") -> Tensor:
    """One value everywhere; the shape may be symbolic."""
    scalar = Tensor(np.full((1,) * len(shape), value, DType.of(dtype).numpy))
    return scalar.expand(*shape)


def zeros(shape: Sequence[Dim], dtype: Any = "float32") -> Tensor:
    """A tensor of zeros; the shape may be symbolic."""
    return full(shape, 0, dtype)


def ones(shape: Sequence[Dim], dtype: Any = "float32") -> Tensor:
    """A tensor of ones; the shape may be symbolic."""
    return full(shape, 1, dtype)


def arange(size: Dim, dtype: Any = "int64") -> Tensor:
    """0, 1, ... size - 1."""
    return op("iota", shape=(size,), axis=0, dtype=dtype)


def cat(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Joined along an axis that all have."""
    values = promote(*tensors)
    return values[0] if len(values) == 1 else op("concat", *values, axis=axis % values[0].ndim)


def stack(tensors: Sequence[TensorLike], axis: int = 0) -> Tensor:
    """Joined along a new axis."""
    return cat([t.unsqueeze(axis) for t in promote(*tensors)], axis)


def split(x: TensorLike, sizes: int | Sequence[Dim], axis: int = 0) -> tuple[Tensor, ...]:
    """Pieces of these sizes; one number cuts equal pieces and a smaller last one."""
    value = tensor(x)
    if isinstance(sizes, int):
        total = value.shape[axis]
        if not isinstance(total, int):
            detail = (
                f"axis {axis} of {value.type} has a symbolic size, so its pieces cannot be counted"
            )
            raise BiremeError("BM1008", detail, where=place(), hint="list the size of every piece")
        sizes = [min(sizes, total - at) for at in range(0, total, sizes)]
    before = (slice(None),) * (axis % value.ndim)
    pieces: list[Tensor] = []
    start: Dim = 0
    for size in sizes:
        pieces.append(value[(*before, slice(start, start + size))])
        start = start + size
    return tuple(pieces)


def chunk(x: TensorLike, chunks: int, axis: int = 0) -> tuple[Tensor, ...]:
    """Equal pieces; a last one may be smaller."""
    value = tensor(x)
    size = value.shape[axis]
    if isinstance(size, int):
        return split(value, -(-size // chunks), axis)
    return split(value, [size // chunks] * chunks, axis)


def flip(x: TensorLike, axis: int) -> Tensor:
    """Reversed along an axis."""
    value = tensor(x)
    return value[(*(slice(None),) * (axis % value.ndim), slice(None, None, -1))]


def tile(x: TensorLike, repeats: Sequence[Dim]) -> Tensor:
    """The tensor repeated along each axis."""
    return op("tile", x, repeats=tuple(repeats))


def broadcast_to(x: TensorLike, shape: Sequence[Dim]) -> Tensor:
    """The tensor repeated along axes of size 1 to fill a shape."""
    return tensor(x).expand(*shape)


def pad(
    x: TensorLike, widths: Sequence[tuple[Dim, Dim]], mode: str = "constant", value: float = 0.0
) -> Tensor:
    """Padded by `widths`, (before, after) for each axis; mode constant, reflect, edge or wrap."""
    source = tensor(x)
    before, after = tuple(w[0] for w in widths), tuple(w[1] for w in widths)
    fill = promote(source, value)[1] if mode == "constant" and value != 0.0 else None
    return op("pad", source, fill, before=before, after=after, mode=mode)


def take(x: TensorLike, indices: TensorLike, axis: int = 0) -> Tensor:
    """Slices at these places of an axis; negative ones count from the end."""
    value = tensor(x)
    return op("gather", value, indices, axis=axis % value.ndim)


def take_along_axis(x: TensorLike, indices: TensorLike, axis: int) -> Tensor:
    """For every place the element at `indices` along the axis (PyTorch's `gather`)."""
    value = tensor(x)
    return op("gather_elements", value, indices, axis=axis % value.ndim)


def topk(x: TensorLike, k: Dim, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest (or smallest) values in order, and their places."""
    value = tensor(x)
    values, indices = ops("topk", value, k=(k,), axis=axis % value.ndim, largest=largest)
    return values, indices


def cumsum(x: TensorLike, axis: int) -> Tensor:
    """Running sums along an axis."""
    value = tensor(x)
    return op("cumsum", value, axis=axis % value.ndim)


def pixel_shuffle(x: TensorLike, factor: int) -> Tensor:
    """[N, C·f·f, H, W] → [N, C, H·f, W·f] (Shi et al., 2016)."""
    value = tensor(x)
    n, c, h, w = value.shape
    split_up = value.reshape(n, c // (factor * factor), factor, factor, h, w)
    moved = split_up.permute(0, 1, 4, 2, 5, 3)
    return moved.reshape(n, c // (factor * factor), h * factor, w * factor)


_COORDINATES = {False: "half_pixel", True: "align_corners"}
_MODES = {"linear": "linear", "bilinear": "linear", "bicubic": "cubic"}


def interpolate(
    x: TensorLike,
    size: Sequence[Dim] | None = None,
    scale_factor: int | None = None,
    mode: str = "nearest",
    align_corners: bool = False,
) -> Tensor:
    """Resizes the spatial axes of [N, C, *S] to `size`, or by a whole factor."""
    value = tensor(x)
    spatial = value.shape[2:]
    if (size is None) == (scale_factor is None):
        raise BiremeError("BM1006", "give either size or scale_factor", where=place())
    if size is None:
        size = [d * (scale_factor or 1) for d in spatial]
    style: dict[str, Any] = {"mode": "nearest", "coordinate": "asymmetric", "nearest": "floor"}
    if mode != "nearest":
        if mode not in _MODES:
            wanted = ", ".join(["nearest", *_MODES])
            raise BiremeError("BM1006", f"mode {mode!r} is none of {wanted}", where=place())
        style = {"mode": _MODES[mode], "coordinate": _COORDINATES[align_corners]}
    scales = (0.0,) * value.ndim
    return op("resize", value, shape=(*value.shape[:2], *size), scales=scales, **style)
