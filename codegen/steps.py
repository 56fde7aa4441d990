"""Every step of an artefact against the reference: which kernel is the first to be wrong.

Each value between kernels is compared twice. `local` asks whether the kernel is right: the
reference does the same step on the operands that the kernel really had. `total` is against a run of
the reference by itself, so it shows how differences grow along the way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from bireme.codegen.accuracy import Difference, difference, model_difference, tolerance_of
from bireme.codegen.compiler import Options, compile_graph, prepare, reduced_to
from bireme.codegen.cost import RECURRENT
from bireme.codegen.instrument import (
    Turns,
    captured_name,
    damaged_weights,
    inner_values,
    instrumented,
    levels_of,
    same_plan,
    sized_by_data,
)
from bireme.codegen.lower import Lowered
from bireme.codegen.survey import names_of
from bireme.ir import Array, BiremeError, Block, Graph, Op, Value, reference
from bireme.passes.pipeline import default, optimise
from bireme.runtime import Model, Session
from bireme.targets.registry import Target, find, names

# In these a difference of one step is carried into the next.
_ACCUMULATING = RECURRENT | {"cumsum", "scan", "while"}
# Their regions are part of the plan. No more bytes than this are kept of what loops calculate.
_REGIONS = {"if", "while", "scan"}
_MOST_BYTES = 1 << 28

# A value and how often it was made before, for what stands in a loop.
Made = tuple[Value, int]


@dataclass(frozen=True)
class Step:
    """One value between kernels: the nodes and ops that make it, its type, its differences.

    `total` is None when a reference run of its own never came to it.
    """

    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    type: str
    local: Difference
    total: Difference | None


@dataclass(frozen=True)
class Inside:
    """What a wrong loop or branch did: its name, the iteration in which it first went wrong (None
    for a branch) and that iteration's steps.
    """

    name: str
    turn: int | None
    steps: Sequence[Step]

    @property
    def place(self) -> str:
        """The name with the iteration."""
        return self.name + ("" if self.turn is None else f", iteration {self.turn}")

    @property
    def wrong(self) -> Step:
        """The first step that is wrong."""
        return next(step for step in self.steps if not step.local.agrees)


@dataclass(frozen=True)
class Steps:
    """Steps in the order of execution.

    `own` is whether they are those of the artefact given; if not, this version compiles the graph
    differently, and they are those of a fresh artefact. `damaged` are weights that are not the
    model's, with the nodes that read them. `outputs` are what the reference makes of the graph
    after the passes. `inside` looks into the first wrong step, where that has a body in the plan
    and something in it is wrong.
    """

    target: Target
    own: bool
    steps: Sequence[Step]
    damaged: Mapping[str, tuple[str, ...]]
    outputs: Mapping[str, Array]
    inside: Inside | None = None


def judge_steps(
    graph: Graph,
    data: bytes,
    feed: Mapping[str, Array],
    threads: int | None = None,
    options: Options | None = None,
) -> Steps:
    """Runs an artefact of `graph` on `feed` and judges every step; `options` are those that it was
    compiled with. Raises BiremeError, RuntimeFault.
    """
    options = options or Options()
    target, lowered = _compilation(graph, data, options)
    own = lowered is not None
    if lowered is None:
        data, _ = compile_graph(graph, target, options)
        lowered, _ = prepare(graph, target, options)
    values = inner_values(lowered, [lowered.graph.body])
    seen = {(v, 0): array for v, array in _captured(lowered, data, feed, threads, values).items()}
    total: dict[Value, Difference] = {}

    def watch(value: Value, array: Array) -> None:
        if (value, 0) in seen:
            total[value] = model_difference(array, seen[value, 0], reduced_to(options))

    outputs = reference.run(lowered.graph, feed, trace=watch)
    local = _local(lowered.graph, feed, seen)
    steps = _steps(lowered.graph.body, local, total, 0)
    wrong = next((v.owner for (v, _), found in local.items() if not found.agrees), None)
    inside = None
    if wrong is not None and wrong.name in _REGIONS:
        inside = _inside(lowered, data, feed, threads, seen, wrong)
    return Steps(target, own, steps, _damaged(lowered, data), outputs, inside)


def _steps(
    block: Block, local: Mapping[Made, Difference], total: Mapping[Value, Difference], turn: int
) -> list[Step]:
    return [
        Step(tuple(names_of(op)), _ops(op), str(v.type), local[v, turn], total.get(v))
        for op in block.ops
        for v in op.results
        if (v, turn) in local
    ]


def _inside(
    lowered: Lowered,
    data: bytes,
    feed: Mapping[str, Array],
    threads: int | None,
    seen: Mapping[Made, Array],
    op: Op,
) -> Inside | None:
    """What the body of a wrong loop or branch did, on the operands that it had."""
    inner = {v for block in op.blocks for each in block.ops for v in each.results}
    made: Counter[Value] = Counter()
    size = 0

    def count(value: Value, array: Array) -> Array | None:
        nonlocal size
        if value in inner:
            made[value] += 1
            size = max(size, array.nbytes)
        given = seen.get((value, 0))
        return given if given is not None and given.shape == array.shape else None

    with suppress(BiremeError), np.errstate(all="ignore"):
        reference.run(lowered.graph, feed, trace=count)
    if not made:
        return None
    values = inner_values(lowered, op.blocks)
    late = sized_by_data(data, [lowered.tensors[v] for vs in values.values() for v in vs])
    values = {at: [v for v in vs if lowered.tensors[v] not in late] for at, vs in values.items()}
    end = lowered.ends[op] - 1
    begin = _begin(lowered, end)
    turns = None
    if begin is not None:
        room = _MOST_BYTES // (size * len(inner) or 1)
        turns = Turns(begin, end, max(1, min(max(made.values()), room)))
    found = _captured(lowered, data, feed, threads, values, turns)
    known = dict(seen)
    for value, array in found.items():
        rows = array if turns is not None else [array]
        known |= {(value, turn): row for turn, row in enumerate(rows) if turn < made[value]}
    local = _local(lowered.graph, feed, known)
    for turn in range(turns.most if turns is not None else 1):
        steps = [s for block in op.blocks for s in _steps(block, local, {}, turn)]
        if not all(step.local.agrees for step in steps):
            return Inside(op.node or op.name, turn if turns is not None else None, steps)
    return None


def _begin(lowered: Lowered, end: int) -> int | None:
    """Where the loop begins that an instruction closes; None if it is no loop."""
    last = lowered.plan.instructions[end]
    if last.op == "LoopEnd":
        return last.target - 1
    return last.target if last.op == "Jump" and last.target <= end else None


def pass_at_fault(
    graph: Graph,
    target: Target,
    feed: Mapping[str, Array],
    expected: Mapping[str, Array],
    options: Options,
) -> str:
    """The first pass after which the reference no longer gives `expected`; empty if none is."""
    found: list[str] = []
    reduced = reduced_to(options)
    passes = default(winograd=options.winograd, precision=options.precision)

    def dump(stage: str, changed: Graph) -> None:
        if not found and stage.endswith(".after"):
            results = reference.run(changed, feed)
            judged = (model_difference(a, results[name], reduced) for name, a in expected.items())
            if not all(difference.agrees for difference in judged):
                found.append(stage.partition("-")[2].removesuffix(".after"))

    optimise(graph.clone(), target.description, dump=dump, passes=passes)
    return found[0] if found else ""


def _compilation(graph: Graph, data: bytes, options: Options) -> tuple[Target, Lowered | None]:
    """The target of an artefact, and the lowered graph that its plan was written from, when this
    version lowers the graph to the same plan.
    """
    candidates = list(_candidates(data))
    for target in candidates:
        lowered, _ = prepare(graph, target, options)
        if same_plan(data, lowered.plan):
            return target, lowered
    return candidates[0], None


def _candidates(data: bytes) -> Iterator[Target]:
    """Chips that an artefact may be for: first those with the instruction sets that it has."""
    family, levels = levels_of(data)
    chips = [find(name) for name in names() if name.partition(":")[0] == family] or [find(family)]
    yield from sorted(
        chips, key=lambda chip: [level.name for level in chip.description.levels] != levels
    )


def _captured(
    lowered: Lowered,
    data: bytes,
    feed: Mapping[str, Array],
    threads: int | None,
    wanted: Mapping[int, Sequence[Value]],
    turns: Turns | None = None,
) -> dict[Value, Array]:
    """Values between kernels, from a run of the artefact itself."""
    tensors = {at: [lowered.tensors[v] for v in values] for at, values in wanted.items()}
    shown = instrumented(data, tensors, turns)
    results = Session(Model.load(shown), threads=threads, seed=0).run(feed)
    return {
        value: results[captured_name(lowered.tensors[value])]
        for values in wanted.values()
        for value in values
    }


def _local(
    graph: Graph, feed: Mapping[str, Array], seen: Mapping[Made, Array]
) -> dict[Made, Difference]:
    """What each step, on the operands that the artefact had, differs by.

    What a group of ops gives may depend on its operands so much that no two ways to round agree:
    the difference of two nearly equal sums does. So where a step seems wrong, the reference does it
    again, with every value inside of it off by as much as one op may be, and what that changes is
    allowed.
    """
    expected: dict[Made, Array] = {}
    _forced(graph, feed, seen, expected)
    found = {made: _judged(made[0], array, seen[made]) for made, array in expected.items()}
    suspects = [made for made, difference in found.items() if not difference.agrees]
    slack = {made: np.zeros(expected[made].shape) for made in suspects}
    inner = {v for value, _ in suspects for v in _inner(value.owner)}
    for seed in range(_ROUNDS if inner else 0):
        changed: dict[Made, Array] = {}
        _forced(graph, feed, seen, changed, _Noise(inner, seed))
        for made in suspects:
            if made in changed and changed[made].shape == slack[made].shape:
                off = np.abs(_wide(changed[made]) - _wide(expected[made]))
                slack[made] = np.fmax(slack[made], 2 * off)
    for made in suspects:
        found[made] = _judged(made[0], expected[made], seen[made], slack[made])
    return found


# Each is another sample of roundings.
_ROUNDS = 3


class _Noise:
    """Puts float values off by as much as one op may be."""

    def __init__(self, values: set[Value], seed: int) -> None:
        self._values = values
        self._generator = np.random.default_rng(seed)

    def __call__(self, value: Value, array: Array) -> Array | None:
        dtype = value.type.dtype
        if value not in self._values or not dtype.is_float or dtype.is_narrow:
            return None
        size = tolerance_of(dtype).kernel
        off = self._generator.uniform(-size, size, array.shape)
        return np.asarray(_wide(array) * (1 + off)).astype(array.dtype)


def _forced(
    graph: Graph,
    feed: Mapping[str, Array],
    seen: Mapping[Made, Array],
    expected: dict[Made, Array],
    noise: _Noise | None = None,
) -> None:
    """Runs the reference with the values of `seen` in place of its own, which go to `expected`."""
    turns: Counter[Value] = Counter()

    def force(value: Value, array: Array) -> Array | None:
        made = value, turns[value]
        turns[value] += 1
        if made not in seen:
            return noise(value, array) if noise else None
        expected[made] = array
        return seen[made] if seen[made].shape == array.shape else None

    try:
        with np.errstate(all="ignore"):
            reference.run(graph, feed, trace=force)
    except BiremeError:
        # Wrong data, such as an index out of range, may stop it; then it is seen by now.
        if all(_judged(m[0], array, seen[m]).agrees for m, array in expected.items()):
            raise


def _inner(op: Op | None) -> Iterator[Value]:
    """Values that are made in an op's regions, but for those that a kernel gives."""
    for block in op.blocks if op is not None else ():
        given = block.yields if op is not None and op.name == "kernel" else []
        for each in block.members:
            yield from (v for v in each.results if v not in given)
            yield from _inner(each)


def _wide(array: Array) -> Array:
    return np.asarray(array).astype(np.float64)


def _judged(value: Value, expected: Array, found: Array, slack: Array | None = None) -> Difference:
    tolerance = tolerance_of(value.type.dtype)
    ops = _ops(value.owner) if value.owner is not None else ()
    allowed = tolerance.model if _ACCUMULATING & set(ops) else tolerance.kernel
    # Rounding to a grid turns the least difference into one step of the grid.
    grid = 1.0 if "quantize" in ops and value.type.dtype.is_integer else 0.0
    return difference(expected, found, allowed, grid if slack is None else np.fmax(slack, grid))


def _ops(op: Op) -> tuple[str, ...]:
    return tuple(each.name for each in op.members)


def _damaged(lowered: Lowered, data: bytes) -> dict[str, tuple[str, ...]]:
    plan = lowered.plan
    found: dict[str, tuple[str, ...]] = {}
    for number in damaged_weights(data, plan):
        readers = [
            name
            for instruction, op in sorted(lowered.launches.items())
            if number in plan.instructions[instruction].args
            for name in names_of(op)
        ]
        found[plan.tensors[number].name] = tuple(dict.fromkeys(readers))
    return found
