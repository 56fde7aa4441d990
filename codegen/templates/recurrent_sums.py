"""Sums of a recurrent layer in registers: the inputs' share of the gates, and the product of the
recurrent weights with the state.

The inputs' share is a matrix product over several steps at a time, so that each input weight loaded
is used for all of them. With one sequence, a step waits for the recurrent weights: they are as
large as the second-level cache, and are used once. The multiply-add units idle half of that time.
Where registers suffice, the same loop therefore calculates the inputs' share of the *next* few
steps in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product

from tvm import tirx

from bireme.codegen.index import plus, times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.rules.folding import add, multiply
from bireme.codegen.templates.recurrent_layer import Layer, Part
from bireme.codegen.tir import Buffer, Expr, const, index, is_int, match


class Sums:
    """Emits the sums of one layer."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.emit, self.at = layer, layer.emit, layer.at
        self._heights = [n for n in (4, 2, 1) if n <= layer.sequences and self._tile_gates(n)]
        sums = layer.gates * self._chains() + layer.together
        self._interleaves = (sums + 1) * layer.width + 2 <= layer.registers

    def project(self, parity: Expr, first: Expr, blocks: Expr) -> None:
        """The share of the inputs that are gathered, all gates of some blocks."""
        layer = self.layer
        emit = self.emit
        most = (layer.registers - 1) // layer.width - 1
        height = max(
            n for n in range(1, layer.together + 1) if not layer.together % n and n <= most
        )
        columns = emit.opaque(blocks * index(layer.gates))
        lowest = emit.bind(times(first, layer.gates))
        with (
            emit.loop("column", columns, start=lowest) as column,
            emit.loop("sequence", layer.count) as b,
        ):
            bias = self._bias(column)
            for start in range(0, layer.together, height):
                rows = range(start, start + height)
                sums = [self._sum(bias) for _ in rows]
                self._share_steps(sums, rows, b, column, index(0), layer.inputs)
                for j, register in zip(rows, sums, strict=True):
                    where = plus(layer.share_at(parity, b, column), j * layer.lanes)
                    self._keep(where, register)

    def _bias(self, column: Expr) -> Expr:
        """The bias of a gate and block."""
        layer = self.layer
        if self._biases() == layer.gates:
            return self.emit.bind(
                self.at(layer.b, [layer.direction, index(0), column, layer.vector])
            )
        block = self.emit.bind(tirx.truncdiv(column, index(layer.gates)))
        return self.emit.bind(
            self.at(layer.b, [layer.direction, index(0), plus(column, block), layer.vector])
        )

    def _biases(self) -> int:
        """Rows of biases of a block."""
        rows = self.layer.b.type.shape[2]
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
        with self.emit.loop("k", count, start=start) as k:
            for accumulate in self._share_terms(sums, rows, sequence, column, k):
                accumulate()

    def _share_terms(
        self, sums: Sequence[Buffer], rows: range, sequence: Expr, column: Expr, k: Expr
    ) -> list[Callable[[], None]]:
        """What adds one input, for one step after the other."""
        layer = self.layer
        weight = self.emit.bind(
            self.at(layer.w, [layer.direction, index(0), column, k, layer.vector])
        )
        k = plus(times(sequence, layer.inputs), k)
        base = plus(times(k, layer.together), layer.columns)

        def accumulate(register: Buffer, j: int) -> None:
            self._add(register, weight, layer.load(plus(base, j)))

        return [partial(accumulate, *each) for each in zip(sums, rows, strict=True)]

    def _sum(self, start: Expr) -> Buffer:
        layer = self.layer
        register = self.emit.registers("sum", layer.dtype, layer.lanes)
        self.emit.store(register, layer.vector, start)
        return register

    def _add(self, register: Buffer, weight: Expr, element: Expr) -> None:
        weight, element = match(weight, element)
        total = add(self.emit.load(register, self.layer.vector), multiply(weight, element))
        self.emit.store(register, self.layer.vector, total)

    def _keep(self, where: Expr, register: Buffer) -> None:
        """A sum to scratch memory."""
        layer = self.layer
        self.emit.store(layer.memory, layer.block(where), self.emit.load(register, layer.vector))

    def _chains(self) -> int:
        """Sums of a gate that one sequence has, to hide the latency of additions."""
        layer = self.layer
        chains = layer.pieces
        while chains > 1 and (layer.gates * chains + 1) * layer.width + 2 > layer.registers:
            chains //= 2
        return chains

    def _tile_gates(self, height: int) -> int:
        """Gates that a tile of so many sequences takes at a time; 0 when there is no room."""
        layer = self.layer
        room = (layer.registers - height) // layer.width - 1
        return min(layer.gates, room // height)

    def products(
        self, part: Part, block: Expr, piece: Expr | None, there: Expr, more: Expr
    ) -> None:
        """Sums of a block for all sequences and, given a piece, of the share of later steps."""
        ahead = self.is_interleaved() if piece is not None else False
        if ahead is False:
            self._tiles(part, block)
            return
        single = None if ahead else a.equal(self.layer.count, index(1))
        with self.emit.when(single, more):
            self._interleaved(part, block, piece, there)
        with self.emit.when(single, tirx.Not(more)):
            self._tile(part, block, index(0), 1)
        if single is not None:
            with self.emit.when(self.layer.count > index(1)):
                self._tiles(part, block)

    def _tiles(self, part: Part, block: Expr) -> None:
        """Sums of a block for all sequences, a few at a time."""
        emit = self.emit
        done, left = index(0), self.layer.count
        for height in self._heights:
            tiles = emit.bind(tirx.truncdiv(left, index(height)))
            if not is_int(tiles) or int(tiles):
                with emit.loop("tile", tiles) as tile:
                    self._tile(part, block, emit.bind(plus(done, times(tile, height))), height)
            done = emit.bind(plus(done, times(tiles, height)))
            left = emit.bind(left - tiles * index(height))

    def _tile(self, part: Part, block: Expr, first: Expr, height: int) -> None:
        """Sums of a block for `height` sequences."""
        most = self._tile_gates(height)
        for start in range(0, len(part.gates), most):
            self._tile_of(part, part.gates[start : start + most], block, first, height)

    def _tile_of(
        self, part: Part, gates: Sequence[int], block: Expr, first: Expr, height: int
    ) -> None:
        """Sums of some gates."""
        layer = self.layer
        emit = self.emit
        chains = self._chains() if height == 1 else 1
        rows = [emit.bind(plus(first, i)) for i in range(height)]
        states = [emit.bind(part.state(row)) for row in rows]
        sums = self._zeros(range(height), gates, range(chains))

        def term(k: Expr, chain: int) -> None:
            elements = [layer.load(plus(state, k)) for state in states]
            for gate in gates:
                weight = self._recurrent(block, k, gate)
                for row, element in enumerate(elements):
                    self._add(sums[row, gate, chain], weight, element)

        self._each_term(layer.hidden, layer.pieces if height == 1 else 1, chains, term)
        for row, sequence in enumerate(rows):
            for gate in gates:
                self._fold([sums[row, gate, chain] for chain in range(chains)])
                self._keep(layer.sum_at(sequence, gate), sums[row, gate, 0])

    def _zeros(
        self, rows: Iterable[int], gates: Iterable[int], chains: Iterable[int]
    ) -> dict[tuple[int, int, int], Buffer]:
        """A sum for each sequence, gate and chain."""
        zero = const(0, self.layer.dtype.label)
        return {key: self._sum(zero) for key in product(rows, gates, chains)}

    def _recurrent(self, block: Expr, k: Expr, gate: int) -> Expr:
        layer = self.layer
        return self.emit.bind(
            self.at(layer.r, [layer.direction, block, k, index(gate), layer.vector])
        )

    def _each_term(
        self, count: Expr, unroll: int, chains: int, term: Callable[[Expr, int], None]
    ) -> None:
        """`term(k, chain)` for all k below `count`."""
        emit = self.emit
        rounds = emit.bind(tirx.truncdiv(count, index(unroll)))
        with emit.loop("k", rounds) as number:
            for j in range(unroll):
                term(plus(times(number, unroll), j), j % chains)
        self._rest(emit.bind(rounds * index(unroll)), count, term)

    def _rest(self, done: Expr, count: Expr, term: Callable[[Expr, int], None]) -> None:
        left = self.emit.bind(count - done)
        if is_int(left) and int(left) == 0:
            return
        with self.emit.loop("k", left, start=done) as k:
            term(k, 0)

    def _fold(self, sums: Sequence[Buffer]) -> None:
        """Adds all sums to the first."""
        layer = self.layer
        first, *others = sums
        for other in others:
            total = add(self.emit.load(first, layer.vector), self.emit.load(other, layer.vector))
            self.emit.store(first, layer.vector, total)

    def _interleaved(self, part: Part, block: Expr, piece: Expr, there: Expr) -> None:
        """Sums of a block for one sequence, and a piece of the share of later steps."""
        layer = self.layer
        emit, pieces, chains = self.emit, layer.pieces, self._chains()
        zero = index(0)
        column = emit.opaque(tirx.truncdiv(piece, index(pieces)), "column")
        slot = emit.bind(piece - column * index(pieces), "slot")
        start = emit.bind(tirx.truncdiv(slot * layer.inputs, index(pieces)), "start")
        end = emit.bind(tirx.truncdiv((slot + index(1)) * layer.inputs, index(pieces)), "end")
        inputs = layer.sizes[2]
        whole = isinstance(inputs, int) and inputs % pieces == 0
        length = index(inputs // pieces) if whole else emit.bind(end - start)
        together = emit.bind(tirx.min(tirx.truncdiv(layer.hidden, index(pieces)), length), "both")
        share = emit.bind(layer.share_at(there, zero, column))
        with emit.when(a.equal(slot, zero)):
            bias = self._bias(column)
            for j in range(layer.together):
                emit.store(layer.memory, layer.block(plus(share, j * layer.lanes)), bias)
        later = [
            self._sum(layer.load(layer.block(plus(share, j * layer.lanes))))
            for j in range(layer.together)
        ]
        state = emit.bind(part.state(zero))
        sums = self._zeros([0], part.gates, range(chains))

        def term(k: Expr, chain: int) -> None:
            element = layer.load(plus(state, k))
            for gate in part.gates:
                self._add(sums[0, gate, chain], self._recurrent(block, k, gate), element)

        rows, each = range(layer.together), layer.together // pieces
        with emit.loop("k", together) as number:
            ahead = self._share_terms(later, rows, zero, column, plus(start, number))
            for j in range(pieces):
                term(plus(times(number, pieces), j), j % chains)
                for accumulate in ahead[j * each : (j + 1) * each]:
                    accumulate()
        self._rest(emit.bind(together * index(pieces)), layer.hidden, term)
        if not (is_int(together) and is_int(length) and int(together) == int(length)):
            left = emit.bind(length - together)
            self._share_steps(later, rows, zero, column, emit.bind(start + together), left)
        for gate in part.gates:
            self._fold([sums[0, gate, chain] for chain in range(chains)])
            self._keep(layer.sum_at(zero, gate), sums[0, gate, 0])
        for j, register in enumerate(later):
            self._keep(plus(share, j * layer.lanes), register)

    def is_interleaved(self) -> bool | None:
        """Whether steps calculate the share of later ones; None: when there is one sequence."""
        if not self._interleaves:
            return False
        return int(self.layer.count) == 1 if is_int(self.layer.count) else None
