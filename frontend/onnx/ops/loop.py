"""Loop: a number of steps that is known, or that the data says, and values that grow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto

from bireme.frontend.onnx.emit import Emitter, Tensor, data, scalar, sequence, sizes, stacked
from bireme.frontend.onnx.inputs import declared_sizes
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.counter import most_steps
from bireme.frontend.onnx.ops.growth import Buffers, GrowthError, changed_sizes
from bireme.frontend.onnx.ops.sequence import growing
from bireme.frontend.onnx.ops.shape import cut, reshape, unsqueeze
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.report import RefusedError
from bireme.ir import BiremeError, Block, Dim, DType, TensorType

# Stacked results of loops have at most so many rows, unless the user says otherwise.
_MOST_STACKED = 1 << 31
# Loops whose carried values change shape are unrolled up to this many steps.
_MOST_UNROLLED = 64


@dataclass
class _Step:
    """What a body gives: whether to go on, carried tensors, what it appends to sequences, rows."""

    condition: Tensor
    carried: list[Tensor]
    added: list[list[Tensor]]
    rows: list[Tensor]

    @property
    def columns(self) -> list[Tensor]:
        """What is stacked: the items of all sequences, then the rows."""
        return [*(item for items in self.added for item in items), *self.rows]


class _Loop:
    """A Loop node: `body(step, condition, carried...) -> condition, carried..., rows...`.

    Carried tensors are operands of the loop op, those that grow as buffers (`Buffers`); items that
    a body appends to carried sequences are stacked like rows.
    """

    def __init__(self, n: Node) -> None:
        self.n = n
        self.body: GraphProto = n.graph("body")
        self.carried = [t for t in n.inputs[2:] if t is not None]
        self.rows = len(self.body.output) - 1 - len(self.carried)
        if self.rows < 0 or len(self.body.input) != len(self.carried) + 2:
            raise BiremeError("BM1005", "the body does not fit the loop's inputs")
        limit, start = n.get(0), n.get(1)
        self.limit = None if limit is None else reshape(n.b, limit, ())
        self.start = None if start is None else reshape(n.b, start, ())
        self.reports = n.scope.importer.reports
        self.before = len(self.reports)
        self.counted_steps: Dim | None = None  # the most, as the body counts itself
        self.data_ends_it = False  # whether the body's condition is data, as far as is known
        outputs = [*n.proto.output, *[""] * len(self.carried)]
        names = [outputs[i] for i, t in enumerate(self.carried) if t.items is None]
        tensors = [t for t in self.carried if t.items is None]
        self.buffers = Buffers(n, tensors, names)

    def convert(self) -> list[Tensor]:
        started = (
            True
            if self.start is None
            else None
            if self.start.array is None
            else bool(self.start.array)
        )
        steps = None if self.limit is None or self.limit.dims is None else self.limit.dims[0]
        if started is False:
            steps = 0
        if isinstance(steps, int) and steps <= 0:
            return self._unrolled(0)
        counted = steps is not None and started is not None
        while True:
            try:
                return self._counted(steps) if counted and steps is not None else self._while()
            except GrowthError as growth:
                # Every time another axis: in the end there is none left.
                self.buffers.grow(growth, lambda: self._most_steps()[0])

    def _run(
        self, emitter: Emitter, step: Tensor, condition: Tensor, carried: Sequence[Tensor]
    ) -> list[Tensor]:
        del self.reports[self.before :]  # the body is reported once, however often it is imported
        return self.n.scope.run(self.body, [step, condition, *carried], emitter, self.n.name)

    def _step(self, inner: Emitter, step: Tensor, arguments: Sequence[Tensor]) -> _Step:
        """Imports the body on the arguments of a loop op."""
        known = set(inner.known_sizes)
        tensors = self.buffers.opened(inner, arguments)
        given = iter(tensors)
        carried = [next(given) if t.items is None else sequence([growing()]) for t in self.carried]
        condition, *results = self._run(inner, step, scalar(1, DType.BOOL), carried)
        self.data_ends_it = condition.array is None
        if any(not r.supported for r in self.reports[self.before :]):
            raise BiremeError("BM1003", "the body has nodes that are not supported")
        results = self._as_declared(inner, tensors, results)
        pairs = list(zip(carried, results, strict=False))
        added = [_added(*pair) for pair in pairs if pair[0].items is not None]
        kept = [after for before, after in pairs if before.items is None]
        start = [t for t in self.carried if t.items is None]
        self.counted_steps = most_steps(start, tensors, kept, condition)
        changed = changed_sizes(inner, known, tensors, kept)
        inner.at(self.n.name)
        kept = self.buffers.closed(inner, tensors, kept, changed)
        return _Step(reshape(inner, condition, ()), kept, added, results[len(carried) :])

    def _as_declared(
        self, inner: Emitter, before: Sequence[Tensor], results: Sequence[Tensor]
    ) -> list[Tensor]:
        """What a body gives, of the sizes that the model states where it would be the data that
        decides them, and that do not change from step to step. That is checked in every step.
        """
        stated = declared_sizes(self.body.output)
        old = iter(before)
        made = []
        for place, (info, new) in enumerate(zip(self.body.output[1:], results, strict=False)):
            if new.items is not None:
                made.append(new)
                continue
            # A carried value keeps its size; nothing else is known of a row's.
            kept = list(next(old).shape) if place < len(self.carried) else None
            wanted = stated.get(info.name, [])
            if len(wanted) == new.rank and (kept is None or len(kept) == new.rank):
                shape = [
                    size if size is not None and (kept is None or kept[axis] == size)
                    and inner.data_sizes(new.type.with_shape([new.shape[axis]]))
                    else new.shape[axis]
                    for axis, size in enumerate(wanted)
                ]  # fmt: skip
                new = reshape(inner, new, shape)
            made.append(new)
        return made

    def _results(
        self, finals: Sequence[Tensor], added: Sequence[list[Tensor]], columns: Iterable[Tensor]
    ) -> list[Tensor]:
        """The node's results: `finals` of carried tensors, `columns` as in `_Step`."""
        tensors = iter(self.buffers.unpacked(self.n.b, finals))
        rest, lists = iter(columns), iter(added)
        made = []
        for before in self.carried:
            if before.items is None:
                made.append(next(tensors))
                continue
            items = [next(rest) for _ in next(lists)]
            made.append(sequence([*before.items, *_interleaved(self.n, items)]))
        return [*made, *rest]

    def _counted(self, steps: Dim) -> list[Tensor]:
        """A number of steps known as a size, unless the body itself can end the loop."""
        n = self.n
        first = self.buffers.packed(n.b)
        block = n.b.block([*(t.type for t in first), TensorType(DType.I64, ())])
        inner = n.b.inner(block, n.name)
        *arguments, step = _arguments(block)
        try:
            made = self._step(inner, step, arguments)
            if made.condition.array is not None and bool(made.condition.array):
                inner.end([*made.carried, *made.columns])
                line = n.b.at(n.name).iota(shape=(steps,), axis=0, dtype=DType.I64)
                results = n.b.region("scan", [*first, line], [block], carries=len(first))
                count = len(first)
                return self._results(results[:count], made.added, results[count:])
        except (BiremeError, RefusedError, GrowthError):
            has_sequence = any(t.items is not None for t in self.carried)
            few = isinstance(steps, int) and (steps <= _MOST_UNROLLED or has_sequence)
            if few and not self.data_ends_it:
                return self._unrolled(int(str(steps)))
            raise
        return self._while()

    def _unrolled(self, steps: int) -> list[Tensor]:
        n = self.n
        carried = list(self.carried)
        rows: list[list[Tensor]] = [[] for _ in range(self.rows)]
        for step in range(steps):
            condition, *results = self._run(
                n.b, scalar(step, DType.I64), scalar(1, DType.BOOL), carried
            )
            carried = results[: len(carried)]
            for column, row in zip(rows, results[len(carried) :], strict=True):
                column.append(unsqueeze(n.b, row, [0]))
            if condition.array is None:
                raise BiremeError("BM1003", "the loop's end depends on data, and so do its shapes")
            if not bool(condition.array):
                break
        n.b.at(n.name)
        if any(not column for column in rows):
            return [*carried, *self._no_rows()]
        return [*carried, *(n.b.concat(*column, axis=0) for column in rows)]

    def _no_rows(self) -> list[Tensor]:
        """Stacked results of a loop that makes no step."""
        n = self.n
        block = n.b.block([t.type for t in self.carried])
        inner = n.b.inner(block, n.name)
        _, *results = self._run(
            inner, scalar(0, DType.I64), scalar(1, DType.BOOL), _arguments(block)
        )
        empty = []
        for row in results[len(self.carried) :]:
            shape = (0, *row.type.static_shape)
            empty.append(data(np.zeros(shape, row.dtype.numpy)))
        return empty

    def _stacked(self) -> list[Tensor]:
        """Rows of a number of steps that the data decides: memory for the most there can be."""
        n, b = self.n, self.n.b
        packed = self.buffers.packed(b)
        types = [TensorType(DType.BOOL, ()), TensorType(DType.I64, ())]
        types += [t.type for t in packed]
        block = b.block([*types, TensorType(DType.I64, ())])
        inner = b.inner(block, n.name)
        _, taken, *arguments, step = _arguments(block)
        made = self._step(inner, step, arguments)
        most, is_limit = self._most_steps()
        after = inner.add(taken, 1)
        going = self._within(inner, made.condition, after, is_limit)
        inner.end([going, after, *made.carried, *made.columns])
        b.at(n.name)
        zero = scalar(0, DType.I64)
        going = self._within(b, self.start or scalar(1, DType.BOOL), zero, is_limit)
        line = b.iota(shape=(most,), axis=0, dtype=DType.I64)
        first = [going, zero, *packed]
        results = b.region("scan", [*first, line], [block], carries=len(first), conditional=True)
        going, taken, *results = results
        if not is_limit:  # a loop that is not at its end then has no size that is allowed
            taken = b.where(going, b.add(reshape(b, sizes([most]), ()), 1), taken)
        finals, columns = results[: len(packed)], results[len(packed) :]
        if columns:
            column = b.prefix(columns[0], taken)
            count = column.shape[0]
            columns = [column, *(cut(b, c, 0, 0, count) for c in columns[1:])]
        return self._results(finals, made.added, columns)

    def _most_steps(self) -> tuple[Dim, bool]:
        """The most steps there can be, and whether that is the loop's own limit."""
        n = self.n
        if self.limit is not None and self.limit.dims is not None:
            (limit,) = self.limit.dims
            if not isinstance(limit, int) or limit <= _MOST_STACKED:
                return n.b.bounds.maximum(limit, 0), True
        if self.counted_steps is not None:
            return self.counted_steps, False
        given = n.most_allowed(
            "the number of steps is not known, and so the size of what they make",
            "say how many there can be with --dim {node}=0..STEPS",
            output=len(self.carried),
        )
        return given, False

    def _within(self, b: Emitter, going: Tensor, step: Tensor, is_limit: bool) -> Tensor:
        """Whether the loop goes on: its limit counts where it is not the number of rows."""
        if is_limit or self.limit is None:
            return going
        limit = b.cast(self.limit, dtype=DType.I64)
        result: Tensor = b.logical_and(going, b.less(step, limit))
        return result

    def _while(self) -> list[Tensor]:
        n = self.n
        if self.rows or any(t.items is not None for t in self.carried):
            return self._stacked()
        zero, true = scalar(0, DType.I64), scalar(1, DType.BOOL)
        first = [zero, self.start or true, *self.buffers.packed(n.b)]
        types = [t.type for t in first]
        test, body = n.b.block(types), n.b.block(types)
        inner = n.b.inner(test, n.name)
        step, going, *_ = _arguments(test)
        if self.limit is not None:
            going = inner.logical_and(
                going, inner.less(step, inner.cast(self.limit, dtype=DType.I64))
            )
        inner.end([going])
        inner = n.b.inner(body, n.name)
        step, going, *arguments = _arguments(body)
        # The body only runs while the condition holds.
        made = self._step(inner, step, arguments)
        inner.end([inner.add(step, 1), made.condition, *made.carried])
        results = n.b.at(n.name).region("while", first, [test, body])[2:]
        return self._results(results, [], [])


def _arguments(block: Block) -> list[Tensor]:
    return [Tensor(v.type, v) for v in block.arguments]


def _added(before: Tensor, after: Tensor) -> list[Tensor]:
    """What a step appends to a sequence. Raises BM1003 when it does anything else to it."""
    started, ended = before.items or [], after.items or []
    added = ended[len(started) :]
    odd = any(item.stacked or item.items is not None for item in added)
    if odd or ended[: len(started)] != started:
        raise BiremeError("BM1003", "a loop does more to a sequence than append to it")
    return added


def _interleaved(n: Node, columns: Sequence[Tensor]) -> list[Tensor]:
    """The rows of all columns as items of a sequence, those of one step side by side."""
    if len(columns) < 2:
        return [stacked(column) for column in columns]
    joined = n.b.concat(*(unsqueeze(n.b, column, [1]) for column in columns), axis=1)
    steps, each, *rest = joined.shape
    return [stacked(reshape(n.b, joined, (steps * each, *rest)))]


TABLE: Table = {"Loop": lambda n: _Loop(n).convert()}
