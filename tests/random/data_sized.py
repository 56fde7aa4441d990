"""Makers of ops whose results have as many elements as the data says."""

from __future__ import annotations

from bireme.ir import DType, symbol
from tests.random.example import Fill
from tests.random.net import DTYPES, Held, Net


def compact(net: Net, name: str) -> list[Held]:
    return net.emit(name, [net.ranked([DType.BOOL], 1, 1)])


def sort_rows(net: Net, name: str) -> list[Held]:
    return net.emit(name, [net.ranked(DTYPES, 2, 2, exact=True)])


def suppress(net: Net, name: str) -> list[Held]:
    """Of boxes that are given, for what they share must be compared without rounding."""
    scores = net.ranked([DType.F32], 3, 3, exact=True)
    batch, _, count = scores.shape
    boxes = net.leaf(DType.F32, (batch, count, 4))
    most = net.leaf(DType.I64, (), Fill("range", 0, 6))
    kept = net.number(0, min(net.least(count), 5))
    limits = [net.leaf(DType.F32, (), Fill("positive")) for _ in range(net.number(1, 2))]
    return net.emit(name, [boxes, scores, most, *limits], kept=(kept,), center=net.flag())


def prefix(net: Net, name: str) -> list[Held]:
    """At the top level alone: the size has its name in the block that it is made in."""
    x = net.ranked(DTYPES, 1)
    if net.depth:
        return []
    count = net.leaf(DType.I64, (), Fill("range", 0, net.least(x.shape[0]) + 1))
    return net.emit(name, [x, count], symbol=net.new_size(x.shape[0]))


def bind(net: Net, name: str) -> list[Held]:
    """Sizes of a slice of a tensor, at the top level alone like that of a prefix."""
    x = net.ranked(DTYPES, 2)
    if net.depth:
        return []
    most = [net.least(size) for size in x.shape[:2]]
    counts = net.leaf(DType.I64, (2,), Fill("range", 0, min(most) + 1))
    names = [net.new_size(size) for size in most]
    net.emit(name, [counts], symbols=names, most=most)
    rank = len(x.shape)
    sizes = (*map(symbol, names), *x.shape[2:])
    return net.emit("slice", [x], starts=(0,) * rank, sizes=sizes, steps=(1,) * rank)


MAKERS = {
    "bind": bind, "compact": compact, "sort_rows": sort_rows, "suppress": suppress,
    "prefix": prefix,
}  # fmt: skip
