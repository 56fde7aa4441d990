"""Scatter ops: the data is copied, then the updates are applied in their order.

Each task owns a range of the result and applies the updates that fall into it, so the outcome does
not depend on how tasks are shared out. Where float16 and bfloat16 are combined, a range is kept in
float32 until its end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.index import plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import Combine
from bireme.codegen.rules.indexing import place
from bireme.codegen.templates.common import Emission, Work, estimate, only_op, unravel, vector_lanes
from bireme.codegen.templates.vectors import each_vector
from bireme.codegen.tir import Buffer, Expr, index
from bireme.ir import Dim, DType, Graph, Op, ceildiv, product

# Result elements that a task owns at least, where there are as many.
TASK_ELEMENTS = 1 << 16

_COMBINE: Mapping[str, Combine] = {
    "none": lambda old, new: new,
    "add": a.add,
    "mul": a.multiply,
    "max": a.maximum,
    "min": a.minimum,
}


def anchor_of(graph: Graph) -> Op | None:
    """The scatter of a group that is nothing else, but for constants."""
    return only_op(graph, "scatter_elements", "scatter_nd")


def matches(graph: Graph) -> bool:
    """Whether the group is a scatter."""
    return anchor_of(graph) is not None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`."""
    anchor = anchor_of(e.graph)
    assert anchor is not None
    kernel = _Kernel(e, anchor)
    return kernel.elements() if anchor.name == "scatter_elements" else kernel.slices()


