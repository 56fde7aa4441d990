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
from bireme.codegen.templates.recurrent_layer import STATES, Layer, Moment, Part
from bireme.codegen.templates.recurrent_phases import Phases
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
    return Walk(Layer(e, anchor)).all()


class Walk:
    """Emits the walk of a layer."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.emit, self.at, self.sums = layer, layer.emit, layer.at, Sums(layer)

    def all(self) -> Work:
        layer = self.layer
        e, emit = layer.e, self.emit
        offsets, total = layer.layout()
        layer.place(offsets)
        chunks = ceildiv(layer.sizes[1], layer.sequences)
        phases = Phases(self, chunks) if layer.parts > 1 else None
        begin, end = e.begin, e.end
        if phases is not None:
            with emit.when(phases.is_part()):
                phases.emit_part()
            begin, end = phases.walks()
        with emit.loop("task", end - begin, start=begin) as task:
            direction, chunk = unravel(emit, task, [index(layer.directions), emit.dim(chunks)])
            layer.first = emit.bind(times(chunk, layer.sequences), "first")
            layer.count = self.sequences()
            if layer.directions == 1 or self._alike():
                self._walk(direction if layer.directions > 1 else index(0), 0)
            else:
                for d in range(layer.directions):
                    with emit.when(a.equal(direction, index(d))):
                        self._walk(index(d), d)
        scratch = total * layer.dtype.bytes
        if phases is not None:
            return Work(phases.tasks, scratch, phases.phase)
        return Work(chunks * layer.directions, scratch)

    def sequences(self) -> Expr:
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

    def use_activations(self, direction: int) -> None:
        """Takes the activations of a direction."""
        count = _ACTIVATIONS[self.layer.op.name]
        self.functions: Sequence[Activation] = list(
            islice(activations(self.layer.attrs), direction * count, (direction + 1) * count)
        )

    def _walk(self, direction: Expr, activation: int) -> None:
        """All steps of a direction for the sequences from `first` on."""
        layer = self.layer
        emit = self.emit
        layer.direction = direction
        self.use_activations(activation)
        self.start()
        runs = self.runs()
        with emit.when(layer.steps > index(0)):
            self.gather(index(0), index(0), layer.inputs)
            self.sums.project(index(0), index(0), layer.blocks)
        with emit.loop("run", runs) as run:
            start = emit.bind(times(run, layer.together), "start")
            here = emit.bind(tirx.bitwise_and(run, index(1)), "here")
            there = emit.bind(index(1) - here, "there")
            more = run + index(1) < runs
            with emit.when(more):
                self.gather(emit.bind(start + index(layer.together)), index(0), layer.inputs)
            length = emit.opaque(tirx.min(index(layer.together), layer.steps - start), "length")
            with emit.loop("step", length) as step:
                moment = Moment(start, step, here, there, more)
                for part in self.parts(moment):
                    self.blocks(part, moment, index(0), layer.blocks, None)
            self.project_later(there, index(0), layer.blocks, more)
        self.finish(emit.bind(tirx.bitwise_and(layer.steps, index(1))))

    def runs(self) -> Expr:
        """How many runs of steps together there are."""
        layer = self.layer
        steps = layer.steps + index(layer.together - 1)
        return self.emit.opaque(tirx.truncdiv(steps, index(layer.together)), "runs")

    def project_later(self, there: Expr, first: Expr, blocks: Expr, *conditions: Expr) -> None:
        """The share of the next run for some blocks, where the steps have not calculated it and all
        conditions hold.
        """
        ahead = self.sums.is_interleaved()
        if ahead is True:
            return
        several = None if ahead is False else self.layer.count > index(1)
        with self.emit.when(*conditions, several):
            self.sums.project(there, first, blocks)

    def _time(self, step: Expr) -> Expr:
        """The place in the sequence that a step looks at."""
        layer = self.layer
        if layer.attrs["direction"] == "forward":
            return step
        back = layer.steps - index(1) - step
        if layer.attrs["direction"] == "reverse":
            return back
        return step + layer.direction * (back - step)

    def start(self) -> None:
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

    def finish(self, parity: Expr) -> None:
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

    def gather(self, start: Expr, first: Expr, end: Expr) -> None:
        """Copies inputs `first` to `end` of the steps from `start` on to scratch memory, those of
        all steps together side by side; steps that do not exist repeat the last.
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
            with emit.loop("k", emit.bind(end - first), start=first) as k:
                for j, time in enumerate(moments):
                    where = plus(times(k, together), plus(base, j))
                    emit.store(layer.memory, where, self.at(layer.x, [time, at, k]))

    def parts(self, moment: Moment) -> list[Part]:
        """The parts of a step, in order."""
        layer, emit = self.layer, self.emit
        number = emit.bind(moment.start + moment.step, "number")
        time = emit.bind(self._time(number), "time")
        moment.parity = emit.bind(tirx.bitwise_and(number, index(1)), "old")
        parity = emit.bind(index(1) - moment.parity, "new")
        first = layer.share_at(moment.here, index(0), index(0))
        shares = emit.bind(plus(times(moment.step, layer.lanes), first))
        return Cells(layer, self.functions, Step(time, moment.parity, parity, shares)).parts()

    def blocks(
        self, part: Part, moment: Moment, first: Expr, count: Expr, size: int | None
    ) -> None:
        """A part of a step for `count` blocks of units from `first` on.

        Blocks are walked forth in even steps, back in odd ones. With `size`, so many blocks in a
        row have sums of their own in scratch memory, and calculate their own share of later steps.
        """
        layer, emit = self.layer, self.emit
        sums, parity = layer.sums, moment.parity
        turn = emit.bind(first + parity * (count - index(1)))
        sign = emit.bind(index(1) - parity * index(2))
        with emit.loop("block", count) as i:
            block = emit.bind(turn + i * sign, "block")
            piece = moment.step * (layer.blocks if size is None else index(size)) + i
            if size is not None:
                group = emit.opaque(tirx.truncdiv(block, index(size)), "group")
                place = block - group * index(size)
                back = index(size - 1) - place
                visit = place + parity * (back - place)
                own = group * index(size * layer.together)
                piece = own + moment.step * index(size) + visit
                layer.sums = emit.bind(
                    plus(sums, times(group, layer.sequences * layer.gates * layer.lanes))
                )
            ahead = emit.bind(piece, "piece") if part.gates[0] == 0 else None
            self.sums.products(part, block, ahead, moment.there, moment.more)
            with emit.loop("sequence", layer.count) as b:
                part.finish(b, block)
        layer.sums = sums
