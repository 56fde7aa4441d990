"""Rules of ops that read between elements: `resize`, `grid_sample`, `roi_align`.

A *tap* is a place of the operand and its weight along one axis; an element of the result is the sum
over all combinations of the axes' taps. Places come from float64 coordinates where the reference
uses them, so that rounding to the nearest element agrees with it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from bireme.codegen.evaluate import Evaluator, Index, Rule
from bireme.codegen.index import (
    all_of,
    clamp,
    consecutive,
    divide,
    is_ramp,
    lanes_in,
    multiple_of,
    widen,
)
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import fold
from bireme.codegen.rules.indexing import place as checked_place
from bireme.codegen.tir import (
    Emitter,
    Expr,
    cast,
    compute,
    const,
    index,
    lanes_of,
    match,
    scalar_type,
    select,
)
from bireme.ir import Dim, DType, Op, Value

F64 = "float64"
Tap = tuple[Expr, "Expr | None"]  # place, weight (None: 1)


def _f64(value: Any, like: Expr | None = None) -> Expr:
    expr = const(float(value), F64) if isinstance(value, (int, float)) else cast(value, F64)
    return expr if like is None else match(expr, like)[0]


def _whole(x: Expr) -> Expr:
    """A whole float as an int64."""
    return cast(cast(x, "int32"), "int64")


def linear_weight(x: Expr) -> Expr:
    """Weight of a tap at distance `x`."""
    return a.maximum(a.like(1, x) - tirx.abs(x), a.like(0, x))


def cubic_weight(emit: Emitter, x: Expr, c: float) -> Expr:
    """Weight of a tap at distance `x`: Keys' cubic convolution with coefficient `c`."""
    x = emit.bind(tirx.abs(x))
    near = (a.like(c + 2, x) * x - a.like(c + 3, x)) * x * x + a.like(1, x)
    far = ((a.like(c, x) * x - a.like(5 * c, x)) * x + a.like(8 * c, x)) * x - a.like(4 * c, x)
    return select(x <= a.like(1, x), near, select(x < a.like(2, x), far, a.like(0, x)))


_SUPPORT = {"linear": 1, "cubic": 2}


def _weight(emit: Emitter, mode: str, x: Expr, c: float) -> Expr:
    return linear_weight(x) if mode == "linear" else cubic_weight(emit, x, c)


def combine(e: Evaluator, x: Value, at: Index, taps: Sequence[tuple[int, Sequence[Tap]]]) -> Expr:
    """The weighted sum of `x` over the taps of some axes, at `at` along the others."""
    total: Expr | None = None
    for chosen in itertools.product(*(taps_of for _, taps_of in taps)):
        place = list(at)
        weight: Expr | None = None
        for (axis, _), (position, factor) in zip(taps, chosen, strict=True):
            place[axis] = position
            if factor is not None:
                weight = factor if weight is None else weight * factor
        value = e.at(x, place)
        if weight is not None:
            value, weight = match(value, weight)
            value = value * weight
        total = value if total is None else total + value
    assert total is not None
    return total


# --- resize -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Axis:
    """One axis of a resize, with sizes and the scale of coordinates as float64 scalars."""

    size: Expr
    result: Expr
    scale: Expr
    start: float
    end: float

    @property
    def length(self) -> Expr:
        return self.size * self.scale


def _half_pixel(x: Expr, axis: _Axis) -> Expr:
    half = _f64(0.5, x)
    return (x + half) / _f64(axis.scale, x) - half


def _align_corners(x: Expr, axis: _Axis) -> Expr:
    last, steps, _ = match(axis.size - _f64(1), axis.length - _f64(1), x)
    return select(a.equal(steps, a.like(0, x)), a.like(0, x), x * last / steps)


def _pytorch(x: Expr, axis: _Axis) -> Expr:
    return select(axis.result > _f64(1), _half_pixel(x, axis), a.like(0, x))


def _symmetric(x: Expr, axis: _Axis) -> Expr:
    offset = axis.size / _f64(2) * (_f64(1) - axis.result / axis.length)
    return _half_pixel(x, axis) + _f64(offset, x)


