"""The operands, sizes and scratch memory of a recurrent kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bireme.codegen.abi import workspace_view
from bireme.codegen.index import consecutive, plus, times
from bireme.codegen.templates.common import Emission, estimate
from bireme.codegen.tir import Buffer, Expr, index
from bireme.ir import Dim, DType, Op, Value, ceildiv

# States of each op.
STATES = {"lstm": 2, "gru": 1, "rnn": 1}
# Steps whose share of the inputs is calculated together, by number of gates: multiples of it.
_TOGETHER = {4: 8, 3: 6, 1: 8}
# Floating-point operations of a step from which on threads gain more than waiting for each other
# costs; and the most parts that a phase of the runtime may have.
_WORTH_DIVIDING = 400_000
_MOST_PARTS = 32
# Sequences that a task walks together.
_SEQUENCES = 4


@dataclass(frozen=True)
class Part:
    """A part of a step: gates to sum up over a state, then what is done for each block of units.

    `state(sequence)` is where the state of a sequence starts in scratch memory; `finish(sequence,
    block)` is called when the sums of a block are in `sums`.
    """

    gates: tuple[int, ...]
    state: Callable[[Expr], Expr]
    finish: Callable[[Expr, Expr], None]


@dataclass
class Moment:
    """Step `start + step`. Its share is in half `here`, those of later ones, if there are `more`,
    go to `there`; `parity` tells which copy of the hidden state it reads.
    """

    start: Expr
    step: Expr
    here: Expr
    there: Expr
    more: Expr
    parity: Expr = None


def parts_of(op: Op) -> int:
    """Parts of a step: a GRU whose reset gate scales the state has two."""
    return 2 if op.name == "gru" and not op.attrs["linear_before_reset"] else 1


class Layer:
    """One recurrent op. Elements of the states stand in scratch memory, in whole blocks.

    `first` and `count` are the sequences of the task at hand, `direction` is the one it walks.
    """

    first: Expr
    count: Expr
    direction: Expr

    def __init__(self, e: Emission, op: Op) -> None:
        self.e, self.op, self.emit, self.at = e, op, e.emit, e.evaluator.at
        self.attrs = op.attrs
        self.states = STATES[op.name]
        x, w, r, b, *rest = op.operands
        self.x, self.w, self.r, self.b = x, w, r, b
        self.initial, optional = rest[: self.states], rest[self.states :]
        self.lengths = optional[0] if optional else None
        self.peepholes = optional[1] if len(optional) > 1 else None
        self.sizes = _, batch, _ = x.type.shape
        directions, blocks, hidden, gates, lanes = r.type.shape
        assert isinstance(directions, int)
        assert isinstance(gates, int)
        assert isinstance(lanes, int)
        self.directions, self.gates, self.lanes = directions, gates, lanes
        self.unit_dims: tuple[Dim, Dim] = (blocks, hidden)
        self.together = _TOGETHER[gates]
        # The sum over the inputs of one gate and block is cut into so many pieces.
        self.pieces = self.together // gates
        self.sequences = min(_SEQUENCES, batch) if isinstance(batch, int) else _SEQUENCES
        self.steps, self.batch, self.inputs = (e.emit.dim(d) for d in self.sizes)
        self.blocks, self.hidden = e.emit.dim(blocks), e.emit.dim(hidden)
        self.padded = times(self.blocks, lanes)
        held = x.type.dtype
        self.dtype = DType.F32 if held in (DType.F16, DType.BF16) else held
        self.vector = consecutive(0, lanes)
        self.registers = e.level.registers
        self.parts = self._parts()
        # Registers that a block of units takes.
        self.width = max(1, lanes * self.dtype.bits // e.level.vector_bits)

    def _parts(self) -> int:
        """Into how many parts, of equally many blocks, the units of a step are worth dividing among
        threads; 0: into none. Two directions are two tasks already.
        """
        blocks, hidden = self.unit_dims
        if self.directions > 1 or not isinstance(blocks, int) or not isinstance(hidden, int):
            return 0
        step = 2 * self.gates * hidden * (hidden + estimate(self.sizes[2]))
        if step < _WORTH_DIVIDING or not hidden:
            return 0
        return max(n for n in range(1, _MOST_PARTS + 1) if blocks % n == 0)

    # --- scratch memory ---------------------------------------------------------------------------

    def layout(self) -> tuple[list[Dim], Dim]:
        """Offsets, in elements, of the regions that `place` names, and the end of all."""
        blocks, _ = self.unit_dims
        units = blocks * self.lanes
        rows = self.sequences
        sizes: list[Dim] = [
            self.sizes[2] * (rows * self.together),
            units * (2 * rows * self.together * self.gates),
            rows * self.gates * self.lanes * max(1, self.parts),
            units * (2 * rows),
            units * rows,
            units * rows,
            units * (3 if self.peepholes is not None else 0),
        ]
        offsets: list[Dim] = [0]
        for size in sizes:
            offsets.append(offsets[-1] + ceildiv(size, 16) * 16)
        return offsets[:-1], offsets[-1]

    def place(self, offsets: list[Dim]) -> None:
        """Names the regions of scratch memory."""
        # Inputs of the steps together, transposed; their share of the gates, two of it; sums of a
        # block; the hidden state, old and new; the cell, or the update gate; the hidden state
        # scaled by the reset gate; peephole weights.
        self.columns, self.share, self.sums, self.state, self.cell, self.scaled, self.holes = (
            self.emit.dim(o) for o in offsets
        )
        self.memory = workspace_view(self.emit, self.e.workspace, index(0), self.dtype)

    def load(self, offset: Expr) -> Expr:
        return self.emit.bind(self.emit.load(self.memory, offset))

    def block(self, start: Expr) -> Expr:
        """The vector of units in scratch memory from an offset on."""
        return consecutive(start, self.lanes)

    def hidden_at(self, parity: Expr, sequence: Expr) -> Expr:
        """Where the hidden state of a sequence starts; parity tells the two copies apart."""
        row = plus(times(parity, self.sequences), sequence)
        return plus(times(row, self.padded), self.state)

    def row(self, region: Expr, sequence: Expr) -> Expr:
        """Where a sequence's units start in a region with one row a sequence."""
        return plus(times(sequence, self.padded), region)

    def sum_at(self, sequence: Expr, gate: int) -> Expr:
        return plus(times(plus(times(sequence, self.gates), gate), self.lanes), self.sums)

    def share_at(self, parity: Expr, sequence: Expr, column: Expr) -> Expr:
        """Where the shares of the steps together start, for a gate and block: its column."""
        row = plus(times(parity, self.sequences), sequence)
        column = plus(times(row, self.blocks * index(self.gates)), column)
        return plus(times(column, self.together * self.lanes), self.share)

    def units(self, base: Expr, block: Expr) -> Expr:
        """The offsets of a block's units in a row that starts at `base`."""
        return self.block(plus(base, times(block, self.lanes)))

    def buffer(self, value: Value) -> Buffer | None:
        """Where a result is stored, if the group has that result."""
        for output, buffer in zip(self.e.graph.outputs, self.e.results, strict=True):
            if output == value:
                return buffer
        return None
