"""Kernels of the ops that find out how large a result is: compaction, sorting rows, suppression."""

from __future__ import annotations

from collections.abc import Callable

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.rules.folding import both, either, equal
from bireme.codegen.rules.reduction import better, tied
from bireme.codegen.templates.common import Emission, Work, only_op, unravel
from bireme.codegen.tir import Buffer, Emitter, Expr, cast, const, index, select
from bireme.ir import DType, Graph, product

# Whether one number comes before another.
_Before = Callable[[Expr, Expr], Expr]


def matches(graph: Graph) -> bool:
    """Whether the group is one of these ops."""
    return only_op(graph, *_EMIT) is not None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`."""
    op = only_op(e.graph, *_EMIT)
    assert op is not None
    return _EMIT[op.name](e)


def _counter(emit: Emitter, name: str, start: Expr) -> Buffer:
    cell = emit.registers(name, DType.I64, 1)
    emit.store(cell, index(0), start)
    return cell


def _value(emit: Emitter, cell: Buffer) -> Expr:
    return emit.bind(emit.load(cell, index(0)), "value")


def _compact(e: Emission) -> Work:
    """One pass without branches: every place is stored, and overwritten unless it counts."""
    emit = e.emit
    (condition,) = only_op(e.graph, "compact").operands  # type: ignore[union-attr]
    places, count = e.results
    size = emit.dim(condition.type.shape[0])
    with emit.loop("task", e.end - e.begin, start=e.begin):
        found = _counter(emit, "found", index(0))
        with emit.loop("i", size) as i:
            at = _value(emit, found)
            emit.store(places, at, i)
            holds = cast(e.evaluator.at(condition, [i]), "int64")
            emit.store(found, index(0), emit.bind(at + holds))
        total = _value(emit, found)
        emit.store(count, index(0), total)
        with emit.loop("i", size - total, start=total) as i:
            emit.store(places, i, index(0))
    return Work(1)


class _Heap:
    """A binary heap of numbers in memory whose root comes after all others."""

    def __init__(self, emit: Emitter, numbers: Buffer, before: _Before) -> None:
        self._emit, self._numbers, self._before = emit, numbers, before

    def get(self, i: Expr) -> Expr:
        return self._emit.bind(self._emit.load(self._numbers, i), "number")

    def put(self, i: Expr, number: Expr) -> None:
        self._emit.store(self._numbers, i, number)

    def build(self, size: Expr) -> None:
        """Makes a heap of the first `size` numbers."""
        half = self._emit.bind(tirx.truncdiv(size, index(2)), "half")
        with self._emit.loop("i", half) as i:
            self.sink(self._emit.bind(half - index(1) - i), size)

    def pop(self, size: Expr) -> Expr:
        """Takes the root off a heap of `size` numbers, which leaves one less, and gives it."""
        root, last = self.get(index(0)), self._emit.bind(size - index(1), "last")
        self.put(index(0), self.get(last))
        self.sink(index(0), last)
        return root

    def sink(self, start: Expr, size: Expr) -> None:
        """Moves the number at `start` down until no child comes after it."""
        emit = self._emit
        number = self.get(start)
        place = _counter(emit, "place", start)
        moving = _counter(emit, "moving", index(1))
        with emit.repeat(equal(emit.load(moving, index(0)), index(1))):
            emit.store(moving, index(0), index(0))
            at = _value(emit, place)
            left = emit.bind(at * index(2) + index(1), "left")
            with emit.when(left < size):
                right = emit.bind(tirx.min(left + index(1), size - index(1)), "right")
                further = self._before(self.get(left), self.get(right))
                child = emit.opaque(select(further, right, left), "child")
                other = self.get(child)
                with emit.when(self._before(number, other)):
                    self.put(at, other)
                    emit.store(place, index(0), child)
                    emit.store(moving, index(0), index(1))
        self.put(_value(emit, place), number)


def _sort_rows(e: Emission) -> Work:
    """Heap sort of the rows' numbers, in the result itself."""
    emit = e.emit
    (x,) = only_op(e.graph, "sort_rows").operands  # type: ignore[union-attr]
    rows, columns = emit.shape(x.type)
    order, starts = e.results
    held = DType.U8 if x.type.dtype is DType.BOOL else x.type.dtype
    less, same = better(False, held), tied(held)

    def element(row: Expr, column: Expr) -> Expr:
        found = e.evaluator.at(x, [row, column])
        return emit.bind(cast(found, "uint8") if x.type.dtype is DType.BOOL else found)

    def compare(row: Expr, other: Expr) -> Expr:
        """-1, 0 or 1 as `row` comes before, equals or comes after another."""
        column = _counter(emit, "column", index(0))
        sign = _counter(emit, "sign", index(0))
        with emit.repeat(
            both(emit.load(column, index(0)) < columns, equal(emit.load(sign, index(0)), index(0)))
        ):
            at = _value(emit, column)
            a, b = element(row, at), element(other, at)
            differs = select(less(a, b), index(-1), index(1))
            emit.store(sign, index(0), select(same(a, b), index(0), differs))
            emit.store(column, index(0), at + index(1))
        return _value(emit, sign)

    def before(row: Expr, other: Expr) -> Expr:
        sign = compare(row, other)
        return either(sign < index(0), both(equal(sign, index(0)), row < other))

    heap = _Heap(emit, order, before)
    with emit.loop("task", e.end - e.begin, start=e.begin):
        with emit.loop("i", rows) as i:
            heap.put(i, i)
        heap.build(rows)
        with emit.loop("i", rows) as i:
            left = emit.bind(rows - i, "left")
            heap.put(emit.bind(left - index(1)), heap.pop(left))
        with emit.loop("i", rows) as i, emit.scope():
            first = cast(equal(i, index(0)), "int64")
            sign = compare(heap.get(tirx.max(i - index(1), index(0))), heap.get(i))
            emit.store(starts, i, either(first > index(0), sign < index(0)))
    return Work(1)


class _Boxes:
    """Boxes of one batch as corners and areas."""

    def __init__(self, e: Emission, batch: Expr) -> None:
        op = only_op(e.graph, "suppress")
        assert op is not None
        self._e, self._batch = e, batch
        self._boxes, self._center = op.operands[0], op.attrs["center"]

    def corners(self, box: Expr) -> tuple[list[Expr], list[Expr]]:
        """Lower and upper corner, two coordinates each."""
        emit = self._e.emit
        a, b, c, d = (
            emit.bind(self._e.evaluator.at(self._boxes, [self._batch, box, index(i)]))
            for i in range(4)
        )
        pairs = ((a, c), (b, d))
        if self._center:
            half = const(0.5, "float32")
            return ([emit.bind(p - q * half) for p, q in pairs],
                    [emit.bind(p + q * half) for p, q in pairs])  # fmt: skip
        return ([emit.bind(tirx.min(p, q)) for p, q in pairs],
                [emit.bind(tirx.max(p, q)) for p, q in pairs])  # fmt: skip

    def overlap(self, box: Expr, other: Expr, threshold: Expr) -> Expr:
        """Whether the intersection over union of two boxes is above the threshold."""
        emit, zero = self._e.emit, const(0, "float32")
        (low, high), (low2, high2) = self.corners(box), self.corners(other)

        def area(a: list[Expr], b: list[Expr]) -> Expr:
            return emit.bind((b[0] - a[0]) * (b[1] - a[1]), "area")

        sides = [
            emit.bind(tirx.max(tirx.min(high[i], high2[i]) - tirx.max(low[i], low2[i]), zero))
            for i in range(2)
        ]
        shared = emit.bind(sides[0] * sides[1], "shared")
        one, two = area(low, high), area(low2, high2)
        union = emit.bind(one + two - shared, "union")
        real = both(both(shared > zero, one > zero), both(two > zero, union > zero))
        ratio = emit.bind(shared / emit.bind(select(real, union, const(1, "float32"))), "ratio")
        return both(real, ratio > threshold)


def _suppress(e: Emission) -> Work:
    """Tasks take classes. A heap gives boxes by descending score until enough are kept."""
    emit = e.emit
    op = only_op(e.graph, "suppress")
    assert op is not None
    _, scores, most, iou, *rest = op.operands
    batches, labels, count = emit.shape(scores.type)
    (result,) = e.results
    kept_most = emit.dim(op.attrs["kept"][0])
    numbers = workspace_view(emit, e.workspace, index(0), DType.I64)
    wanted = emit.bind(tirx.min(e.evaluator.at(most, []), kept_most), "wanted")
    threshold = emit.bind(e.evaluator.at(iou, []), "threshold")
    with emit.loop("task", e.end - e.begin, start=e.begin) as task:
        batch, label = unravel(emit, task, [batches, labels])

        def score(box: Expr) -> Expr:
            return emit.bind(e.evaluator.at(scores, [batch, label, box]), "score")

        def before(box: Expr, other: Expr) -> Expr:
            """The root of the heap comes last in this order: the highest score, the first box."""
            a, b = score(box), score(other)
            return either(a < b, both(equal(a, b), box > other))

        heap = _Heap(emit, numbers, before)
        size = _counter(emit, "size", index(0))
        with emit.loop("i", count) as i:
            at = _value(emit, size)
            heap.put(at, i)
            taken = index(1)
            if rest:
                taken = cast(score(i) > emit.bind(e.evaluator.at(rest[0], [])), "int64")
            emit.store(size, index(0), emit.bind(at + taken))
        heap.build(_value(emit, size))
        kept = _counter(emit, "kept", index(0))
        row = emit.bind(task * kept_most, "row")
        boxes = _Boxes(e, batch)
        more = both(emit.load(size, index(0)) > index(0), emit.load(kept, index(0)) < wanted)
        with emit.repeat(more):
            left = _value(emit, size)
            box = heap.pop(left)
            emit.store(size, index(0), left - index(1))
            found, other = _value(emit, kept), _counter(emit, "other", index(0))
            # Runs beyond the last one kept where an overlap is found.
            with emit.repeat(emit.load(other, index(0)) < found):
                at = _value(emit, other)
                chosen = emit.bind(emit.load(result, emit.bind(row + at)), "chosen")
                hit = boxes.overlap(box, chosen, threshold)
                emit.store(other, index(0), select(hit, found + index(1), at + index(1)))
            with emit.when(equal(emit.load(other, index(0)), found)):
                emit.store(result, emit.bind(row + found), box)
                emit.store(kept, index(0), found + index(1))
        total = _value(emit, kept)
        with emit.loop("i", kept_most - total, start=total) as i:
            emit.store(result, emit.bind(row + i), index(-1))
    shape = scores.type.shape
    return Work(product(shape[:2]), shape[2] * DType.I64.bytes)


_EMIT: dict[str, Callable[[Emission], Work]] = {
    "compact": _compact,
    "sort_rows": _sort_rows,
    "suppress": _suppress,
}
