"""Operators that cut tensors and pad them, at places that are known or that the data says."""

from __future__ import annotations

from collections.abc import Sequence

from bireme.frontend.onnx.emit import Emitter, Tensor, data
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.at_run_time import (
    by_axis,
    decided,
    element,
    from_start,
    line,
    number,
    placed,
    taken,
    vector,
)
from bireme.frontend.onnx.ops.offsets import tensor_above
from bireme.frontend.onnx.ops.shape import cut, reshape
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType, ceildiv

# --- slice ----------------------------------------------------------------------------------------


def _slice_attributes(n: Node) -> Tensor:
    starts, ends = n.integers("starts"), n.integers("ends")
    axes = n.integers("axes", list(range(len(starts))))
    n.axes(axes, n[0].rank)
    return _sliced(n, starts, ends, axes, [1] * len(starts))


def _slice(n: Node) -> Tensor:
    starts, ends = n.sizes(1), n.sizes(2)
    given = n.sizes(3) if n.get(3) is not None else list(range(len(starts)))
    steps = n.sizes(4) if n.get(4) is not None else [1] * len(starts)
    if not len(starts) == len(ends) == len(given) == len(steps):
        raise BiremeError("BM1006", "starts, ends, axes and steps differ in length")
    axes = [axis for axis in given if isinstance(axis, int)]
    if len(axes) != len(given):
        return _sliced_along_data(n)
    n.axes(axes, n[0].rank)
    x, known = n[0], dict[int, tuple[Dim, Dim, int]]()
    for i, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True)):
        if start is not None and end is not None and isinstance(step, int):
            known[i] = start, end, step
    if known:
        rows = [list(column) for column in zip(*known.values(), strict=True)]
        x = _sliced(n, rows[0], rows[1], [axes[i] for i in known], [int(str(s)) for s in rows[2]])
    for i, axis in enumerate(axes):
        if i not in known:
            x = _sliced_by_data(n.b, x, axis % x.rank, *_ends(n, i, steps[i]))
    return x


def _ends(n: Node, place: int, step: Dim | None) -> tuple[Tensor, Tensor, Tensor | int]:
    """Start, end and step of one axis as data."""
    start, end = (element(n.b, vector(n, index), place) for index in (1, 2))
    return start, end, step if isinstance(step, int) else element(n.b, vector(n, 4), place)


def _sliced(
    n: Node, starts: Sequence[Dim], ends: Sequence[Dim], axes: Sequence[int], steps: Sequence[int]
) -> Tensor:
    x = n[0]
    if not len(starts) == len(ends) == len(axes) == len(steps):
        raise BiremeError("BM1006", "starts, ends, axes and steps differ in length")
    first: list[Dim] = [0] * x.rank
    extent, stride = list(x.shape), [1] * x.rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if step == 0:
            raise BiremeError("BM1006", "a step is 0")
        axis %= x.rank
        first[axis], extent[axis] = n.b.bounds.slice(start, end, step, x.shape[axis])
        stride[axis] = step
    if extent == list(x.shape) and not any(first) and all(s == 1 for s in stride):
        return x
    return n.b.slice(x, starts=tuple(first), sizes=tuple(extent), steps=tuple(stride))