class _Kernel:
    def __init__(self, e: Emission, op: Op) -> None:
        self.e, self.op, self.emit_ = e, op, e.emit
        self.data, self.indices, self.updates = op.operands
        self.combine = _COMBINE[op.attrs["reduction"]]
        dtype = self.data.type.dtype
        self.wide = dtype in (DType.F16, DType.BF16) and op.attrs["reduction"] != "none"
        self.sizes = e.emit.shape(self.data.type)
        self.total = e.emit.dim(self.data.type.elements)
        self.lanes = vector_lanes(dtype.bits)
        self.target: Buffer = e.results[0]

    def _work(self, units: Dim, unit: Dim, body: Callable[[Expr, Expr], None]) -> Work:
        """Cuts `units` of `unit` elements into tasks: `body(first, end)` applies updates to a
        range.
        """
        e, emit = self.e, self.emit_
        share = max(1, TASK_ELEMENTS // max(1, estimate(unit)))
        size, count = emit.dim(unit), emit.dim(units)
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            first = emit.bind(task * index(share), "first")
            end = emit.bind(tirx.min(plus(first, share), count), "end")
            self.base = emit.bind(first * size, "base") if self.wide else index(0)
            span = emit.bind((end - first) * size, "span")
            start = emit.bind(first * size, "start")
            if self.wide:
                self.target = workspace_view(emit, e.workspace, index(0), DType.F32)
            self._copy(start, span, self._data_at, lambda flat, x: self._put(flat, x))
            body(first, end)
            if self.wide:
                self._copy(
                    start, span, self._get, lambda flat, x: emit.store(e.results[0], flat, x)
                )
        scratch: Dim = unit * (share * DType.F32.bytes) if self.wide else 0
        return Work(ceildiv(units, share), scratch)

    def _copy(
        self,
        start: Expr,
        span: Expr,
        read: Callable[[Expr], Expr],
        write: Callable[[Expr, Expr], None],
    ) -> None:
        def move(i: Expr, width: int) -> None:
            flat = plus(i, start)
            write(flat, read(flat))

        each_vector(self.emit_, span, self.lanes, move)

    def _data_at(self, flat: Expr) -> Expr:
        """An element of the data by its number."""
        if self.data in self.e.graph.inputs:
            buffer = self.e.arguments[self.e.graph.inputs.index(self.data)]
            return self.emit_.load(buffer, flat)
        return self.e.evaluator.at(self.data, unravel(self.emit_, flat, self.sizes))

    def _put(self, flat: Expr, value: Expr) -> None:
        self.emit_.store(self.target, plus(flat, times(self.base, -1)), value)

    def _get(self, flat: Expr) -> Expr:
        return self.emit_.bind(self.emit_.load(self.target, plus(flat, times(self.base, -1))))

    def _apply(self, flat: Expr, update: Expr) -> None:
        old = self._get(flat) if self.op.attrs["reduction"] != "none" else update
        self._put(flat, self.emit_.bind(self.combine(old, update)))

    def _loops(self, sizes: Sequence[Expr], body: Callable[[Index], None]) -> None:
        def nest(at: Index, rest: Sequence[Expr]) -> None:
            if not rest:
                body(at)
                return
            with self.emit_.loop("u", rest[0]) as i:
                nest([*at, i], rest[1:])

        nest([], list(sizes))

    def _offset(self, at: Index) -> Expr:
        flat = index(0)
        for size, i in zip(self.sizes, at, strict=True):
            flat = plus(times(flat, size), i)
        return self.emit_.bind(flat, "flat")

    def elements(self) -> Work:
        """scatter_elements: one update at a time. Ranges are whole rows unless rows are indexed."""
        emit, evaluator = self.emit_, self.e.evaluator
        axis = self.op.attrs["axis"] % self.data.type.rank
        shape = self.data.type.shape
        updates = emit.shape(self.updates.type)

        def one(at: Index) -> None:
            found = place(evaluator, evaluator.at(self.indices, at), shape[axis])
            where = [found if i == axis else x for i, x in enumerate(at)]
            with emit.when(self.total > index(0)):
                self._apply(self._offset(where), evaluator.at(self.updates, at))

        if axis == 0:
            return self._work(1, product(shape), lambda first, end: self._loops(updates, one))

        def rows(first: Expr, end: Expr) -> None:
            last = emit.bind(tirx.min(end, updates[0]), "last")
            with emit.loop("row", tirx.max(last - first, index(0)), start=first) as row:
                self._loops(updates[1:], lambda at: one([row, *at]))

        return self._work(shape[0], product(shape[1:]), rows)

    def slices(self) -> Work:
        """scatter_nd: whole slices of the data, which are the units of the ranges."""
        emit, evaluator = self.emit_, self.e.evaluator
        length = self.indices.type.shape[-1]
        assert isinstance(length, int)
        shape = self.data.type.shape
        inner = shape[length:]
        size = emit.dim(product(inner))
        inner_sizes = [emit.dim(d) for d in inner]

        def apply(first: Expr, end: Expr) -> None:
            def one(row: Index) -> None:
                unit = index(0)
                for axis in range(length):
                    at = place(
                        evaluator, evaluator.at(self.indices, [*row, index(axis)]), shape[axis]
                    )
                    unit = plus(times(unit, self.sizes[axis]), at)
                unit = emit.bind(unit, "unit")
                mine = tirx.all(unit >= first, unit < end, self.total > index(0))
                with emit.when(mine):
                    self._slice(row, emit.bind(unit * size), size, inner_sizes)

            self._loops(emit.shape(self.indices.type)[:-1], one)

        return self._work(product(shape[:length]), product(inner), apply)

    def _slice(self, row: Index, start: Expr, size: Expr, sizes: Sequence[Expr]) -> None:
        """Applies one slice of the updates. Elements are visited once: a sum may not be taken
        twice.
        """
        emit = self.emit_
        if self.op.attrs["reduction"] == "none" and len(sizes) == 1:
            each_vector(
                emit,
                size,
                self.lanes,
                lambda i, width: self._apply(plus(i, start), self._update([*row, i])),
            )
            return
        with emit.loop("i", size) as i:
            at = unravel(emit, i, sizes)
            self._apply(emit.bind(plus(start, i)), self._update([*row, *at]))

    def _update(self, at: Index) -> Expr:
        return self.e.evaluator.at(self.updates, at)
