"""One recurrent layer on several threads: each step divided among them, with a phase for each step.

Threads share one scratch memory and wait for each other after each part of a step (`Work.phase`).
Each keeps its share of the recurrent weights in its own core's cache. The phases are: initial
states, and inputs of the first run of steps; their share of the gates; then for each run the inputs
of the next, the parts of the steps, and the share of the next run unless the steps did that; last,
the final states. With more sequences than are walked together, tasks are whole walks instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm import tirx

from bireme.codegen.index import times
from bireme.codegen.rules import arithmetic as a
from bireme.codegen.templates.recurrent_layer import Moment, parts_of
from bireme.codegen.tir import Expr, index
from bireme.ir import Dim, ceildiv, maximum, minimum

if TYPE_CHECKING:
    from bireme.codegen.templates.recurrent import Walk

# Phases before the first run, and of a run besides those of its steps.
_BEFORE = 2
_AROUND = 2


class Phases:
    """Emits the phases of a walk; `chunks` are the tasks that there are without them."""

    def __init__(self, walk: Walk, chunks: Dim) -> None:
        self.walk, self.layer, self.emit, self.chunks = walk, walk.layer, walk.emit, chunks
        layer = self.layer
        blocks, _ = layer.unit_dims
        assert isinstance(blocks, int)
        self.size = blocks // layer.parts
        self.length = _AROUND + layer.together * parts_of(layer.op)
        runs = ceildiv(layer.sizes[0], layer.together)
        few = minimum(1, maximum(0, 2 - chunks))
        self.phase: Dim = few * layer.parts
        self.tasks: Dim = self.phase * (_BEFORE + runs * self.length + 1) + (1 - few) * chunks

    def is_part(self) -> Expr:
        """Whether this call is for tasks of a phase, not for whole walks."""
        e = self.layer.e
        some = e.end - e.begin < self.emit.dim(self.tasks)
        return tirx.all(self.emit.dim(self.phase) > index(0), some)

    def walks(self) -> tuple[Expr, Expr]:
        """The walks that this call is for: none when it is for tasks of a phase, the only one when
        it is for all.
        """
        emit, e = self.emit, self.layer.e
        single = emit.dim(self.phase) > index(0)
        part = self.is_part()
        begin = tirx.Select(single, index(0), e.begin)
        only = tirx.min(emit.dim(self.chunks), index(1))
        end = tirx.Select(single, tirx.Select(part, index(0), only), e.end)
        return emit.opaque(begin, "begin"), emit.opaque(end, "end")

    def emit_part(self) -> None:
        """The tasks of one phase that this call is for."""
        walk, layer, emit, e = self.walk, self.layer, self.emit, self.layer.e
        walk.use_activations(0)
        layer.direction = layer.first = index(0)
        layer.count = walk.sequences()
        phase = emit.opaque(tirx.truncdiv(e.begin, index(layer.parts)), "phase")
        part = emit.bind(e.begin - phase * index(layer.parts), "part")
        after = emit.bind(part + (e.end - e.begin))
        leads = a.equal(part, index(0))
        some = layer.steps > index(0)
        inputs = [
            emit.opaque(tirx.truncdiv(at * layer.inputs, index(layer.parts)))
            for at in (part, after)
        ]
        first = emit.bind(part * index(self.size), "first")
        blocks = emit.bind((after - part) * index(self.size), "blocks")
        with emit.when(a.equal(phase, index(0))):
            with emit.when(leads):
                walk.start()
            with emit.when(some):
                walk.gather(index(0), *inputs)
        with emit.when(a.equal(phase, index(1)), some):
            walk.sums.project(index(0), first, blocks)
        runs = walk.runs()
        past = emit.bind(phase - index(_BEFORE), "past")
        run = emit.opaque(tirx.truncdiv(past, index(self.length)), "run")
        place = emit.bind(past - run * index(self.length), "place")
        with emit.when(past >= index(0), run < runs):
            self._run(run, place, run + index(1) < runs, first, blocks, inputs)
        with emit.when(a.equal(past, runs * index(self.length)), leads):
            walk.finish(emit.bind(tirx.bitwise_and(layer.steps, index(1))))

    def _run(
        self, run: Expr, place: Expr, more: Expr, first: Expr, blocks: Expr, inputs: list[Expr]
    ) -> None:
        """Phase `place` of a run of steps."""
        walk, layer, emit = self.walk, self.layer, self.emit
        start = emit.bind(times(run, layer.together), "start")
        here = emit.bind(tirx.bitwise_and(run, index(1)), "here")
        there = emit.bind(index(1) - here, "there")
        with emit.when(a.equal(place, index(0)), more):
            walk.gather(emit.bind(start + index(layer.together)), *inputs)
        last = a.equal(place, index(self.length - 1))
        walk.project_later(there, first, blocks, last, more)
        count = parts_of(layer.op)
        step = emit.opaque(tirx.truncdiv(place - index(1), index(count)), "step")
        number = emit.bind(place - index(1) - step * index(count), "number")
        within = tirx.all(place > index(0), place < index(self.length - 1))
        with emit.when(within, start + step < layer.steps):
            for n in range(count):
                with emit.when(a.equal(number, index(n)) if count > 1 else None):
                    moment = Moment(start, step, here, there, more)
                    walk.blocks(walk.parts(moment)[n], moment, first, blocks, self.size)
