"""From a graph to an artefact: passes, lowering, kernels, memory, file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter

from bireme.codegen.arena import place_arena
from bireme.codegen.artefact import KernelRow, artefact_bytes
from bireme.codegen.build import KernelFaults, compile_kernels, emit_kernels
from bireme.codegen.cache import CompiledKernel, KernelCache, default_folder
from bireme.codegen.link import link
from bireme.codegen.lower import Lowered, lower
from bireme.codegen.plan import Plan
from bireme.codegen.templates.common import Work
from bireme.ir import BiremeError, Dim, Graph, Op, maximum, together
from bireme.ir.dims import substitute
from bireme.passes.manager import Dump, PassRecord
from bireme.passes.pipeline import optimise
from bireme.targets.registry import Target

# (what is being done, steps done, steps in all)
Progress = Callable[[str, int, int], None]


@dataclass
class Report:
    """What a compilation did: one record a pass, and the figures of the result."""

    passes: list[PassRecord] = field(default_factory=list)
    kernels: int = 0
    launches: int = 0
    arena_bytes: int = 0
    arena_lower_bound: int = 0
    weight_bytes: int = 0
    code_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Options:
    """How to compile. `cache` None keeps no kernels; `jobs` as in `compile_kernels`."""

    cache: KernelCache | None = field(default_factory=lambda: KernelCache(default_folder()))
    jobs: int | None = None
    verify: bool = False
    dump: Dump | None = None


def prepare(
    graph: Graph, target: Target, options: Options, tell: Progress
) -> tuple[Lowered, list[PassRecord]]:
    """The first half of a compilation, up to the kernels: a lowered graph and what passes did.

    `graph` is not changed. Raises BiremeError for faults of the whole graph; ops that cannot be
    lowered are listed in the result.
    """
    tell("optimising the graph", 0, 1)
    graph = graph.clone()
    records = optimise(graph, target.description, verify=options.verify, dump=options.dump)
    tell("lowering", 0, 1)
    return lower(graph), records


def refusals(lowered: Lowered, errors: Mapping[int, BiremeError]) -> list[BiremeError]:
    """Every place in the model that cannot be compiled: ops that could not be lowered, and those
    whose kernel has one of `errors`, by the kernel's number.
    """
    found = list(lowered.refused)
    for number, kernel in lowered.launches.items():
        error = errors.get(lowered.plan.instructions[number].kernel)
        if error is not None:
            found += [
                BiremeError(error.code, error.detail, where=op.node, hint=error.hint)
                for op in culprits(kernel, error)
            ]
    return found


def culprits(kernel: Op, error: BiremeError) -> list[Op]:
    """The ops of a group that an error of its kernel names, or the group when it names none."""
    (block,) = kernel.blocks
    return [op for op in block.ops if op.name == error.where] or [kernel]


def compile_graph(
    graph: Graph, target: Target, options: Options | None = None, progress: Progress | None = None
) -> tuple[bytes, Report]:
    """The artefact of a graph. `graph` is not changed.

    Raises BiremeError, for everything that cannot be compiled at once.
    """
    options = options or Options()
    tell = progress or (lambda what, done, total: None)
    start = perf_counter()
    report = Report()
    lowered, report.passes = prepare(graph, target, options, tell)
    plan = lowered.plan
    if lowered.refused:
        raise together(refusals(lowered, emit_kernels(lowered.specs, target)[1]))
    try:
        compiled = compile_kernels(
            lowered.specs,
            target,
            options.cache or KernelCache(None),
            jobs=options.jobs,
            progress=lambda done, total: tell("compiling kernels", done, total),
        )
    except KernelFaults as faults:
        raise together(refusals(lowered, faults.errors)) from None
    fill_launches(plan, compiled)
    tell("planning memory", 0, 1)
    place_arena(plan)
    levels = target.description.levels
    images = [
        (level.name, link([kernel[number].code for kernel in compiled]))
        for number, level in enumerate(levels)
        if compiled
    ]
    rows = [
        KernelRow(f"{kernel[0].kind}_{number}", kernel[0].kind)
        for number, kernel in enumerate(compiled)
    ]
    tell("writing the artefact", 0, 1)
    data = artefact_bytes(
        plan, rows, images, producer=f"bireme {version('bireme')}", target=target.description.target
    )
    report.kernels, report.launches = len(rows), len(plan.instructions)
    report.arena_bytes, report.arena_lower_bound = plan.arena_bytes, plan.arena_lower_bound
    report.weight_bytes = sum(a.nbytes for a in plan.weights.values())
    report.code_bytes = sum(len(image.code) for _, image in images)
    report.seconds = perf_counter() - start
    return data, report


def fill_launches(plan: Plan, compiled: Sequence[Sequence[CompiledKernel | Work]]) -> None:
    """Gives each launch its tasks and scratch, with the kernel's sizes replaced by the launch's."""
    for launch in plan.instructions:
        if launch.op != "Launch":
            continue
        kernel = compiled[launch.kernel]
        sizes: dict[str, Dim] = {f"s{i}": d for i, d in enumerate(launch.dims)}
        launch.tasks = substitute(kernel[0].tasks, sizes)
        scratch: Dim = 0
        for level in kernel:
            needed = substitute(level.workspace, sizes)
            scratch = needed if scratch == 0 else maximum(scratch, needed)
        launch.workspace = scratch
