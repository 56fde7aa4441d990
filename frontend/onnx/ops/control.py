"""Control flow: If, Loop, Scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto

from bireme.frontend.onnx.emit import Emitter, Tensor, data, scalar, sequence, sizes, stacked
from bireme.frontend.onnx.node import Node
from bireme.frontend.onnx.ops.sequence import growing
from bireme.frontend.onnx.ops.shape import (
    axis_first,
    cut,
    pad,
    prefix_along,
    reshape,
    transpose,
    unsqueeze,
)
from bireme.frontend.onnx.ops.table import Table
from bireme.frontend.onnx.report import RefusedError
from bireme.ir import BiremeError, Block, Dim, DType, TensorType, maximum
from bireme.ir.capacity import Capacity

# Stacked results of loops have at most so many rows, unless the user says otherwise.
_MOST_STACKED = 1 << 31
# Loops whose carried values change shape are unrolled up to this many steps.
_MOST_UNROLLED = 64


def _arguments(block: Block) -> list[Tensor]:
    return [Tensor(v.type, v) for v in block.arguments]


def _if(n: Node) -> list[Tensor]:
    condition = reshape(n.b, n[0], ())
    branches = (n.graph("then_branch"), n.graph("else_branch"))
    if condition.array is not None:
        chosen = branches[0] if bool(condition.array) else branches[1]
        return n.scope.run(chosen, [], n.b, n.name)
    arms = []
    before = len(n.scope.importer.reports)
    for branch in branches:
        block = n.b.block()
        inner = n.b.inner(block, n.name)
        arms.append(_Arm(block, inner, n.scope.run(branch, [], inner, n.name)))
    n.b.at(n.name)
    ranks = [[t.rank for t in arm.results] for arm in arms]
    if ranks[0] == ranks[1]:
        return _joined(n, condition, arms)
    if [node.op_type for node in branches[0].node if node.op_type != "Constant"] != ["Squeeze"]:
        raise BiremeError(
            "BM1007",
            "which branch is taken is not known, and their results differ in rank",
            hint="give the sizes that decide it with --dim NAME=SIZE",
        )
    # How exporters write a squeeze of an axis whose size they do not know. Squeezing is checked
    # when the model runs: an axis that is not 1 is then an error.
    del n.scope.importer.reports[before:]
    return n.scope.run(branches[0], [], n.b, n.name)


@dataclass
class _Arm:
    """A branch of an If, imported but not ended."""

    block: Block
    inner: Emitter
    results: list[Tensor]


def _joined(n: Node, condition: Tensor, arms: Sequence[_Arm]) -> list[Tensor]:
    """An If whose branches give tensors of one rank. Where their sizes differ, both fill part of
    what holds either, and say how much.
    """
    b = n.b
    hidden = set[str]().union(*(arm.inner.known_sizes for arm in arms)) - b.known_sizes
    capacity = Capacity({name: b.bounds.data_sizes[name] for name in hidden})
    cuts: list[tuple[int, int]] = []  # (result, axis)
    counts: list[list[Tensor]] = [[] for _ in arms]
    for number, pair in enumerate(zip(*(arm.results for arm in arms), strict=True)):
        for axis, ends in enumerate(zip(*(t.shape for t in pair), strict=True)):
            if not _differ(n, *ends) and not any(capacity.depends(d) for d in ends):
                continue
            most = maximum(*map(capacity.most, ends))
            cuts.append((number, axis))
            for arm, count, size in zip(arms, counts, ends, strict=True):
                count.append(reshape(arm.inner, sizes([size]), ()))
                x = arm.results[number]
                after = [most - size if i == axis else 0 for i in range(x.rank)]
                arm.results[number] = pad(arm.inner, x, [0] * x.rank, after)
    for arm, count in zip(arms, counts, strict=True):
        arm.inner.end([*arm.results, *count])
    made = b.region("if", [condition], [arm.block for arm in arms])
    results = made[: len(made) - len(cuts)]
    for (number, axis), taken in zip(cuts, made[len(results) :], strict=True):
        results[number] = prefix_along(b, results[number], axis, taken)
    return results


def _differ(n: Node, a: Dim, b: Dim) -> bool:
    """Whether sizes are meant to differ; others are equal or checked to be when the model runs."""
    plain = isinstance(a, int) or isinstance(b, int)
    return a != b and (plain or n.b.bounds.equal(a, b) is False)


class _Loop:
    """A Loop node: `body(step, condition, carried...) -> condition, carried..., rows...`."""

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
        if steps is not None and started is not None:
            return self._counted(steps)
        return self._while()

    @property
    def _has_sequence(self) -> bool:
        return any(t.items is not None for t in self.carried)

    def _run(
        self, emitter: Emitter, step: Tensor, condition: Tensor, carried: Sequence[Tensor]
    ) -> list[Tensor]:
        del self.reports[self.before :]  # the body is reported once, however often it is imported
        return self.n.scope.run(self.body, [step, condition, *carried], emitter, self.n.name)

    def _counted(self, steps: Dim) -> list[Tensor]:
        """A number of steps known as a size, unless the body itself can end the loop."""
        n = self.n
        plain = [t for t in self.carried if t.items is None]
        block = n.b.block([*(t.type for t in plain), TensorType(DType.I64, ())])
        inner = n.b.inner(block, n.name)
        *arguments, step = _arguments(block)
        given = iter(arguments)
        carried = [next(given) if t.items is None else sequence([growing()]) for t in self.carried]
        try:
            condition, *results = self._run(inner, step, scalar(1, DType.BOOL), carried)
            if any(not r.supported for r in self.reports[self.before :]):
                raise BiremeError("BM1003", "the body has nodes that are not supported")
            if condition.array is None or not bool(condition.array):
                return self._while()
            self._check_shapes(results)
            pairs = list(zip(carried, results, strict=False))
            added = [_added(*pair) for pair in pairs if pair[0].items is not None]
            kept = [after for before, after in pairs if before.items is None]
            rows = results[len(carried) :]
            inner.end([*kept, *(item for items in added for item in items), *rows])
            line = n.b.at(n.name).iota(shape=(steps,), axis=0, dtype=DType.I64)
            made = iter(n.b.region("scan", [*plain, line], [block], carries=len(plain)))
            finals = {i: next(made) for i, t in enumerate(carried) if t.items is None}
            places = (i for i, t in enumerate(carried) if t.items is not None)
            for i, items in zip(places, added, strict=True):
                columns = [next(made) for _ in items]
                finals[i] = sequence([*(self.carried[i].items or ()), *_interleaved(n, columns)])
            return [*(finals[i] for i in range(len(carried))), *made]
        except (BiremeError, RefusedError):
            if isinstance(steps, int) and (steps <= _MOST_UNROLLED or self._has_sequence):
                return self._unrolled(steps)
            raise

    def _check_shapes(self, results: Sequence[Tensor]) -> None:
        """Raises BM2004 when a step surely changes the shape of a carried value."""
        for before, after in zip(self.carried, results, strict=False):
            if before.items is not None:
                continue
            sizes = zip(before.shape, after.shape, strict=False)
            if before.rank != after.rank or any(
                self.n.b.bounds.equal(a, b) is False for a, b in sizes
            ):
                raise BiremeError("BM2004", f"a step makes {after.type} of {before.type}")

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
        most, is_limit = self._most_steps()
        types = [TensorType(DType.BOOL, ()), TensorType(DType.I64, ())]
        types += [t.type for t in self.carried]
        block = b.block([*types, TensorType(DType.I64, ())])
        inner = b.inner(block, n.name)
        _, taken, *carried, step = _arguments(block)
        condition, *results = self._run(inner, step, scalar(1, DType.BOOL), carried)
        inner.at(n.name)
        after = inner.add(taken, 1)
        going = self._within(inner, reshape(inner, condition, ()), after, is_limit)
        inner.end([going, after, *results])
        b.at(n.name)
        zero = scalar(0, DType.I64)
        going = self._within(b, self.start or scalar(1, DType.BOOL), zero, is_limit)
        line = b.iota(shape=(most,), axis=0, dtype=DType.I64)
        first = [going, zero, *self.carried]
        made = b.region("scan", [*first, line], [block], carries=len(first), conditional=True)
        going, taken, *results = made
        if not is_limit:  # a loop that is not at its end then has no size that is allowed
            taken = b.where(going, b.add(reshape(b, sizes([most]), ()), 1), taken)
        count = len(self.carried)
        column, *columns = results[count:]
        column = b.prefix(column, taken)
        return [*results[:count], column, *(cut(b, c, 0, 0, column.shape[0]) for c in columns)]

    def _most_steps(self) -> tuple[Dim, bool]:
        """The most steps there can be, and whether that is the loop's own limit."""
        n = self.n
        if self.limit is not None and self.limit.dims is not None:
            (limit,) = self.limit.dims
            if not isinstance(limit, int) or limit <= _MOST_STACKED:
                return n.b.bounds.maximum(limit, 0), True
        given = n.most_allowed(
            "the number of steps is not known, and so the size of the stacked results",
            "say how many there can be with --dim {node}=0..STEPS",
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
        if self._has_sequence:
            raise BiremeError("BM1003", "a loop of unknown length that carries a sequence")
        if self.rows:
            return self._stacked()
        zero, true = scalar(0, DType.I64), scalar(1, DType.BOOL)
        first = [zero, self.start or true, *self.carried]
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
        step, going, *carried = _arguments(body)
        # The body only runs while the condition holds.
        condition, *results = self._run(inner, step, true, carried)
        inner.at(n.name)
        inner.end([inner.add(step, 1), reshape(inner, condition, ()), *results])
        return n.b.at(n.name).region("while", first, [test, body])[2:]


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


def _scan(n: Node) -> list[Tensor]:
    body: GraphProto = n.graph("body")
    count = n.integer("num_scan_inputs")
    carries = len(n.inputs) - count
    rows = len(body.output) - carries
    if not 0 < count <= len(n.inputs) or rows < 0:
        raise BiremeError("BM1006", f"num_scan_inputs is {count} with {len(n.inputs)} inputs")
    axes = n.integers("scan_input_axes", [0] * count)
    backward = n.integers("scan_input_directions", [0] * count)
    row_axes = n.integers("scan_output_axes", [0] * rows)
    row_backward = n.integers("scan_output_directions", [0] * rows)
    sequences = []
    for i in range(count):
        x = n[carries + i]
        axis = n.axis(axes[i], x.rank)
        x = transpose(n.b, x, axis_first(x, axis))
        sequences.append(_flipped(n.b, x, 0) if backward[i] else x)
    carried = [n[i] for i in range(carries)]
    slices = [x.type.with_shape(x.shape[1:]) for x in sequences]
    block = n.b.block([*(t.type for t in carried), *slices])
    inner = n.b.inner(block, n.name)
    inner.end(n.scope.run(body, _arguments(block), inner, n.name))
    made = n.b.at(n.name).region("scan", [*carried, *sequences], [block], carries=carries)
    results = made[:carries]
    for i, x in enumerate(made[carries:]):
        x = _flipped(n.b, x, 0) if row_backward[i] else x
        axis = n.axis(row_axes[i], x.rank)
        order = list(range(1, x.rank))
        order.insert(axis, 0)
        results.append(transpose(n.b, x, order))
    return results


def _batched_scan(n: Node) -> list[Tensor]:
    """Scan-8: a scan over each element of a batch, written as a scan over the batch."""
    body: GraphProto = n.graph("body")
    count = n.integer("num_scan_inputs")
    backward = n.integers("directions", [0] * count)
    lengths, operands = n.get(0), [n[i] for i in range(1, len(n.inputs))]
    carries = len(operands) - count
    if not 0 < count <= len(operands) or any(x.rank < 2 for x in operands[carries:]):
        raise BiremeError("BM1006", f"num_scan_inputs is {count} with {len(operands)} inputs")
    if lengths is not None and any(backward):
        raise BiremeError("BM1003", "sequences of their own lengths that are read backwards")
    for i in range(count):
        if backward[i]:
            operands[carries + i] = _flipped(n.b, operands[carries + i], 1)
    if lengths is not None:
        operands.append(n.b.cast(lengths, dtype=DType.I64))
    outer = n.b.block([TensorType(DType.I64, ())])
    one = n.b.inner(outer, n.name)
    (number,) = _arguments(outer)
    # Gathered, not sliced by the outer scan: a scan cannot step through a slice of another one.
    given = [one.gather(x, number, axis=0) for x in operands]
    length = given.pop() if lengths is not None else None
    one.end(_scan_of_one(n, one, body, given, carries, length))
    batch = n.b.at(n.name).iota(shape=operands[0].shape[:1], axis=0, dtype=DType.I64)
    return n.b.region("scan", [batch], [outer], carries=0)


def _scan_of_one(
    n: Node, b: Emitter, body: GraphProto, given: list[Tensor], carries: int, length: Tensor | None
) -> list[Tensor]:
    """States and rows of the scan over one sequence, of which `length` steps count."""
    steps = given[carries].shape[0]
    sequences = [*given[carries:], b.iota(shape=(steps,), axis=0, dtype=DType.I64)]
    slices = [x.type.with_shape(x.shape[1:]) for x in sequences]
    block = b.block([*(t.type for t in given[:carries]), *slices])
    inner = b.inner(block, n.name)
    *arguments, step = _arguments(block)
    results = n.scope.run(body, arguments, inner, n.name)
    if length is not None:
        going = inner.at(n.name).less(step, length)
        for i in range(carries):
            results[i] = inner.where(going, results[i], arguments[i])
    inner.end(results)
    return b.at(n.name).region("scan", [*given[:carries], *sequences], [block], carries=carries)


def _flipped(b: Emitter, x: Tensor, axis: int) -> Tensor:
    return cut(b, x, axis, x.shape[axis] - 1, x.shape[axis], -1)


def _has_element(n: Node) -> Tensor:
    """Of a tensor, which is all that an input can be here: whether it is there at all."""
    return scalar(n.get(0) is not None, DType.BOOL)


TABLE: Table = {
    "OptionalGetElement": lambda n: n[0],
    "OptionalHasElement": _has_element,
    "If": _if,
    "Loop": lambda n: _Loop(n).convert(),
    "Scan": ((8, _batched_scan), (9, _scan)),
}
