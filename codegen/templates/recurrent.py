"""LSTM, GRU and simple RNN: a task walks the steps of one direction for up to four sequences.

The weights are packed in blocks of hidden units (the pass `pack-recurrent`): a step reads the
recurrent ones front to back, multiplies them with the state (`recurrent_sums`), and applies the
activations of a block while the sums of its gates are at hand (`recurrent_cells`). What does not
depend on the state, the inputs' share of the gates, is calculated for several steps at a time.

Steps walk the blocks back and forth in turn, so that each begins with the weights that the last one
left in the cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from tvm import tirx

from bireme.codegen.index import plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.activations import Activation, activations
from bireme.codegen.templates.common import Emission, Work, unravel, vector_lanes
from bireme.codegen.templates.recurrent_cells import Cells, Step
from bireme.codegen.templates.recurrent_layer import STATES, Layer
from bireme.codegen.templates.recurrent_sums import Sums
from bireme.codegen.templates.vectors import each_vector
from bireme.codegen.tir import Buffer, Expr, const, index
from bireme.ir import Graph, Op, Value, ceildiv

# Activations of each op in one direction.
_ACTIVATIONS = {"lstm": 3, "gru": 2, "rnn": 1}


def matches(graph: Graph) -> bool:
    """Whether the group is a recurrent layer with packed weights."""
    return anchor_of(graph) is not None


def anchor_of(graph: Graph) -> Op | None:
    """The recurrent op of a group, if that is what the group is."""
    found = [op for op in graph.body.ops if op.name in STATES and op.attrs["block"] > 1]
    return found[0] if len(found) == 1 else None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`."""
    anchor = anchor_of(e.graph)
    assert anchor is not None
    return _Walk(Layer(e, anchor)).all()


