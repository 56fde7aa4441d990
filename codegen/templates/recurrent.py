"""LSTM, GRU and simple RNN: a task walks the steps of one direction for a few sequences of the
batch.

Everything that does not depend on the state comes first: the inputs of all steps times the input
weights, as one matrix product into scratch memory. A step then is a product of the state with the
recurrent weights, and an element-wise pass over the hidden units. Both products are dot products of
rows as they lie in memory, several rows and several columns (steps, or sequences) at a time so that
each vector loaded is used often.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

from tvm import tirx

from bireme.codegen.abi import workspace_view
from bireme.codegen.index import consecutive, plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.activations import Activation, activations
from bireme.codegen.rules.folding import add, multiply, subtract
from bireme.codegen.templates.common import Emission, Work, unravel, vector_lanes
from bireme.codegen.templates.vectors import each_vector, sums_of_lanes
from bireme.codegen.tir import Expr, const, index, select
from bireme.ir import Dim, DType, Graph, Op, ceildiv

# Gates, states and activations of each op.
_GATES = {"lstm": 4, "gru": 3, "rnn": 1}
_STATES = {"lstm": 2, "gru": 1, "rnn": 1}
_ACTIVATIONS = {"lstm": 3, "gru": 2, "rnn": 1}
# Sequences that a task walks together, and steps that the input product takes together.
_SEQUENCES = (4, 2)
_STEPS = 4
# A task should have at least this many others beside it before it takes more than one sequence.
_LEAST_TASKS = 4


def matches(graph: Graph) -> bool:
    """Whether the group is a recurrent layer."""
    return anchor_of(graph) is not None


def anchor_of(graph: Graph) -> Op | None:
    """The recurrent op of a group, if that is what the group is."""
    found = [op for op in graph.body.ops if op.name in _GATES]
    return found[0] if len(found) == 1 else None


def emit(e: Emission) -> Work:
    """Emits a group that `matches`."""
    anchor = anchor_of(e.graph)
    assert anchor is not None
    return _Kernel(e, anchor).emit()


def _sequences(batch: Dim, directions: int) -> int:
    """Sequences a task takes: a number that divides the batch."""
    if not isinstance(batch, int):
        return 1
    fitting = (n for n in _SEQUENCES if batch % n == 0 and batch // n * directions >= _LEAST_TASKS)
    return next(fitting, 1)


class _Kernel:
    """Emits one recurrent op. Scratch memory holds, one after the other: the inputs' share of the
    gates for every step and sequence, the gates of a step, and two copies of each state (old and
    new) and of the state that the reset gate has scaled.
    """

    def __init__(self, e: Emission, op: Op) -> None:
        self.e, self.op, self.emit_, self.at = e, op, e.emit, e.evaluator.at
        self.attrs = op.attrs
        self.gates, self.states = _GATES[op.name], _STATES[op.name]
        x, w, r, b, *rest = op.operands
        self.x, self.w, self.r, self.b = x, w, r, b
        self.initial, optional = rest[: self.states], rest[self.states :]
        self.lengths = optional[0] if optional else None
        self.peepholes = optional[1] if len(optional) > 1 else None
        steps, batch, inputs = x.type.shape
        directions, _, hidden = r.type.shape
        assert isinstance(directions, int)
        self.directions = directions
        self.sequences = _sequences(batch, self.directions)
        self.sizes = (steps, batch, inputs, hidden)
        self.steps, self.batch, self.inputs, self.hidden = (e.emit.dim(d) for d in self.sizes)
        self.rows = e.emit.dim(hidden * self.gates)
        held = x.type.dtype
        self.dtype = DType.F32 if held in (DType.F16, DType.BF16) else held
        self.lanes = vector_lanes(self.dtype.bits)

    # --- scratch memory ---------------------------------------------------------------------------

    def _layout(self) -> tuple[list[Dim], Dim]:
        """Offsets, in elements, of share, gates, states and scaled state; and the end of all."""
        steps, _, _, hidden = self.sizes
        unit = hidden * self.sequences
        sizes = [steps * unit * self.gates, unit * self.gates, unit * 2 * self.states, unit]
        offsets: list[Dim] = [0]
        for size in sizes:
            offsets.append(offsets[-1] + ceildiv(size, 16) * 16)
        return offsets[:-1], offsets[-1]

    def emit(self) -> Work:
        e, emit = self.e, self.emit_
        _, batch, _, _ = self.sizes
        offsets, total = self._layout()
        self.share, self.gate, self.state, self.scaled = (emit.dim(o) for o in offsets)
        self.memory = workspace_view(emit, e.workspace, index(0), self.dtype)
        chunks = ceildiv(batch, self.sequences)
        with emit.loop("task", e.end - e.begin, start=e.begin) as task:
            direction, chunk = unravel(emit, task, [index(self.directions), emit.dim(chunks)])
            first = emit.bind(times(chunk, self.sequences))
            if self.directions == 1:
                self._walk(0, first)
                return Work(chunks * self.directions, total * self.dtype.bytes)
            for d in range(self.directions):
                with emit.when(a.equal(direction, index(d))):
                    self._walk(d, first)
        return Work(chunks * self.directions, total * self.dtype.bytes)

    def _load(self, offset: Expr) -> Expr:
        return self.emit_.bind(self.emit_.load(self.memory, offset))

    def _place(self, region: Expr, sequence: Expr, i: Expr, size: Expr) -> Expr:
        """Offset of element `i` of a sequence in a region with `size` elements a sequence."""
        return plus(plus(times(sequence, size), i), region)

    def _state(self, number: int, parity: Expr, sequence: Expr, i: Expr) -> Expr:
        """Offset of a state's element; parity tells the two copies apart."""
        copy = plus(times(parity, self.states), number)
        region = plus(times(copy, self.hidden * index(self.sequences)), self.state)
        return self._place(region, sequence, i, self.hidden)

    # --- one direction ----------------------------------------------------------------------------

    def _walk(self, d: int, first: Expr) -> None:
        """All steps of direction `d` for the sequences from `first` on."""
        emit, count = self.emit_, _ACTIVATIONS[self.op.name]
        self.d, self.first = d, first
        self.functions: Sequence[Activation] = list(
            islice(activations(self.attrs), d * count, (d + 1) * count)
        )
        backward = d == 1 or self.attrs["direction"] == "reverse"
        self._input_share()
        self._each_unit(self._start)
        with emit.loop("step", self.steps) as step:
            time = emit.bind(self.steps - index(1) - step) if backward else step
            self.time = time
            self.parity = emit.bind(tirx.bitwise_and(step, index(1)))
            self.next_parity = emit.bind(index(1) - self.parity)
            _STEP[self.op.name](self)
        self.parity = emit.bind(tirx.bitwise_and(self.steps, index(1)))
        self._each_unit(self._finish)

    def _each_unit(self, body: Callable[[Expr, Expr], None]) -> None:
        """Visits (sequence, hidden units): all of them, some more than once."""
        with self.emit_.loop("sequence", index(self.sequences)) as sequence:
            each_vector(
                self.emit_, self.hidden, self.lanes, lambda unit, width: body(sequence, unit)
            )

    def _start(self, sequence: Expr, unit: Expr) -> None:
        for number, value in enumerate(self.initial):
            given = self.at(value, [index(self.d), plus(self.first, sequence), unit])
            self.emit_.store(self.memory, self._state(number, index(0), sequence, unit), given)

    def _finish(self, sequence: Expr, unit: Expr) -> None:
        for number, value in enumerate(self.op.results[1:]):
            last = self._load(self._state(number, self.parity, sequence, unit))
            self._result(value, [index(self.d), plus(self.first, sequence), unit], last)

    def _result(self, value: object, at: list[Expr], element: Expr) -> None:
        """Stores an element of a result, if the group has that result."""
        for output, buffer in zip(self.e.graph.outputs, self.e.results, strict=True):
            if output == value:
                self.emit_.store(buffer, buffer.offset(at), element)

    # --- products ---------------------------------------------------------------------------------

    def _bias(self, row: Expr, recurrent: bool) -> Expr:
        start = self.rows if recurrent else index(0)
        return self.at(self.b, [index(self.d), plus(row, start)])

    def _input_share(self) -> None:
        """Scratch: for each step and sequence, input times input weights plus input bias."""
        emit = self.emit_
        together = max(1, _STEPS // self.sequences)

        def block(start: Expr, steps: int) -> None:
            columns = [
                (plus(start, s), index(b)) for s in range(steps) for b in range(self.sequences)
            ]

            def store(column: int, row: Expr, total: Expr) -> None:
                step, sequence = columns[column]
                region = plus(times(step, self.rows * index(self.sequences)), self.share)
                value = add(total, self._bias(row, recurrent=False))
                emit.store(self.memory, self._place(region, sequence, row, self.rows), value)

            self._product(
                (index(0), self.rows),
                (self.sizes[2], self.inputs),
                lambda row, k: self.at(self.w, [index(self.d), row, k]),
                [partial(self._input, s, b) for s, b in columns],
                store,
            )

        whole = emit.bind(tirx.truncdiv(self.steps, index(together)))
        with emit.loop("steps", whole) as part:
            block(emit.bind(times(part, together)), together)
        done = emit.bind(whole * index(together))
        if together > 1:
            with emit.loop("steps", self.steps - done) as part:
                block(emit.bind(done + part), 1)

    def _input(self, step: Expr, sequence: Expr, k: Expr) -> Expr:
        return self.at(self.x, [step, plus(self.first, sequence), k])

    def _recurrent_share(
        self, rows: tuple[Expr, Expr], state: Callable[[int, Expr], Expr], with_share: bool
    ) -> None:
        """Gates of this step for `rows` (first, count): state times recurrent weights plus biases,
        and the input's share.
        """

        def store(column: int, row: Expr, total: Expr) -> None:
            value = add(total, self._bias(row, recurrent=True))
            if with_share:
                value = add(value, self._share(index(column), row))
            where = self._place(self.gate, index(column), row, self.rows)
            self.emit_.store(self.memory, where, value)

        self._product(
            rows,
            (self.sizes[3], self.hidden),
            lambda row, k: self.at(self.r, [index(self.d), row, k]),
            [partial(state, b) for b in range(self.sequences)],
            store,
        )

    def _share(self, sequence: Expr, row: Expr) -> Expr:
        region = plus(times(self.time, self.rows * index(self.sequences)), self.share)
        return self._load(self._place(region, sequence, row, self.rows))

    def _product(
        self,
        rows: tuple[Expr, Expr],
        depth: tuple[Dim, Expr],
        weight: Callable[[Expr, Expr], Expr],
        columns: Sequence[Callable[[Expr], Expr]],
        store: Callable[[int, Expr, Expr], None],
    ) -> None:
        """Dot products of weight rows with columns, given to `store(column, row(s), total(s))`."""
        emit = self.emit_
        lanes = self._depth_lanes(depth[0])
        width = min(len(columns), lanes)
        tile = max(1, lanes // width)
        first, count = rows
        for start in range(0, len(columns), width):
            part = columns[start : start + width]

            def tile_of(
                row: Expr,
                height: int,
                part: Sequence[Callable[[Expr], Expr]] = part,
                start: int = start,
            ) -> None:
                totals = self._tile(row, height, depth[1], lanes, weight, part)
                for column in range(len(part)):
                    store(start + column, consecutive(row, height), totals[column])

            whole = emit.bind(tirx.truncdiv(count, index(tile)))
            with emit.loop("tile", whole) as t:
                tile_of(emit.bind(plus(times(t, tile), first)), tile)
            done = emit.bind(whole * index(tile))
            if tile > 1:
                with emit.loop("row", count - done) as t:
                    tile_of(emit.bind(plus(plus(done, t), first)), 1)

    def _depth_lanes(self, depth: Dim) -> int:
        """Lanes of a dot product: a register, no more than the depth; one if that is unknown."""
        lanes = min(self.e.level.lanes(self.dtype.bits), self.lanes)
        if not isinstance(depth, int):
            return 1
        while lanes > max(depth, 1):
            lanes //= 2
        return lanes

    def _tile(
        self,
        row: Expr,
        height: int,
        depth: Expr,
        lanes: int,
        weight: Callable[[Expr, Expr], Expr],
        columns: Sequence[Callable[[Expr], Expr]],
    ) -> list[Expr]:
        """For each column, the dot products with `height` rows, as a vector."""
        emit = self.emit_
        place = consecutive(0, lanes)
        sums = [emit.registers("sum", self.dtype, lanes) for _ in range(height * len(columns))]
        for register in sums:
            emit.store(register, place, const(0, self.dtype.label))

        def step(k: Expr, fresh: Expr | None) -> None:
            across = [emit.bind(column(k)) for column in columns]
            for h in range(height):
                factor = weight(plus(row, h), k)
                for c, value in enumerate(across):
                    product = multiply(factor, value)
                    if fresh is not None:
                        product = select(fresh, product, const(0, self.dtype.label))
                    register = sums[c * height + h]
                    emit.store(register, place, add(emit.load(register, place), product))

        each_vector(emit, depth, lanes, lambda k, width: step(k, None), partial=step)
        totals = sums_of_lanes(emit, [emit.bind(emit.load(s, place)) for s in sums])
        if len(sums) == 1:
            return [totals]
        if height == 1:
            return [
                emit.bind(tirx.Shuffle([totals], [const(c, "int32")])) for c in range(len(columns))
            ]
        return [
            emit.bind(
                tirx.Shuffle([totals], [const(c * height + h, "int32") for h in range(height)])
            )
            for c in range(len(columns))
        ]

    # --- steps ------------------------------------------------------------------------------------

    def _clipped(self, value: Expr) -> Expr:
        limit = self.attrs["clip"]
        if limit <= 0:
            return value
        return a.minimum(a.maximum(value, a.like(-limit, value)), a.like(limit, value))

    def _activate(self, number: int, value: Expr) -> Expr:
        return self.emit_.bind(
            self.functions[number](self.emit_, self.emit_.bind(self._clipped(value)))
        )

    def _old(self, number: int, sequence: Expr, unit: Expr) -> Expr:
        return self._load(self._state(number, self.parity, sequence, unit))

    def _gate(self, number: int, sequence: Expr, unit: Expr) -> Expr:
        row = plus(times(self.hidden, number), unit)
        return self._load(self._place(self.gate, sequence, row, self.rows))

    def _peephole(self, number: int, gate: Expr, cell: Expr, unit: Expr) -> Expr:
        if self.peepholes is None:
            return gate
        row = plus(times(self.hidden, number), unit)
        weight = self.at(self.peepholes, [index(self.d), row])
        return self.emit_.bind(add(gate, multiply(weight, cell)))

    def _advance(self, sequence: Expr, unit: Expr, new: Sequence[Expr]) -> None:
        """Keeps new states and stores the step's output; after a sequence nothing changes."""
        emit = self.emit_
        b = plus(self.first, sequence)
        values, output = list(new), new[0]
        if self.lengths is not None:
            length = tirx.Cast("int64", self.at(self.lengths, [b]))
            alive = emit.bind(self.time < length, "alive")
            values = [select(alive, v, self._old(i, sequence, unit)) for i, v in enumerate(new)]
            output = select(alive, new[0], a.like(0, new[0]))
        for number, value in enumerate(values):
            where = self._state(number, self.next_parity, sequence, unit)
            emit.store(self.memory, where, value)
        self._result(self.op.results[0], [self.time, index(self.d), b, unit], output)

    def _hidden_state(self, sequence: int, k: Expr) -> Expr:
        return self._old(0, index(sequence), k)

    def lstm_step(self) -> None:
        self._recurrent_share((index(0), self.rows), self._hidden_state, with_share=True)

        def unit(sequence: Expr, at: Expr) -> None:
            cell = self._old(1, sequence, at)
            i, o, forget, c = (self._gate(g, sequence, at) for g in range(4))
            i = self._activate(0, self._peephole(0, i, cell, at))
            if self.attrs["input_forget"]:
                forget = a.like(1, i) - i
            else:
                forget = self._activate(0, self._peephole(2, forget, cell, at))
            cell = self.emit_.bind(forget * cell + i * self._activate(1, c))
            out = self._activate(0, self._peephole(1, o, cell, at))
            shown = self.functions[2](self.emit_, cell)
            self._advance(sequence, at, [self.emit_.bind(out * shown), cell])

        self._each_unit(unit)

    def rnn_step(self) -> None:
        self._recurrent_share((index(0), self.rows), self._hidden_state, with_share=True)
        self._each_unit(
            lambda sequence, at: self._advance(
                sequence, at, [self._activate(0, self._gate(0, sequence, at))]
            )
        )

    def gru_step(self) -> None:
        emit = self.emit_
        pair = emit.bind(self.hidden * index(2))
        self._recurrent_share((index(0), pair), self._hidden_state, with_share=True)
        if self.attrs["linear_before_reset"]:
            self._recurrent_share((pair, self.hidden), self._hidden_state, with_share=False)
        else:
            self._each_unit(self._reset_state)
            self._recurrent_share((pair, self.hidden), self._reset_load, with_share=True)

        def unit(sequence: Expr, at: Expr) -> None:
            new = self._gate(2, sequence, at)
            if self.attrs["linear_before_reset"]:
                share = self._share(sequence, plus(pair, at))
                new = emit.bind(share + self._activate(0, self._gate(1, sequence, at)) * new)
            update = self._activate(0, self._gate(0, sequence, at))
            old = self._old(0, sequence, at)
            fresh = subtract(a.like(1, update), update) * self._activate(1, new)
            self._advance(sequence, at, [emit.bind(fresh + update * old)])

        self._each_unit(unit)

    def _reset_state(self, sequence: Expr, unit: Expr) -> None:
        """Scratch: the state scaled by the reset gate."""
        reset = self._activate(0, self._gate(1, sequence, unit))
        where = self._place(self.scaled, sequence, unit, self.hidden)
        self.emit_.store(self.memory, where, reset * self._old(0, sequence, unit))

    def _reset_load(self, sequence: int, k: Expr) -> Expr:
        return self._load(self._place(self.scaled, index(sequence), k, self.hidden))


_STEP: dict[str, Callable[[_Kernel], None]] = {
    "lstm": _Kernel.lstm_step,
    "gru": _Kernel.gru_step,
    "rnn": _Kernel.rnn_step,
}