def _sliced_by_data(
    b: Emitter, x: Tensor, axis: int, start: Tensor, end: Tensor, step: Tensor | int
) -> Tensor:
    """A slice along one axis, of at most all elements. Ends are clamped as in `Bounds.slice`.

    A step of 0 fails when the model runs.
    """
    if step == 0:
        raise BiremeError("BM1006", "a step is 0")

    def choice(forward: Tensor | int, backward: Tensor | int) -> Tensor | int:
        if isinstance(step, int):
            return forward if step > 0 else backward
        chosen: Tensor = b.where(b.greater(step, 0), forward, backward)
        return chosen

    span_limit = tensor_above(end, start)
    size = number(b, x.shape[axis])
    last = choice(size, b.sub(size, 1))
    start, end = _clamped(b, start, size, 0, last), _clamped(b, end, size, choice(0, -1), last)
    span = choice(b.sub(end, start), b.sub(start, end))
    stride = abs(step) if isinstance(step, int) else b.maximum(b.abs(step), 1)
    length = b.add(b.div(b.sub(b.maximum(span, 1), 1), stride), 1)
    length = b.where(b.greater(span, 0), length, 0)
    if not isinstance(step, int):
        length = b.where(b.equal(step, 0), -1, length)
    most = x.shape[axis]
    if span_limit is not None and isinstance(step, int) and step > 0:
        most = b.bounds.minimum(most, max(-(-span_limit // step), 0))
    (count,) = b.bind(length, [most])
    if step == 1 and start.dims == [0]:
        return cut(b, x, axis, 0, count)
    return taken(b, x, axis, b.add(b.mul(line(b, count), step), start))


def _clamped(
    b: Emitter, end: Tensor, size: Tensor, low: Tensor | int, high: Tensor | int
) -> Tensor:
    """An end of a slice as a place between `low` and `high`."""
    end = b.where(b.less(end, 0), b.add(end, size), end)
    result: Tensor = b.minimum(b.maximum(end, low), high)
    return result


def _sliced_along_data(n: Node) -> Tensor:
    """Axes, too, are data: any may be cut."""
    b, x = n.b, n[0]
    starts, ends, axes = (vector(n, index) for index in (1, 2, 3))
    axes = from_start(b, axes, x.rank)
    steps = vector(n, 4) if n.get(4) is not None else None
    for axis in range(x.rank):
        start = by_axis(b, axes, starts, axis, 0)
        end = by_axis(b, axes, ends, axis, number(b, x.shape[axis]))
        step = 1 if steps is None else by_axis(b, axes, steps, axis, 1)
        x = _sliced_by_data(b, x, axis, start, end, step)
    return x


# --- split ----------------------------------------------------------------------------------------


def _split(n: Node) -> list[Tensor]:
    x = n[0]
    axis = n.axis(n.integer("axis", 0), x.rank)
    size, count = x.shape[axis], n.outputs
    if n.opset < 13 and n.has("split"):
        given: list[Dim | None] = list(n.integers("split"))
    elif n.opset >= 13 and n.get(1) is not None:
        given = n.sizes(1)
    else:
        count = n.integer("num_outputs", count) if n.opset >= 18 else count
        if not 0 < count <= len(n.proto.output):
            raise BiremeError("BM1006", f"{count} parts for {len(n.proto.output)} outputs")
        each = ceildiv(size, count)
        given = [each] * (count - 1)
        given.append(size - each * (count - 1))
    if len(given) < n.outputs:
        raise BiremeError("BM1006", f"{len(given)} parts for {n.outputs} outputs")
    parts = _parts(n, given, size) if None in given else [p for p in given if p is not None]
    total = sum(parts[1:], parts[0]) - size
    if isinstance(total, int) and total != 0:
        raise BiremeError("BM1006", f"parts {parts} do not add up to {size}")
    results, start = [], 0 * size
    for part in parts:
        results.append(cut(n.b, x, axis, start, part))
        start = start + part
    return results


def _parts(n: Node, given: Sequence[Dim | None], size: Dim) -> list[Dim]:
    """Sizes of parts that the data says, checked to add up. The last of them is what is left."""
    parts = decided(
        n.b, vector(n, 1), given, lambda _: size, lambda parts: (sum(parts[1:], parts[0]), size)
    )
    last = max(i for i, part in enumerate(given) if part is None)
    return [
        part if i != last else size - sum((p for j, p in enumerate(parts) if j != last), 0 * size)
        for i, part in enumerate(parts)
    ]


# --- pad ------------------------------------------------------------------------------------------

_PAD_MODES = ("constant", "reflect", "edge", "wrap")


def _pad_attributes(n: Node) -> Tensor:
    return _padded(n, n.integers("pads"), list(range(n[0].rank)), n.number("value", 0.0))


def _pad(n: Node) -> Tensor:
    value: Tensor | float = 0
    if n.get(2) is not None:
        value = reshape(n.b, n[2], ())
    given = n.sizes(3) if n.get(3) is not None else list(range(n[0].rank))
    axes = [axis for axis in given if isinstance(axis, int)]
    if len(axes) == len(given):
        return _padded(n, n.sizes(1), axes, value)
    b, x, pads = n.b, n[0], vector(n, 1)
    if pads.shape[0] != 2 * len(given):
        raise BiremeError("BM1006", f"{pads.shape[0]} pads for {len(given)} axes")
    starts = from_start(b, vector(n, 3), x.rank)
    before, after = (cut(b, pads, 0, i * len(given), len(given)) for i in (0, 1))
    for axis in range(x.rank):
        sides = [by_axis(b, starts, side, axis, 0) for side in (before, after)]
        x = _padded_by_data(n, x, axis, sides[0], sides[1], value)
    return x


def _padded(
    n: Node, pads: Sequence[Dim | None], axes: Sequence[int], value: Tensor | float
) -> Tensor:
    x, b = n[0], n.b
    mode = n.choice("mode", "constant", _PAD_MODES)
    if len(pads) != 2 * len(axes):
        raise BiremeError("BM1006", f"{len(pads)} pads for {len(axes)} axes")
    n.axes(axes, x.rank)
    before: list[Dim] = [0] * x.rank
    after: list[Dim] = [0] * x.rank
    for index, axis in enumerate(axes):
        axis %= x.rank
        start, end = pads[index], pads[index + len(axes)]
        if start is None or end is None or _sign(b, start) is None or _sign(b, end) is None:
            low, high = (element(b, vector(n, 1), i) for i in (index, index + len(axes)))
            x = _padded_by_data(n, x, axis, low, high, value)
            continue
        if _sign(b, start) == -1:  # a negative pad cuts elements off
            x, start = cut(b, x, axis, -start, x.shape[axis] + start), 0
        if _sign(b, end) == -1:
            x, end = cut(b, x, axis, 0, x.shape[axis] + end), 0
        before[axis], after[axis] = start, end
    if not any(before) and not any(after):
        return x
    operands = [x, value] if mode == "constant" else [x]
    return b.pad(*operands, before=tuple(before), after=tuple(after), mode=mode)


def _sign(b: Emitter, amount: Dim) -> int | None:
    """-1 for a negative pad, 1 for others, None for one that may be either."""
    low, high = b.bounds.of(amount)
    return 1 if low >= 0 else -1 if high < 0 else None


def _padded_by_data(
    n: Node, x: Tensor, axis: int, before: Tensor, after: Tensor, value: Tensor | float
) -> Tensor:
    mode = n.choice("mode", "constant", _PAD_MODES)
    total = n.b.add(n.b.add(before, after), number(n.b, x.shape[axis]))
    (size,) = n.b.bind(total, [n.most_of_axis(axis)])
    return placed(n.b, x, axis, size, before, mode, value)


def _center_crop_pad(n: Node) -> Tensor:
    x, wanted, b = n[0], n.sizes(1), n.b
    axes = n.integers("axes", list(range(x.rank)))
    if len(axes) != len(wanted):
        raise BiremeError("BM1006", f"{len(wanted)} sizes for {len(axes)} axes")
    n.axes(axes, x.rank)
    axes = [axis % x.rank for axis in axes]
    asked = vector(n, 1) if None in wanted else data([])
    for axis, size in zip(
        axes, decided(b, asked, wanted, lambda i: n.most_of_axis(axes[i])), strict=True
    ):
        have = x.shape[axis]
        smaller = b.bounds.less(size, have)
        if smaller:
            x = cut(b, x, axis, (have - size) // 2, size)
        elif smaller is False:
            before: list[Dim] = [0] * x.rank
            after: list[Dim] = [0] * x.rank
            before[axis] = (size - have) // 2
            after[axis] = size - have - before[axis]
            x = x if size == have else b.pad(x, 0, before=tuple(before), after=tuple(after))
        else:
            more = b.sub(number(b, size), number(b, have))
            half = b.cast(b.div(b.abs(more), 2), dtype=DType.I64)
            first = b.where(b.less(more, 0), b.neg(half), half)
            x = placed(b, x, axis, size, first, "constant", 0)
    return x


TABLE: Table = {
    "CenterCropPad": _center_crop_pad,
    "Pad": ((2, _pad_attributes), (11, _pad)),
    "Slice": ((1, _slice_attributes), (10, _slice)),
    "Split": _split,
}
