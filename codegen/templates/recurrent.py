"""LSTM, GRU and simple RNN: a task walks the steps of one direction for up to four sequences.

The weights are packed in blocks of hidden units (the pass `pack-recurrent`): a step reads the
recurrent ones front to back, multiplies them with the state, and applies the activations of a block
while the sums of its gates are at hand. What does not depend on the state, the inputs' share of the
gates, is a matrix product over several steps at a time, so that each input weight loaded is used
for all of them.

With one sequence, a step waits for the recurrent weights: they are as large as the second-level
cache, and are used once. The multiply-add units idle half of that time. Where registers suffice,
the same loop therefore calculates the inputs' share of the *next* few steps in between. Steps walk
the blocks back and forth in turn, so that each begins with the weights that the last one left in
the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice, product

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.index import consecutive, plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.activations import Activation, activations
from bireme.codegen.rules.folding import add, multiply, subtract
from bireme.codegen.templates.common import Emission, Work, unravel, vector_lanes
from bireme.codegen.templates.vectors import each_vector
from bireme.codegen.tir import Buffer, Expr, const, index, is_int, match, select
from bireme.ir import Dim, DType, Graph, Op, Value, ceildiv

# States and activations of each op.
_STATES = {"lstm": 2, "gru": 1, "rnn": 1}
_ACTIVATIONS = {"lstm": 3, "gru": 2, "rnn": 1}
# Steps whose share of the inputs is calculated together, by number of gates: multiples of it.
_TOGETHER = {4: 8, 3: 6, 1: 8}
# Sequences that a task walks together.
_SEQUENCES = 4


def matches(graph: Graph) -> bool:
    """Whether the group is a recurrent layer with packed weights."""
    return anchor_of(graph) is not None


def anchor_of(graph: Graph) -> Op | None:
    """The recurrent op of a group, if that is what the group is."""
    found = [op for op in graph.body.ops if op.name in _STATES and op.attrs["block"] > 1]
    return found[0] if len(found) == 1 else None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`."""
    anchor = anchor_of(e.graph)
    assert anchor is not None
    return _Kernel(e, anchor).emit()


@dataclass(frozen=True)
class _Part:
    """A part of a step: gates to sum up over a state, then what is done for each block of units.

    `state(sequence)` is where the state of a sequence starts in scratch memory; `finish(sequence,
    block)` is called when the sums of a block are in `gates`.
    """

    gates: tuple[int, ...]
    state: Callable[[Expr], Expr]
    finish: Callable[[Expr, Expr], None]


