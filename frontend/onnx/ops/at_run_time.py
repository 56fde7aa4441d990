"""Sizes, places and axes that are data when the model runs.

A size becomes a symbol that is bound from the data (`Emitter.bind`), elements at places that the
data says are gathered, and an axis that the data says is the middle one of three.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bireme.frontend.onnx.emit import Emitter, Tensor, data, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import cut, reshape
from bireme.ir import BiremeError, Dim, DType, maximum, product

Pairs = Callable[[list[Dim]], Sequence[Dim]]


def vector(n: Node, index: int) -> Tensor:
    """The integers of input `index`, a scalar or a vector of known length, as int64."""
    x = n.vector(index)
    return n.b.cast(reshape(n.b, x, (x.type.elements,)), dtype=DType.I64)


def element(b: Emitter, x: Tensor, place: int) -> Tensor:
    """One element of a vector, as a scalar."""
    return reshape(b, cut(b, x, 0, place, 1), ())


def number(b: Emitter, size: Dim) -> Tensor:
    """A size as an int64 scalar."""
    return reshape(b, sizes([size]), ())


def line(b: Emitter, size: Dim) -> Tensor:
    """0, 1, 2, ..."""
    result: Tensor = b.iota(shape=(size,), axis=0, dtype=DType.I64)
    return result


def decided(
    b: Emitter,
    counts: Tensor,
    given: Sequence[Dim | None],
    most: Callable[[int], Dim],
    equal: Pairs = lambda _: (),
) -> list[Dim]:
    """The sizes `given`, those that are None read from the vector `counts` when the model runs.

    `most` gives the most of one of them by its place; `equal` gets all and gives pairs of sizes
    that must turn out to be the same.
    """
    late = [i for i, size in enumerate(given) if size is None]

    def whole(found: Sequence[Dim]) -> list[Dim]:
        read = dict(zip(late, found, strict=True))
        return [read[i] if size is None else size for i, size in enumerate(given)]

    if not late:
        return whole([])
    picked = counts if len(late) == len(given) else b.gather(counts, data(late), axis=0)
    return whole(b.bind(picked, [most(i) for i in late], lambda found: equal(whole(found))))


def room(shape: Sequence[Dim]) -> Dim:
    """The most that a size of an equally large tensor can be: in empty ones others may be free."""
    return product([maximum(size, 1) if size != 0 else 1 for size in shape])


def taken(b: Emitter, x: Tensor, axis: int, places: Tensor) -> Tensor:
    """Elements along `axis` at the places of a vector; the nearest where there are none."""
    last = b.sub(number(b, x.shape[axis]), 1)
    result: Tensor = b.gather(x, b.maximum(b.minimum(places, last), 0), axis=axis)
    return result


def placed(
    b: Emitter, x: Tensor, axis: int, size: Dim, before: Tensor, mode: str, value: Tensor | float
) -> Tensor:
    """`x` from place `before` on (perhaps a negative one) along an axis of `size` elements, the
    others as the mode of `pad` says.
    """
    have = number(b, x.shape[axis])
    places = b.sub(line(b, size), before)
    if mode == "wrap":
        return taken(b, x, axis, b.mod(places, have))
    if mode == "reflect":
        period = b.maximum(b.mul(b.sub(have, 1), 2), 1)
        there = b.mod(places, period)
        return taken(b, x, axis, b.minimum(there, b.sub(period, there)))
    found = taken(b, x, axis, places)
    if mode == "edge":
        return found
    inside = b.logical_and(b.greater_equal(places, 0), b.less(places, have))
    column = reshape(b, inside, [size if i == axis else 1 for i in range(x.rank)])
    result: Tensor = b.where(column, found, value)
    return result


# --- axes -----------------------------------------------------------------------------------------


def from_start(b: Emitter, axes: Tensor, rank: int) -> Tensor:
    """Axes counted from the first one. What is no axis at all stays none."""
    result: Tensor = b.where(b.less(axes, 0), b.add(axes, rank), axes)
    return result


def by_axis(b: Emitter, axes: Tensor, values: Tensor, axis: int, default: Tensor | int) -> Tensor:
    """The element of `values` whose element of `axes` is `axis`, or else `default`."""
    hit = b.equal(axes, axis)
    found = b.reduce_sum(b.where(hit, values, 0), axes=(0,), keepdims=False)
    result: Tensor = b.where(b.reduce_max(hit, axes=(0,), keepdims=False), found, default)
    return result


class Around:
    """A tensor seen as `[before, size, after]`, where `size` is that of an axis the data says.

    A run fails when there is no such axis.
    """

    def __init__(self, n: Node, x: Tensor, index: int) -> None:
        """The axis is the only element of input `index`."""
        self.n, self.b, self.x = n, n.b, x
        b, shape = n.b, sizes(x.shape)
        if n[index].type.elements != 1 or x.rank == 0:
            raise BiremeError("BM1006", f"{n.label(index)} must be one axis of {x.type}")
        self.axis = from_start(b, vector(n, index), x.rank)
        self._places = data(list(range(x.rank)))
        before = self._product(b.less(self._places, self.axis), shape)
        size = b.reduce_sum(b.where(b.equal(self._places, self.axis), shape, 0), axes=(0,))
        after = self._product(b.greater(self._places, self.axis), shape)
        # The rows are bound as well, so that memory of what has one element of each is known.
        counts = b.concat(before, size, after, b.mul(before, after), axis=0)
        *view, self._rows = b.bind(
            counts,
            [room(x.shape)] * 4,
            lambda s: (s[0] * s[1] * s[2], product(x.shape), s[0] * s[2], s[3]),
        )
        self.view = reshape(b, x, view)

    def _product(self, wanted: Tensor, shape: Tensor) -> Tensor:
        result: Tensor = self.b.reduce_prod(self.b.where(wanted, shape, 1), axes=(0,))
        return result

    def restored(self, result: Tensor) -> Tensor:
        """A tensor like `view` in the shape of the whole."""
        return reshape(self.b, result, self.x.shape)

    def reduced(self, result: Tensor, keep: bool) -> Tensor:
        """`[before, 1, after]` in the shape of the whole without the axis, or with size 1 there."""
        b, shape = self.b, sizes(self.x.shape)
        if keep:
            left = b.where(b.equal(self._places, self.axis), 1, shape)
        else:
            places = data(list(range(self.x.rank - 1)))
            behind = b.cast(b.greater_equal(places, self.axis), dtype=DType.I64)
            left = b.gather(shape, b.add(places, behind), axis=0)
        found = b.bind(
            left, [room(self.x.shape)] * left.type.static_shape[0],
            lambda s: (product(s), self._rows),
        ) if left.type.elements != 0 else []  # fmt: skip
        return reshape(b, result, found)
