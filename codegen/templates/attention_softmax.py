"""The softmax of attention: products become powers in place, a stretch of keys after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.evaluate import Index
from bireme.codegen.index import consecutive
from bireme.codegen.math import exp_below_one
from bireme.codegen.templates.attention_form import Form
from bireme.codegen.templates.common import Emission
from bireme.codegen.templates.tiles import COLUMNS
from bireme.codegen.templates.vectors import across_lanes
from bireme.codegen.tir import Buffer, Emitter, Expr, const, index, match, plus, select, times
from bireme.ir import DType

# Maxima and sums of a row that are independent of each other, to hide their latency.
_ACCUMULATORS = 4


@dataclass(frozen=True)
class Stretch:
    """What a row tile meets: `count` keys from `start` on, of a head."""

    batch: Index
    start: Expr
    count: Expr


@dataclass(frozen=True)
class Held:
    """What is kept of rows in scratch memory.

    `scores` are lines of products, then of powers, of a tile. For each row there are the maximum of
    its scores (`tops`), the sum of its powers (`totals`), and `sums` of powers times values, blocks
    of 16; for each row of a tile the number by which what was summed up before is rescaled
    (`factors`).
    """

    scores: Buffer
    tops: Buffer
    totals: Buffer
    sums: Buffer
    factors: Buffer


class Softmax:
    """Works on lines of scores, `pitch` apart. With `single`, a line has all keys of its row."""

    def __init__(self, e: Emission, form: Form, held: Held, pitch: int, single: bool) -> None:
        self._emit, self._evaluator, self._form, self._held = e.emit, e.evaluator, form, held
        self._pitch, self._single = pitch, single

    def line(self, at: Stretch, row: Expr, line: Expr, state: Expr) -> None:
        """Turns a line of products into powers, and keeps their maximum and sum."""
        emit = self._emit
        base = emit.bind(line * index(self._pitch), "line")
        whole = emit.opaque(tirx.truncdiv(at.count, index(COLUMNS)), "whole")
        blocks = blocks_of(emit, at.count)
        lowest = const(float("-inf"), "float32")

        def raised(top: Expr, block: Expr) -> Expr:
            return tirx.max(top, self._score(at, row, base, block, None))

        tops = self._fold(whole, lowest, raised)
        if not self._is_whole():
            with emit.when(whole < blocks):
                value = self._score(
                    at, row, base, whole, emit.bind(at.count - whole * index(COLUMNS))
                )
                emit.store(
                    tops[0], consecutive(0, COLUMNS), tirx.max(whole_vector(emit, tops[0]), value)
                )
        top = self._joined(tops, tirx.max)
        if not self._single:
            top = emit.opaque(tirx.max(top, emit.load(self._held.tops, state)), "top")
        # Where nothing but -inf was seen all powers are 0.
        safe = emit.opaque(select(top > lowest, top, self._empty(top)), "safe")

        def added(total: Expr, block: Expr) -> Expr:
            place = consecutive(emit.bind(plus(base, times(block, COLUMNS))), COLUMNS)
            x, shift = match(emit.load(self._held.scores, place), safe)
            power = emit.opaque(exp_below_one(emit, emit.bind(x - shift)), "power")
            emit.store(self._held.scores, place, power)
            return total + power

        total = self._joined(self._fold(blocks, const(0.0, "float32"), added), lambda a, b: a + b)
        if not self._single:
            before = emit.bind(emit.load(self._held.tops, state))
            factor = emit.opaque(exp_below_one(emit, emit.bind(before - safe)), "factor")
            total = emit.load(self._held.totals, state) * factor + total
            emit.store(self._held.factors, line, factor)
            emit.store(self._held.tops, state, top)
        emit.store(self._held.totals, state, total)

    def _empty(self, top: Expr) -> Expr:
        """What powers of a row without a number above -inf are relative to; NaN stays."""
        return select(tirx.isnan(top), top, const(0.0, "float32"))

    def _score(self, at: Stretch, row: Expr, base: Expr, block: Expr, exist: Expr | None) -> Expr:
        """Scores of a block of products, stored in their place; -inf where no key `exist`s."""
        emit, form, evaluator = self._emit, self._form, self._evaluator
        first = emit.bind(times(block, COLUMNS))
        place = consecutive(emit.bind(plus(base, first)), COLUMNS)
        column = emit.bind(plus(at.start, first))

        def score(lane: Expr) -> Expr:
            raw = emit.bind(emit.load(self._held.scores, plus(emit.bind(plus(base, first)), lane)))
            with emit.scope():
                evaluator.define(form.products.result, lambda _: raw)
                value = evaluator.at(form.scores, [*at.batch, row, plus(column, lane)])
            wide, _ = match(value, lane)
            return wide

        if exist is None or form.ignores_column:
            value = emit.opaque(score(consecutive(0, COLUMNS)), "score")
        else:
            for lanes in self._lanes(exist):
                with lanes as lane:
                    spot = plus(emit.bind(plus(base, first)), lane)
                    emit.store(self._held.scores, spot, score(lane))
            value = emit.bind(emit.load(self._held.scores, place))
        if exist is not None:
            lanes = tirx.Ramp(const(0, "int32"), const(1, "int32"), COLUMNS)
            lanes, end = match(lanes, tirx.Cast("int32", exist))
            value = emit.opaque(
                select(lanes < end, value, const(float("-inf"), "float32")), "score"
            )
        emit.store(self._held.scores, place, value)
        return value

    def _lanes(self, exist: Expr) -> list[AbstractContextManager[Expr]]:
        """Lanes of an incomplete block, in a loop or as vectors."""
        keys = self._form.keys
        if not self._single or not isinstance(keys, int):
            return [self._emit.loop("lane", exist)]
        return [nullcontext(consecutive(first, n)) for first, n in pieces(keys % COLUMNS)]

    def _fold(self, blocks: Expr, first: Expr, step: Callable[[Expr, Expr], Expr]) -> list[Buffer]:
        """Folds of blocks of a line, each of every fourth one."""
        emit, vector = self._emit, consecutive(0, COLUMNS)
        folds = [emit.registers("fold", DType.F32, COLUMNS) for _ in range(_ACCUMULATORS)]
        for register in folds:
            emit.store(register, vector, first)
        groups = emit.opaque(tirx.truncdiv(blocks, index(_ACCUMULATORS)), "groups")
        with emit.loop("group", groups) as group:
            for number, register in enumerate(folds):
                block = emit.bind(plus(times(group, _ACCUMULATORS), number))
                emit.store(register, vector, step(emit.bind(whole_vector(emit, register)), block))
        done = emit.bind(groups * index(_ACCUMULATORS), "done")
        with emit.loop("block", emit.bind(blocks - done), start=done) as block:
            emit.store(folds[0], vector, step(emit.bind(whole_vector(emit, folds[0])), block))
        return folds

    def _joined(self, folds: Sequence[Buffer], combine: Callable[[Expr, Expr], Expr]) -> Expr:
        """All lanes of all folds together."""
        emit = self._emit
        values = [emit.bind(whole_vector(emit, register)) for register in folds]
        while len(values) > 1:
            pairs = zip(values[::2], values[1::2], strict=True)
            values = [emit.opaque(combine(a, b)) for a, b in pairs]
        return emit.opaque(across_lanes(emit, values[0], combine))

    def _is_whole(self) -> bool:
        """Whether every stretch is certainly whole blocks."""
        keys = self._form.keys
        return isinstance(keys, int) and keys % COLUMNS == 0


def pieces(lanes: int) -> list[tuple[int, int]]:
    """Fewer lanes than a vector has as the starts and lengths of shorter vectors."""
    found, done = [], 0
    for size in (8, 4, 2, 1):
        if lanes & size:
            found.append((done, size))
            done += size
    return found


def blocks_of(emit: Emitter, count: Expr) -> Expr:
    """Blocks that hold so many columns."""
    return emit.opaque(tirx.truncdiv(plus(count, COLUMNS - 1), index(COLUMNS)), "blocks")


def whole_vector(emit: Emitter, register: Buffer) -> Expr:
    """All 16 lanes of a register."""
    return emit.load(register, consecutive(0, COLUMNS))