class _Kernel:
    """Emits one recurrent op. Elements of the states stand in scratch memory, in whole blocks."""

    def __init__(self, e: Emission, op: Op) -> None:
        self.e, self.op, self.emit_, self.at = e, op, e.emit, e.evaluator.at
        self.attrs = op.attrs
        self.states = _STATES[op.name]
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
        # Registers that a block of units takes.
        self.width = max(1, lanes * self.dtype.bits // e.level.vector_bits)
        self.heights = [n for n in (4, 2, 1) if n <= self.sequences and self._tile_gates(n)]
        sums = gates * self._chains() + self.together
        self.interleaves = (sums + 1) * self.width + 2 <= self.registers

    # --- scratch memory ---------------------------------------------------------------------------

    def _layout(self) -> tuple[list[Dim], Dim]:
        """Offsets, in elements, of the regions named in `emit`, and the end of all."""
        blocks, _ = self.unit_dims
        units = blocks * self.lanes
        rows = self.sequences
        sizes: list[Dim] = [
            self.sizes[2] * (rows * self.together),
            units * (2 * rows * self.together * self.gates),
            rows * self.gates * self.lanes,
            units * (2 * rows),
            units * rows,
            units * rows,
            units * (3 if self.peepholes is not None else 0),
        ]
        offsets: list[Dim] = [0]
        for size in sizes:
            offsets.append(offsets[-1] + ceildiv(size, 16) * 16)
        return offsets[:-1], offsets[-1]

    def emit(self) -> Work:
        e, emit = self.e, self.emit_
        offsets, total = self._layout()
        regions = [emit.dim(o) for o in offsets]
        # Inputs of the steps together, transposed; their share of the gates, two of it; sums of a
        # block; the hidden state, old and new; the cell, or the update gate; the hidden state
        # scaled by the reset gate; peephole weights.
        self.columns, self.share, self.sums, self.state, self.cell, self.scaled, self.holes = (
            regions
        )
        self.memory = workspace_view(emit, e.workspace, index(0), self.dtype)
        chunks = ceildiv(self.sizes[1], self.sequences)
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            direction, chunk = unravel(emit, task, [index(self.directions), emit.dim(chunks)])
            self.first = emit.bind(times(chunk, self.sequences), "first")
            self.count = self._count()
            if self.directions == 1 or self._alike():
                self._walk(direction if self.directions > 1 else index(0), 0)
            else:
                for d in range(self.directions):
                    with emit.when(a.equal(direction, index(d))):
                        self._walk(index(d), d)
        return Work(chunks * self.directions, total * self.dtype.bytes)

    def _count(self) -> Expr:
        """Sequences of this task."""
        batch = self.sizes[1]
        if isinstance(batch, int) and batch % self.sequences == 0:
            return index(self.sequences)
        return self.emit_.opaque(
            tirx.min(index(self.sequences), self.batch - self.first), "sequences"
        )

    def _alike(self) -> bool:
        """Whether both directions have the same activations."""
        names = self.attrs["activations"]
        half = len(names) // 2
        return names[:half] == names[half:] and not self.attrs["alphas"] and not self.attrs["betas"]

    def _load(self, offset: Expr) -> Expr:
        return self.emit_.bind(self.emit_.load(self.memory, offset))

    def _block(self, start: Expr) -> Expr:
        """The vector of units in scratch memory from an offset on."""
        return consecutive(start, self.lanes)

    def _hidden_at(self, parity: Expr, sequence: Expr) -> Expr:
        """Where the hidden state of a sequence starts; parity tells the two copies apart."""
        row = plus(times(parity, self.sequences), sequence)
        return plus(times(row, self.padded), self.state)

    def _row(self, region: Expr, sequence: Expr) -> Expr:
        """Where a sequence's units start in a region with one row a sequence."""
        return plus(times(sequence, self.padded), region)

    def _sum_at(self, sequence: Expr, gate: int) -> Expr:
        return plus(times(plus(times(sequence, self.gates), gate), self.lanes), self.sums)

    def _share_at(self, parity: Expr, sequence: Expr, column: Expr) -> Expr:
        """Where the shares of the steps together start, for a gate and block: its column."""
        row = plus(times(parity, self.sequences), sequence)
        column = plus(times(row, self.blocks * index(self.gates)), column)
        return plus(times(column, self.together * self.lanes), self.share)

    # --- one direction ----------------------------------------------------------------------------

    def _walk(self, direction: Expr, activation: int) -> None:
        """All steps of a direction for the sequences from `first` on."""
        emit, count = self.emit_, _ACTIVATIONS[self.op.name]
        self.d = direction
        self.functions: Sequence[Activation] = list(
            islice(activations(self.attrs), activation * count, (activation + 1) * count)
        )
        self._start()
        runs = emit.opaque(
            tirx.truncdiv(self.steps + index(self.together - 1), index(self.together))
        )
        with emit.when(self.steps > index(0)):
            self._gather(index(0))
            self._project(index(0))
        with emit.loop("run", runs) as run:
            start = emit.bind(times(run, self.together), "start")
            here = emit.bind(tirx.bitwise_and(run, index(1)), "here")
            there = emit.bind(index(1) - here, "there")
            more = run + index(1) < runs
            with emit.when(more):
                self._gather(emit.bind(start + index(self.together)))
            length = emit.opaque(tirx.min(index(self.together), self.steps - start), "length")
            with emit.loop("step", length) as step:
                self._step(start, step, here, there, more)
            ahead = self._is_interleaved()
            if ahead is not True:
                with self.emit_.when(more, None if ahead is False else self.count > index(1)):
                    self._project(there)
        self._finish(emit.bind(tirx.bitwise_and(self.steps, index(1))))

    def _is_interleaved(self) -> bool | None:
        """Whether steps calculate the share of later ones; None: when there is one sequence."""
        if not self.interleaves:
            return False
        return int(self.count) == 1 if is_int(self.count) else None

    def _time(self, step: Expr) -> Expr:
        """The place in the sequence that a step looks at."""
        if self.attrs["direction"] == "forward":
            return step
        back = self.steps - index(1) - step
        if self.attrs["direction"] == "reverse":
            return back
        return step + self.d * (back - step)

    def _start(self) -> None:
        """Initial states and peephole weights to scratch memory."""
        emit, lanes = self.emit_, vector_lanes(self.dtype.bits)
        last = plus(self.padded, -self.lanes)
        empty = const(0, self.dtype.label)
        for number, value in enumerate(self.initial):
            with emit.loop("sequence", self.count) as b:
                base = self._hidden_at(index(0), b) if number == 0 else self._row(self.cell, b)
                base = emit.bind(base)
                emit.store(self.memory, self._block(plus(base, last)), empty)

                def copy(unit: Expr, _: int, value: Value = value, base: Expr = base) -> None:
                    given = self.at(value, [self.d, plus(self.first, b), unit])
                    emit.store(self.memory, plus(unit, base), given)

                each_vector(emit, self.hidden, lanes, copy)
        if self.peepholes is None:
            return
        holes = self.peepholes
        for number in range(3):
            base = emit.bind(plus(self.holes, times(self.padded, number)))
            first = emit.bind(times(self.hidden, number))
            emit.store(self.memory, self._block(plus(base, last)), empty)

            def keep(unit: Expr, _: int, base: Expr = base, first: Expr = first) -> None:
                weight = self.at(holes, [self.d, plus(unit, first)])
                emit.store(self.memory, plus(unit, base), weight)

            each_vector(emit, self.hidden, lanes, keep)

    def _finish(self, parity: Expr) -> None:
        """Last states from scratch memory to the results."""
        emit, lanes = self.emit_, vector_lanes(self.dtype.bits)
        for number, value in enumerate(self.op.results[1:]):
            buffer = self._buffer(value)
            if buffer is None:
                continue
            with emit.loop("sequence", self.count) as b:
                base = self._hidden_at(parity, b) if number == 0 else self._row(self.cell, b)
                base = emit.bind(base)

                def copy(unit: Expr, _: int, buffer: Buffer = buffer, base: Expr = base) -> None:
                    where = buffer.offset([self.d, plus(self.first, b), unit])
                    emit.store(buffer, where, self._load(plus(unit, base)))

                each_vector(emit, self.hidden, lanes, copy)

    def _buffer(self, value: Value) -> Buffer | None:
        """Where a result is stored, if the group has that result."""
        for output, buffer in zip(self.e.graph.outputs, self.e.results, strict=True):
            if output == value:
                return buffer
        return None

    # --- the inputs' share ------------------------------------------------------------------------

    def _gather(self, start: Expr) -> None:
        """Copies the inputs of the steps from `start` on to scratch memory, those of all steps
        together side by side; steps that do not exist repeat the last.
        """
        emit, together = self.emit_, self.together
        with emit.loop("sequence", self.count) as b:
            at = plus(self.first, b)
            base = emit.bind(plus(times(b, self.inputs * index(together)), self.columns))
            moments = [
                emit.bind(self._time(tirx.min(start + index(j), self.steps - index(1))))
                for j in range(together)
            ]
            with emit.loop("k", self.inputs) as k:
                for j, time in enumerate(moments):
                    where = plus(times(k, together), plus(base, j))
                    emit.store(self.memory, where, self.at(self.x, [time, at, k]))

    def _project(self, parity: Expr) -> None:
        """The share of the inputs that are gathered, all gates and blocks."""
        emit = self.emit_
        most = (self.registers - 1) // self.width - 1
        height = max(n for n in range(1, self.together + 1) if not self.together % n and n <= most)
        columns = emit.opaque(self.blocks * index(self.gates))
        with emit.loop("column", columns) as column, emit.loop("sequence", self.count) as b:
            bias = self._bias(column)
            for start in range(0, self.together, height):
                rows = range(start, start + height)
                sums = [self._sum(bias) for _ in rows]
                self._share_steps(sums, rows, b, column, index(0), self.inputs)
                for j, register in zip(rows, sums, strict=True):
                    where = plus(self._share_at(parity, b, column), j * self.lanes)
                    self._keep(where, register)

    def _bias(self, column: Expr) -> Expr:
        """The bias of a gate and block."""
        if self._biases() == self.gates:
            return self.emit_.bind(self.at(self.b, [self.d, index(0), column, self.vector]))
        block = self.emit_.bind(tirx.truncdiv(column, index(self.gates)))
        return self.emit_.bind(
            self.at(self.b, [self.d, index(0), plus(column, block), self.vector])
        )

    def _biases(self) -> int:
        """Rows of biases of a block."""
        rows = self.b.type.shape[2]
        assert isinstance(rows, int)
        return rows

    def _share_steps(
        self,
        sums: Sequence[Buffer],
        rows: range,
        sequence: Expr,
        column: Expr,
        start: Expr,
        count: Expr,
    ) -> None:
        """Adds inputs `start` to `start + count`, times their weights, to sums of steps `rows`."""
        with self.emit_.loop("k", count, start=start) as k:
            for accumulate in self._share_terms(sums, rows, sequence, column, k):
                accumulate()

    def _share_terms(
        self, sums: Sequence[Buffer], rows: range, sequence: Expr, column: Expr, k: Expr
    ) -> list[Callable[[], None]]:
        """What adds one input, for one step after the other."""
        weight = self.emit_.bind(self.at(self.w, [self.d, index(0), column, k, self.vector]))
        k = plus(times(sequence, self.inputs), k)
        base = plus(times(k, self.together), self.columns)

        def accumulate(register: Buffer, j: int) -> None:
            self._add(register, weight, self._load(plus(base, j)))

        return [partial(accumulate, *each) for each in zip(sums, rows, strict=True)]

    # --- sums in registers ------------------------------------------------------------------------

    def _sum(self, start: Expr) -> Buffer:
        register = self.emit_.registers("sum", self.dtype, self.lanes)
        self.emit_.store(register, self.vector, start)
        return register

    def _add(self, register: Buffer, weight: Expr, element: Expr) -> None:
        weight, element = match(weight, element)
        total = add(self.emit_.load(register, self.vector), multiply(weight, element))
        self.emit_.store(register, self.vector, total)

    def _keep(self, where: Expr, register: Buffer) -> None:
        """A sum to scratch memory."""
        self.emit_.store(self.memory, self._block(where), self.emit_.load(register, self.vector))

    def _chains(self) -> int:
        """Sums of a gate that one sequence has, to hide the latency of additions."""
        chains = self.pieces
        while chains > 1 and (self.gates * chains + 1) * self.width + 2 > self.registers:
            chains //= 2
        return chains

    def _tile_gates(self, height: int) -> int:
        """Gates that a tile of so many sequences takes at a time; 0 when there is no room."""
        room = (self.registers - height) // self.width - 1
        return min(self.gates, room // height)

    # --- steps ------------------------------------------------------------------------------------

    def _step(self, start: Expr, step: Expr, here: Expr, there: Expr, more: Expr) -> None:
        """Step number `start + step`; its share is in half `here`, later ones go to `there`."""
        emit = self.emit_
        number = emit.bind(start + step, "number")
        self.time = emit.bind(self._time(number), "time")
        self.parity = emit.bind(tirx.bitwise_and(number, index(1)), "old")
        self.next_parity = emit.bind(index(1) - self.parity, "new")
        self.step_shares = emit.bind(
            plus(times(step, self.lanes), self._share_at(here, index(0), index(0)))
        )
        for part in _PARTS[self.op.name](self):
            # Blocks forth in even steps, back in odd ones.
            turn = emit.bind(self.parity * (self.blocks - index(1)))
            sign = emit.bind(index(1) - self.parity * index(2))
            with emit.loop("block", self.blocks) as i:
                block = emit.bind(turn + i * sign, "block")
                piece = emit.bind(step * self.blocks + i, "piece") if part.gates[0] == 0 else None
                self._products(part, block, piece, there, more)
                with emit.loop("sequence", self.count) as b:
                    part.finish(b, block)

    def _products(
        self, part: _Part, block: Expr, piece: Expr | None, there: Expr, more: Expr
    ) -> None:
        """Sums of a block for all sequences and, given a piece, of the share of later steps."""
        ahead = self._is_interleaved() if piece is not None else False
        if ahead is False:
            self._tiles(part, block)
            return
        single = None if ahead else a.equal(self.count, index(1))
        with self.emit_.when(single, more):
            self._interleaved(part, block, piece, there)
        with self.emit_.when(single, tirx.Not(more)):
            self._tile(part, block, index(0), 1)
        if single is not None:
            with self.emit_.when(self.count > index(1)):
                self._tiles(part, block)

    def _tiles(self, part: _Part, block: Expr) -> None:
        """Sums of a block for all sequences, a few at a time."""
        emit = self.emit_
        done, left = index(0), self.count
        for height in self.heights:
            tiles = emit.bind(tirx.truncdiv(left, index(height)))
            if not is_int(tiles) or int(tiles):
                with emit.loop("tile", tiles) as tile:
                    self._tile(part, block, emit.bind(plus(done, times(tile, height))), height)
            done = emit.bind(plus(done, times(tiles, height)))
            left = emit.bind(left - tiles * index(height))

    def _tile(self, part: _Part, block: Expr, first: Expr, height: int) -> None:
        """Sums of a block for `height` sequences."""
        most = self._tile_gates(height)
        for start in range(0, len(part.gates), most):
            self._tile_of(part, part.gates[start : start + most], block, first, height)

    def _tile_of(
        self, part: _Part, gates: Sequence[int], block: Expr, first: Expr, height: int
    ) -> None:
        """Sums of some gates."""
        emit = self.emit_
        chains = self._chains() if height == 1 else 1
        rows = [emit.bind(plus(first, i)) for i in range(height)]
        states = [emit.bind(part.state(row)) for row in rows]
        sums = self._zeros(range(height), gates, range(chains))

        def term(k: Expr, chain: int) -> None:
            elements = [self._load(plus(state, k)) for state in states]
            for gate in gates:
                weight = self._recurrent(block, k, gate)
                for row, element in enumerate(elements):
                    self._add(sums[row, gate, chain], weight, element)

        self._each_term(self.hidden, self.pieces if height == 1 else 1, chains, term)
        for row, sequence in enumerate(rows):
            for gate in gates:
                self._fold([sums[row, gate, chain] for chain in range(chains)])
                self._keep(self._sum_at(sequence, gate), sums[row, gate, 0])

    def _zeros(
        self, rows: Iterable[int], gates: Iterable[int], chains: Iterable[int]
    ) -> dict[tuple[int, int, int], Buffer]:
        """A sum for each sequence, gate and chain."""
        zero = const(0, self.dtype.label)
        return {key: self._sum(zero) for key in product(rows, gates, chains)}

    def _recurrent(self, block: Expr, k: Expr, gate: int) -> Expr:
        return self.emit_.bind(self.at(self.r, [self.d, block, k, index(gate), self.vector]))

    def _each_term(
        self, count: Expr, unroll: int, chains: int, term: Callable[[Expr, int], None]
    ) -> None:
        """`term(k, chain)` for all k below `count`."""
        emit = self.emit_
        rounds = emit.bind(tirx.truncdiv(count, index(unroll)))
        with emit.loop("k", rounds) as number:
            for j in range(unroll):
                term(plus(times(number, unroll), j), j % chains)
        self._rest(emit.bind(rounds * index(unroll)), count, term)

    def _rest(self, done: Expr, count: Expr, term: Callable[[Expr, int], None]) -> None:
        left = self.emit_.bind(count - done)
        if is_int(left) and int(left) == 0:
            return
        with self.emit_.loop("k", left, start=done) as k:
            term(k, 0)

    def _fold(self, sums: Sequence[Buffer]) -> None:
        """Adds all sums to the first."""
        first, *others = sums
        for other in others:
            total = add(self.emit_.load(first, self.vector), self.emit_.load(other, self.vector))
            self.emit_.store(first, self.vector, total)

    def _interleaved(self, part: _Part, block: Expr, piece: Expr, there: Expr) -> None:
        """Sums of a block for one sequence, and a piece of the share of later steps."""
        emit, pieces, chains = self.emit_, self.pieces, self._chains()
        zero = index(0)
        column = emit.opaque(tirx.truncdiv(piece, index(pieces)), "column")
        slot = emit.bind(piece - column * index(pieces), "slot")
        start = emit.bind(tirx.truncdiv(slot * self.inputs, index(pieces)), "start")
        end = emit.bind(tirx.truncdiv((slot + index(1)) * self.inputs, index(pieces)), "end")
        inputs = self.sizes[2]
        whole = isinstance(inputs, int) and inputs % pieces == 0
        length = index(inputs // pieces) if whole else emit.bind(end - start)
        together = emit.bind(tirx.min(tirx.truncdiv(self.hidden, index(pieces)), length), "both")
        share = emit.bind(self._share_at(there, zero, column))
        with emit.when(a.equal(slot, zero)):
            bias = self._bias(column)
            for j in range(self.together):
                emit.store(self.memory, self._block(plus(share, j * self.lanes)), bias)
        later = [
            self._sum(self._load(self._block(plus(share, j * self.lanes))))
            for j in range(self.together)
        ]
        state = emit.bind(part.state(zero))
        sums = self._zeros([0], part.gates, range(chains))

        def term(k: Expr, chain: int) -> None:
            element = self._load(plus(state, k))
            for gate in part.gates:
                self._add(sums[0, gate, chain], self._recurrent(block, k, gate), element)

        rows, each = range(self.together), self.together // pieces
        with emit.loop("k", together) as number:
            ahead = self._share_terms(later, rows, zero, column, plus(start, number))
            for j in range(pieces):
                term(plus(times(number, pieces), j), j % chains)
                for accumulate in ahead[j * each : (j + 1) * each]:
                    accumulate()
        self._rest(emit.bind(together * index(pieces)), self.hidden, term)
        if not (is_int(together) and is_int(length) and int(together) == int(length)):
            left = emit.bind(length - together)
            self._share_steps(later, rows, zero, column, emit.bind(start + together), left)
        for gate in part.gates:
            self._fold([sums[0, gate, chain] for chain in range(chains)])
            self._keep(self._sum_at(zero, gate), sums[0, gate, 0])
        for j, register in enumerate(later):
            self._keep(plus(share, j * self.lanes), register)

    # --- a block of units -------------------------------------------------------------------------

    def _clipped(self, value: Expr) -> Expr:
        limit = self.attrs["clip"]
        if limit <= 0:
            return value
        return a.minimum(a.maximum(value, a.like(-limit, value)), a.like(limit, value))

    def _activate(self, number: int, value: Expr) -> Expr:
        return self.emit_.bind(
            self.functions[number](self.emit_, self.emit_.bind(self._clipped(value)))
        )

    def _recurrent_sum(self, gate: int, sequence: Expr) -> Expr:
        return self._load(self._block(self._sum_at(sequence, gate)))

    def _input_sum(self, gate: int, sequence: Expr, block: Expr) -> Expr:
        """A gate's share of this step's input, with its biases."""
        column = plus(times(block, self.gates), gate)
        row = plus(times(sequence, self.blocks * index(self.gates)), column)
        return self._load(
            self._block(plus(times(row, self.together * self.lanes), self.step_shares))
        )

    def _gate(self, gate: int, sequence: Expr, block: Expr) -> Expr:
        """A gate before its activation."""
        return self.emit_.bind(
            add(self._recurrent_sum(gate, sequence), self._input_sum(gate, sequence, block))
        )

    def _units(self, base: Expr, block: Expr) -> Expr:
        """The offsets of a block's units in a row that starts at `base`."""
        return self._block(plus(base, times(block, self.lanes)))

    def _old(self, sequence: Expr, block: Expr) -> Expr:
        return self._load(self._units(self._hidden_at(self.parity, sequence), block))

    def _peephole(self, number: int, gate: Expr, cell: Expr, block: Expr) -> Expr:
        if self.peepholes is None:
            return gate
        base = plus(self.holes, times(self.padded, number))
        return self.emit_.bind(add(gate, multiply(self._load(self._units(base, block)), cell)))

    def _advance(self, sequence: Expr, block: Expr, hidden: Expr, cell: Expr | None = None) -> None:
        """Keeps new states and stores the step's output; after a sequence nothing changes."""
        emit = self.emit_
        output = hidden
        cells = self._units(self._row(self.cell, sequence), block)
        if self.lengths is not None:
            length = tirx.Cast("int64", self.at(self.lengths, [plus(self.first, sequence)]))
            alive = emit.bind(self.time < length, "alive")
            output = emit.bind(select(alive, hidden, a.like(0, hidden)))
            hidden = select(alive, hidden, self._old(sequence, block))
            if cell is not None:
                cell = select(alive, cell, self._load(cells))
        where = self._units(self._hidden_at(self.next_parity, sequence), block)
        emit.store(self.memory, where, hidden)
        if cell is not None:
            emit.store(self.memory, cells, cell)
        self._output(sequence, block, output)

    def _output(self, sequence: Expr, block: Expr, value: Expr) -> None:
        """Stores a block of the step's output; of the last block, what exists."""
        emit, buffer = self.emit_, self._buffer(self.op.results[0])
        if buffer is None:
            return
        place = [self.time, self.d, plus(self.first, sequence)]
        first = emit.bind(times(block, self.lanes))
        _, hidden = self.unit_dims
        left = self.hidden - first
        whole = isinstance(hidden, int) and hidden % self.lanes == 0
        with self.emit_.when(None if whole else left >= index(self.lanes)):
            emit.store(buffer, buffer.offset([*place, self._block(first)]), value)
        if whole:
            return
        with emit.when(left < index(self.lanes)):
            spare = emit.bind(self._sum_at(sequence, 0))
            emit.store(self.memory, self._block(spare), value)
            with emit.loop("unit", left) as unit:
                element = self._load(plus(spare, unit))
                emit.store(buffer, buffer.offset([*place, plus(first, unit)]), element)

    def _old_state(self, sequence: Expr) -> Expr:
        return self._hidden_at(self.parity, sequence)

    def lstm_parts(self) -> list[_Part]:
        def finish(sequence: Expr, block: Expr) -> None:
            cell = self._load(self._units(self._row(self.cell, sequence), block))
            i, o, forget, c = (self._gate(g, sequence, block) for g in range(4))
            i = self._activate(0, self._peephole(0, i, cell, block))
            if self.attrs["input_forget"]:
                forget = a.like(1, i) - i
            else:
                forget = self._activate(0, self._peephole(2, forget, cell, block))
            cell = self.emit_.bind(forget * cell + i * self._activate(1, c))
            out = self._activate(0, self._peephole(1, o, cell, block))
            shown = self.functions[2](self.emit_, cell)
            self._advance(sequence, block, self.emit_.bind(out * shown), cell)

        return [_Part((0, 1, 2, 3), self._old_state, finish)]

    def rnn_parts(self) -> list[_Part]:
        def finish(sequence: Expr, block: Expr) -> None:
            self._advance(sequence, block, self._activate(0, self._gate(0, sequence, block)))

        return [_Part((0,), self._old_state, finish)]

    def gru_parts(self) -> list[_Part]:
        if self.attrs["linear_before_reset"]:
            return [_Part((0, 1, 2), self._old_state, self._gru_linear)]
        return [
            _Part((0, 1), self._old_state, self._gru_reset),
            _Part((2,), lambda sequence: self._row(self.scaled, sequence), self._gru_update),
        ]

    def _gru_linear(self, sequence: Expr, block: Expr) -> None:
        """All of a step: the reset gate scales the recurrent product."""
        update = self._activate(0, self._gate(0, sequence, block))
        reset = self._activate(0, self._gate(1, sequence, block))
        bias = self.at(self.b, [self.d, block, index(self.gates), self.vector])
        product = add(self._recurrent_sum(2, sequence), bias)
        new = add(self._input_sum(2, sequence, block), multiply(reset, product))
        self._gru_mix(sequence, block, update, self.emit_.bind(new))

    def _gru_reset(self, sequence: Expr, block: Expr) -> None:
        """Keeps the update gate, and the state scaled by the reset gate."""
        update = self._activate(0, self._gate(0, sequence, block))
        self.emit_.store(self.memory, self._units(self._row(self.cell, sequence), block), update)
        reset = self._activate(0, self._gate(1, sequence, block))
        where = self._units(self._row(self.scaled, sequence), block)
        self.emit_.store(self.memory, where, reset * self._old(sequence, block))

    def _gru_update(self, sequence: Expr, block: Expr) -> None:
        update = self._load(self._units(self._row(self.cell, sequence), block))
        self._gru_mix(sequence, block, update, self._gate(2, sequence, block))

    def _gru_mix(self, sequence: Expr, block: Expr, update: Expr, new: Expr) -> None:
        fresh = subtract(a.like(1, update), update) * self._activate(1, new)
        mixed = self.emit_.bind(fresh + update * self._old(sequence, block))
        self._advance(sequence, block, mixed)


_PARTS: dict[str, Callable[[_Kernel], list[_Part]]] = {
    "lstm": _Kernel.lstm_parts,
    "gru": _Kernel.gru_parts,
    "rnn": _Kernel.rnn_parts,
}
