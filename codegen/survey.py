"""What would become of a graph on a target, asked without a backend compiler.

`survey` is the first half of a compilation and nothing of its own: the passes, the lowering and the
templates are those of `compile_graph`, so the two cannot disagree on what is refused. Sizes are
those of the symbols' hints.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile

from bireme.codegen.arena import live_bytes, place_arena
from bireme.codegen.build import Emissions, emit_kernels
from bireme.codegen.compiler import prepare, refusals
from bireme.codegen.cost import bytes_moved, operations
from bireme.codegen.kernel import Emitted
from bireme.codegen.lower import Lowered
from bireme.codegen.specialize import Choices, Sizes, Specialization, combinations
from bireme.codegen.work import fill_launches, scratch_of
from bireme.ir import BiremeError, Block, Graph, Op, evaluate
from bireme.ir.views import location_names
from bireme.targets.registry import Target

# How ops outside of kernels run.
FOLDED, VIEW, IN_PLACE, CONTROL, DRAW = "folded", "view", "in place", "control flow", "draw"
_OUTSIDE = {
    "reshape": VIEW, "prefix": VIEW, "bind": CONTROL, "if": CONTROL, "while": CONTROL,
    "scan": CONTROL, "random_key": DRAW,
}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """One launch of a kernel.

    `kernel` numbers the code, which equal launches share; `template` is its loop shape. `nodes`
    are the model's names, `ops` the dialect's. `operations` and `bytes` are of the whole run, loops
    counted as often as they turn (a `while` once); `live_bytes` is what the arena holds meanwhile,
    `workspace` scratch bytes for each thread. `versions` are the sizes that get a kernel of their
    own, unless its code turns out to be that of `kernel`.
    """

    kernel: int
    template: str
    nodes: tuple[str, ...]
    ops: tuple[str, ...]
    operations: int
    bytes: int
    live_bytes: int
    workspace: int
    versions: tuple[Sizes, ...] = ()


@dataclass(frozen=True)
class Placement:
    """Where a node of the model runs: names of templates, or `folded`, `view`, `in place`, `control
    flow`; and the numbers of its launches. `errors` are what stands in the way.
    """

    how: tuple[str, ...]
    launches: tuple[int, ...] = ()
    errors: tuple[BiremeError, ...] = ()

    @property
    def supported(self) -> bool:
        """Whether the node can be compiled."""
        return not self.errors


@dataclass(frozen=True)
class Survey:
    """A graph on a target. `places` has every node of the graph that some op is left of; whatever
    it lacks was calculated by the passes. `errors` are all that stand in the way, those of the
    whole graph included. Memory is in bytes.
    """

    target: str
    launches: list[Launch] = field(default_factory=list)
    kernels: int = 0
    places: Mapping[str, Placement] = field(default_factory=dict)
    errors: list[BiremeError] = field(default_factory=list)
    arena_bytes: int = 0
    arena_lower_bound: int = 0
    weight_bytes: int = 0
    workspace_bytes: int = 0

    @property
    def compilable(self) -> bool:
        """Whether `compile_graph` would accept the graph."""
        return not self.errors

    @property
    def peak_bytes(self) -> int:
        """Arena and weights, without scratch memory, inputs and outputs."""
        return self.arena_bytes + self.weight_bytes

    def place(self, node: str) -> Placement:
        """Where a node of the model runs; also for one that stands for several, as a function."""
        if node in self.places:
            return self.places[node]
        start = bisect_left(self._names, f"{node}/")
        inner = takewhile(lambda name: name.startswith(f"{node}/"), self._names[start:])
        parts = [self.places[name] for name in inner]
        return _merged(parts) if parts else Placement((FOLDED,))

    @cached_property
    def _names(self) -> list[str]:
        return sorted(self.places)


def survey(
    graph: Graph,
    target: Target,
    known: Emissions | None = None,
    specialize: Sequence[Choices] = (),
) -> Survey:
    """What would become of `graph` on `target`. `graph` is not changed; `known` as in
    `emit_kernels`, `specialize` as in `combinations`, which raises BM6002.
    """
    wanted = combinations(graph, specialize)
    try:
        lowered, _ = prepare(graph, target)
    except BiremeError as error:
        return Survey(target.name, errors=list(error.parts))
    special = Specialization(lowered, wanted)
    emitted, faults = emit_kernels([*lowered.specs, *special.specs], target, known)
    errors = refusals(lowered, faults) or list(faults.values())
    found = Survey(target.name, kernels=len(emitted), errors=errors)
    sizes = hints(lowered.graph)
    launches, numbers = _launches(lowered, special, emitted, sizes)
    found = replace(found, launches=launches, places=_places(lowered, emitted, numbers, errors))
    return found if errors else _with_memory(found, lowered, special, emitted)


def hints(graph: Graph) -> dict[str, int]:
    """A typical size for every symbol of a graph."""
    return {name: s.typical for name, s in {**graph.declared_symbols, **graph.all_symbols}.items()}


def repeated(block: Block, sizes: Mapping[str, int], times: int = 1) -> Iterator[tuple[Op, int]]:
    """Every op outside of kernels, and how often a run does it. The body of a `while` counts once,
    both branches of an `if` too.
    """
    for op in block.ops:
        yield op, times
        turns = times
        if op.name == "scan":
            turns *= evaluate(op.operands[op.attrs["carries"]].type.shape[0], sizes)
        if op.name != "kernel":
            for inner in op.blocks:
                yield from repeated(inner, sizes, turns)


def names_of(op: Op) -> list[str]:
    """The model's own names of what an op, or a kernel, does."""
    found = [name for each in op.members for name in location_names(each.location)]
    return list(dict.fromkeys(found))


