"""Values that a loop carries and that are larger, or smaller, after every step.

The loop op carries a buffer of the largest size there can be in place of such a value, and how
much of it counts. A body sees that part, whose size is a symbol that is bound in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bireme.frontend.onnx.emit import Emitter, Tensor, sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.shape import cut, pad, prefix_along, reshape
from bireme.ir import BiremeError, Dim
from bireme.ir.capacity import Capacity


@dataclass(frozen=True)
class Change:
    """A carried value's size along `axis` changes in a step by up to `growth`.

    That is None where it depends on the data or on the size itself.
    """

    axis: int
    growth: Dim | None


class GrowthError(Exception):
    """Carried values change their size that were not known to: import the body again."""

    def __init__(self, changes: dict[int, Change]) -> None:
        self.changes = changes


def changed_sizes(
    inner: Emitter, known: set[str], before: Sequence[Tensor], after: Sequence[Tensor]
) -> dict[int, Change]:
    """Which values, by number, a body gives another size than it got.

    `known` are the sizes from data that have a value outside of the body. Raises BM2004 where the
    rank changes, or two axes.
    """
    hidden = inner.known_sizes - known
    bounds = {name: inner.bounds.data_sizes[name] for name in hidden}
    capacity = Capacity(bounds, inner.bounds.equalities)
    found: dict[int, Change] = {}
    for number, (old, new) in enumerate(zip(before, after, strict=True)):
        if old.rank != new.rank:
            raise BiremeError("BM2004", f"a step makes {new.type} of {old.type}")
        axes = [
            axis
            for axis, (a, b) in enumerate(zip(old.shape, new.shape, strict=True))
            if a != b and (inner.bounds.equal(a, b) is False or capacity.depends(b))
        ]
        if len(axes) > 1:
            raise BiremeError("BM2004", f"a step makes {new.type} of {old.type}")
        for axis in axes:
            growth = capacity.most(new.shape[axis] - old.shape[axis])
            found[number] = Change(axis, growth)
    return found


@dataclass
class _Buffer:
    """The axis of a value that grows, the most it can be, the growth in each step if that counts,
    and what a body sees of it.
    """

    axis: int
    most: Dim
    growth: Dim | None


class Buffers:
    """The tensors that a loop carries: most as they are, some as a buffer and a count."""

    def __init__(self, n: Node, tensors: Sequence[Tensor], names: Sequence[str]) -> None:
        """`names` are those of the node's results."""
        self._n = n
        self._tensors = list(tensors)
        self._names = names
        self._buffers: dict[int, _Buffer] = {}

    def grow(self, growth: GrowthError, most_steps: Callable[[], Dim]) -> None:
        """Makes buffers of the values that were found to change."""
        for number, change in growth.changes.items():
            given = self._given(number, change.axis)
            if given is not None:
                self._buffers[number] = _Buffer(change.axis, given, None)
                continue
            if change.growth is None:
                raise self._unbounded(number, change.axis)
            start = self._tensors[number].shape[change.axis]
            more = self._n.b.bounds.maximum(change.growth, 0)
            most = start if more == 0 else start + more * most_steps()
            self._buffers[number] = _Buffer(change.axis, most, change.growth)

    def packed(self, b: Emitter) -> list[Tensor]:
        """What the loop op starts from."""
        made = []
        for number, x in enumerate(self._tensors):
            made += self._as_buffer(b, number, x) if number in self._buffers else [x]
        return made

    def opened(self, b: Emitter, arguments: Sequence[Tensor]) -> list[Tensor]:
        """The values that a body sees, from the arguments of its block."""
        return self._cut(b, arguments, cut_in_body)

    def unpacked(self, b: Emitter, results: Sequence[Tensor]) -> list[Tensor]:
        """The values that a loop gives, from the results of the loop op."""
        return self._cut(b, results, prefix_along)

    def closed(
        self,
        b: Emitter,
        before: Sequence[Tensor],
        after: Sequence[Tensor],
        changed: dict[int, Change],
    ) -> list[Tensor]:
        """What a body passes on. Raises GrowthError for changes that have no buffer yet."""
        new = {i: c for i, c in changed.items() if i not in self._buffers}
        if new:
            raise GrowthError(new)
        made = []
        for number, x in enumerate(after):
            buffer = self._buffers.get(number)
            if buffer is None:
                made.append(x)
                continue
            change = changed.get(number, Change(buffer.axis, 0))
            if change.axis != buffer.axis:
                raise BiremeError("BM2004", f"a step makes {x.type} of {before[number].type}")
            if buffer.growth is not None and change.growth != buffer.growth:
                raise self._unbounded(number, buffer.axis)
            made += self._as_buffer(b, number, x)
        return made

    def _as_buffer(self, b: Emitter, number: int, x: Tensor) -> list[Tensor]:
        buffer = self._buffers[number]
        size = x.shape[buffer.axis]
        spare = [buffer.most - size if i == buffer.axis else 0 for i in range(x.rank)]
        return [pad(b, x, [0] * x.rank, spare), reshape(b, sizes([size]), ())]

    def _cut(
        self,
        b: Emitter,
        given: Sequence[Tensor],
        cutter: Callable[[Emitter, Tensor, int, Tensor], Tensor],
    ) -> list[Tensor]:
        rest, found = iter(given), []
        for number in range(len(self._tensors)):
            x = next(rest)
            buffer = self._buffers.get(number)
            found.append(x if buffer is None else cutter(b, x, buffer.axis, next(rest)))
        return found

    def _given(self, number: int, axis: int) -> Dim | None:
        """The most that the user allows of a result's size."""
        return self._n.scope.importer.sizes.most_of(self._names[number], axis)

    def _unbounded(self, number: int, axis: int) -> BiremeError:
        name = self._names[number] or str(number)
        return BiremeError(
            "BM1007",
            f"how much axis {axis} of {name!r} grows in a step is not known",
            hint=f"say how large it can be with --dim {name}[{axis}]=0..SIZE",
        )


def cut_in_body(b: Emitter, x: Tensor, axis: int, count: Tensor) -> Tensor:
    """The first `count` elements along `axis`, as part of whatever reads them."""
    (size,) = b.bind(count, [x.shape[axis]])
    return cut(b, x, axis, 0, size)
