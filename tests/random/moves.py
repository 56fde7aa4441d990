"""Makers of ops that move elements: shapes, slices, paddings, gathers, scatters."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bireme.ir import Dim, DType
from tests.random.elementwise import constant
from tests.random.example import Fill
from tests.random.net import DTYPES, MOST_ELEMENTS, MOVED, Held, Net

NUMBERS = [t for t in DTYPES if t is not DType.BOOL]


def reshape(net: Net, name: str) -> list[Held]:
    """Axes of size 1 put in or left out, neighbours merged, a size split, everything flat."""
    x = net.ranked(MOVED, 0, 4)
    shape = list(x.shape)
    kind = net.choose(["insert", "merge", "split", "flat", "drop"])
    if kind == "merge" and len(shape) > 1:
        at = net.number(0, len(shape) - 2)
        shape[at : at + 2] = [shape[at] * shape[at + 1]]
    elif kind == "split" and shape:
        at = net.number(0, len(shape) - 1)
        size = shape[at]
        inner = net.choose([f for f in (2, 3, 4) if isinstance(size, int) and size % f == 0] or [1])
        shape[at : at + 1] = [size // inner, inner]
    elif kind == "flat":
        shape = [math.prod(shape, start=1)]
    elif kind == "drop":
        shape = [d for d in shape if d != 1]
    else:
        shape.insert(net.number(0, len(shape)), 1)
    return net.emit(name, [x], shape=shape)


def transpose(net: Net, name: str) -> list[Held]:
    x = net.ranked(MOVED, 2)
    rest = list(range(x.type.rank))
    perm = [rest.pop(net.number(0, len(rest) - 1)) for _ in range(x.type.rank)][::-1]
    return net.emit(name, [x], perm=perm)


def slice_(net: Net, name: str) -> list[Held]:
    x = net.ranked(MOVED, 1)
    starts: list[Dim] = []
    sizes: list[Dim] = []
    steps: list[int] = []
    for size in x.shape:
        start, count, step = _part(net, size)
        starts.append(start)
        sizes.append(count)
        steps.append(step)
    return net.emit(name, [x], starts=starts, sizes=sizes, steps=steps)


def _part(net: Net, size: Dim) -> tuple[Dim, Dim, int]:
    """Start, number of elements and step of a slice of an axis."""
    least = net.least(size)
    kind = net.choose(["all", "tail", "head", "reverse", "skip", "back", "none"])
    if kind == "tail" and least:
        start = net.number(0, min(least, 3))
        return start, size - start, 1
    if kind == "head" and least:
        return 0, net.number(0, least), 1
    if kind == "reverse":
        return size - 1, size, -1
    if kind == "skip":
        step = net.choose([2, 3])
        return 0, (size + step - 1) // step, step
    if kind == "back":
        step = net.choose([2, 3])
        return size - 1, (size + step - 1) // step, -step
    if kind == "none":
        return 0, 0, 1
    return 0, size, 1


def pad(net: Net, name: str) -> list[Held]:
    x = net.ranked(MOVED, 1)
    mode = net.choose(["constant", "edge", "reflect", "wrap"])
    room = {"constant": lambda n: 3, "edge": lambda n: 3 if n else 0,
            "reflect": lambda n: max(n - 1, 0), "wrap": lambda n: n}[mode]  # fmt: skip
    most = [min(room(net.least(d)), 3) for d in x.shape]
    before, after = ([net.number(0, m) for m in most] for _ in range(2))
    operands = [x]
    if mode == "constant" and net.flag():
        operands.append(net.leaf(x.dtype, ()))
    return net.emit(name, operands, before=before, after=after, mode=mode)


def expand(net: Net, name: str) -> list[Held]:
    """Sizes 1 made larger, axes put in front."""
    x = net.ranked(MOVED, 0, 3)
    known: list[Dim] = [2, 3, 1, 5, 0, *(d for h in net.pool for d in h.shape if d != 1)]
    shape = [net.choose(known) if d == 1 else d for d in x.shape]
    shape = [net.choose(known) for _ in range(net.number(0, 2))] + shape
    if net.elements(shape) > MOST_ELEMENTS:
        return []
    return net.emit(name, [x], shape=shape)


def tile(net: Net, name: str) -> list[Held]:
    x = net.ranked(MOVED, 1, 4)
    return net.emit(name, [x], repeats=[net.choose([1, 2, 3, 0]) for _ in x.shape])


def concat(net: Net, name: str) -> list[Held]:
    """Of values of one element type that agree but for one axis."""
    x = net.ranked(MOVED, 1)
    axis = net.number(0, x.type.rank - 1)
    parts = [x]
    for _ in range(net.number(0, 3)):
        part = net.pick([x.dtype], lambda t: _without(t.shape, axis) == _without(x.shape, axis))
        if part is None:
            shape = list(x.shape)
            shape[axis] = net.choose([shape[axis], 1, 2, 5, 0])
            part = net.leaf(x.dtype, shape)
        parts.insert(net.number(0, len(parts)), part)
    return net.emit(name, parts, axis=axis)


def _without(shape: Sequence[Dim], axis: int) -> Sequence[Dim]:
    """The rank, and the sizes but for one axis."""
    return (len(shape), *shape[:axis], *shape[axis + 1 :])


def pack_channels(net: Net, name: str) -> list[Held]:
    return net.emit(name, [net.ranked(NUMBERS, 2, 4)], block=net.choose([4, 8, 2]))


def unpack_channels(net: Net, name: str) -> list[Held]:
    x = net.ranked(NUMBERS, 3)
    blocks, block = x.shape[1], x.shape[-1]
    if not isinstance(blocks, int) or not isinstance(block, int) or not blocks or not block:
        return []
    return net.emit(name, [x], channels=blocks * block - net.number(0, block - 1))


# --- indices -------------------------------------------------------------------------------------


def _indices(net: Net, size: Dim, shape: list[Dim]) -> Held | None:
    """Indices of an axis: data, or calculated; None when there are none to name."""
    least = net.least(size)
    if net.elements(shape) > MOST_ELEMENTS or (least == 0 and net.elements(shape)):
        return None
    dtype = net.choose([DType.I64, DType.I32])
    if isinstance(size, int) and size and net.flag():
        # Calculated from another value: the remainder is never negative.
        source = net.pick([dtype], lambda t: t.shape == tuple(shape))
        if source is None:
            source = net.leaf(dtype, shape)
        (remainder,) = net.emit("mod", [source, constant(net, dtype, size)])
        return remainder
    return net.leaf(dtype, shape, Fill("range", -least, max(least, 1 - least)))


def gather(net: Net, name: str) -> list[Held]:
    data = net.ranked(MOVED, 1)
    axis = net.number(0, data.type.rank - 1)
    indices = _indices(net, data.shape[axis], list(net.shape(0, 2)))
    return [] if indices is None else net.emit(name, [data, indices], axis=axis)


def gather_elements(net: Net, name: str) -> list[Held]:
    data = net.ranked(MOVED, 1)
    axis = net.number(0, data.type.rank - 1)
    shape = list(data.shape)
    shape[axis] = net.choose([shape[axis], 1, 3, 7])
    indices = _indices(net, data.shape[axis], shape)
    return [] if indices is None else net.emit(name, [data, indices], axis=axis)


def gather_nd(net: Net, name: str) -> list[Held]:
    data = net.ranked(MOVED, 1)
    batch = net.choose([b for b in (0, 1) if b < data.type.rank])
    depth = net.number(0, data.type.rank - batch)
    rows = [*data.shape[:batch], *net.shape(1 - batch, 1)]
    indices = _rows(net, data, batch, rows, depth)
    return [] if indices is None else net.emit(name, [data, indices], batch_dims=batch)


def _rows(net: Net, data: Held, first: int, rows: list[Dim], depth: int) -> Held | None:
    """Rows of `depth` coordinates each, of the axes from `first` on."""
    least = min((net.least(d) for d in data.shape[first : first + depth]), default=0)
    if depth and least == 0 and net.elements(rows):
        return None
    fill = Fill("range", -least, max(least, 1 - least))
    return net.leaf(net.choose([DType.I64, DType.I32]), [*rows, depth], fill)


def scatter_elements(net: Net, name: str) -> list[Held]:
    data = net.ranked(MOVED, 1)
    axis = net.number(0, data.type.rank - 1)
    reduction = _reduction(net, data.dtype)
    if reduction == "none":  # every index once
        least = net.least(data.shape[axis])
        shape = list(data.shape)
        shape[axis] = net.number(0, least)
        indices = net.leaf(DType.I64, [shape[axis], *[1] * (data.type.rank - 1)], Fill("shuffled"))
        perm = [*range(1, axis + 1), 0, *range(axis + 1, data.type.rank)]
        (indices,) = net.emit("transpose", [indices], perm=perm)
        expanded = net.emit("expand", [indices], shape=shape)
        if not expanded:
            return []
        (indices,) = expanded
    else:
        shape = list(data.shape)
        shape[axis] = net.choose([shape[axis], 1, 3, 7])
        found = _indices(net, data.shape[axis], shape)
        if found is None:
            return []
        indices = found
    updates = _of_shape(net, data.dtype, shape)
    return net.emit(name, [data, indices, updates], exact=_kept(reduction, data, updates),
                    axis=axis, reduction=reduction)  # fmt: skip


def scatter_nd(net: Net, name: str) -> list[Held]:
    data = net.ranked(MOVED, 1)
    reduction = _reduction(net, data.dtype)
    depth = 1 if reduction == "none" else net.number(0, data.type.rank)
    if reduction == "none":
        rows: list[Dim] = [net.number(0, net.least(data.shape[0]))]
        indices: Held | None = net.leaf(DType.I64, [*rows, 1], Fill("shuffled"))
    else:
        rows = list(net.shape(1, 2))
        indices = _rows(net, data, 0, rows, depth)
    shape = [*rows, *data.shape[depth:]]
    if indices is None or len(shape) > 5 or net.elements(shape) > MOST_ELEMENTS:
        return []
    updates = _of_shape(net, data.dtype, shape)
    return net.emit(name, [data, indices, updates], exact=_kept(reduction, data, updates),
                    reduction=reduction)  # fmt: skip


def _reduction(net: Net, dtype: DType) -> str:
    options = ["none"] if dtype not in NUMBERS else ["none", "add", "max", "min", "mul"]
    return str(net.choose(options))


def _kept(reduction: str, *values: Held) -> bool:
    return reduction in ("none", "max", "min") and all(v.exact for v in values)


def _of_shape(net: Net, dtype: DType, shape: list[Dim]) -> Held:
    """A value of exactly this shape."""
    found = net.pick([dtype], lambda t: t.shape == tuple(shape))
    return net.leaf(dtype, shape) if found is None else found


def reverse_sequence(net: Net, name: str) -> list[Held]:
    x = net.ranked(MOVED, 2)
    batch = net.number(0, x.type.rank - 1)
    time = net.choose([a for a in range(x.type.rank) if a != batch])
    lengths = net.leaf(net.choose([DType.I64, DType.I32]), (x.shape[batch],), Fill("range", 0, 9))
    return net.emit(name, [x, lengths], batch_axis=batch, time_axis=time)


def iota(net: Net, name: str) -> list[Held]:
    shape = list(net.shape(1, 3))
    if any(not isinstance(d, int) for d in shape):
        net.leaf(DType.F32, shape)  # symbols need an input that has them
    axis = net.choose([*range(len(shape)), None])
    return net.emit(name, [], shape=shape, axis=axis, dtype=net.choose(NUMBERS))


def dim_values(net: Net, name: str) -> list[Held]:
    known: list[Dim] = [3, *(d for h in net.pool for d in h.shape)]
    return net.emit(name, [], values=[net.choose(known) for _ in range(net.number(1, 4))])


MAKERS = {
    "reshape": reshape,
    "transpose": transpose,
    "slice": slice_,
    "pad": pad,
    "expand": expand,
    "tile": tile,
    "concat": concat,
    "pack_channels": pack_channels,
    "unpack_channels": unpack_channels,
    "gather": gather,
    "gather_elements": gather_elements,
    "gather_nd": gather_nd,
    "scatter_elements": scatter_elements,
    "scatter_nd": scatter_nd,
    "reverse_sequence": reverse_sequence,
    "iota": iota,
    "dim_values": dim_values,
}
