"""The k best elements along an axis, by a heap whose root is the worst of those kept so far.

The first k elements make the heap; each later one that comes before the root takes its place. At
the end the root is taken off again and again, which leaves the elements sorted, best first.
"""

from __future__ import annotations

from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.rules.folding import Combine, both, either, equal
from bireme.codegen.rules.reduction import better, replaced, tied
from bireme.codegen.templates.common import Emission, Work, estimate, only_op, unravel
from bireme.codegen.tir import Buffer, Emitter, Expr, const, index, select
from bireme.ir import Dim, DType, Graph, Op, ceildiv, product

# Elements that a task looks at, at least, where there are as many.
TASK_ELEMENTS = 8192


def matches(graph: Graph) -> bool:
    """Whether the group is a topk."""
    return only_op(graph, "topk") is not None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`. Tasks take rows."""
    op = only_op(e.graph, "topk")
    assert op is not None
    emit = e.emit
    x = op.operands[0]
    axis = op.attrs["axis"] % x.type.rank
    others = [d for a, d in enumerate(x.type.shape) if a != axis]
    (kept,) = op.attrs["k"]
    rows = max(1, TASK_ELEMENTS // max(1, estimate(x.type.shape[axis])))
    held = DType.F32 if x.type.dtype in (DType.F16, DType.BF16) else x.type.dtype
    # One slot more than k, for what a step reads beside the last child.
    key_bytes = ceildiv((kept + 1) * held.bytes, 64) * 64
    keys = workspace_view(emit, e.workspace, index(0), held)
    numbers = workspace_view(emit, e.workspace, emit.dim(key_bytes), DType.I64)
    heap = _Heap(emit, keys, numbers, better(op.attrs["largest"], x.type.dtype), tied(x.type.dtype))
    total = emit.dim(product(others))
    with emit.loop("task", e.end - e.begin, start=e.begin) as task:
        first = emit.bind(task * index(rows), "first")
        count = emit.bind(tirx.min(total - first, index(rows)), "rows")
        with emit.loop("row", count, start=first) as row:
            at = unravel(emit, row, [emit.dim(d) for d in others])
            with emit.when(emit.dim(kept) > index(0)):
                _row(e, op, heap, [*at[:axis], index(0), *at[axis:]])
    return Work(ceildiv(product(others), rows), _scratch(kept, key_bytes))


def _scratch(kept: Dim, key_bytes: Dim) -> Dim:
    return key_bytes + (kept + 1) * DType.I64.bytes


def _row(e: Emission, op: Op, heap: _Heap, at: Index) -> None:
    emit, x = e.emit, op.operands[0]
    axis = op.attrs["axis"] % x.type.rank
    size, kept = emit.dim(x.type.shape[axis]), emit.dim(op.attrs["k"][0])
    with emit.loop("i", kept) as i:
        heap.put(i, e.evaluator.at(x, replaced(at, axis, i)), i)
    half = emit.bind(tirx.truncdiv(kept, index(2)), "half")
    with emit.loop("i", half) as i:
        heap.sink(emit.bind(half - index(1) - i), kept)
    with emit.loop("i", size - kept, start=kept) as i:
        element = e.evaluator.at(x, replaced(at, axis, i))
        # An equal element comes after the root: its index is higher.
        with emit.when(heap.before(element, heap.key(index(0)))):
            heap.put(index(0), element, i)
            heap.sink(index(0), kept)
    with emit.loop("i", kept - index(1)) as i:
        last = emit.bind(kept - index(1) - i, "last")
        heap.swap(index(0), last)
        heap.sink(index(0), last)
    with emit.loop("i", kept) as i:
        where = replaced(at, axis, i)
        for output, buffer in zip(e.graph.outputs, e.results, strict=True):
            found = heap.key(i) if output.index == 0 else heap.number(i)
            emit.store(buffer, buffer.offset(where), found)


@dataclass(frozen=True)
class _Heap:
    """A binary heap of elements with their numbers; `before` and `tied` order elements alone."""

    emit: Emitter
    keys: Buffer
    numbers: Buffer
    before: Combine
    tied: Combine

    def key(self, i: Expr) -> Expr:
        return self.emit.bind(self.emit.load(self.keys, i), "key")

    def number(self, i: Expr) -> Expr:
        return self.emit.bind(self.emit.load(self.numbers, i), "number")

    def put(self, i: Expr, key: Expr, number: Expr) -> None:
        self.emit.store(self.keys, i, key)
        self.emit.store(self.numbers, i, number)

    def swap(self, i: Expr, j: Expr) -> None:
        mine, other = (self.key(i), self.number(i)), (self.key(j), self.number(j))
        self.put(i, *other)
        self.put(j, *mine)

    def _worse(self, key: Expr, number: Expr, other: Expr, other_number: Expr) -> Expr:
        """Whether an element comes after another; of equal ones the higher number does."""
        later = both(self.tied(key, other), number > other_number)
        return either(self.before(other, key), later)

    def sink(self, start: Expr, size: Expr) -> None:
        """Moves the element at `start` down until no child is worse."""
        emit = self.emit
        key, number = self.key(start), self.number(start)
        place = emit.registers("place", DType.I64, 1)
        moving = emit.registers("moving", DType.I32, 1)
        emit.store(place, index(0), start)
        emit.store(moving, index(0), const(1, "int32"))
        with emit.repeat(equal(emit.load(moving, index(0)), const(1, "int32"))):
            emit.store(moving, index(0), const(0, "int32"))
            at = emit.bind(emit.load(place, index(0)), "at")
            left = emit.bind(at * index(2) + index(1), "left")
            with emit.when(left < size):
                right = emit.bind(left + index(1), "right")
                further = self._worse(
                    self.key(right), self.number(right), self.key(left), self.number(left)
                )
                child = emit.opaque(select(both(right < size, further), right, left), "child")
                child_key, child_number = self.key(child), self.number(child)
                with emit.when(self._worse(child_key, child_number, key, number)):
                    self.put(at, child_key, child_number)
                    emit.store(place, index(0), child)
                    emit.store(moving, index(0), const(1, "int32"))
        self.put(emit.bind(emit.load(place, index(0)), "end"), key, number)