def _crop(x: Expr, axis: _Axis) -> Expr:
    last = axis.size - _f64(1)
    first, final = _f64(axis.start) * last, _f64(axis.end) * last
    steps = axis.length - _f64(1)
    single, span = a.equal(steps, _f64(0)), final - first
    steps = select(single, _f64(1), steps)
    first, middle, span, steps, _ = match(first, (first + final) / _f64(2), span, steps, x)
    return select(single, middle, first + x * span / steps)


_COORDINATES: dict[str, Callable[[Expr, _Axis], Expr]] = {
    "half_pixel": _half_pixel,
    "asymmetric": lambda x, axis: x / _f64(axis.scale, x),
    "align_corners": _align_corners,
    "pytorch_half_pixel": _pytorch,
    "half_pixel_symmetric": _symmetric,
    "tf_crop_and_resize": _crop,
}

_NEAREST: dict[str, Callable[[Expr], Expr]] = {
    "round_prefer_floor": lambda x: tirx.ceil(x - a.like(0.5, x)),
    "round_prefer_ceil": lambda x: tirx.floor(x + a.like(0.5, x)),
    "floor": tirx.floor,
    "ceil": tirx.ceil,
}

# Ways of finding the nearest element that, at a whole scale k, all give element i // k.
_BLOCKS = {
    *itertools.product(
        ("half_pixel", "half_pixel_symmetric"), ("round_prefer_floor", "round_prefer_ceil")
    ),
    ("asymmetric", "floor"),
}


def _is_identity(size: Dim, result: Dim, scale: float, coordinate: str) -> bool:
    return size == result and scale in (0.0, 1.0) and coordinate != "tf_crop_and_resize"


def _whole_scale(size: Dim, result: Dim, scale: float) -> int | None:
    """The scale when it is whole and the result's size is just that many times as large."""
    for factor in range(1, 17):
        if scale in (0.0, float(factor)) and result == size * factor:
            return factor
    return None


