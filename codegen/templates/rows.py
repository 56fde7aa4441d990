"""Reductions and normalisations: statistics of each row, then the result.

A *row* is a set of elements that are folded together; its *inner* axes are those of the fold. When
the last axis of the operand is an inner one, vectors run along the row, several of them at a time,
and are combined at its end. Otherwise vectors run across rows: each lane is a row of its own.

What feeds the anchor is evaluated in the first pass over a row and kept in scratch memory when
later passes need it again; what follows the anchor is evaluated in the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.evaluate import Index
from bireme.codegen.index import consecutive, plus, times
from bireme.codegen.parameters import Space
from bireme.codegen.rules.normalisation import row_sizes, scaled
from bireme.codegen.rules.reduction import operand_index, reduced_axes
from bireme.codegen.rules.statistics import (
    NORMALISATIONS,
    REDUCTIONS,
    Statistic,
    statistics,
)
from bireme.codegen.templates.common import Emission, Work, estimate, unravel, vector_lanes
from bireme.codegen.templates.vectors import across_lanes, each_vector, fitting_lanes, tail
from bireme.codegen.tir import Buffer, Expr, index, is_int, select
from bireme.ir import Dim, DType, Fusion, Graph, Op, ceildiv, product

# Operand elements that a task reads at least, where there are as many.
TASK_ELEMENTS = 16384
# Accumulators that are independent of each other, to hide the latency of the combination.
ACCUMULATORS = 4
# Vectors side by side that are folded together when they run across rows: more of each memory page
# is read before the next row's is needed.
_SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Parameters:
    """A task reads about so many elements of the operand; sums along a row have so many
    accumulators.
    """

    elements: int
    accumulators: int


SPACE = Space(
    Parameters(TASK_ELEMENTS, ACCUMULATORS),
    {"elements": [1 << n for n in range(10, 18)], "accumulators": [1, 2, 4, 8]},
    shared=frozenset({"elements"}),
)


def matches(graph: Graph) -> bool:
    """Whether the group is one reduction or normalisation with inlinable ops around it."""
    anchor = anchor_of(graph)
    if anchor is None or not _space(anchor, index).inner:
        return False
    shape = anchor.result.type.shape
    return all(v.type.shape == shape for v in graph.outputs)


def anchor_of(graph: Graph) -> Op | None:
    """The reduction or normalisation of a group, if there is exactly one op of that kind."""
    found = [
        op
        for op in graph.body.ops
        if op.definition.fusion in (Fusion.REDUCTION, Fusion.CONTRACTION, Fusion.OPAQUE)
    ]
    if len(found) != 1 or found[0].name not in {*REDUCTIONS, *NORMALISATIONS}:
        return None
    return found[0]


@dataclass(frozen=True)
class _Space:
    """Where elements of a row stand: `kept` axes count rows, `inner` axes their elements."""

    kept: tuple[Dim, ...]
    inner: tuple[Dim, ...]
    # Index into the operand, and into the result, of an element of a row.
    operand: Callable[[Index, Index], Index]
    result: Callable[[Index, Index], Index]
    across: bool  # the last operand axis is a kept one

    @property
    def length(self) -> Dim:
        return product(self.inner)


def _space(op: Op, dim: Callable[[Dim], Expr]) -> _Space:
    """Rows of an op's operand; `dim` makes expressions of sizes."""
    if op.name in REDUCTIONS:
        return _reduction_space(op)
    shape = op.operands[0].type.shape
    inner = tuple(row_sizes(op))
    if op.name in ("softmax", "log_softmax"):
        axis = op.attrs["axis"] % len(shape)
        kept = shape[:axis] + shape[axis + 1 :]
        across = axis < len(shape) - 1 and shape[-1] != 1

        def insert(row: Index, at: Index) -> Index:
            return [*row[:axis], *at, *row[axis:]]

        return _Space(kept, inner, insert, insert, across)
    if op.name == "group_norm":
        groups = op.attrs["groups"]

        def member(row: Index, at: Index) -> Index:
            return [row[0], plus(times(row[1], dim(inner[0])), at[0]), *at[1:]]

        return _Space((shape[0], groups), inner, member, member, False)
    kept = shape[: len(shape) - len(inner)]
    return _Space(kept, inner, lambda row, at: [*row, *at], lambda row, at: [*row, *at], False)


