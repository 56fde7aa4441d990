"""From a graph to an artefact: passes, lowering, kernels, memory, file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from time import perf_counter

from bireme.codegen.arena import place_arena
from bireme.codegen.artefact import KernelRow, artefact_bytes
from bireme.codegen.build import compile_kernels
from bireme.codegen.cache import CompiledKernel, KernelCache, default_folder
from bireme.codegen.link import link
from bireme.codegen.lower import lower
from bireme.codegen.plan import Plan
from bireme.ir import Dim, Graph, maximum
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


def compile_graph(
    graph: Graph, target: Target, options: Options | None = None, progress: Progress | None = None
) -> tuple[bytes, Report]:
    """The artefact of a graph. `graph` is not changed. Raises BiremeError."""
    options = options or Options()
    tell = progress or (lambda what, done, total: None)
    start = perf_counter()
    report = Report()
    tell("optimising the graph", 0, 1)
    graph = graph.clone()
    report.passes = optimise(graph, target.description, verify=options.verify, dump=options.dump)
    tell("lowering", 0, 1)
    plan, specs = lower(graph)
    compiled = compile_kernels(
        specs,
        target,
        options.cache or KernelCache(None),
        jobs=options.jobs,
        progress=lambda done, total: tell("compiling kernels", done, total),
    )
    _fill_launches(plan, compiled)
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


def _fill_launches(plan: Plan, compiled: list[list[CompiledKernel]]) -> None:
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
