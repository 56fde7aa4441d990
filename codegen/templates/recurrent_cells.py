"""What a step of LSTM, GRU and simple RNN does with the sums of a block of hidden units."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tvm import tirx

from bireme.codegen.index import plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.activations import Activation
from bireme.codegen.rules.folding import add, multiply, subtract
from bireme.codegen.templates.recurrent_layer import Layer, Part
from bireme.codegen.tir import Expr, index, select


@dataclass(frozen=True)
class Step:
    """A step: its place in the sequence, the copy of the hidden state that it reads and the one
    that it writes, and where its shares start.
    """

    time: Expr
    parity: Expr
    next_parity: Expr
    shares: Expr


class Cells:
    """Emits the cells of one layer at one step, with the activations of its direction."""

    def __init__(self, layer: Layer, functions: Sequence[Activation], step: Step) -> None:
        self.layer, self.emit, self.at = layer, layer.emit, layer.at
        self.functions, self.step = functions, step

    def parts(self) -> list[Part]:
        """The parts of a step, in order."""
        return _PARTS[self.layer.op.name](self)

    def _clipped(self, value: Expr) -> Expr:
        limit = self.layer.attrs["clip"]
        if limit <= 0:
            return value
        return a.minimum(a.maximum(value, a.like(-limit, value)), a.like(limit, value))

    def _activate(self, number: int, value: Expr) -> Expr:
        return self.emit.bind(
            self.functions[number](self.emit, self.emit.bind(self._clipped(value)))
        )

    def _recurrent_sum(self, gate: int, sequence: Expr) -> Expr:
        layer = self.layer
        return layer.load(layer.block(layer.sum_at(sequence, gate)))

    def _input_sum(self, gate: int, sequence: Expr, block: Expr) -> Expr:
        """A gate's share of this step's input, with its biases."""
        layer = self.layer
        column = plus(times(block, layer.gates), gate)
        row = plus(times(sequence, layer.blocks * index(layer.gates)), column)
        return layer.load(
            layer.block(plus(times(row, layer.together * layer.lanes), self.step.shares))
        )

    def _gate(self, gate: int, sequence: Expr, block: Expr) -> Expr:
        """A gate before its activation."""
        return self.emit.bind(
            add(self._recurrent_sum(gate, sequence), self._input_sum(gate, sequence, block))
        )

    def _old(self, sequence: Expr, block: Expr) -> Expr:
        layer = self.layer
        return layer.load(layer.units(layer.hidden_at(self.step.parity, sequence), block))

    def _peephole(self, number: int, gate: Expr, cell: Expr, block: Expr) -> Expr:
        layer = self.layer
        if layer.peepholes is None:
            return gate
        base = plus(layer.holes, times(layer.padded, number))
        return self.emit.bind(add(gate, multiply(layer.load(layer.units(base, block)), cell)))

    def _advance(self, sequence: Expr, block: Expr, hidden: Expr, cell: Expr | None = None) -> None:
        """Keeps new states and stores the step's output; after a sequence nothing changes."""
        layer = self.layer
        emit = self.emit
        output = hidden
        cells = layer.units(layer.row(layer.cell, sequence), block)
        if layer.lengths is not None:
            length = tirx.Cast("int64", self.at(layer.lengths, [plus(layer.first, sequence)]))
            alive = emit.bind(self.step.time < length, "alive")
            output = emit.bind(select(alive, hidden, a.like(0, hidden)))
            hidden = select(alive, hidden, self._old(sequence, block))
            if cell is not None:
                cell = select(alive, cell, layer.load(cells))
        where = layer.units(layer.hidden_at(self.step.next_parity, sequence), block)
        emit.store(layer.memory, where, hidden)
        if cell is not None:
            emit.store(layer.memory, cells, cell)
        self._output(sequence, block, output)

    def _output(self, sequence: Expr, block: Expr, value: Expr) -> None:
        """Stores a block of the step's output; of the last block, what exists."""
        layer = self.layer
        emit, buffer = self.emit, layer.buffer(layer.op.results[0])
        if buffer is None:
            return
        place = [self.step.time, layer.direction, plus(layer.first, sequence)]
        first = emit.bind(times(block, layer.lanes))
        _, hidden = layer.unit_dims
        left = layer.hidden - first
        whole = isinstance(hidden, int) and hidden % layer.lanes == 0
        with self.emit.when(None if whole else left >= index(layer.lanes)):
            emit.store(buffer, buffer.offset([*place, layer.block(first)]), value)
        if whole:
            return
        with emit.when(left < index(layer.lanes)):
            spare = emit.bind(layer.sum_at(sequence, 0))
            emit.store(layer.memory, layer.block(spare), value)
            with emit.loop("unit", left) as unit:
                element = layer.load(plus(spare, unit))
                emit.store(buffer, buffer.offset([*place, plus(first, unit)]), element)

    def _old_state(self, sequence: Expr) -> Expr:
        return self.layer.hidden_at(self.step.parity, sequence)

    def lstm(self) -> list[Part]:
        layer = self.layer

        def finish(sequence: Expr, block: Expr) -> None:
            cell = layer.load(layer.units(layer.row(layer.cell, sequence), block))
            i, o, forget, c = (self._gate(g, sequence, block) for g in range(4))
            i = self._activate(0, self._peephole(0, i, cell, block))
            if layer.attrs["input_forget"]:
                forget = a.like(1, i) - i
            else:
                forget = self._activate(0, self._peephole(2, forget, cell, block))
            cell = self.emit.bind(forget * cell + i * self._activate(1, c))
            out = self._activate(0, self._peephole(1, o, cell, block))
            shown = self.functions[2](self.emit, cell)
            self._advance(sequence, block, self.emit.bind(out * shown), cell)

        return [Part((0, 1, 2, 3), self._old_state, finish)]

    def rnn(self) -> list[Part]:
        def finish(sequence: Expr, block: Expr) -> None:
            self._advance(sequence, block, self._activate(0, self._gate(0, sequence, block)))

        return [Part((0,), self._old_state, finish)]

    def gru(self) -> list[Part]:
        layer = self.layer
        if layer.attrs["linear_before_reset"]:
            return [Part((0, 1, 2), self._old_state, self._gru_linear)]
        return [
            Part((0, 1), self._old_state, self._gru_reset),
            Part((2,), lambda sequence: layer.row(layer.scaled, sequence), self._gru_update),
        ]

    def _gru_linear(self, sequence: Expr, block: Expr) -> None:
        """All of a step: the reset gate scales the recurrent product."""
        layer = self.layer
        update = self._activate(0, self._gate(0, sequence, block))
        reset = self._activate(0, self._gate(1, sequence, block))
        bias = self.at(layer.b, [layer.direction, block, index(layer.gates), layer.vector])
        product = add(self._recurrent_sum(2, sequence), bias)
        new = add(self._input_sum(2, sequence, block), multiply(reset, product))
        self._gru_mix(sequence, block, update, self.emit.bind(new))

    def _gru_reset(self, sequence: Expr, block: Expr) -> None:
        """Keeps the update gate, and the state scaled by the reset gate."""
        layer = self.layer
        update = self._activate(0, self._gate(0, sequence, block))
        self.emit.store(layer.memory, layer.units(layer.row(layer.cell, sequence), block), update)
        reset = self._activate(0, self._gate(1, sequence, block))
        where = layer.units(layer.row(layer.scaled, sequence), block)
        self.emit.store(layer.memory, where, reset * self._old(sequence, block))

    def _gru_update(self, sequence: Expr, block: Expr) -> None:
        layer = self.layer
        update = layer.load(layer.units(layer.row(layer.cell, sequence), block))
        self._gru_mix(sequence, block, update, self._gate(2, sequence, block))

    def _gru_mix(self, sequence: Expr, block: Expr, update: Expr, new: Expr) -> None:
        fresh = subtract(a.like(1, update), update) * self._activate(1, new)
        mixed = self.emit.bind(fresh + update * self._old(sequence, block))
        self._advance(sequence, block, mixed)


_PARTS: dict[str, Callable[[Cells], list[Part]]] = {
    "lstm": Cells.lstm,
    "gru": Cells.gru,
    "rnn": Cells.rnn,
}