def _launches(
    lowered: Lowered,
    special: Specialization,
    emitted: Sequence[Sequence[Emitted]],
    sizes: Mapping[str, int],
) -> tuple[list[Launch], dict[Op, int]]:
    """All launches in the order of the plan, and the number of each kernel op's."""
    times = dict(repeated(lowered.graph.body, sizes))
    launches: list[Launch] = []
    numbers: dict[Op, int] = {}
    for instruction, op in sorted(lowered.launches.items()):
        number = lowered.plan.instructions[instruction].kernel
        kernel = emitted[number]
        numbers[op] = len(launches)
        launches.append(
            Launch(
                number,
                kernel[0].kind if kernel else "",
                tuple(names_of(op)),
                tuple(each.name for each in op.members),
                evaluate(operations(op), sizes) * times[op],
                evaluate(bytes_moved(op), sizes) * times[op],
                0,
                0,
                tuple(own for _, own in special.chosen[instruction]),
            )
        )
    return launches, numbers


def _places(
    lowered: Lowered,
    emitted: Sequence[Sequence[Emitted]],
    numbers: Mapping[Op, int],
    errors: Sequence[BiremeError],
) -> dict[str, Placement]:
    kernels = {op: lowered.plan.instructions[i].kernel for i, op in lowered.launches.items()}
    found: dict[str, list[Placement]] = {}
    for op, _ in repeated(lowered.graph.body, hints(lowered.graph)):
        if op.name == "constant":
            continue
        how: tuple[str, ...] = (IN_PLACE if op in lowered.idle else _OUTSIDE.get(op.name, ""),)
        launches: tuple[int, ...] = ()
        if op in kernels:
            how = tuple(level.kind for level in emitted[kernels[op]][:1])
            launches = (numbers[op],)
        for inner in op.members:
            faults = tuple(e for e in errors if e.where in (inner.node, op.node))
            for name in location_names(inner.location):
                found.setdefault(name, []).append(Placement(how, launches, faults))
    return {name: _merged(parts) for name, parts in found.items()}


def _merged(parts: Sequence[Placement]) -> Placement:
    return Placement(
        tuple(dict.fromkeys(h for p in parts for h in p.how)),
        tuple(sorted({n for p in parts for n in p.launches})),
        tuple({(e.where, e.detail): e for p in parts for e in p.errors}.values()),
    )


def _with_memory(
    found: Survey,
    lowered: Lowered,
    special: Specialization,
    emitted: Sequence[Sequence[Emitted]],
) -> Survey:
    plan, sizes = lowered.plan, hints(lowered.graph)
    works = [[level.work for level in kernel] for kernel in emitted]
    fill_launches(plan, works)

    def scratch(instruction: int) -> int:
        """Of the launch, whichever of its versions runs."""
        launch = plan.instructions[instruction]
        own = [
            evaluate(scratch_of(launch, works[kernel]), {**sizes, **fixed})
            for kernel, fixed in special.chosen[instruction]
        ]
        return max([evaluate(launch.workspace, sizes), *own])

    place_arena(plan)
    live = live_bytes(plan)
    launches = [
        replace(
            launch,
            live_bytes=live[instruction],
            workspace=scratch(instruction),
        )
        for launch, instruction in zip(found.launches, sorted(lowered.launches), strict=True)
    ]
    return replace(
        found,
        launches=launches,
        arena_bytes=plan.arena_bytes,
        arena_lower_bound=plan.arena_lower_bound,
        weight_bytes=sum(a.nbytes for a in plan.weights.values()),
        workspace_bytes=max((launch.workspace for launch in launches), default=0),
    )
