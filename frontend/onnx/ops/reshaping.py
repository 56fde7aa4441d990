"""Operators that give the same elements another shape, and Tile."""

from __future__ import annotations

from bireme.frontend.onnx.emit import Tensor, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.at_run_time import (
    decided,
    from_start,
    line,
    number,
    room,
    vector,
)
from bireme.frontend.onnx.ops.shape import reshape, rest, unsqueeze
from bireme.frontend.onnx.ops.table import Table
from bireme.ir import BiremeError, Dim, DType, maximum, product
from bireme.ir.dims import floordiv


def _reshape(n: Node) -> Tensor:
    x, keep_zero = n[0], n.flag("allowzero")
    if None in n.sizes(1):
        return _reshaped_by_data(n, x, keep_zero)
    shape, wanted = list[Dim](), n.dims(1)
    for axis, size in enumerate(wanted):
        if size == 0 and not keep_zero:
            if axis >= x.rank:
                raise BiremeError("BM1006", f"size 0 at axis {axis} of a reshape of {x.type}")
            size = x.shape[axis]
        shape.append(size)
    if shape.count(-1) > 1 or any(isinstance(d, int) and d < -1 for d in shape):
        raise BiremeError("BM1006", f"shape {wanted} is not allowed")
    if -1 in shape:
        axis = shape.index(-1)
        shape[axis] = rest(x.shape, shape[:axis] + shape[axis + 1 :])
    return reshape(n.b, x, shape)


def _reshaped_by_data(n: Node, x: Tensor, keep_zero: bool) -> Tensor:
    """Sizes that the data says, checked when the model runs to give as many elements."""
    b, wanted, asked = n.b, n.sizes(1), vector(n, 1)
    if not keep_zero:  # 0 is the operand's own size; where it has none, nothing is allowed
        own = [x.shape[i] if i < x.rank else -2 for i in range(len(wanted))]
        wanted = [o if w == 0 else w for o, w in zip(own, wanted, strict=True)]
        asked = b.where(b.equal(asked, 0), sizes(own), asked)
    free = b.equal(asked, -1)
    others = b.reduce_prod(b.where(free, 1, asked), axes=(0,))
    left = b.div(number(b, product(x.shape)), b.where(b.equal(others, 0), -1, others))
    asked = b.where(free, b.maximum(left, 0), asked)
    given = [None if size == -1 else size for size in wanted]
    late = [axis for axis, size in enumerate(given) if size is None]
    known = [size for size in given if size is not None]
    found = decided(
        b, asked, given, lambda _: room(x.shape), lambda s: (product(s), product(x.shape))
    )
    if len(late) == 1 and b.bounds.of(product(known))[0] > 0:
        found[late[0]] = rest(x.shape, known)  # the only size that passes the check
    return reshape(b, x, found)


def _flatten(n: Node) -> Tensor:
    x = n[0]
    axis = n.integer("axis", 1)
    if not -x.rank <= axis <= x.rank:
        raise BiremeError("BM1006", f"axis {axis} is outside [{-x.rank}, {x.rank}]")
    axis = axis if axis >= 0 else axis + x.rank
    return reshape(n.b, x, (product(x.shape[:axis]), product(x.shape[axis:])))


def _axes(n: Node) -> list[int] | None:
    """Axes from attribute or input, as written, or None when not given."""
    if n.opset < 13:
        return n.integers("axes", []) if n.has("axes") else None
    return n.ints_of(1) if n.get(1) is not None else None


def _axes_are_data(n: Node) -> bool:
    return n.opset >= 13 and n.get(1) is not None and None in n.sizes(1)


def _new_axes(n: Node, rank: int) -> Tensor:
    """Which of `rank` axes the vector of input 1 has."""
    axes = from_start(n.b, vector(n, 1), rank)
    column = reshape(n.b, axes, (axes.shape[0], 1))
    found: Tensor = n.b.reduce_max(n.b.equal(column, line(n.b, rank)), axes=(0,), keepdims=False)
    return found


def _of_as_many(n: Node, x: Tensor, shape: Tensor) -> Tensor:
    """`x` in the shape that a vector holds, if that has as many elements."""
    (count,) = shape.type.static_shape
    total = product(x.shape)
    found = n.b.bind(shape, [room(x.shape)] * count, lambda s: (product(s), total))
    return reshape(n.b, x, found)


def _squeezed_by_data(n: Node, x: Tensor) -> Tensor:
    """Without axes that the data says; it is checked that as many elements remain."""
    b, kept = n.b, n.b.logical_not(_new_axes(n, x.rank))
    places, _ = b.op("compact", [kept])
    left = x.rank - len(n.sizes(1))
    if left < 0:
        raise BiremeError("BM1006", f"{len(n.sizes(1))} axes of {x.type}")
    if left == 0:
        return reshape(b, x, ())
    shape = b.gather(sizes(x.shape), b.slice(places, starts=(0,), sizes=(left,), steps=(1,)))
    return _of_as_many(n, x, shape)


def _unsqueezed_by_data(n: Node, x: Tensor) -> Tensor:
    b, rank = n.b, x.rank + len(n.sizes(1))
    new = _new_axes(n, rank)
    old = b.cumsum(b.cast(b.logical_not(new), dtype=DType.I64), axis=0)
    # What is no new axis is the next old one; too few new ones leave a size of -1.
    shape = sizes([*x.shape, -1])
    place = b.minimum(b.maximum(b.sub(old, 1), 0), x.rank)
    return _of_as_many(n, x, b.where(new, 1, b.gather(shape, place, axis=0)))


def _squeeze(n: Node) -> Tensor:
    if _axes_are_data(n):
        return _squeezed_by_data(n, n[0])
    x, given = n[0], _axes(n)
    if given is None:
        if not x.type.is_static:
            raise BiremeError("BM1007", f"which axes of {x.type} have size 1 is not known")
        axes = [i for i, d in enumerate(x.shape) if d == 1]
    else:
        axes = n.axes(given, x.rank)
    for axis in axes:
        if isinstance(x.shape[axis], int) and x.shape[axis] != 1:
            raise BiremeError("BM1006", f"axis {axis} of {x.type} is not 1")
    return reshape(n.b, x, [d for i, d in enumerate(x.shape) if i not in axes])


def _unsqueeze(n: Node) -> Tensor:
    if _axes_are_data(n):
        return _unsqueezed_by_data(n, n[0])
    given = _axes(n)
    if given is None:
        raise BiremeError("BM1006", "axes are missing")
    return unsqueeze(n.b, n[0], n.axes(given, n[0].rank + len(given)))


def _tile(n: Node) -> Tensor:
    x, given = n[0], n.sizes(1)
    if len(given) != x.rank:
        raise BiremeError("BM1006", f"{len(given)} repeats for {x.type}")

    def most(axis: int) -> Dim:
        return floordiv(n.most_of_axis(axis), maximum(x.shape[axis], 1))

    repeats = decided(n.b, vector(n, 1), given, most) if None in given else n.dims(1)
    return x if all(r == 1 for r in repeats) else n.b.tile(x, repeats=tuple(repeats))


TABLE: Table = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Unsqueeze": _unsqueeze,
}