def _reduction_space(op: Op) -> _Space:
    shape, axes = op.operands[0].type.shape, reduced_axes(op)
    kept = tuple(d for a, d in enumerate(shape) if a not in axes)
    across = len(shape) - 1 not in axes and shape[-1] != 1

    def result(row: Index, at: Index) -> Index:
        if not op.attrs["keepdims"]:
            return row
        rest = iter(row)
        return [index(0) if a in axes else next(rest) for a in range(len(shape))]

    return _Space(
        kept,
        tuple(shape[a] for a in axes),
        lambda row, at: operand_index(op, result(row, at), at),
        result,
        across,
    )


@dataclass(frozen=True)
class _Plan:
    """Rows and, when vectors run across rows, columns that a task takes."""

    rows: int
    columns: int
    work: Work


def _plan(space: _Space, lanes: int, scratch: int, elements: int) -> _Plan:
    """`scratch` is the bytes that an element takes in scratch memory, 0 for none; `elements` is
    what a task reads.
    """
    length = max(1, estimate(space.length))
    if not space.across:
        rows = max(1, elements // length)
        tasks = ceildiv(product(space.kept), rows)
        return _Plan(rows, 1, Work(tasks, space.length * scratch))
    *outer, last = space.kept
    columns = max(1, elements // (length * lanes)) * lanes
    rows = max(1, columns // max(1, estimate(last)))
    tasks = ceildiv(product(outer), rows) * ceildiv(last, columns)
    return _Plan(rows, columns, Work(tasks, space.length * lanes * scratch))


def emit(e: Emission) -> Work:
    """Emits a group that `matches`."""
    anchor = anchor_of(e.graph)
    assert anchor is not None
    return _Kernel(e, anchor).emit()


class _Kernel:
    def __init__(self, e: Emission, anchor: Op) -> None:
        self.e, self.anchor = e, anchor
        self.build, self.evaluator = e.emit, e.evaluator
        self.x = anchor.operands[0]
        self.space = _space(anchor, e.emit.dim)
        self.statistics = statistics(anchor)
        self.normalisation = NORMALISATIONS.get(anchor.name)
        self.from_folded = self.normalisation.from_folded if self.normalisation else None
        bits = max(v.type.dtype.bits for v in [*e.graph.inputs, *e.graph.outputs])
        self.lanes = vector_lanes(max(bits, *(s.dtype.bits for s in self.statistics)))
        # Elements of the operand are worth keeping when they are calculated and read again.
        passes = len(self.statistics) + (self.normalisation is not None)
        self.keep_operand = passes > 1 and self.x not in e.graph.inputs
        self.keep = self.keep_operand or self.from_folded is not None
        self.wide = self.space.across and passes == 1 and self._is_wide()
        if self.wide:
            self.lanes *= _SIDE_BY_SIDE
        held = self.x.type.dtype
        self.held = DType.F32 if held in (DType.F16, DType.BF16) else held
        self.parameters = e.choose(SPACE)
        scratch = self.held.bytes if self.keep else 0
        self.plan = _plan(self.space, self.lanes, scratch, self.parameters.elements)
        self.slots: Buffer | None = None
        self.inner = [self.build.dim(d) for d in self.space.inner]
        self.count = self.build.dim(self.space.length)

    def _is_wide(self) -> bool:
        size = self.space.kept[-1]
        return isinstance(size, int) and size >= _SIDE_BY_SIDE * self.lanes

    def emit(self) -> Work:
        e, emit = self.e, self.build
        if self.keep:
            self.slots = workspace_view(emit, e.workspace, index(0), self.held)
        outer = self.space.kept[:-1] if self.space.across else self.space.kept
        sizes = [emit.dim(d) for d in outer]
        total = emit.dim(product(outer))
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            chunk, columns = task, index(1)
            if self.space.across:
                last = self.space.kept[-1]
                parts = emit.dim(ceildiv(last, self.plan.columns))
                chunk, part = unravel(emit, task, [index(1), parts])
                first_column = part * index(self.plan.columns)
                columns = emit.bind(
                    tirx.min(index(self.plan.columns), emit.dim(last) - first_column), "columns"
                )
            first = chunk * index(self.plan.rows)
            rows = emit.bind(tirx.min(index(self.plan.rows), total - first), "rows")
            with emit.loop("row", rows, start=first) as row:
                at = unravel(emit, row, sizes)
                if self.space.across:
                    each_vector(
                        emit,
                        columns,
                        fitting_lanes(self.lanes, columns, self.space.kept[-1]),
                        lambda i, width: self._row([*at, plus(first_column, i)], width),
                    )
                else:
                    self._row(at, 1)
        return self.plan.work

    # --- one row, or one row a lane --------------------------------------------------------------

    def _row(self, row: Index, width: int) -> None:
        """Calculates and stores the results of a row; of `width` rows when vectors run across."""
        self.row, self.width = row, width
        found: list[Expr] = []
        for number, statistic in enumerate(self.statistics):
            last = number == len(self.statistics) - 1
            total = self._fold(statistic, found, number, last)
            found.append(self.build.opaque(statistic.finish(self.build, total, self.count)))
        if self.normalisation is None:
            self.evaluator.define(self.anchor.result, lambda at: found[-1])
            self._store(self.space.result(row, []))
        else:
            self._each(lambda at: self._finish(at, found))
        if self.keep_operand:
            self.evaluator.forget(self.x)

    def _finish(self, at: Index, found: Sequence[Expr]) -> None:
        """Stores the results at a place of the current row."""
        emit, normalisation = self.build, self.normalisation
        assert normalisation is not None
        where = self.space.result(self.row, at)
        if self.from_folded is not None:
            normal = self.from_folded(self._held(at), found)
        else:
            normal = normalisation.result(emit, self._operand(at, again=True), found)
        value = emit.bind(scaled(self.evaluator, self.anchor, where, normal))
        self.evaluator.define(self.anchor.result, lambda _: value)
        self._store(where)

    def _store(self, where: Index) -> None:
        values = [self.evaluator.at(v, where) for v in self.e.graph.outputs]
        for buffer, value in zip(self.e.results, values, strict=True):
            self.build.store(buffer, buffer.offset(where), value)

    # --- elements ---------------------------------------------------------------------------------

    def _slot(self, at: Index) -> tuple[Buffer, Expr]:
        """Where the element of the row at an inner index is kept in scratch memory."""
        assert self.slots is not None
        flat = index(0)
        for size, i in zip(self.inner, at, strict=True):
            flat = plus(times(flat, size), i)
        if self.width > 1:
            flat = consecutive(flat * index(self.width), self.width)
        return self.slots, flat

    def _held(self, at: Index) -> Expr:
        return self.build.bind(self.build.load(*self._slot(at)))

    def _operand(self, at: Index, again: bool) -> Expr:
        """The operand's element; `again` says that it was read before, and kept if worth it."""
        where = self.space.operand(self.row, at)
        if not self.keep_operand:
            return self.evaluator.at(self.x, where)
        if again:
            value = self._held(at)
            self.evaluator.define(self.x, lambda _: value)
            return value
        value = self.evaluator.at(self.x, where)
        self.build.store(*self._slot(at), value)
        return value

    # --- folding ----------------------------------------------------------------------------------

    def _fold(self, statistic: Statistic, found: list[Expr], number: int, last: bool) -> Expr:
        """The total of a statistic over the current row."""
        emit = self.build
        along = not self.space.across
        lanes = self._inner_lanes() if along else self.width
        step = lanes if along else 1
        count = self.parameters.accumulators
        if self.wide or not _at_least(self.inner[-1], count * step):
            count = 1
        registers = [emit.registers("fold", statistic.dtype, lanes) for _ in range(count)]
        place = consecutive(0, lanes)
        for register in registers:
            emit.store(register, place, statistic.first)
        single = None
        if along and not is_int(self.inner[-1]):
            single = emit.registers("single", statistic.dtype, 1)
        if single is not None:
            emit.store(single, index(0), statistic.first)

        def take(at: Index, fresh: Expr | None, register: Buffer, where: Expr) -> None:
            value = self._operand(at, again=number > 0)
            element = statistic.element(emit, value, found, at[0])
            element = emit.opaque(element)
            if last and self.from_folded is not None:
                # Behind the fresh lanes the operand has made way for what was folded.
                stale = fresh is not None and self.keep_operand
                kept = select(fresh, element, self._held(at)) if stale else element
                emit.store(*self._slot(at), kept)
            if fresh is not None:
                element = emit.opaque(select(fresh, element, statistic.first))
            total = statistic.combine(emit.bind(emit.load(register, where)), element)
            emit.store(register, where, total)

        def outer(at: Index, rest: list[Expr]) -> None:
            if len(rest) > 1:
                with emit.loop("j", rest[0]) as j:
                    outer([*at, j], rest[1:])
                return
            done = self._blocks(
                rest[0],
                count,
                step,
                lambda i, u: take([*at, consecutive(i, step)], None, registers[u], place),
            )
            if along:
                tail(
                    emit,
                    rest[0],
                    done,
                    lanes,
                    lambda i, width: take([*at, i], None, single or registers[0], index(0)),
                    lambda i, fresh: take([*at, i], fresh, registers[0], place),
                )

        outer([], self.inner)
        total = emit.bind(emit.load(registers[0], place))
        for register in registers[1:]:
            other = emit.bind(emit.load(register, place))
            total = emit.opaque(statistic.combine(total, other))
        if along:
            total = across_lanes(emit, total, statistic.combine)
        if single is None:
            return total
        return statistic.combine(total, emit.bind(emit.load(single, index(0))))

    def _inner_lanes(self) -> int:
        return fitting_lanes(self.lanes, self.inner[-1])

    def _blocks(
        self, extent: Expr, count: int, step: int, body: Callable[[Expr, int], None]
    ) -> Expr:
        """Runs `body(position, accumulator)` in strides of `step`; gives where it stopped."""
        emit = self.build
        done: Expr = index(0)
        if count > 1:
            stride = index(count * step)
            blocks = emit.bind(tirx.truncdiv(extent, stride), "blocks")
            with emit.loop("b", blocks) as b:
                for u in range(count):
                    body(b * stride + index(u * step), u)
            done = blocks * stride
        rest = emit.bind(tirx.truncdiv(extent - done, index(step)), "steps")
        with emit.loop("s", rest) as s:
            body(done + s * index(step), 0)
        return emit.bind(done + rest * index(step), "done")

    def _each(self, body: Callable[[Index], None]) -> None:
        """Visits all elements of the current row."""
        emit = self.build

        def outer(at: Index, rest: list[Expr]) -> None:
            if len(rest) > 1:
                with emit.loop("j", rest[0]) as j:
                    outer([*at, j], rest[1:])
            elif self.space.across:
                with emit.loop("k", rest[0]) as k:
                    body([*at, k])
            else:
                each_vector(emit, rest[0], self._inner_lanes(), lambda i, width: body([*at, i]))

        outer([], self.inner)


def _at_least(extent: Expr, least: int) -> bool:
    return not is_int(extent) or int(extent) >= least