class _Walk:
    """Emits the walk of a layer."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.emit, self.at, self.sums = layer, layer.emit, layer.at, Sums(layer)

    def all(self) -> Work:
        layer = self.layer
        e, emit = layer.e, self.emit
        offsets, total = layer.layout()
        layer.place(offsets)
        chunks = ceildiv(layer.sizes[1], layer.sequences)
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            direction, chunk = unravel(emit, task, [index(layer.directions), emit.dim(chunks)])
            layer.first = emit.bind(times(chunk, layer.sequences), "first")
            layer.count = self._count()
            if layer.directions == 1 or self._alike():
                self._walk(direction if layer.directions > 1 else index(0), 0)
            else:
                for d in range(layer.directions):
                    with emit.when(a.equal(direction, index(d))):
                        self._walk(index(d), d)
        return Work(chunks * layer.directions, total * layer.dtype.bytes)

    def _count(self) -> Expr:
        """Sequences of this task."""
        layer = self.layer
        batch = layer.sizes[1]
        if isinstance(batch, int) and batch % layer.sequences == 0:
            return index(layer.sequences)
        return self.emit.opaque(
            tirx.min(index(layer.sequences), layer.batch - layer.first), "sequences"
        )

    def _alike(self) -> bool:
        """Whether both directions have the same activations."""
        layer = self.layer
        names = layer.attrs["activations"]
        half = len(names) // 2
        return (
            names[:half] == names[half:] and not layer.attrs["alphas"] and not layer.attrs["betas"]
        )

    def _walk(self, direction: Expr, activation: int) -> None:
        """All steps of a direction for the sequences from `first` on."""
        layer = self.layer
        emit, count = self.emit, _ACTIVATIONS[layer.op.name]
        layer.direction = direction
        self.functions: Sequence[Activation] = list(
            islice(activations(layer.attrs), activation * count, (activation + 1) * count)
        )
        self._start()
        runs = emit.opaque(
            tirx.truncdiv(layer.steps + index(layer.together - 1), index(layer.together))
        )
        with emit.when(layer.steps > index(0)):
            self._gather(index(0))
            self.sums.project(index(0))
        with emit.loop("run", runs) as run:
            start = emit.bind(times(run, layer.together), "start")
            here = emit.bind(tirx.bitwise_and(run, index(1)), "here")
            there = emit.bind(index(1) - here, "there")
            more = run + index(1) < runs
            with emit.when(more):
                self._gather(emit.bind(start + index(layer.together)))
            length = emit.opaque(tirx.min(index(layer.together), layer.steps - start), "length")
            with emit.loop("step", length) as step:
                self._step(start, step, here, there, more)
            ahead = self.sums.is_interleaved()
            if ahead is not True:
                with self.emit.when(more, None if ahead is False else layer.count > index(1)):
                    self.sums.project(there)
        self._finish(emit.bind(tirx.bitwise_and(layer.steps, index(1))))

    def _time(self, step: Expr) -> Expr:
        """The place in the sequence that a step looks at."""
        layer = self.layer
        if layer.attrs["direction"] == "forward":
            return step
        back = layer.steps - index(1) - step
        if layer.attrs["direction"] == "reverse":
            return back
        return step + layer.direction * (back - step)

    def _start(self) -> None:
        """Initial states and peephole weights to scratch memory."""
        layer = self.layer
        emit, lanes = self.emit, vector_lanes(layer.dtype.bits)
        last = plus(layer.padded, -layer.lanes)
        empty = const(0, layer.dtype.label)
        for number, value in enumerate(layer.initial):
            with emit.loop("sequence", layer.count) as b:
                base = layer.hidden_at(index(0), b) if number == 0 else layer.row(layer.cell, b)
                base = emit.bind(base)
                emit.store(layer.memory, layer.block(plus(base, last)), empty)

                def copy(unit: Expr, _: int, value: Value = value, base: Expr = base) -> None:
                    given = self.at(value, [layer.direction, plus(layer.first, b), unit])
                    emit.store(layer.memory, plus(unit, base), given)

                each_vector(emit, layer.hidden, lanes, copy)
        if layer.peepholes is None:
            return
        holes = layer.peepholes
        for number in range(3):
            base = emit.bind(plus(layer.holes, times(layer.padded, number)))
            first = emit.bind(times(layer.hidden, number))
            emit.store(layer.memory, layer.block(plus(base, last)), empty)

            def keep(unit: Expr, _: int, base: Expr = base, first: Expr = first) -> None:
                weight = self.at(holes, [layer.direction, plus(unit, first)])
                emit.store(layer.memory, plus(unit, base), weight)

            each_vector(emit, layer.hidden, lanes, keep)

    def _finish(self, parity: Expr) -> None:
        """Last states from scratch memory to the results."""
        layer = self.layer
        emit, lanes = self.emit, vector_lanes(layer.dtype.bits)
        for number, value in enumerate(layer.op.results[1:]):
            buffer = layer.buffer(value)
            if buffer is None:
                continue
            with emit.loop("sequence", layer.count) as b:
                base = layer.hidden_at(parity, b) if number == 0 else layer.row(layer.cell, b)
                base = emit.bind(base)

                def copy(unit: Expr, _: int, buffer: Buffer = buffer, base: Expr = base) -> None:
                    where = buffer.offset([layer.direction, plus(layer.first, b), unit])
                    emit.store(buffer, where, layer.load(plus(unit, base)))

                each_vector(emit, layer.hidden, lanes, copy)

    def _gather(self, start: Expr) -> None:
        """Copies the inputs of the steps from `start` on to scratch memory, those of all steps
        together side by side; steps that do not exist repeat the last.
        """
        layer = self.layer
        emit, together = self.emit, layer.together
        with emit.loop("sequence", layer.count) as b:
            at = plus(layer.first, b)
            base = emit.bind(plus(times(b, layer.inputs * index(together)), layer.columns))
            moments = [
                emit.bind(self._time(tirx.min(start + index(j), layer.steps - index(1))))
                for j in range(together)
            ]
            with emit.loop("k", layer.inputs) as k:
                for j, time in enumerate(moments):
                    where = plus(times(k, together), plus(base, j))
                    emit.store(layer.memory, where, self.at(layer.x, [time, at, k]))

    def _step(self, start: Expr, step: Expr, here: Expr, there: Expr, more: Expr) -> None:
        """Step number `start + step`; its share is in half `here`, later ones go to `there`."""
        layer = self.layer
        emit = self.emit
        number = emit.bind(start + step, "number")
        time = emit.bind(self._time(number), "time")
        parity = emit.bind(tirx.bitwise_and(number, index(1)), "old")
        next_parity = emit.bind(index(1) - parity, "new")
        shares = emit.bind(plus(times(step, layer.lanes), layer.share_at(here, index(0), index(0))))
        for part in Cells(
            self.layer, self.functions, Step(time, parity, next_parity, shares)
        ).parts():
            # Blocks forth in even steps, back in odd ones.
            turn = emit.bind(parity * (layer.blocks - index(1)))
            sign = emit.bind(index(1) - parity * index(2))
            with emit.loop("block", layer.blocks) as i:
                block = emit.bind(turn + i * sign, "block")
                piece = emit.bind(step * layer.blocks + i, "piece") if part.gates[0] == 0 else None
                self.sums.products(part, block, piece, there, more)
                with emit.loop("sequence", layer.count) as b:
                    part.finish(b, block)