def _resize(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, attrs = op.operands[0], op.attrs
    source = list(at)
    taps: list[tuple[int, Sequence[Tap]]] = []
    filtered: list[tuple[int, _Axis]] = []
    inside: list[Expr] = []
    spread = 1
    for number, (size, wanted) in enumerate(zip(x.type.shape, attrs["shape"], strict=True)):
        scale = attrs["scales"][number]
        known = scale or len(op.operands) == 1
        if known and _is_identity(size, wanted, scale, attrs["coordinate"]):
            continue
        factor = _whole_scale(size, wanted, scale) if known else None
        way = (attrs["coordinate"], attrs["nearest"])
        if attrs["mode"] == "nearest" and factor is not None and way in _BLOCKS:
            repeats = _repeats(x, at, number, factor)
            if repeats > 1:
                few = lanes_in(at) // repeats
                source[number] = consecutive(tirx.truncdiv(at[number].base, index(factor)), few)
                spread = repeats
            else:
                source[number] = divide(e.emit, at[number], factor)[0]
            continue
        axis = _axis(e, op, number)
        if attrs["antialias"] and attrs["mode"] != "nearest":
            filtered.append((number, axis))
            continue
        coordinate = _coordinate(e, axis, attrs, at[number])
        if attrs["coordinate"] == "tf_crop_and_resize":
            low, high, place = match(_f64(0), axis.size - _f64(1), coordinate)
            inside.append(tirx.And(place >= low, place <= high))
        taps.append((number, _taps(e, x, number, attrs, coordinate)))
    if filtered:
        value = _antialiased(e, op, source, filtered)
    else:
        value = combine(e, x, source, taps)
    if spread > 1:
        value = _repeated(value, spread)
    if not inside:
        return value
    within = all_of(*inside)
    value, fill, within = match(value, const(attrs["extrapolation"], compute(x.type.dtype)), within)
    return select(within, value, fill)


def _repeats(x: Value, at: Index, axis: int, factor: int) -> int:
    """`factor` when a vector along the axis holds each element that many times, else 1."""
    i = at[axis]
    others = [j for number, j in enumerate(at) if number != axis]
    fits = is_ramp(i) and lanes_in(others) == 1 and lanes_of(i) % factor == 0
    if x.type.dtype is DType.BOOL or not fits or not multiple_of(i.base, factor):
        return 1
    return factor


def _repeated(value: Expr, times: int) -> Expr:
    """Each lane `times` times."""
    lanes = lanes_of(value)
    if lanes == 1:
        return widen(value, times)
    # TVM wants as many lanes in as come out.
    return tirx.Shuffle([value] * times, [const(i // times, "int32") for i in range(lanes * times)])


def _axis(e: Evaluator, op: Op, number: int) -> _Axis:
    x, attrs = op.operands[0], op.attrs
    rank = x.type.rank
    roi = attrs["roi"] or (0.0,) * rank + (1.0,) * rank
    size = e.emit.bind(_f64(e.emit.dim(x.type.shape[number])))
    result = e.emit.bind(_f64(e.emit.dim(attrs["shape"][number])))
    given = attrs["scales"][number]
    if given:
        scale = _f64(given)
    elif len(op.operands) > 1:
        scale = e.emit.bind(e.at(op.operands[1], [index(number)]))
    else:
        scale = e.emit.bind(result / size)
    return _Axis(size, result, scale, roi[number], roi[rank + number])


def _coordinate(e: Evaluator, axis: _Axis, attrs: dict[str, Any], i: Expr) -> Expr:
    position = e.emit.bind(cast(cast(i, "int32"), F64))
    return e.emit.bind(_COORDINATES[attrs["coordinate"]](position, axis))


def _taps(
    e: Evaluator, x: Value, number: int, attrs: dict[str, Any], coordinate: Expr
) -> list[Tap]:
    extent = e.emit.dim(x.type.shape[number])
    mode = attrs["mode"]
    if mode == "nearest":
        nearest = e.emit.bind(_NEAREST[attrs["nearest"]](coordinate))
        return [(e.emit.bind(clamp(_whole(nearest), extent)), None)]
    support = _SUPPORT[mode]
    base = e.emit.bind(tirx.floor(coordinate))
    fraction = e.emit.bind(cast(coordinate - base, compute(x.type.dtype)))
    first = e.emit.bind(_whole(base))
    found: list[Tap] = []
    for step in range(1 - support, support + 1):
        where, shift = match(first, index(step))
        place = where + shift
        distance = a.like(float(step), fraction) - fraction
        weight = e.emit.bind(_weight(e.emit, mode, distance, attrs["cubic_a"]))
        inner = e.emit.bind(clamp(place, extent))
        if attrs["exclude_outside"]:
            weight = e.emit.bind(select(tirx.EQ(inner, place), weight, a.like(0, weight)))
        found.append((inner, weight))
    if attrs["exclude_outside"]:
        total = e.emit.bind(_sum([w for _, w in found]))
        found = [(place, e.emit.bind(w / total)) for place, w in found]
    return found


def _sum(terms: Sequence[Any]) -> Expr:
    total, *rest = terms
    for term in rest:
        total = total + term
    return total


def _antialiased(e: Evaluator, op: Op, at: Index, axes: Sequence[tuple[int, _Axis]]) -> Expr:
    """Filters as wide as the result is coarse: loops over the taps and their weights' sum."""
    x, attrs = op.operands[0], op.attrs
    lanes = lanes_in(at)
    support = _SUPPORT[attrs["mode"]]
    dtype = DType.F64 if x.type.dtype is DType.F64 else DType.F32
    coordinates, shrinks, firsts, counts = [], [], [], []
    for number, axis in axes:
        coordinates.append(_coordinate(e, axis, attrs, at[number]))
        shrink = e.emit.bind(a.minimum(axis.scale, _f64(1)))
        first = e.emit.bind(_whole(tirx.floor(_f64(-support) / shrink)) + index(1))
        shrinks.append(shrink)
        firsts.append(first)
        counts.append(e.emit.bind(index(2) - first - first))

    def step(k: Index, totals: list[Expr]) -> Sequence[Expr]:
        place, weight = list(at), widen(const(1.0, F64), lanes)
        for (number, _), x_at, shrink, first, i in zip(
            axes, coordinates, shrinks, firsts, k, strict=True
        ):
            base = e.emit.bind(tirx.floor(x_at))
            where = e.emit.bind(_whole(base) + match(first + i, base)[0])
            inner = e.emit.bind(clamp(where, e.emit.dim(x.type.shape[number])))
            distance = e.emit.bind((cast(where, F64) - x_at) * _f64(shrink, x_at))
            factor = _weight(e.emit, attrs["mode"], distance, attrs["cubic_a"])
            if attrs["exclude_outside"]:
                factor = select(tirx.EQ(inner, where), factor, a.like(0, factor))
            weight = e.emit.bind(weight * widen(factor, lanes))
            place[number] = inner
        value, weight = match(cast(e.at(x, place), F64), weight)
        return [totals[0] + value * weight, totals[1] + weight]

    zero = widen(const(0.0, F64), lanes)
    total, weights = fold(e.emit, lanes, [(DType.F64, zero)] * 2, counts, step)
    return cast(total / weights, compute(dtype))


# --- grid_sample --------------------------------------------------------------------------------

_GRID_CUBIC = -0.75


def _reflected(emit: Emitter, x: Expr, low: Expr, high: Expr) -> Expr:
    """Coordinates mirrored at `low` and `high` until they lie between."""
    low, high, x = match(low, high, x)
    span = emit.bind(high - low)
    safe = emit.bind(select(span > a.like(0, x), span, a.like(1, x)))
    far = emit.bind(tirx.abs(x - low))
    turns = emit.bind(tirx.floor(far / safe))
    rest = emit.bind(far - turns * safe)
    half = emit.bind(turns * a.like(0.5, x))
    even = tirx.EQ(tirx.floor(half), half)
    inside = select(even, low + rest, high - rest)
    return emit.bind(select(span > a.like(0, x), inside, low))


def _grid_taps(e: Evaluator, grid: Expr, extent: Expr, attrs: dict[str, Any]) -> list[Tap]:
    emit, kind = e.emit, scalar_type(grid)
    size = emit.bind(cast(extent, kind))
    one, two = const(1.0, kind), const(2.0, kind)
    if attrs["align_corners"]:
        low, high = const(0.0, kind), emit.bind(size - one)
        x = (grid + a.like(1, grid)) / a.like(2, grid) * match(size - one, grid)[0]
    else:
        low, high = const(-0.5, kind), emit.bind(size - one / two)
        scaled = (grid + a.like(1, grid)) * match(size, grid)[0]
        x = (scaled - a.like(1, grid)) / a.like(2, grid)
    x = emit.bind(tirx.nearbyint(x) if attrs["mode"] == "nearest" else x)
    padding = attrs["padding"]
    bottom, top, last = match(low, high, size - one, x)[:3]
    outside = tirx.Or(x < bottom, x > top)
    # The taps of the cubic filter are brought inside one by one.
    if padding == "border" and attrs["mode"] != "cubic":
        x = emit.bind(select(outside, a.minimum(a.maximum(x, a.like(0, x)), last), x))
    elif padding == "reflection" and attrs["mode"] != "cubic":
        x = emit.bind(select(outside, _reflected(emit, x, low, high), x))
    if attrs["mode"] == "nearest":
        steps, base = [0], emit.bind(tirx.nearbyint(x))
    else:
        support = _SUPPORT[attrs["mode"]]
        steps, base = list(range(1 - support, support + 1)), emit.bind(tirx.floor(x))
    found: list[Tap] = []
    for step in steps:
        place = emit.bind(base + a.like(step, base))
        weight: Expr = a.like(1, base)
        if attrs["mode"] != "nearest":
            weight = emit.bind(_weight(emit, attrs["mode"], emit.bind(place - x), _GRID_CUBIC))
        if padding == "zeros":
            inside = tirx.And(place >= a.like(0, x), place <= last)
            weight = emit.bind(select(inside, weight, a.like(0, x)))
        elif padding == "reflection":
            beyond = tirx.Or(place < bottom, place > top)
            mirrored = tirx.trunc(_reflected(emit, place, low, high))
            place = emit.bind(select(beyond, mirrored, place))
        # NaN reads element 0; its weight is NaN already. Clamped as a float: integers may overflow.
        safe = select(place >= a.like(0, x), place, a.like(0, x))
        found.append((emit.bind(_whole(a.minimum(safe, last))), weight))
    return found


def _grid_sample(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, grid = op.operands
    batch, channel, *out = at
    axes = x.type.rank - 2
    taps: list[tuple[int, Sequence[Tap]]] = []
    for i in range(axes):
        # The last axis of the grid names the spatial axes from the last to the first.
        value = e.at(grid, [batch, *out, index(axes - 1 - i)])
        extent = e.emit.dim(x.type.shape[2 + i])
        found = _grid_taps(e, value, extent, op.attrs)
        kind = compute(x.type.dtype)
        taps.append((2 + i, [(place, cast(w, kind)) for place, w in found]))
    return combine(e, x, [batch, channel, *[index(0)] * axes], taps)


# --- roi_align ----------------------------------------------------------------------------------


def _corners(e: Evaluator, x: Expr, size: Dim, kind: str) -> list[Tap]:
    """The two neighbours of a coordinate; outside the image both weigh 0."""
    extent = _f64(e.emit.dim(size), x)
    inside = tirx.And(x >= a.like(-1, x), x <= extent)
    last = extent - a.like(1, x)
    held = e.emit.bind(a.minimum(a.maximum(x, a.like(0, x)), last))
    low = e.emit.bind(tirx.floor(held))
    high = a.minimum(low + a.like(1, x), last)
    rest = e.emit.bind(held - low)
    weights = (
        select(inside, a.like(1, x) - rest, a.like(0, x)),
        select(inside, rest, a.like(0, x)),
    )
    return [
        (e.emit.bind(_whole(place)), e.emit.bind(cast(weight, kind)))
        for place, weight in zip((low, high), weights, strict=True)
    ]


def _roi_align(e: Evaluator, op: Op, at: Index, result: int) -> Expr:
    x, rois, batches = op.operands
    attrs, emit = op.attrs, e.emit
    roi, channel, *bins = at
    lanes = lanes_in(at)
    kind = compute(x.type.dtype)
    batch = checked_place(e, e.at(batches, [roi]), x.type.shape[0], negative=False)
    shift = 0.5 if attrs["coordinate"] == "half_pixel" else 0.0
    corners = [
        emit.bind(_f64(e.at(rois, [roi, index(i)])) * _f64(attrs["spatial_scale"]) - _f64(shift))
        for i in range(4)
    ]
    starts, steps, counts = [], [], []
    for axis, size in ((1, attrs["output_height"]), (0, attrs["output_width"])):
        length = emit.bind(corners[axis + 2] - corners[axis])
        if not shift:
            length = emit.bind(a.maximum(length, _f64(1)))
        bin_length = emit.bind(length / _f64(size))
        grid: Expr = index(attrs["sampling_ratio"])
        if not attrs["sampling_ratio"]:
            grid = emit.bind(tirx.max(_whole(tirx.ceil(bin_length)), index(0)))
        starts.append(corners[axis])
        steps.append(bin_length)
        counts.append(grid)
    is_mean = attrs["mode"] == "avg"

    def sample(k: Index, totals: list[Expr]) -> Sequence[Expr]:
        taps: list[tuple[int, list[Tap]]] = []
        for axis, (start, step, count) in enumerate(zip(starts, steps, counts, strict=True)):
            within = (cast(k[axis], F64) + _f64(0.5)) / cast(count, F64)
            position = cast(bins[axis], F64)
            within, start, step, position = match(within, start, step, position)
            where = emit.bind(start + (position + within) * step)
            taps.append((2 + axis, _corners(e, where, x.type.shape[2 + axis], kind)))
        place = [batch, channel, index(0), index(0)]
        if is_mean:
            return [totals[0] + widen(combine(e, x, place, taps), lanes)]
        greatest = totals[0]
        for row, column in itertools.product(taps[0][1], taps[1][1]):
            term = combine(e, x, place, [(2, [row]), (3, [column])])
            greatest = emit.bind(a.maximum(greatest, widen(term, lanes)))
        return [greatest]

    dtype = DType.F64 if kind == F64 else DType.F32
    first = widen(const(0.0 if is_mean else -math.inf, kind), lanes)
    (total,) = fold(emit, lanes, [(dtype, first)], counts, sample)
    number = emit.bind(counts[0] * counts[1])
    if is_mean:
        return total / widen(cast(tirx.max(number, index(1)), kind), lanes)
    return select(number > index(0), total, a.like(0, total))


RULES: dict[str, Rule] = {
    "resize": _resize,
    "grid_sample": _grid_sample,
    "roi_align": _roi_align,
}
